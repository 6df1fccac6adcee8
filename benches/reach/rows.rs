//! The rows of the table, in the order in which they are measured.

mod archive;
mod jwks;
mod latency;
mod log;
mod log_million;
mod log_proof;
mod log_ratio;
mod noisy;
mod openbao;
mod recovery;
mod rotation;
mod sign;
mod signer;
mod soak;
mod start;
mod verify;
mod years;

use anyhow::Result;

use super::arguments::Arguments;
use super::installation::Installation;
use super::report::Section;

pub struct Row {
    /// What `--only` names; the first id of a row of the report stands for all that come with it.
    pub ids: &'static [&'static str],
    /// Measured where it is named alone: it takes many minutes.
    pub named_only: bool,
    pub measure: fn(&mut Installation, &Arguments) -> Result<Section>,
}

pub const ROWS: &[Row] = &[
    Row {
        ids: &["start-s"],
        named_only: false,
        measure: start::measure,
    },
    Row {
        ids: &["sign-ps256-ucpu"],
        named_only: false,
        measure: sign::ps256,
    },
    Row {
        ids: &["sign-es256-ucpu"],
        named_only: false,
        measure: sign::es256,
    },
    Row {
        ids: &["sign-es256-c1-ucpu"],
        measure: sign::es256_alone,
        named_only: false,
    },
    Row {
        ids: &["sign-es256-batch-ucpu"],
        named_only: false,
        measure: sign::es256_batch,
    },
    Row {
        ids: &["profile"],
        named_only: false,
        measure: sign::profiled,
    },
    Row {
        ids: &["sign-latency-p50-ms", "sign-latency-p99-ms"],
        named_only: false,
        measure: latency::measure,
    },
    Row {
        ids: &["jwks-vs-nginx"],
        named_only: false,
        measure: jwks::measure,
    },
    Row {
        ids: &["verify-es256-batch-cpu"],
        named_only: false,
        measure: verify::measure,
    },
    Row {
        ids: &["noisy-neighbour"],
        named_only: false,
        measure: noisy::measure,
    },
    Row {
        ids: &[
            "openbao-es256-c64-cpu",
            "openbao-es256-c8-cpu",
            "openbao-es256-c1-cpu",
            "openbao-es256-batch-cpu",
        ],
        named_only: false,
        measure: openbao::measure,
    },
    Row {
        ids: &["rotation-failed", "rotation-rejected", "rotation-p99-ratio"],
        named_only: false,
        measure: rotation::measure,
    },
    Row {
        ids: &["hsm-recovery-ms", "hsm-lost"],
        named_only: false,
        measure: recovery::measure,
    },
    Row {
        ids: &["sign-es256-log-ratio"],
        named_only: false,
        measure: log_ratio::measure,
    },
    Row {
        ids: &["log-cpu-share", "log-integrate-per-s"],
        named_only: false,
        measure: log::share,
    },
    Row {
        ids: &["log-receipt-p99-s"],
        named_only: false,
        measure: log::receipts,
    },
    Row {
        ids: &["log-proof-ms"],
        named_only: false,
        measure: log_proof::measure,
    },
    Row {
        ids: &["log-1m-rss-mb", "log-1m-restart-s", "log-1m-sign-ratio"],
        named_only: false,
        measure: log_million::measure,
    },
    Row {
        ids: &[
            "archive-1m-lookup",
            "archive-1m-rss-mb",
            "archive-1m-start-s",
            "archive-10k-rss-mb",
            "archive-10k-start-s",
        ],
        named_only: false,
        measure: archive::measure,
    },
    Row {
        ids: &["soak-rss-growth-mb-per-h"],
        named_only: false,
        measure: soak::measure,
    },
    Row {
        ids: &[
            "tenth-year-sign-ratio",
            "tenth-year-verdict-ms",
            "tenth-year-start-s",
            "tenth-year-rss-mb",
            "cost-sqlite-growth",
        ],
        named_only: true,
        measure: years::sqlite,
    },
    Row {
        ids: &["cost-postgres-growth"],
        named_only: true,
        measure: years::postgres,
    },
];
