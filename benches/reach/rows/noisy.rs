//! A signer beside strangers that ask for verdicts, and beside others that keep connections open.

use std::collections::BTreeMap;
use std::net::TcpStream;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::signer::{Signer, window};
use crate::arguments::Arguments;
use crate::http::{Client, request};
use crate::installation::{ES256, Installation};
use crate::load::{Answer, Caller, Load, Plan};
use crate::plot::{self, short};
use crate::report::{Figure, Reach, Section, table};
use crate::stats::median;

const STRANGERS: usize = 200;
const IDLE: usize = 600;

/// Asks for the verdict on one signature, without credentials.
struct Stranger {
    request: Vec<u8>,
}

impl Caller for Stranger {
    fn next(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request);
    }

    fn answered(&mut self, answer: &Answer<'_>) -> u64 {
        u64::from(answer.status == 200)
    }
}

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    installation.serve(&BTreeMap::new())?;
    let request = question(installation)?;
    let signing = Plan {
        address: installation.api,
        connections: 1,
        pace: None,
    };
    let asking = Plan {
        connections: STRANGERS,
        ..signing
    };
    let mut signer = Signer::new(installation, ES256, 1);
    let (mut alone, mut beside, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.repetitions() {
        let length = arguments.window();
        let (seen, back) = window(installation.service()?, signing, signer, length)?;
        alone.push(seen.rate);
        let idle = (0..IDLE).map(|_| TcpStream::connect(installation.api));
        let idle = idle.collect::<std::io::Result<Vec<_>>>()?;
        let strangers = Load::start(
            asking,
            Stranger {
                request: request.clone(),
            },
        );
        let (seen, back) = window(installation.service()?, signing, back, length)?;
        beside.push(seen.rate);
        verdicts.push(strangers.good() as f64);
        strangers.stop()?;
        drop(idle);
        signer = back;
    }
    let ratio: Vec<f64> = beside
        .iter()
        .zip(&alone)
        .map(|(beside, alone)| beside / alone)
        .collect();
    Ok(Section {
        title: "A signer beside strangers",
        text: vec![
            format!(
                "ES256, one connection that signs, alone and beside {STRANGERS} connections without credentials that \
                 ask `/v1/verify` without pause and {IDLE} that are open and silent. {} verdicts a repetition.",
                short(median(&verdicts))
            ),
            table(
                &["", "alone", "beside strangers"],
                &[vec![
                    "signatures/s".to_owned(),
                    short(median(&alone)),
                    short(median(&beside)),
                ]],
            ),
        ],
        figures: vec![Figure::new(
            "noisy-neighbour",
            "",
            Reach::AtLeast(0.8),
            &ratio,
        )],
        plots: vec![plot::dots(
            "noisy-neighbour",
            "Signatures per second",
            "1/s",
            &[("alone", &alone), ("beside strangers", &beside)],
        )],
    })
}

/// A request to verify what the service signs now.
fn question(installation: &Installation) -> Result<Vec<u8>> {
    let mut client = Client::connect(installation.api)?;
    let mut signer = Signer::new(installation, ES256, 1);
    let (status, body) = client.send(signer.bytes())?;
    let answer: Value = serde_json::from_slice(body)?;
    if status != 200 || !answer["jws"].is_string() {
        bail!("{status}: no signature");
    }
    let body = json!({"jws": answer["jws"]}).to_string();
    Ok(request("POST", "/v1/verify", None, &body))
}
