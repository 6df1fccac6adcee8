//! One person stops signing over HTTP; the threshold lets it go on.

use keyring::ceremony::Draft;
use trust::request::Ended;

use super::*;

const SIGN: &str = "/v1/rings/records/sign";
const BODY: &str = r#"{"format":"jws","payload":"AQID"}"#;

impl Fixture {
    async fn stop(&self, who: &str, ring: Option<&str>) -> Answered {
        let mut path = "/v1/emergency/stops/draft?reason=stolen&expires_in_ms=3600000".to_owned();
        if let Some(ring) = ring {
            path = format!("{path}&ring={ring}");
        }
        let draft = self.read_as(who, &path).await;
        assert_eq!(draft.status, 200, "{}", draft.json());
        let stop = draft.json()["stop"].as_str().unwrap().to_owned();
        let pin = self.custodians.pin();
        let bytes = trust::stop::stop_message(&pin.service, &pin.environment, stop.as_bytes());
        let namespace = self.namespace(Purpose::Stop);
        let signature = self.sign_as(who, &SigningPayload { namespace, bytes });
        let body = json!({"stop": stop, "signature": signature});
        self.post("/v1/emergency/stops", body.to_string()).await
    }
}

#[tokio::test]
async fn one_custodian_stops_signing_and_keys_stay_published() {
    let fixture = service().await;
    assert_eq!(fixture.sign(SIGN, BODY).await.status, 200);
    let keys = fixture.get("/.well-known/jwks.json").await.body;
    let refused = fixture.stop("wendy", Some("records")).await;
    assert_eq!(refused.code(), "signature_not_counted");
    assert_eq!(fixture.sign(SIGN, BODY).await.status, 200);

    let stopped = fixture.stop("alice", Some("records")).await;
    assert_eq!(stopped.status, 200, "{}", stopped.json());
    let stop = stopped.json()["stop"].as_str().unwrap().to_owned();
    let answer = fixture.sign(SIGN, BODY).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (503, "signing_stopped".to_owned())
    );
    assert!(answer.headers.get("retry-after").is_none());
    assert_eq!(fixture.get("/.well-known/jwks.json").await.body, keys);
    let file = fixture.get(&format!("/v1/emergency/stops/{stop}")).await;
    assert_eq!(file.status, 200);
    trust::stop_file::verify_stop_file(&file.body, fixture.custodians.pin()).unwrap();
    let told = fixture.read_as("alice", "/v1/emergency").await.json();
    assert_eq!(told["stops"][0]["stop"], stop.as_str(), "{told}");

    let before = fixture.world().await;
    let again = fixture.stop("bob", Some("records")).await.json();
    assert_eq!(
        (again["stop"].as_str(), fixture.world().await),
        (Some(&*stop), before)
    );

    let ends = Ended::Stop {
        digest: stop.parse().unwrap(),
        sequence: 1,
    };
    let id = fixture.propose("records", Draft::Resume { ends }).await;
    for who in ["alice", "bob"] {
        let approval = fixture.approval(who, &id).await;
        assert_eq!(fixture.submit(&id, approval).await.status, 200);
    }
    fixture.execute(&id).await;
    assert_eq!(fixture.sign(SIGN, BODY).await.code(), "signing_stopped");
    for who in ["alice", "bob"] {
        let acceptance = fixture.acceptance(who, &id).await;
        assert_eq!(fixture.submit(&id, acceptance).await.status, 200);
    }
    let signed = fixture.sign(SIGN, BODY).await;
    assert_eq!(signed.status, 200, "{}", signed.json());
}

/// A stranger costs one signature: where the database is away he is answered all the same.
#[tokio::test]
async fn threat_anonymous_stops_ask_the_database_for_nothing() {
    let fixture = service().await;
    let path = "/v1/emergency/stops/draft?reason=stolen&expires_in_ms=60000&ring=records";
    let draft = fixture.read_as("alice", path).await.json();
    let stop = draft["stop"].as_str().unwrap().to_owned();
    let pin = fixture.custodians.pin();
    let bytes = trust::stop::stop_message(&pin.service, &pin.environment, stop.as_bytes());
    let by = |who: &str, bytes: &[u8]| {
        let namespace = fixture.namespace(Purpose::Stop);
        let bytes = bytes.to_vec();
        fixture.sign_as(who, &SigningPayload { namespace, bytes })
    };
    let post = async |stop: &str, signature: &str| {
        let body = json!({"stop": stop, "signature": signature});
        fixture.post("/v1/emergency/stops", body.to_string()).await
    };
    let away = "ALTER TABLE trust_document RENAME TO away";
    fixture.place.raw(away).await.unwrap();
    let before = fixture.world().await;
    // A key of nobody, a member's signature over something else, something else than a stop, and one of no line of stops.
    let of_a_key = stop.replace("stop/records", "key/records");
    for (stop, signature, code) in [
        (
            stop.as_str(),
            by("mallory", &bytes),
            "signature_not_counted",
        ),
        (stop.as_str(), by("alice", b"else"), "signature_not_counted"),
        ("{}", by("alice", &bytes), "request_refused"),
        (of_a_key.as_str(), by("alice", &bytes), "request_refused"),
    ] {
        let answered = post(stop, &signature).await;
        assert_eq!(answered.code(), code, "{}", answered.json());
    }
    // A member's is looked at.
    let answered = post(&stop, &by("alice", &bytes)).await;
    assert!(answered.status.is_server_error(), "{}", answered.json());
    let back = "ALTER TABLE away RENAME TO trust_document";
    fixture.place.raw(back).await.unwrap();
    assert_eq!(fixture.world().await, before);
    fixture.wait(2);
    let late = post(&stop, &by("alice", &bytes)).await;
    assert_eq!(late.code(), "request_refused");
    assert_eq!(fixture.world().await, before);
}
