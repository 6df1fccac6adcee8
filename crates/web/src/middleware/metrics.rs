//! Counters of the hot path, looked up once and kept: naming one anew for each request would cost
//! more than counting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::StatusCode;
use metrics::{Counter, Histogram, counter, histogram};
use trust::Kid;
use trust::verdict::Outcome;

use base::names::{MOST_SIGNING_KEYS, OTHER, REQUEST_SECONDS, REQUESTS, SIGNATURES, VERDICTS};

/// One answered request more.
struct Route {
    seconds: Histogram,
    /// By the status' first digit, 1 to 5.
    answers: [Counter; 5],
}

/// Made after the recorder was installed; before, everything is counted into the void.
pub struct Metrics {
    routes: HashMap<String, Route>,
    /// For what matches none, so that a caller cannot make up labels.
    other: Route,
    signatures: ArcSwap<HashMap<Kid, Counter>>,
    /// Of keys beyond [`MOST_SIGNING_KEYS`].
    other_signatures: Counter,
    /// In the order of [`verdict_place`].
    verdicts: [Counter; 5],
}

impl Metrics {
    pub fn new(routes: impl Iterator<Item = String>) -> Self {
        Self {
            routes: routes
                .map(|name| (name.clone(), Route::new(name)))
                .collect(),
            other: Route::new("other".to_owned()),
            signatures: ArcSwap::default(),
            other_signatures: counter!(SIGNATURES, "ring" => OTHER, "kid" => OTHER),
            verdicts: [
                "VALID",
                "VALID_RETIRED_KEY",
                "REVOKED",
                "INDETERMINATE",
                "INVALID",
            ]
            .map(|verdict| counter!(VERDICTS, "verdict" => verdict)),
        }
    }

    pub fn answered(&self, route: &str, status: StatusCode, took: Duration) {
        let route = self.routes.get(route).unwrap_or(&self.other);
        route.seconds.record(took.as_secs_f64());
        let class = usize::from(status.as_u16() / 100).clamp(1, 5);
        route.answers[class - 1].increment(1);
    }

    pub fn judged(&self, outcome: Outcome) {
        self.verdicts[verdict_place(outcome)].increment(1);
    }

    pub fn signed(&self, ring: &str, kid: &Kid) {
        if let Some(known) = self.signatures.load().get(kid) {
            known.increment(1);
            return;
        }
        if self.signatures.load().len() >= MOST_SIGNING_KEYS {
            self.other_signatures.increment(1);
            return;
        }
        let made =
            counter!(SIGNATURES, "ring" => ring.to_owned(), "kid" => kid.as_str().to_owned());
        made.increment(1);
        // Rare: once per key and process.
        self.signatures.rcu(|known| {
            let mut more = HashMap::clone(known);
            more.insert(kid.clone(), made.clone());
            Arc::new(more)
        });
    }
}

fn verdict_place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Valid => 0,
        Outcome::ValidRetiredKey => 1,
        Outcome::Revoked => 2,
        Outcome::Indeterminate => 3,
        Outcome::Invalid => 4,
    }
}

impl Route {
    fn new(name: String) -> Self {
        let class = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        Self {
            answers: class
                .map(|class| counter!(REQUESTS, "route" => name.clone(), "status" => class)),
            seconds: histogram!(REQUEST_SECONDS, "route" => name),
        }
    }
}
