//! Rotation under load: does anybody notice?

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use crate::arguments::Arguments;
use crate::http::request;
use crate::installation::{ES256, Installation, PUBLISH_SAFETY};
use crate::load::{Answer, Caller, Load, Plan};
use crate::plot::{self, short};
use crate::report::{Figure, Reach, Section, table};
use crate::stats::{median, percentile};
use testkit::http::send;

const CONNECTIONS: usize = 8;
/// 8 connections of 80 requests a second: below what the machine can do, so that the times are the service's own.
const PACE: Duration = Duration::from_micros(12_500);
/// What counts as before the switch, and as during it.
const SPAN: Duration = Duration::from_secs(3);

struct Seen {
    done: Instant,
    ms: f64,
    kid_changed: bool,
}

/// Signs, keeps the times, and hands every signature to a verifier.
struct Rotated {
    request: Vec<u8>,
    seen: Vec<Seen>,
    failed: Vec<u16>,
    kid: String,
    signatures: mpsc::Sender<String>,
}

impl Caller for Rotated {
    fn next(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request);
    }

    fn answered(&mut self, answer: &Answer<'_>) -> u64 {
        let value: Value = serde_json::from_slice(answer.body).unwrap_or_default();
        let (Some(jws), Some(kid)) = (value["jws"].as_str(), value["kid"].as_str()) else {
            self.failed.push(answer.status);
            return 0;
        };
        // A verifier that has ended has said why; the load goes on.
        let _ = self.signatures.send(jws.to_owned());
        self.seen.push(Seen {
            done: answer.done,
            ms: (answer.done - answer.sent).as_secs_f64() * 1e3,
            kid_changed: kid != self.kid,
        });
        kid.clone_into(&mut self.kid);
        1
    }
}

/// The strictest caching verifier there is: it fetches when max-age has passed and never for a key it does not know.
struct Verifier {
    installation: String,
    set: JwkSet,
    until: Instant,
    max_age: Duration,
    accepted: usize,
    rejected: Vec<String>,
}

impl Verifier {
    fn fetch(&mut self) -> Result<()> {
        let answer = send(
            &self.installation,
            "GET",
            "/.well-known/jwks.json",
            &[],
            b"",
        )?;
        self.set = serde_json::from_slice(&answer.body)?;
        self.until = Instant::now() + self.max_age;
        Ok(())
    }

    fn take(&mut self, jws: &str) -> Result<()> {
        if Instant::now() >= self.until {
            self.fetch()?;
        }
        match self.verify(jws) {
            Ok(()) => self.accepted += 1,
            Err(error) => self.rejected.push(format!("{error:#}")),
        }
        Ok(())
    }

