//! Alerts over HTTP: those on call see and acknowledge them, auditors see them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::testing::{self, Fixture};

const ON_CALL: &str = "on-call";

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    for role in ["administrator", ON_CALL, "auditor"] {
        fixture.grant_token(role, &[role]).await;
    }
    fixture
}

async fn post(fixture: &Fixture, token: &str, path: &str, body: Value) -> testing::Answered {
    let mut request = testing::post(path, body.to_string());
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    fixture.send(request).await
}

#[tokio::test]
async fn those_on_call_see_acknowledge_and_silence_an_alert_and_auditors_see_who_did() {
    let fixture = fixture().await;
    let csv = "asset,key_type,purpose,owner,storage,version,rotated_at,expires_at,labels,state\r\n\
        external/partner,api_key,,,wrapped,1,2020-01-01T00:00:00.000Z,,,\r\n";
    let imported = json!({ "csv": csv, "dry_run": false });
    let imported = post(&fixture, "administrator", "/v1/assets", imported).await;
    assert_eq!(imported.json()["applied"], true, "{}", imported.json());
    let scheduler = &fixture.state.services.rotation;
    scheduler.look_at_alerts().await.unwrap();
    let listed = fixture
        .get_as(
            ON_CALL,
            "/v1/alerts?name=rotation-overdue&severity=critical",
        )
        .await
        .json();
    let alert = &listed["alerts"][0];
    assert_eq!(
        (&alert["subject"], &alert["state"], &alert["level"]),
        (&json!("external/partner"), &json!("firing"), &json!(2))
    );
    assert_eq!(alert["runbook"], "deploy/runbooks/rotation-overdue.md");
    let id = alert["id"].as_str().unwrap();
    let path = format!("/v1/alerts/{id}");
    assert_eq!(&fixture.get_as("auditor", &path).await.json(), alert);
    let none = fixture.get_as(ON_CALL, "/v1/alerts?severity=warning").await;
    assert_eq!(none.json()["alerts"], json!([]));
    let page = fixture.get_as(ON_CALL, "/v1/alerts?limit=1").await.json();
    let next = format!("/v1/alerts?after={}", page["next"].as_str().unwrap());
    assert_eq!(
        fixture.get_as(ON_CALL, &next).await.json()["alerts"],
        json!([])
    );

    let acknowledge = format!("{path}/acknowledge");
    let body = json!({ "reason": "the partner is asked" });
    let done = post(&fixture, ON_CALL, &acknowledge, body).await.json();
    assert_eq!(
        (&done["state"], &done["acknowledged"]["by"]),
        (&json!("acknowledged"), &json!(ON_CALL))
    );
    let twice = post(&fixture, "administrator", &acknowledge, json!({})).await;
    assert_eq!(
        (twice.status, twice.code().as_str()),
        (StatusCode::CONFLICT, "alert_state")
    );
    let auditor = post(&fixture, "auditor", &acknowledge, json!({})).await;
    assert_eq!(auditor.code(), "forbidden");
    let until = fixture.state.services.env.now() + std::time::Duration::from_secs(3_600);
    let silence = json!({ "until": until, "reason": "they work on it" });
    let silenced = post(&fixture, ON_CALL, &format!("{path}/silence"), silence).await;
    let silenced = silenced.json();
    assert_eq!(
        silenced["silence"]["until"],
        until.to_string(),
        "{silenced}"
    );
    let heard = post(&fixture, ON_CALL, &format!("{path}/unsilence"), json!({})).await;
    assert_eq!(heard.json()["silence"], Value::Null);
    let leaves = fixture.leaves("alert").await;
    let actions: Vec<&Value> = leaves.iter().map(|leaf| &leaf["action"]).collect();
    assert_eq!(actions, ["acknowledge", "silence", "unsilence"]);
    assert_eq!(leaves[0]["ref"], id);
    assert_eq!(
        leaves[0]["reason"],
        "rotation-overdue: the partner is asked"
    );
}

#[tokio::test]
async fn what_cannot_be_asked_of_alerts_is_said() {
    let fixture = fixture().await;
    for query in [
        "state=on",
        "severity=bad",
        "name=nothing",
        "after=%00",
        "limit=0",
        "limit=1001",
        "x=1",
    ] {
        let path = format!("/v1/alerts?{query}");
        let refused = fixture.get_as(ON_CALL, &path).await;
        assert_eq!(refused.code(), "bad_query", "{query}");
    }
    let unknown = fixture.get_as(ON_CALL, "/v1/alerts/al_0").await;
    assert_eq!(
        (unknown.status, unknown.code().as_str()),
        (StatusCode::NOT_FOUND, "unknown_alert")
    );
    for (body, code) in [
        (json!({ "until": "tomorrow", "reason": "x" }), "bad_member"),
        (json!({ "reason": "x" }), "bad_member"),
        (
            json!({ "until": "2030-01-01T00:00:00.000Z", "reason": "x" }),
            "unknown_alert",
        ),
    ] {
        let refused = post(&fixture, ON_CALL, "/v1/alerts/al_0/silence", body).await;
        assert_eq!(refused.code(), code);
    }
}
