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

use base::names::{
    MOST_RINGS, MOST_SIGNING_KEYS, OTHER, REQUEST_SECONDS, REQUESTS, SIGNATURES, VERDICTS,
};

/// One answered request more.
struct Route {
    seconds: Histogram,
    /// By the status' first digit, 1 to 5.
    answers: [Counter; 5],
}

/// Counters of signatures, as many as there may be.
#[derive(Clone, Default)]
struct Signatures {
    keys: HashMap<Kid, Counter>,
    /// Each ring that has series, with the counter of its keys beyond [`MOST_SIGNING_KEYS`] where it has any.
    rings: HashMap<String, Option<Counter>>,
}

impl Signatures {
    /// The counter of a key; none where it has none yet.
    fn get(&self, ring: &str, kid: &Kid) -> Option<&Counter> {
        if let Some(known) = self.keys.get(kid) {
            return Some(known);
        }
        let others = self.rings.get(ring).and_then(Option::as_ref);
        others.filter(|_| self.keys.len() >= MOST_SIGNING_KEYS)
    }

    /// With one more, as long as its ring is one of those that have series.
    fn with(&self, ring: &str, kid: &Kid) -> Option<Self> {
        if self.rings.len() >= MOST_RINGS && !self.rings.contains_key(ring) {
            return None;
        }
        let mut more = self.clone();
        let others = more.rings.entry(ring.to_owned()).or_default();
        let named =
            |kid: &str| counter!(SIGNATURES, "ring" => ring.to_owned(), "kid" => kid.to_owned());
        if more.keys.len() < MOST_SIGNING_KEYS {
            more.keys.insert(kid.clone(), named(kid.as_str()));
        } else {
            *others = Some(named(OTHER));
        }
        Some(more)
    }
}

/// Made after the recorder was installed; before, everything is counted into the void.
pub struct Metrics {
    routes: HashMap<String, Route>,
    /// For what matches none, so that a caller cannot make up labels.
    other: Route,
    signatures: ArcSwap<Signatures>,
    /// Of rings beyond [`MOST_RINGS`].
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
        if let Some(known) = self.signatures.load().get(ring, kid) {
            known.increment(1);
            return;
        }
        // Rare: once per key and process, or per ring where it has many keys; of more rings than have series, each time.
        let Some(more) = self.signatures.load().with(ring, kid) else {
            self.other_signatures.increment(1);
            return;
        };
        if let Some(made) = more.get(ring, kid) {
            made.increment(1);
        }
        self.signatures.rcu(|known| match known.with(ring, kid) {
            Some(more) => Arc::new(more),
            None => Arc::clone(known),
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

#[cfg(test)]
mod tests {
    use base::names::{MOST_RINGS, MOST_SIGNING_KEYS};
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn kid(number: usize) -> Kid {
        format!("{number:042}A").parse().unwrap()
    }

    #[test]
    fn any_number_of_keys_and_rings_has_a_bounded_number_of_series() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let text = metrics::with_local_recorder(&recorder, || {
            let metrics = Metrics::new(std::iter::empty());
            for number in 0..MOST_SIGNING_KEYS + 500 {
                metrics.signed("old", &kid(number));
            }
            // A ring whose keys come late counts under its own name.
            metrics.signed("new", &kid(100_000));
            metrics.signed("new", &kid(100_001));
            for number in 0..MOST_RINGS {
                metrics.signed(&format!("ring-{number}"), &kid(200_000 + number));
            }
            recorder.handle().render()
        });
        let of = |labels: &str| {
            let line = text.lines().find(|line| line.contains(labels));
            line.map(|line| line.rsplit_once(' ').unwrap().1.to_owned())
        };
        assert_eq!(of("ring=\"old\",kid=\"other\"").as_deref(), Some("500"));
        assert_eq!(of("ring=\"new\",kid=\"other\"").as_deref(), Some("2"));
        assert_eq!(of("ring=\"other\",kid=\"other\"").as_deref(), Some("2"));
        let series = text.lines().filter(|line| line.starts_with(SIGNATURES));
        assert_eq!(series.count(), MOST_SIGNING_KEYS + MOST_RINGS + 1);
    }
}
