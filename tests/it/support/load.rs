//! Callers that sign without pause, and what each of them was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::send;
use super::installation::{Service, base64url};
use super::process::until;

/// What became of one request.
#[derive(Debug)]
pub enum Told {
    /// The whole answer: this signature was acknowledged.
    Signed(Value),
    /// A problem document: status, code, and whether it said when to come back.
    Refused(u16, String, bool),
    /// No answer, or not the whole of one.
    Nothing,
}

#[derive(Debug)]
pub struct Asked {
    pub ended: Instant,
    pub told: Told,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    signed: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Vec<Asked>>>,
}

impl Load {
    /// This many callers, each with a request under way all the time.
    pub fn start(service: &Service, ring: &str, access_token: &str, callers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let signed = Arc::new(AtomicUsize::new(0));
        let callers = (0..callers)
            .map(|caller| {
                let (stop, signed) = (stop.clone(), signed.clone());
                let api = service.api.clone();
                let path = format!("/v1/rings/{ring}/sign");
                let bearer = format!("Bearer {access_token}");
                spawn(move || {
                    let mut all = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let payload = format!("caller {caller}, record {}", all.len());
                        let asked = ask(&api, &path, &bearer, payload.as_bytes());
                        match asked.told {
                            Told::Signed(_) => drop(signed.fetch_add(1, Ordering::Relaxed)),
                            Told::Refused(..) => {}
                            // Nobody is there: no reason to spin.
                            Told::Nothing => sleep(Duration::from_millis(5)),
                        }
                        all.push(asked);
                    }
                    all
                })
            })
            .collect();
        Self {
            stop,
            signed,
            callers,
        }
    }

    /// Waits until so many more signatures were acknowledged from now on.
    pub fn goes_on(&self, more: usize) {
        let signed = || self.signed.load(Ordering::Relaxed);
        let enough = signed() + more;
        until("the load is served", || signed() >= enough);
    }

    /// In the order of their answers.
    pub fn stop(self) -> Vec<Asked> {
        self.stop.store(true, Ordering::Relaxed);
        let told = self
            .callers
            .into_iter()
            .flat_map(|caller| caller.join().expect("a caller"));
        let mut all: Vec<Asked> = told.collect();
        all.sort_by_key(|asked| asked.ended);
        all
    }
}

fn ask(api: &str, path: &str, bearer: &str, payload: &[u8]) -> Asked {
    let body = json!({"format": "jws", "payload": base64url(payload)}).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer),
    ];
    let told = match send(api, "POST", path, &headers, body.as_bytes()) {
        Err(_) => Told::Nothing,
        Ok(answer) if answer.status == 200 => Told::Signed(answer.json()),
        Ok(answer) => {
            let code = answer.json()["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            Told::Refused(answer.status, code, answer.header("retry-after").is_some())
        }
    };
    Asked {
        ended: Instant::now(),
        told,
    }
}

/// The acknowledged signatures.
pub fn signed(all: &[Asked]) -> Vec<&Value> {
    let only = |asked: &'_ Asked| matches!(asked.told, Told::Signed(_));
    let found = all.iter().filter(|asked| only(asked));
    found
        .map(|asked| match &asked.told {
            Told::Signed(answer) => answer,
            _ => unreachable!("filtered"),
        })
        .collect()
}

/// Every refusal that is not one of these codes of a 503 with its time to come back.
pub fn unexpected<'a>(all: &'a [Asked], codes: &[&str]) -> Vec<&'a Asked> {
    let fine = |asked: &Asked| match &asked.told {
        Told::Refused(status, code, when) => {
            *status == 503 && *when && codes.contains(&code.as_str())
        }
        Told::Signed(_) | Told::Nothing => true,
    };
    all.iter().filter(|asked| !fine(asked)).collect()
}

/// How often which code was told.
pub fn tally(all: &[Asked]) -> std::collections::BTreeMap<String, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for asked in all {
        let what = match &asked.told {
            Told::Signed(_) => "signed".to_owned(),
            Told::Refused(status, code, _) => format!("{status} {code}"),
            Told::Nothing => "nothing".to_owned(),
        };
        *counts.entry(what).or_default() += 1;
    }
    counts
}

/// Every acknowledged signature stands in the trail under its index, as what it is; indexes are contiguous; no leaf is
/// anybody's twice.
pub fn all_in_trail(answers: &[&Value], leaves: &[Value]) {
    for (index, leaf) in leaves.iter().enumerate() {
        assert_eq!(leaf["index"], index, "a gap");
    }
    let mut indexes = std::collections::BTreeSet::new();
    for answer in answers {
        let index =
            usize::try_from(answer["log_index"].as_u64().expect("an index")).expect("small");
        assert!(
            indexes.insert(index),
            "two signatures with the index {index}"
        );
        let leaf = leaves
            .get(index)
            .unwrap_or_else(|| panic!("acknowledged, not in the trail: {answer}"));
        let jws = answer["jws"].as_str().expect("a JWS");
        let hash = sig_hash(jws);
        assert_eq!(
            (
                &leaf["kind"],
                &leaf["kid"],
                leaf["leaf"]["sig_hash"].as_str()
            ),
            (&json!("sign"), &answer["kid"], Some(hash.as_str())),
            "{leaf}"
        );
    }
}

/// The hash by which the log knows the signature of an ES256 JWS: of its canonical form, which a twin has too.
pub fn sig_hash(jws: &str) -> String {
    let signature = trust::base64url::decode(jws.rsplit_once('.').expect("a JWS").1);
    let signature = signature.expect("base64url");
    let canonical = trust::signature::canonical(trust::KeySpec::P256, &signature);
    trust::Sha256Digest::of(&canonical).to_string()
}
