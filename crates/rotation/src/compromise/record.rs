//! What the leaves of a report and of its decision commit to (docs/LOG.md): canonical JSON (RFC 8785) of everything that was said,
//! with the version of that form.

use serde_json::json;
use store::{CompromiseDecision, CompromiseRow};
use trust::Sha256Digest;
use trust::json::{JsonError, canonical};

const REPORT: &str = "chancery/compromise-report.v1";
const DECISION: &str = "chancery/compromise-decision.v1";

/// Of a report.
pub(super) fn report(row: &CompromiseRow) -> Result<Sha256Digest, JsonError> {
    let said = json!({
        "asset": row.asset.as_str(),
        "compromised_since": row.compromised_since,
        "evidence": row.evidence,
        "id": row.id,
        "key_type": row.key_type,
        "kid": row.kid,
        "principal": row.principal,
        "reason": row.reason,
        "received_at": row.received_at,
        "report": row.report,
        "source": row.source,
        "v": REPORT,
    });
    Ok(Sha256Digest::of(&canonical(&said)?))
}

/// Of what was decided of it.
pub(super) fn decision(
    row: &CompromiseRow,
    decision: &CompromiseDecision,
) -> Result<Sha256Digest, JsonError> {
    let said = json!({
        "at": decision.at,
        "by": decision.by,
        "declared": decision.is_declared,
        "id": row.id,
        "reason": decision.reason,
        "rotation": decision.rotation,
        "v": DECISION,
    });
    Ok(Sha256Digest::of(&canonical(&said)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> trust::Time {
        text.parse().unwrap()
    }

    /// The form is in leaves: it never changes.
    #[test]
    fn the_digests_are_those_of_the_documented_form() {
        let row = CompromiseRow {
            id: format!("cr_{}", "0".repeat(32)),
            principal: "scanner".to_owned(),
            report: "finding-7".to_owned(),
            asset: "external/partner".parse().unwrap(),
            key_type: "api_key".to_owned(),
            kid: None,
            source: "secret scanner".to_owned(),
            reason: "it is \"public\"".to_owned(),
            evidence: Some("line 1\nline 2".to_owned()),
            compromised_since: None,
            received_at: at("2026-11-30T09:00:00.000Z"),
            decision: None,
        };
        let text = r#"{"asset":"external/partner","compromised_since":null,"evidence":"line 1\nline 2","id":"cr_00000000000000000000000000000000","key_type":"api_key","kid":null,"principal":"scanner","reason":"it is \"public\"","received_at":"2026-11-30T09:00:00.000Z","report":"finding-7","source":"secret scanner","v":"chancery/compromise-report.v1"}"#;
        assert_eq!(report(&row), Ok(Sha256Digest::of(text.as_bytes())));
        let declared = CompromiseDecision {
            at: at("2026-11-30T10:00:00.000Z"),
            by: "olga".to_owned(),
            reason: "it is real".to_owned(),
            is_declared: true,
            rotation: Some("kr_1".to_owned()),
        };
        let text = r#"{"at":"2026-11-30T10:00:00.000Z","by":"olga","declared":true,"id":"cr_00000000000000000000000000000000","reason":"it is real","rotation":"kr_1","v":"chancery/compromise-decision.v1"}"#;
        let digest = decision(&row, &declared);
        assert_eq!(digest, Ok(Sha256Digest::of(text.as_bytes())));
    }
}
