//! The same load on Chancery and on OpenBao's transit engine, in turn, by CPU per signature.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::json;

use super::signer::{BATCH, Signer, window};
use crate::arguments::Arguments;
use crate::http::{Client, request};
use crate::installation::{ES256, Installation};
use crate::load::{Answer, Caller, Plan};
use crate::openbao::{KEY, OpenBao, VARIABLE, program};
use crate::plot::{self, short};
use crate::report::{Figure, Reach, Section, table};
use crate::stats::median;

/// 96 bytes, as Chancery signs.
const INPUT: &str = "UEFZTE9BRDAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/QEFCQ0RFRkdISUpLTE1O";

/// Asks the transit engine for signatures.
struct Transit {
    request: Vec<u8>,
    items: u64,
}

impl Transit {
    fn new(openbao: &OpenBao, items: usize) -> Self {
        let body = match items {
            1 => json!({"input": INPUT, "marshaling_algorithm": "jws"}),
            _ => {
                json!({"batch_input": vec![json!({"input": INPUT}); items], "marshaling_algorithm": "jws"})
            }
        };
        let path = format!("/v1/transit/sign/{KEY}/sha2-256");
        Self {
            request: request("POST", &path, Some(&openbao.token), &body.to_string()),
            items: items as u64,
        }
    }

    /// Every item of an answer is signed: from then on the status says so.
    fn works(&self, openbao: &OpenBao) -> Result<()> {
        let mut client = Client::connect(openbao.address)?;
        let (status, body) = client.send(&self.request)?;
        let text = String::from_utf8_lossy(body);
        if status != 200 || !text.contains("vault:v1:") {
            bail!("OpenBao does not sign: {status} {text}");
        }
        Ok(())
    }
}

impl Caller for Transit {
    fn next(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request);
    }

    fn answered(&mut self, answer: &Answer<'_>) -> u64 {
        if answer.status == 200 { self.items } else { 0 }
    }
}

/// What is compared: the id of its figure, connections, items of a request.
const WIDTHS: [(&str, &str, usize, usize); 4] = [
    ("openbao-es256-c64-cpu", "64 connections", 64, 1),
    ("openbao-es256-c8-cpu", "8 connections", 8, 1),
    ("openbao-es256-c1-cpu", "1 connection", 1, 1),
    (
        "openbao-es256-batch-cpu",
        "batches of 100, 8 connections",
        8,
        BATCH,
    ),
];

pub fn measure(installation: &mut Installation, arguments: &Arguments) -> Result<Section> {
    let Some(program) = program() else {
        bail!("{VARIABLE} does not name the OpenBao binary");
    };
    installation.serve(&BTreeMap::new())?;
    let audited = OpenBao::start(&program, &installation.file("openbao"), true)?;
    let bare = OpenBao::start(&program, &installation.file("openbao-bare"), false)?;
    let (mut rows, mut figures, mut bars) = (Vec::new(), Vec::new(), Vec::new());
    for (id, name, connections, items) in WIDTHS {
        let mut signer = Signer::new(installation, ES256, items);
        let mut transit = [&audited, &bare].map(|openbao| Transit::new(openbao, items));
        for (transit, openbao) in transit.iter().zip([&audited, &bare]) {
            transit.works(openbao)?;
        }
        let plan = |address| Plan {
            address,
            connections,
            pace: None,
        };
        let (mut ours, mut theirs) = (Vec::new(), [Vec::new(), Vec::new()]);
        let (mut rate, mut their_rate) = (Vec::new(), [Vec::new(), Vec::new()]);
        for _ in 0..arguments.repetitions() {
            let service = installation.service()?;
            let here = plan(installation.api);
            let (seen, back) = window(service, here, signer, arguments.window())?;
            ours.push(seen.cpu_us);
            rate.push(seen.rate);
            signer = back;
            let mut used = Vec::new();
            for (at, (caller, openbao)) in transit.into_iter().zip([&audited, &bare]).enumerate() {
                let there = plan(openbao.address);
                let (seen, back) = window(openbao.id(), there, caller, arguments.window())?;
                theirs[at].push(seen.cpu_us);
                their_rate[at].push(seen.rate);
                used.push(back);
            }
            transit = used
                .try_into()
                .map_err(|_| anyhow::anyhow!("two callers went in"))?;
        }
        let ratio: Vec<f64> = ours
            .iter()
            .zip(&theirs[0])
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        let cell =
            |cpu: &[f64], rate: &[f64]| format!("{} ({})", short(median(cpu)), short(median(rate)));
        rows.push(vec![
            name.to_owned(),
            cell(&ours, &rate),
            cell(&theirs[0], &their_rate[0]),
            cell(&theirs[1], &their_rate[1]),
        ]);
        bars.push((format!("Chancery, {name}"), median(&ours)));
        bars.push((format!("OpenBao, {name}"), median(&theirs[0])));
        figures.push(Figure::new(id, "", Reach::None, &ratio));
    }
    Ok(Section {
        title: "Beside OpenBao",
        text: vec![
            format!(
                "P-256, 96 bytes, µs of CPU per signature (signatures per second), in turn. {}; transit engine, a token \
                 without the default policy. OpenBao signs with a key in its own memory and does not verify what it \
                 signed; Chancery signs on the token, verifies, and commits a leaf of its log. The figures are \
                 Chancery's CPU over OpenBao's with a file audit device.",
                audited.version
            ),
            table(
                &["", "Chancery", "OpenBao, file audit", "OpenBao, no audit"],
                &rows,
            ),
        ],
        figures,
        plots: vec![plot::bars(
            "openbao",
            "CPU per P-256 signature",
            "µs",
            &bars,
        )],
    })
}
