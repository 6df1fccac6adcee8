//! Reports of compromise over HTTP: who may report what, and who decides.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::testing::{self, Fixture};

const REPORTS: &str = "/v1/emergency/reports";

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    for role in ["administrator", "on-call", "auditor", "operator"] {
        fixture.grant_token(role, &[role]).await;
    }
    fixture
        .grant_token("scanner", &["reporter:signing/*"])
        .await;
    fixture
        .grant_token("vendor", &["reporter:external/shop"])
        .await;
    fixture
}

async fn post(fixture: &Fixture, token: &str, path: &str, body: Value) -> testing::Answered {
    let mut request = testing::post(path, body.to_string());
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    fixture.send(request).await
}

fn body(name: &str, kid: &str) -> Value {
    json!({"report": name, "kid": kid, "source": "secret scanner", "reason": "it is public",
        "evidence": "line 1\r\nBcc: eve@evil.example"})
}

#[tokio::test]
async fn a_scanner_reports_a_key_once_and_those_on_call_decide() {
    let fixture = fixture().await;
    let kid = fixture.kid();
    let filed = post(&fixture, "scanner", REPORTS, body("f-1", &kid)).await;
    assert_eq!(filed.status, StatusCode::OK, "{}", filed.json());
    let filed = filed.json();
    assert_eq!(
        (&filed["state"], &filed["repeated"]),
        (&json!("open"), &json!(false))
    );
    let again = post(&fixture, "scanner", REPORTS, body("f-1", &kid))
        .await
        .json();
    assert_eq!(
        (&again["repeated"], &again["report"]),
        (&json!(true), &filed["report"])
    );
    let mut other = body("f-1", &kid);
    other["reason"] = json!("something else");
    let taken = post(&fixture, "scanner", REPORTS, other).await;
    assert_eq!(
        (taken.status, taken.code().as_str()),
        (StatusCode::CONFLICT, "report_state")
    );
    let scheduler = &fixture.state.services.rotation;
    scheduler.look_at_alerts().await.unwrap();
    let path = format!("/v1/alerts/{}", filed["alert"].as_str().unwrap());
    let alert = fixture.get_as("on-call", &path).await.json();
    assert_eq!(
        (&alert["name"], &alert["severity"], &alert["subject"]),
        (
            &json!("compromise-reported"),
            &json!("critical"),
            &filed["report"]
        )
    );
    assert_eq!(alert["escalation"]["level"], "operations");
    assert_eq!(alert["escalation"]["next"]["level"], "security");
    let listed = fixture.get_as("auditor", REPORTS).await.json();
    let report = &listed["reports"][0];
    assert_eq!(
        (&report["by"], &report["kid"]),
        (&json!("scanner"), &json!(kid))
    );
    assert_eq!(report["draft"]["operation"], "emergency-rotation");
    assert_eq!(report["draft"]["ring"], "records");
    let id = filed["report"].as_str().unwrap();
    let dismiss = format!("{REPORTS}/{id}/dismiss");
    let why = json!({"reason": "a test key"});
    for who in ["scanner", "operator", "auditor"] {
        let refused = post(&fixture, who, &dismiss, why.clone()).await;
        assert_eq!(refused.code(), "forbidden", "{who}");
    }
    let done = post(&fixture, "on-call", &dismiss, why.clone())
        .await
        .json();
    assert_eq!(
        (&done["state"], &done["decision"]["by"]),
        (&json!("dismissed"), &json!("on-call"))
    );
    let declare = format!("{REPORTS}/{id}/declare");
    let late = post(&fixture, "administrator", &declare, why).await;
    assert_eq!(late.code(), "report_state");
    let leaves = fixture.leaves("alert").await;
    let actions: Vec<&Value> = leaves.iter().map(|leaf| &leaf["action"]).collect();
    assert_eq!(actions, ["report-compromise", "dismiss-compromise"]);
    for leaf in leaves {
        assert_eq!((&leaf["kid"], &leaf["ref"]), (&json!(kid), &json!(id)));
        assert_eq!(leaf["digest"].as_str().map(str::len), Some(64), "{leaf}");
    }
}

