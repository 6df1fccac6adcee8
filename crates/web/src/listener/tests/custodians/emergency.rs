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
