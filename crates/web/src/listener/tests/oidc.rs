//! Callers with a bearer token of an OIDC issuer.

use std::num::NonZeroU32;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;
use testkit::issuer::IssuerKey;
use trust::Algorithm;

use crate::middleware::auth::Caller;
use crate::middleware::peer::NOWHERE;
use crate::testing::oidc::{self, TestIssuer};
use crate::testing::{self, Answered, Fixture, SIGNER};

const SIGN: &str = "/v1/rings/records/sign";
const GOOD: &str = r#"{"format":"jws","payload":"AQID"}"#;

fn groups() -> [(&'static str, String); 2] {
    [
        ("signers", "signer:records".to_owned()),
        ("watchers", "operator".to_owned()),
    ]
}

async fn believing(settings: crate::settings::Settings) -> (Fixture, TestIssuer) {
    let fixture = Fixture::with(settings).await;
    let fixture = fixture.with_oidc(&oidc::settings(&groups()));
    let issuer = TestIssuer::new();
    issuer.publish(&fixture);
    (fixture, issuer)
}

async fn sign(fixture: &Fixture, token: &str) -> Answered {
    let mut request = testing::post(SIGN, GOOD);
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    fixture.send(request).await
}

fn detail(answered: &Answered) -> String {
    answered.json()["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_of_an_issuer_signs_and_stands_in_the_log_by_its_principal() {
    let (fixture, issuer) = believing(testing::settings()).await;
    let token = issuer.token(&fixture, "payments", &["signers"]);
    for _ in 0..2 {
        assert_eq!(sign(&fixture, &token).await.status, StatusCode::OK);
    }
    let leaves = fixture.leaves("sign").await;
    let last = leaves.last().unwrap().to_string();
    assert!(last.contains("\"oidc:test:payments\""), "{last}");
    // The service's own tokens are what they were.
    assert_eq!(fixture.sign(SIGN, GOOD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn threat_bad_tokens_of_an_issuer_are_refused_and_counted_as_those_of_strangers() {
    let (fixture, issuer) = believing(testing::settings()).await;
    let with = |member: &str, value| {
        let mut claims = TestIssuer::claims(&fixture, "payments", &["signers"]);
        claims[member] = value;
        issuer.key.token(&claims)
    };
    let other = IssuerKey::new("one", Algorithm::Es256);
    let forged = other.token(&TestIssuer::claims(&fixture, "payments", &["signers"]));
    let size = fixture.store.log_size().await.unwrap();
    let public = format!("/v1/keys/{}", fixture.kid());
    let mut count = 0;
    for (token, why) in [
        (with("aud", json!("other")), "audience"),
        (with("iss", json!("https://other.example")), "issuer"),
        (with("exp", json!(1)), "invalid"),
        (with("groups", json!([])), "mapped"),
        (with("groups", json!("")), "mapped"),
        (with("sub", json!("")), "principal"),
        (forged, "signature"),
        ("a.b.c".to_owned(), "compact JWS"),
        (format!("{}.b.c", "a".repeat(9_000)), "longer than"),
    ] {
        let answered = sign(&fixture, &token).await;
        assert_eq!(answered.status, StatusCode::UNAUTHORIZED, "{why}");
        assert!(
            answered
                .header("www-authenticate")
                .contains("invalid_token")
        );
        let said = detail(&answered);
        assert!(
            answered.code() == "invalid_credentials" && said.contains(why),
            "{said}"
        );
        assert!(!said.contains(&token), "{said}");
        count += 1;
        // What anybody may ask is answered all the same.
        let answered = fixture.get_as(&token, &public).await;
        assert_eq!(answered.status, StatusCode::OK, "{why}");
    }
    assert_eq!(fixture.store.log_size().await.unwrap(), size);
    assert_eq!(fixture.strangers_refused().await["count"], count);
}

#[tokio::test]
async fn a_principal_of_an_issuer_without_the_role_is_refused_by_name() {
    let (fixture, issuer) = believing(testing::settings()).await;
    let token = issuer.token(&fixture, "olga", &["watchers"]);
    assert_eq!(
        fixture.get_as(&token, "/v1/rings").await.status,
        StatusCode::OK
    );
    let answered = sign(&fixture, &token).await;
    assert_eq!(answered.status, StatusCode::FORBIDDEN);
    assert_eq!(answered.code(), "forbidden");
    let leaves = fixture.leaves("refusal").await;
    assert_eq!(leaves.last().unwrap()["actor"], "oidc:test:olga");
}

#[tokio::test]
async fn an_issuer_whose_keys_are_not_known_is_503_and_changes_nothing_for_others() {
    let fixture = Fixture::new().await.with_oidc(&oidc::settings(&groups()));
    let issuer = TestIssuer::new();
    let token = issuer.token(&fixture, "payments", &["signers"]);
    let answered = sign(&fixture, &token).await;
    assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answered.code(), "issuer_unavailable");
    assert!(!answered.header("retry-after").is_empty());
    let public = format!("/v1/keys/{}", fixture.kid());
    assert_eq!(fixture.get_as(&token, &public).await.status, StatusCode::OK);
    assert_eq!(fixture.sign(SIGN, GOOD).await.status, StatusCode::OK);
    issuer.publish(&fixture);
    assert_eq!(sign(&fixture, &token).await.status, StatusCode::OK);
    // Longer than keys are kept.
    fixture.wait(25 * 60);
    let token = issuer.token(&fixture, "payments", &["signers"]);
    assert_eq!(sign(&fixture, &token).await.code(), "issuer_unavailable");
}

#[tokio::test]
async fn threat_two_tokens_in_one_request() {
    let (fixture, issuer) = believing(testing::settings()).await;
    let token = issuer.token(&fixture, "payments", &["signers"]);
    let token = token.as_str();
    for pair in [[token, token], [token, SIGNER], [SIGNER, token]] {
        let mut request = testing::post(SIGN, GOOD);
        for each in pair {
            let bearer = format!("Bearer {each}").parse().unwrap();
            request.headers_mut().append("authorization", bearer);
        }
        assert_eq!(fixture.send(request).await.code(), "invalid_credentials");
    }
    for scheme in ["Basic", "DPoP", "Bearer ", "Bearer,"] {
        let request =
            Request::get("/v1/rings").header("authorization", format!("{scheme} {token}"));
        let answered = fixture.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answered.code(), "invalid_credentials", "{scheme}");
    }
}

/// The threads of strangers have no time at all.
#[tokio::test]
async fn threat_signatures_of_strangers_are_verified_by_the_threads_of_strangers() {
    let busy = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (fixture, issuer) = believing(testing::settings()).await;
    let known = issuer.token(&fixture, "payments", &["signers"]);
    assert_eq!(sign(&fixture, &known).await.status, StatusCode::OK);
    let verified = fixture.state.services.oidc.clone();
    let fixture = fixture.with_strangers(busy.handle());
    assert!(verified.recent(&known).is_some());
    let new = issuer.token(&fixture, "another", &["signers"]);
    let mut asked = std::pin::pin!(sign(&fixture, &new));
    for _ in 0..2 {
        tokio::select! {
            biased;
            answered = &mut asked => panic!("it was verified: {}", answered.status),
            signed = sign(&fixture, &known) => assert_eq!(signed.status, StatusCode::OK),
        }
    }
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let driver = std::thread::spawn(move || busy.block_on(ended));
    assert_eq!(asked.await.status, StatusCode::OK);
    drop(end);
    let _ = driver.join().unwrap();
}

#[tokio::test]
async fn threat_tokens_that_are_not_verified_use_the_rate_of_their_address() {
    let mut settings = testing::settings();
    settings.requests_per_second = NonZeroU32::new(1);
    let (fixture, issuer) = believing(settings).await;
    let token = issuer.token(&fixture, "payments", &["signers"]);
    assert_eq!(sign(&fixture, &token).await.status, StatusCode::OK);
    let limits = &fixture.state.layer.limits;
    // On a slow machine the bucket may have a drop again before the request comes.
    let mut code = String::new();
    for n in 0..100 {
        while limits.admit(&Caller::Anonymous, NOWHERE).is_ok() {}
        let forged = IssuerKey::new("one", Algorithm::Es256);
        let claims = TestIssuer::claims(&fixture, &format!("s{n}"), &["signers"]);
        code = sign(&fixture, &forged.token(&claims)).await.code();
        if code == "rate_limited" {
            break;
        }
    }
    assert_eq!(code, "rate_limited");
    // Whoever is known has a rate of their own, which does not change the strangers'.
    let principal = fixture.state.services.oidc.recent(&token).unwrap();
    while limits
        .admit(&Caller::Known(principal.clone()), NOWHERE)
        .is_ok()
    {}
    assert_eq!(fixture.sign(SIGN, GOOD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_idempotency_key_is_its_principals_own() {
    let (fixture, issuer) = believing(testing::settings()).await;
    let send = async |subject: &str| {
        let token = issuer.token(&fixture, subject, &["signers"]);
        let mut request = testing::post(SIGN, GOOD);
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        headers.insert("idempotency-key", "once".parse().unwrap());
        fixture.send(request).await.json()["jws"].clone()
    };
    let first = send("payments").await;
    assert!(first.is_string() && send("payments").await == first);
    assert_ne!(send("another").await, first);
}