#[tokio::test]
async fn threat_the_draft_of_a_reported_standby_makes_it_the_primary() {
    let fixture = fixture().await;
    fixture.standby("records").await;
    let primary = fixture.kid();
    let standby = {
        let snapshot = fixture.state.services.keys.current();
        let mut keys = snapshot.rings["records"].keys.iter();
        let found = keys.find(|key| key.kid.as_str() != primary).unwrap();
        found.kid.to_string()
    };
    let why = || json!({"reason": "it is real"});
    let rotations = async || fixture.leaves("rotation").await.len();
    let before = rotations().await;
    let mut reports = Vec::new();
    for kid in [&primary, &standby] {
        let filed = post(&fixture, "scanner", REPORTS, body(&kid[..9], kid)).await;
        reports.push(filed.json()["report"].as_str().unwrap().to_owned());
    }
    let draft = async |report: &str| {
        let listed = fixture.get_as("auditor", REPORTS).await.json();
        let all = listed["reports"].as_array().unwrap();
        let one = all.iter().find(|one| one["id"] == report).unwrap();
        one["draft"].clone()
    };
    let path = |report: &str| format!("{REPORTS}/{report}/declare");
    // Since when is for people to find out: that it was reported says nothing of it.
    let of_primary = draft(&reports[0]).await;
    assert_eq!(
        (&of_primary["operation"], &of_primary["key_state"]),
        (&json!("emergency-rotation"), &json!("primary"))
    );
    assert!(
        of_primary.get("compromised_since").is_none(),
        "{of_primary}"
    );
    let command = of_primary["command"].as_str().unwrap();
    let begins = "chancery emergency rotate --ring records --compromised-since INSTANT ";
    assert!(command.starts_with(begins), "{command}");
    // A rotation would revoke the good key and make this one the primary.
    let of_standby = draft(&reports[1]).await;
    assert_eq!(
        (&of_standby["operation"], &of_standby["key_state"]),
        (&json!("revocation"), &json!("prepared"))
    );
    let command = of_standby["command"].as_str().unwrap();
    let begins = format!("chancery ring revoke records --kid {standby} --because compromised ");
    assert!(command.starts_with(&begins), "{command}");
    let refused = post(&fixture, "on-call", &path(&reports[1]), why()).await;
    assert_eq!(refused.code(), "report_state");
    assert!(refused.json().to_string().contains("ring revoke"));
    assert_eq!(rotations().await, before);
    // Revoked by its ceremony it needs no rotation.
    fixture.compromise(5).await;
    assert_eq!(draft(&reports[0]).await["operation"], "none");
    let declared = post(&fixture, "on-call", &path(&reports[0]), why()).await;
    let declared = declared.json();
    assert_eq!(declared["state"], "declared", "{declared}");
    assert!(declared["decision"].get("rotation").is_none(), "{declared}");
    assert_eq!(rotations().await, before);
}

#[tokio::test]
async fn threat_a_reporter_of_one_asset_reports_another_or_learns_of_it() {
    let fixture = fixture().await;
    let kid = fixture.kid();
    let refused = post(&fixture, "vendor", REPORTS, body("f-1", &kid)).await;
    assert_eq!(refused.code(), "forbidden");
    for asset in ["external/partner", "external/nobody", "signing/records"] {
        let asked = json!({"report": "f-1", "asset": asset, "source": "s", "reason": "r"});
        let refused = post(&fixture, "vendor", REPORTS, asked).await;
        assert_eq!(refused.code(), "forbidden", "{asset}");
    }
    assert!(fixture.leaves("alert").await.is_empty());
}

#[tokio::test]
async fn what_is_no_report_is_said() {
    let fixture = fixture().await;
    let kid = fixture.kid();
    let with = |name: &str, value: Value| {
        let mut changed = body("f-1", &kid);
        changed[name] = value;
        changed
    };
    for (asked, code) in [
        (body("f-1", &"A".repeat(43)), "unknown_key"),
        (body("f-1", "no kid"), "unknown_key"),
        (with("asset", json!("signing/records")), "bad_member"),
        (with("kid", Value::Null), "bad_member"),
        (with("reason", json!("a\nb")), "bad_member"),
        (with("report", json!("")), "bad_member"),
        (with("evidence", json!("x".repeat(2_001))), "bad_member"),
        (
            with("compromised_since", json!("2999-01-01T00:00:00.000Z")),
            "bad_member",
        ),
        (with("secret", json!("x")), "bad_member"),
    ] {
        let refused = post(&fixture, "scanner", REPORTS, asked.clone()).await;
        assert_eq!(refused.code(), code, "{asked}");
    }
    let asked = json!({"report": "f-1", "asset": "external/nobody", "source": "s", "reason": "r"});
    let refused = post(&fixture, "operator", REPORTS, asked).await;
    assert_eq!(refused.code(), "bad_member");
    for action in ["dismiss", "declare"] {
        let path = format!("{REPORTS}/cr_0/{action}");
        let refused = post(&fixture, "on-call", &path, json!({"reason": "x"})).await;
        assert_eq!(refused.code(), "unknown_report");
    }
    let refused = fixture
        .get_as("on-call", "/v1/emergency/reports?after=x")
        .await;
    assert_eq!(refused.code(), "bad_query");
}
