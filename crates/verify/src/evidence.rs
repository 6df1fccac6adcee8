//! Evidence files, checked without a network (`docs/LOG.md`, "Verify").

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::evidence::{EvidenceError, EvidenceReport};
use trust::order_log::UseProof;
use trust::tlog::policy::WitnessPolicy;
use trust::verdict::Outcome;

use crate::output::{Code, Failure, Output, table};
use crate::transcript::{USE_NOT_SHOWN, said_of_use};

/// Whether a file says that it is evidence. What else it says is looked at in the check.
pub fn is_evidence(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes).is_ok_and(|value| value["type"] == "chancery-evidence")
}

/// The check, without a network. With `order_use` a key under a standing order whose use the file does not show is refused.
pub fn check(
    bytes: &[u8],
    genesis: Sha256Digest,
    policy: Option<&Path>,
    order_use: bool,
    output: &Output,
) -> Result<(), Failure> {
    let policy = policy.map(read_policy).transpose()?;
    let verified = trust::evidence::verify(bytes, genesis, policy.as_ref());
    let verified = verified.and_then(|finding| match finding.order_use {
        Some(UseProof::NotShown) if order_use => Err(EvidenceError {
            word: "order",
            why: USE_NOT_SHOWN.to_owned(),
        }),
        _ => Ok(finding),
    });
    match verified {
        Ok(finding) => {
            output.result(&shown(&finding), || human(&finding));
            match finding.verdict.outcome {
                Outcome::Valid | Outcome::ValidRetiredKey => Ok(()),
                _ => Err(Failure::told(Code::NotValid, "the signature is not valid")),
            }
        }
        Err(EvidenceError { word, why }) => {
            output.result(&json!({"refused": word, "why": why}), String::new);
            let text = format!("the evidence does not verify ({word}): {why}");
            Err(Failure::told(Code::NotValid, text))
        }
    }
}

pub fn read_policy(path: &Path) -> Result<WitnessPolicy, Failure> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    WitnessPolicy::parse(&text).map_err(|error| {
        Failure::usage(format!(
            "{}: {}",
            path.display(),
            trust::error_chain(&error)
        ))
    })
}

fn shown(finding: &EvidenceReport) -> Value {
    json!({
        "verdict": finding.verdict.outcome,
        "reasons": finding.verdict.reasons,
        "kid": finding.kid,
        "ring": finding.ring,
        "usage": finding.usage,
        "log_index": finding.index,
        "existed_at": finding.verdict.existed_at,
        "witnessed": finding.witnessed,
        "subject": finding.subject,
        "order_use": finding.order_use,
    })
}

fn human(finding: &EvidenceReport) -> String {
    let value = shown(finding);
    let text = |member: &str| value[member].as_str().unwrap_or("-").to_owned();
    let reasons = value["reasons"].as_array().into_iter().flatten();
    let reasons: Vec<_> = reasons.filter_map(Value::as_str).collect();
    let clock = match finding.witnessed {
        true => "by the witnesses' clocks",
        false => "by the log's own clock",
    };
    let order_use = finding.order_use.map(said_of_use);
    let rows = [
        ["verdict", &text("verdict")],
        ["reasons", &reasons.join(", ")],
        ["key", &text("kid")],
        ["ring", &text("ring")],
        [
            "log",
            &format!("leaf {} of {}", finding.index, finding.origin),
        ],
        ["existed at", &format!("{}, {clock}", text("existed_at"))],
        [
            "signature",
            match finding.subject {
                true => "in the file and verified",
                false => "not in the file; identified by its hash only",
            },
        ],
    ]
    .map(|row| row.map(str::to_owned));
    let of_order = order_use.map(|said| ["standing order", said].map(str::to_owned));
    table(&["", ""], rows.into_iter().chain(of_order))
}