    fn verify(&self, jws: &str) -> Result<()> {
        let kid = jsonwebtoken::decode_header(jws)?.kid.context("no kid")?;
        let jwk = self
            .set
            .find(&kid)
            .context("a key that is not in the cached set")?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        jsonwebtoken::decode::<Value>(jws, &DecodingKey::from_jwk(jwk)?, &validation)?;
        Ok(())
    }
}

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    installation.serve(&BTreeMap::new())?;
    let (mut failed, mut rejected, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut before, mut during) = (Vec::new(), Vec::new());
    let mut rows = Vec::new();
    let mut why = Vec::new();
    for _ in 0..arguments.repetitions() {
        let one = rotate(installation)?;
        rows.push(vec![
            one.requests.to_string(),
            one.failed.len().to_string(),
            one.accepted.to_string(),
            one.rejected.len().to_string(),
            short(one.before),
            short(one.during),
            one.switches.to_string(),
        ]);
        failed.push(one.failed.len() as f64);
        rejected.push(one.rejected.len() as f64);
        ratios.push(one.during / one.before);
        before.push(one.before);
        during.push(one.during);
        why.extend(
            one.failed
                .first()
                .map(|status| format!("A request failed with {status}.")),
        );
        why.extend(
            one.rejected
                .first()
                .map(|reason| format!("A signature was rejected: {reason}.")),
        );
    }
    let mut text = vec![
        format!(
            "Each time a key is made by ceremony, published, and made primary by `chancery ring rotate` while \
             {CONNECTIONS} connections sign {:.0} times a second. A verifier (jsonwebtoken) keeps the JWKS for its \
             max-age and never asks for a key that it does not know. p99 over the {} s before the switch and the {} s \
             from it on.",
            CONNECTIONS as f64 / PACE.as_secs_f64(),
            SPAN.as_secs(),
            SPAN.as_secs(),
        ),
        table(
            &[
                "requests",
                "failed",
                "accepted",
                "rejected",
                "p99 before, ms",
                "p99 during, ms",
                "changes of kid seen",
            ],
            &rows,
        ),
    ];
    text.extend(why);
    text.push(format!(
        "p99 {} ms before and {} ms during.",
        short(median(&before)),
        short(median(&during))
    ));
    Ok(Section {
        title: "Rotation under load",
        text,
        figures: vec![
            Figure::total("rotation-failed", "", Reach::AtMost(0.0), &failed),
            Figure::total("rotation-rejected", "", Reach::AtMost(0.0), &rejected),
            Figure::new("rotation-p99-ratio", "", Reach::AtMost(2.0), &ratios),
        ],
        plots: vec![plot::dots(
            "rotation-p99",
            "p99 of signing",
            "ms",
            &[("before", &before), ("during", &during)],
        )],
    })
}

struct One {
    requests: usize,
    failed: Vec<u16>,
    accepted: usize,
    rejected: Vec<String>,
    before: f64,
    during: f64,
    switches: usize,
}

fn rotate(installation: &Installation) -> Result<One> {
    // `{"bench":"rotation"}`: jsonwebtoken wants claims.
    let body = r#"{"format":"jws","payload":"eyJiZW5jaCI6InJvdGF0aW9uIn0"}"#;
    let path = format!("/v1/rings/{ES256}/sign");
    let (signatures, arriving) = mpsc::channel();
    let caller = Rotated {
        request: request("POST", &path, Some(&installation.access_token), body),
        seen: Vec::new(),
        failed: Vec::new(),
        kid: String::new(),
        signatures,
    };
    let mut verifier = Verifier {
        installation: installation.api.to_string(),
        set: JwkSet { keys: Vec::new() },
        until: Instant::now(),
        max_age: PUBLISH_SAFETY / 4,
        accepted: 0,
        rejected: Vec::new(),
    };
    let verifying = thread::spawn(move || -> Result<Verifier> {
        for jws in arriving {
            verifier.take(&jws)?;
        }
        Ok(verifier)
    });
    let plan = Plan {
        address: installation.api,
        connections: CONNECTIONS,
        pace: Some(PACE),
    };
    let load = Load::start(plan, caller);
    installation.ceremony(ES256)?;
    sleep(PUBLISH_SAFETY + Duration::from_millis(100) + SPAN.saturating_sub(PUBLISH_SAFETY));
    let switch = Instant::now();
    installation.rotate_when_safe(ES256)?;
    sleep((switch + SPAN).saturating_duration_since(Instant::now()));
    let end = Instant::now();
    let caller = load.stop()?;
    let part = |from: Instant, to: Instant| {
        let within = caller
            .seen
            .iter()
            .filter(|seen| seen.done >= from && seen.done < to);
        percentile(&mut within.map(|seen| seen.ms).collect::<Vec<_>>(), 99.0)
    };
    let (before, during) = (part(switch - SPAN, switch), part(switch, end));
    // The first answer is a change from nothing.
    let switches = caller
        .seen
        .iter()
        .filter(|seen| seen.kid_changed)
        .count()
        .saturating_sub(1);
    let requests = caller.seen.len() + caller.failed.len();
    let failed = caller.failed.clone();
    drop(caller);
    let verifier = verifying
        .join()
        .map_err(|_| anyhow!("the verifier panicked"))??;
    Ok(One {
        requests,
        failed,
        accepted: verifier.accepted,
        rejected: verifier.rejected,
        before,
        during,
        switches,
    })
}
