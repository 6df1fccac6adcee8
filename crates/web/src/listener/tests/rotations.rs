//! Rotations over HTTP: the ten endpoints that administrators have, and what others may see of them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::testing::{self, Fixture, OPERATOR};

const ADMINISTRATOR: &str = "administrator";

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    for role in [ADMINISTRATOR, "on-call", "prober"] {
        fixture.grant_token(role, &[role]).await;
    }
    fixture
}

async fn post_as(fixture: &Fixture, token: &str, path: &str, body: Value) -> testing::Answered {
    let mut request = testing::post(path, body.to_string());
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    fixture.send(request).await
}

#[tokio::test]
async fn an_administrator_schedules_executes_cancels_and_sees_what_happens() {
    let fixture = fixture().await;
    let get = async |path: &str| fixture.get_as(ADMINISTRATOR, path).await;
    let post = async |path: &str, body: Value| post_as(&fixture, ADMINISTRATOR, path, body).await;
    let plan = get("/v1/key-rotation/schedule?days=365").await.json();
    assert_eq!(plan["rotations"][0]["asset"], "signing/records");
    assert_eq!(plan["rotations"][0]["consent"], "ceremony");
    let picture = get("/v1/key-rotation/schedule?format=svg").await;
    assert_eq!(picture.header("content-type"), "image/svg+xml");
    assert!(picture.body.starts_with(b"<svg"));
    let early = post(
        "/v1/key-rotation/schedule",
        json!({ "key_type": "signing" }),
    )
    .await;
    assert_eq!(
        (early.status, early.code().as_str()),
        (StatusCode::CONFLICT, "rotation_state")
    );
    let forced = json!({ "key_type": "signing", "force": true, "asset": "signing/records" });
    let made = post("/v1/key-rotation/schedule", forced.clone())
        .await
        .json();
    let id = made["events"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(made["events"][0]["requested_by"], ADMINISTRATOR);
    let twice = post("/v1/key-rotation/schedule", forced).await;
    assert_eq!(twice.code(), "rotation_state");
    let executed = post(
        "/v1/key-rotation/execute",
        json!({ "event_id": id, "batch_size": 10 }),
    );
    let executed = executed.await.json();
    assert_eq!(executed["steps"][0]["step"], "pre-check");
    assert_eq!(executed["waits"], "approval", "{executed}");
    assert!(executed["detail"].as_str().unwrap().contains(&id));
    let round = post("/v1/key-rotation/execute", json!({})).await.json();
    assert_eq!(round["failed"], json!([]));
    let keys = get("/v1/key-rotation/keys/signing").await.json();
    assert_eq!(keys["assets"][0]["name"], "signing/digests");
    assert_eq!(keys["policy"]["interval"], "90d");
    let path = format!("/v1/key-rotation/events/{id}");
    assert_eq!(get(&path).await.json()["state"], "waiting");
    let refused = post(&format!("{path}/roll-back"), json!({})).await;
    assert_eq!(refused.code(), "rotation_state");
    let held = post(&format!("{path}/hold"), json!({})).await;
    assert_eq!(
        (held.status, &held.json()["held"]),
        (StatusCode::OK, &json!(true))
    );
    let twice = post(&format!("{path}/hold"), json!({})).await;
    assert_eq!(twice.code(), "rotation_state");
    let released = post(&format!("{path}/release"), json!({})).await;
    assert_eq!(released.json()["held"], false);
    let cancelled = post(&format!("{path}/cancel"), json!({})).await;
    assert_eq!(cancelled.status, StatusCode::OK);
    post("/v1/key-rotation/execute", json!({ "event_id": id })).await;
    let events = fixture
        .get_as(OPERATOR, "/v1/key-rotation/events?limit=1")
        .await
        .json();
    assert_eq!(events["events"][0]["state"], "cancelled");
    assert!(events["next"].is_string());
    // The asset's own path has the same.
    let own = "/v1/assets/signing%2Frecords/events?limit=1";
    assert_eq!(fixture.get_as(OPERATOR, own).await.json(), events);
    for (path, code) in [
        ("/v1/assets/signing%2Fnobody/events", "unknown_asset"),
        ("/v1/assets/signing%2Frecords/events?limit=0", "bad_query"),
    ] {
        assert_eq!(fixture.get_as(OPERATOR, path).await.code(), code, "{path}");
    }
    let of = "/v1/key-rotation/events?asset=signing/digests";
    assert_eq!(
        fixture.get_as(OPERATOR, of).await.json()["events"],
        json!([])
    );
    let report = get("/v1/key-rotation/report").await.json();
    assert_eq!(report["cancelled"], 1);
    assert!(report["recommendations"].is_array());
    let leaves = fixture.leaves("rotation").await;
    let actions: Vec<&str> = leaves
        .iter()
        .map(|leaf| leaf["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["begin", "hold", "release", "cancel", "cancelled"]);
    assert_eq!(leaves[0]["actor"], ADMINISTRATOR);
    assert_eq!(leaves[0]["asset"], "signing/records");
    assert_eq!(
        (&leaves[0]["previous_version"], &leaves[0]["version"]),
        (&1.into(), &2.into())
    );
}

#[tokio::test]
async fn an_operator_reads_what_the_check_of_compliance_asks_for_and_changes_nothing() {
    let fixture = fixture().await;
    for path in [
        "/v1/key-rotation/scheduler/status",
        "/v1/key-rotation/report",
        "/v1/policies",
        "/v1/inventory?limit=100",
        "/v1/keys?limit=100",
        "/v1/orders?limit=100",
        "/v1/alerts?limit=100",
    ] {
        let read = fixture.get_as(OPERATOR, path).await;
        assert_eq!(read.status, StatusCode::OK, "{path}");
    }
    let pause = "/v1/key-rotation/scheduler/pause";
    let body = json!({ "reason": "r", "until": "2030-01-01T00:00:00Z" });
    let refused = post_as(&fixture, OPERATOR, pause, body).await;
    assert_eq!(refused.code(), "forbidden");
}

#[tokio::test]
async fn threat_rotation_is_tested_where_nobody_said_that_it_is_not_production() {
    let fixture = fixture().await;
    let post = async |body: Value| {
        let path = "/v1/key-rotation/schedule";
        post_as(&fixture, ADMINISTRATOR, path, body).await
    };
    let body = json!({
        "key_type": "signing", "force": true, "asset": "signing/records", "test": true, "reason": "r",
    });
    let refused = post(body).await;
    assert_eq!(refused.code(), "forbidden");
    assert!(
        refused.json()["detail"]
            .to_string()
            .contains("rotation.tests")
    );
    let events = "/v1/key-rotation/events";
    let events = fixture.get_as(OPERATOR, events).await.json();
    assert_eq!(events["events"], json!([]));
    let status = "/v1/key-rotation/scheduler/status";
    let status = fixture.get_as(ADMINISTRATOR, status).await.json();
    assert_eq!(status["tests"], false);
}

#[tokio::test]
async fn a_test_of_rotation_is_of_one_asset_and_says_that_it_is_one() {
    let fixture = fixture().await.testing_rotation();
    let post = async |body: Value| {
        let path = "/v1/key-rotation/schedule";
        post_as(&fixture, ADMINISTRATOR, path, body).await
    };
    let mut body = json!({ "key_type": "signing", "force": true, "test": true, "reason": "r" });
    let refused = post(body.clone()).await;
    assert_eq!(
        (refused.code().as_str(), refused.member().as_str()),
        ("bad_member", "asset")
    );
    body["asset"] = json!("signing/records");
    let made = post(body).await.json();
    assert_eq!(made["events"][0]["reason"], "a test: r");
    assert_eq!(fixture.leaves("rotation").await[0]["reason"], "a test: r");
}

#[tokio::test]
async fn the_scheduler_is_paused_resumed_and_tells_its_jobs() {
    let fixture = fixture().await;
    let post = async |path: &str| post_as(&fixture, ADMINISTRATOR, path, json!({})).await;
    let paused = post("/v1/key-rotation/scheduler/pause").await.json();
    assert_eq!(
        (&paused["paused"], &paused["by"]),
        (&true.into(), &ADMINISTRATOR.into())
    );
    let status = fixture
        .get_as(ADMINISTRATOR, "/v1/key-rotation/scheduler/status")
        .await;
    assert_eq!(status.json()["jobs"].as_array().unwrap().len(), 6);
    let resumed = post("/v1/key-rotation/scheduler/resume").await.json();
    assert_eq!(resumed["paused"], false);
    let cleaned = post("/v1/key-rotation/cleanup").await.json();
    assert_eq!(
        (&cleaned["job"], &cleaned["succeeded"]),
        (&"key_rotation_cleanup".into(), &true.into())
    );
    let jobs = fixture.get_as(OPERATOR, "/v1/jobs").await.json();
    let jobs = jobs["jobs"].as_array().unwrap();
    let cleanup = jobs
        .iter()
        .find(|job| job["name"] == "key_rotation_cleanup")
        .unwrap();
    assert_eq!(
        (&cleanup["runs"], &cleanup["failed"]),
        (&1.into(), &0.into())
    );
    assert_eq!(cleanup["when"], "At 06:00, on Sunday, UTC");
}

#[tokio::test]
async fn an_emergency_is_declared_once_and_a_verifier_acknowledges_a_key() {
    let fixture = fixture().await;
    let path = "/v1/key-rotation/emergency-rotation";
    let body = json!({ "key_type": "signing", "reason": "it leaked", "asset": "signing/records" });
    let declared = post_as(&fixture, "on-call", path, body.clone())
        .await
        .json();
    assert_eq!(declared["events"][0]["trigger"], "event");
    let twice = post_as(&fixture, ADMINISTRATOR, path, body).await;
    assert_eq!(twice.code(), "rotation_state");
    for bad in [
        json!({ "key_type": "nothing", "reason": "it leaked" }),
        json!({ "key_type": "Signing!", "reason": "it leaked" }),
        json!({ "key_type": "signing", "reason": "" }),
        json!({ "key_type": "signing", "reason": "it leaked", "asset": "nothing" }),
        json!({ "key_type": "signing" }),
    ] {
        let refused = post_as(&fixture, ADMINISTRATOR, path, bad.clone()).await;
        assert_eq!(refused.code(), "bad_member", "{bad}");
    }
    let path = format!("/v1/propagation/{}", fixture.kid());
    let told = post_as(&fixture, "prober", &path, json!({})).await.json();
    assert_eq!(told["principal"], "prober");
    let rows = fixture
        .store
        .acknowledgements(&fixture.kid())
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    let unknown = format!("/v1/propagation/{}", "A".repeat(43));
    let unknown = post_as(&fixture, "prober", &unknown, json!({})).await;
    assert_eq!(unknown.code(), "unknown_key");
    let unknown = fixture
        .get_as(OPERATOR, "/v1/key-rotation/events/kr_nothing")
        .await;
    assert_eq!(unknown.code(), "unknown_rotation");
}

#[tokio::test]
async fn a_simulation_says_what_would_come_of_it() {
    let fixture = fixture().await;
    let path = "/v1/key-rotation/simulate";
    let report = post_as(
        &fixture,
        ADMINISTRATOR,
        path,
        json!({ "days": 200, "seed": 7 }),
    )
    .await;
    let report = report.json();
    assert_eq!(report["seed"], 7);
    assert!(report["all"]["rotations"].as_u64().unwrap() > 0, "{report}");
    let refused = post_as(&fixture, ADMINISTRATOR, path, json!({ "days": 0 })).await;
    assert_eq!(refused.code(), "bad_member");
    let never = post_as(&fixture, ADMINISTRATOR, path, json!({ "weeks": 1 })).await;
    assert_eq!(never.code(), "bad_member");
}
