//! Verification over HTTP in batches, against the verification library alone.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::signer::{BATCH, Signer, window};
use crate::arguments::Arguments;
use crate::http::{Client, request};
use crate::installation::{ES256, Installation};
use crate::load::{Answer, Caller, Plan};
use crate::plot::{self, short};
use crate::raw::{Stretch, verify};
use crate::report::{Figure, Reach, Section, table};
use crate::stats::median;

/// Requests of [`BATCH`] signatures each, all different.
const REQUESTS: usize = 20;
const CONNECTIONS: usize = 4;

struct Verifier {
    requests: Vec<Vec<u8>>,
    next: usize,
}

impl Caller for Verifier {
    fn next(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.requests[self.next % self.requests.len()]);
        self.next += 1;
    }

    fn answered(&mut self, answer: &Answer<'_>) -> u64 {
        let text = std::str::from_utf8(answer.body).unwrap_or_default();
        text.matches("\"verdict\":\"VALID\"").count() as u64
    }
}

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    installation.serve(&BTreeMap::new())?;
    let requests = signatures(installation)?;
    let mut crew = verify::crew()?;
    let plan = Plan {
        address: installation.api,
        connections: CONNECTIONS,
        pace: None,
    };
    let (mut raw, mut cpu, mut rate) = (Vec::new(), Vec::new(), Vec::new());
    let mut verifier = Verifier { requests, next: 0 };
    let mut bad = 0;
    for _ in 0..arguments.repetitions() {
        raw.push(Stretch::cpu_us(&crew.run(arguments.window())?));
        let (seen, back) = window(installation.service()?, plan, verifier, arguments.window())?;
        verifier = back;
        cpu.push(seen.cpu_us);
        rate.push(seen.rate);
        bad += seen.bad;
    }
    let ratio: Vec<f64> = cpu
        .iter()
        .zip(&raw)
        .map(|(service, raw)| service / raw)
        .collect();
    Ok(Section {
        title: "Verification in batches",
        text: vec![
            format!(
                "{} different ES256 signatures of the service in batches of {BATCH}, {CONNECTIONS} connections. \
                 Included: parsing, the key's state, the look-up of each signature in the audit trail, the verdict. \
                 {bad} requests had no good verdict.",
                REQUESTS * BATCH
            ),
            table(
                &["", "aws-lc-rs alone", "service"],
                &[vec![
                    "µs of CPU per verification".to_owned(),
                    short(median(&raw)),
                    short(median(&cpu)),
                ]],
            ),
            format!("{} verifications/s.", short(median(&rate))),
        ],
        figures: vec![Figure::new(
            "verify-es256-batch-cpu",
            "",
            Reach::AtMost(1.5),
            &ratio,
        )],
        plots: vec![plot::dots(
            "verify-es256-batch-cpu",
            "µs of CPU per verification",
            "µs",
            &[("aws-lc-rs alone", &raw), ("service", &cpu)],
        )],
    })
}

/// Requests to verify what the service signs now.
fn signatures(installation: &Installation) -> Result<Vec<Vec<u8>>> {
    let mut client = Client::connect(installation.api)?;
    let mut signer = Signer::new(installation, ES256, BATCH);
    let mut requests = Vec::new();
    for _ in 0..REQUESTS {
        let (status, body) = client.send(signer.bytes())?;
        let answer: Value = serde_json::from_slice(body)?;
        let items: Vec<Value> = answer["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|item| item["jws"].is_string())
            .map(|item| json!({"jws": item["jws"]}))
            .collect();
        if status != 200 || items.len() != BATCH {
            bail!("{status}: {} signatures of {BATCH}", items.len());
        }
        let body = json!({"items": items}).to_string();
        requests.push(request("POST", "/v1/verify-batch", None, &body));
    }
    Ok(requests)
}
