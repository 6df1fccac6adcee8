//! Each rule, by what breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::super::facts::{Adherence, UsedAfter};
use super::*;

const NOW: &str = "2026-11-30T10:00:00.000Z";

fn facts() -> Facts {
    let policy = json!({"document": {"key_type": "signing", "interval": "90d", "approval": "standing-order"}});
    let asset = json!({
        "asset": "signing/records", "kind": "signing", "key_type": "signing", "owner": "security", "state": "active",
        "rotated_at": "2026-11-01T00:00:00.000Z", "expires_at": null, "due_at": "2027-01-30T00:00:00.000Z", "overdue": false,
    });
    let key = json!({"kid": "k", "ring": "records", "algorithm": "ES256", "key_spec": "P-256", "state": "active", "ended_at": null});
    let adherence = json!({
        "ended": 2, "on_time_per_mille": 1000, "automatic_per_mille": 1000,
        "audited": {"age_seconds": 60, "rotations": 2, "not_told": [], "not_told_in_all": 0}, "waiting": {},
    });
    Facts {
        now: NOW.parse().unwrap(),
        environment: "staging".to_owned(),
        paused: None,
        failed_jobs: Vec::new(),
        adherence: read(adherence.clone()),
        report: adherence,
        policies: BTreeMap::from([("signing".to_owned(), read(policy))]),
        assets: vec![read(asset)],
        unreadable: Vec::new(),
        keys: vec![read(key)],
        refused: Vec::new(),
        used_after: Vec::new(),
        not_asked: 0,
        alerts: Vec::new(),
        ordered: BTreeSet::from(["records".to_owned()]),
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// The rules that find something, with how grave.
fn rules(facts: &Facts) -> Vec<(&'static str, Severity)> {
    let found = findings(facts);
    found.iter().map(|one| (one.rule, one.severity)).collect()
}

#[test]
fn what_is_in_order_has_no_finding() {
    assert_eq!(findings(&facts()), []);
}

#[test]
fn each_thing_that_is_wrong_is_found_and_graded() {
    use Severity::{Error, Note, Warning};
    let deviation = |until: &str| {
        json!([{"framework": "pci-dss", "paragraph": "3.7.4",
            "deviation": {"reason": "r", "decided_by": "ciso", "until": until}}])
    };
    type Change = Box<dyn Fn(&mut Facts)>;
    let cases: Vec<(&str, Severity, Change)> = vec![
        ("overdue", Error, Box::new(|f| f.assets[0].overdue = true)),
        ("no-policy", Error, Box::new(|f| f.policies.clear())),
        ("no-date", Warning, Box::new(|f| f.assets[0].due_at = None)),
        ("no-owner", Warning, Box::new(|f| f.assets[0].owner = None)),
        (
            "revoked",
            Error,
            Box::new(|f| f.assets[0].state = "revoked".to_owned()),
        ),
        ("no-order", Warning, Box::new(|f| f.ordered.clear())),
        (
            "expired",
            Error,
            Box::new(|f| f.assets[0].expires_at = Some(f.now)),
        ),
        (
            "algorithm",
            Warning,
            Box::new(|f| f.keys[0].key_spec = "RSA-2048".to_owned()),
        ),
        (
            "algorithm",
            Warning,
            Box::new(|f| f.keys[0].key_spec = "new".to_owned()),
        ),
        (
            "paused",
            Warning,
            Box::new(|f| f.paused = Some("since".to_owned())),
        ),
        (
            "job-failed",
            Warning,
            Box::new(|f| f.failed_jobs.push("j".to_owned())),
        ),
        (
            "row-unreadable",
            Error,
            Box::new(|f| f.unreadable.push("r".to_owned())),
        ),
        (
            "adherence",
            Warning,
            Box::new(|f| f.adherence.on_time_per_mille = Some(990)),
        ),
        (
            "adherence",
            Error,
            Box::new(|f| {
                f.adherence.on_time_per_mille = Some(900);
                f.adherence.ended = 20;
            }),
        ),
        (
            "adherence",
            Warning,
            Box::new(|f| {
                f.adherence.on_time_per_mille = Some(800);
                f.adherence.ended = 5;
            }),
        ),
        (
            "automatic",
            Warning,
            Box::new(|f| f.adherence.automatic_per_mille = Some(700)),
        ),
        ("audited", Error, Box::new(|f| f.adherence.audited = None)),
        (
            "audited",
            Error,
            Box::new(|f| f.adherence.audited.as_mut().unwrap().age_seconds = 7_201),
        ),
        (
            "audited",
            Error,
            Box::new(|f| {
                let adherence: Adherence = read(
                    json!({"ended": 1, "on_time_per_mille": null, "automatic_per_mille": null,
                "audited": {"age_seconds": 60, "rotations": 1, "not_told": ["kr_1"], "not_told_in_all": 1}}),
                );
                f.adherence = adherence;
            }),
        ),
        (
            "used-after-end",
            Error,
            Box::new(|f| {
                f.used_after.push(UsedAfter {
                    kid: "k".to_owned(),
                    ring: "records".to_owned(),
                    ended_at: f.now,
                    signatures: 1,
                    last_hour: f.now,
                })
            }),
        ),
        (
            "policy-lapsed",
            Error,
            Box::new(|f| {
                let policy = f.policies.get_mut("signing").unwrap();
                policy.lapsed.push("a deviation ended".to_owned());
            }),
        ),
        (
            "deviation",
            Note,
            Box::new(move |f| {
                let exceptions = read(deviation("2027-06-01T00:00:00.000Z"));
                f.policies.get_mut("signing").unwrap().exceptions = exceptions;
            }),
        ),
        (
            "deviation",
            Warning,
            Box::new(move |f| {
                let exceptions = read(deviation("2026-12-10T00:00:00.000Z"));
                f.policies.get_mut("signing").unwrap().exceptions = exceptions;
            }),
        ),
        (
            "alert",
            Error,
            Box::new(|f| {
                f.alerts.push(read(json!({
            "name": "rotation-failed", "subject": "kr_1", "severity": "critical", "state": "firing", "detail": "d", "next": "n",
        })))
            }),
        ),
    ];
    for (rule, severity, change) in cases {
        let mut changed = facts();
        change(&mut changed);
        assert_eq!(rules(&changed), [(rule, severity)], "{rule}");
    }
}

/// An expiry that is near, and a key that ended long ago: no rule here looks at them.
#[test]
fn a_critical_alert_is_left_out_only_where_the_same_is_found() {
    for (name, rule) in TOLD_HERE {
        let mut changed = facts();
        changed.alerts.push(read(json!({
            "name": name, "subject": "signing/records", "severity": "critical", "state": "firing", "detail": "d", "next": "n",
        })));
        changed.assets[0].owner = None;
        let found = rules(&changed);
        assert!(found.contains(&("alert", Severity::Error)), "{name}");
        match rule {
            "overdue" => changed.assets[0].overdue = true,
            "expired" => changed.assets[0].expires_at = Some(changed.now),
            _ => changed.used_after.push(UsedAfter {
                kid: "signing/records".to_owned(),
                ring: "records".to_owned(),
                ended_at: changed.now,
                signatures: 1,
                last_hour: changed.now,
            }),
        }
        let found = rules(&changed);
        assert!(found.iter().any(|one| one.0 == rule), "{name}: {found:?}");
        assert!(
            found.iter().all(|one| one.0 != "alert"),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn what_is_out_of_use_and_what_has_ended_is_not_held_against_anything() {
    let mut retired = facts();
    retired.assets[0].state = "retired".to_owned();
    retired.assets[0].overdue = true;
    retired.keys[0].state = "retired".to_owned();
    retired.keys[0].key_spec = "RSA-2048".to_owned();
    assert_eq!(findings(&retired), []);
}

#[test]
fn every_runbook_that_is_named_is_there_and_every_strength_is_known() {
    let source = include_str!("../rules.rs");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = source.split("deploy/runbooks/").skip(1);
    let named: Vec<&str> = named.filter_map(|rest| rest.split('"').next()).collect();
    let pages: Vec<&&str> = named.iter().filter(|name| name.ends_with(".md")).collect();
    assert!(pages.len() > 8, "{pages:?}");
    for page in pages {
        assert!(root.join("deploy/runbooks").join(page).exists(), "{page}");
    }
    for spec in trust::KeySpec::ALL {
        let name = spec.to_string();
        assert!(STRENGTHS.iter().any(|(known, _)| *known == name), "{name}");
    }
}
