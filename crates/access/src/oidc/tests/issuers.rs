//! Issuers that rotate, go away, lie, and are asked about what they never heard of.

use std::sync::Arc;

use serde_json::json;
use testkit::issuer::{DISCOVERY, IssuerKey, IssuerServer, KEYS, Page};
use trust::{Algorithm, Sha256Digest, error_chain};

use super::{Fixture, read, service, written};
use crate::oidc::recent::MOST;
use crate::oidc::token::UnverifiedToken;
use crate::oidc::{Error, FetchError, Refusal, Unavailable};

#[tokio::test]
async fn a_new_key_is_found_by_its_kid_and_an_old_one_is_forgotten() {
    let fixture = Fixture::new();
    let old = fixture.key.token(&fixture.claims());
    let next = IssuerKey::new("two", Algorithm::Es256);
    let new = next.token(&fixture.claims());
    assert!(fixture.verify(&old).await.is_ok());
    assert!(fixture.oidc.recent(&old).is_some() && fixture.oidc.recent(&new).is_none());
    fixture.server.publish(&[&fixture.key, &next]);
    fixture.wait(30);
    assert!(fixture.verify(&new).await.is_ok() && fixture.verify(&old).await.is_ok());
    assert_eq!(fixture.server.count(KEYS), 2);
    // What was verified before goes with its key, and so does a kid that stands for another key now.
    fixture.server.publish(&[&next]);
    fixture.oidc.issuers()[0].fetch().await.unwrap();
    assert!(fixture.oidc.recent(&old).is_none() && fixture.oidc.recent(&new).is_some());
    assert_eq!(fixture.refusal(&old).await, Refusal::UnknownKey);
    let replaced = IssuerKey::new("two", Algorithm::Es256);
    fixture.server.publish(&[&replaced]);
    fixture.oidc.issuers()[0].fetch().await.unwrap();
    assert!(fixture.oidc.recent(&new).is_none());
    assert_eq!(fixture.refusal(&new).await, Refusal::Signature);
}

#[tokio::test]
async fn a_verified_token_is_known_until_it_ends() {
    let fixture = Fixture::new();
    let token = fixture.key.token(&fixture.claims());
    let found = fixture.verify(&token).await.unwrap();
    assert_eq!(fixture.oidc.recent(&token), Some(found));
    let (input, _) = token.rsplit_once('.').unwrap();
    assert_eq!(fixture.oidc.recent(&format!("{input}.AAAA")), None);
    fixture.wait(629);
    assert!(fixture.oidc.recent(&token).is_some());
    fixture.wait(1);
    assert_eq!(fixture.oidc.recent(&token), None);
    assert_eq!(fixture.refusal(&token).await, Refusal::Expired);
}

/// A program that has a new token each minute, for years.
#[tokio::test]
async fn threat_verified_tokens_fill_the_memory() {
    let fixture = Fixture::new();
    let ending = fixture.claims_with("exp", json!(super::NOW + 60));
    let lasting = fixture.claims_with("exp", json!(super::NOW + 6_000));
    let keeps = async |claims: &serde_json::Value, tokens: std::ops::Range<usize>| {
        let issuer = Arc::clone(&fixture.oidc.issuers()[0]);
        let token = fixture.key.token(claims);
        let unverified = UnverifiedToken::parse(&token).unwrap();
        for n in tokens {
            // Each by the same signature, as if it were another token.
            let verified = issuer.verify(&unverified).await.unwrap();
            let name = Sha256Digest::of(format!("{claims}{n}").as_bytes());
            let now = fixture.oidc.env.now();
            fixture
                .oidc
                .recent
                .put(name, Arc::clone(&issuer), verified, now);
        }
        fixture.oidc.recent.len()
    };
    assert_eq!(keeps(&ending, 0..MOST - 1).await, MOST - 1);
    assert_eq!(keeps(&lasting, 0..1).await, MOST);
    // Those that ended make room, and if none has, all are verified once more.
    fixture.wait(91);
    assert_eq!(keeps(&lasting, 1..3).await, 3);
    assert_eq!(keeps(&lasting, 0..MOST).await, MOST);
    assert_eq!(keeps(&lasting, 0..MOST + 1).await, 1);
}

#[tokio::test]
async fn threat_a_storm_of_unknown_kids_costs_one_request_in_the_time_of_the_floor() {
    let fixture = Fixture::new();
    assert!(fixture.outcome(&fixture.claims()).await.is_ok());
    let own = IssuerKey::new("x", Algorithm::Es256);
    let token = |n: usize| {
        let header = json!({"alg": "ES256", "kid": format!("unknown-{n}")});
        own.sign(&header, &fixture.claims())
    };
    for _ in 0..3 {
        let before = fixture.server.count(KEYS);
        fixture.wait(30);
        for n in 0..100 {
            assert_eq!(fixture.refusal(&token(n)).await, Refusal::UnknownKey);
        }
        assert_eq!(fixture.server.count(KEYS), before + 1);
    }
    // Tokens that are wrong before that ask for nothing.
    fixture.wait(3_000);
    let before = fixture.server.count(KEYS);
    let other = fixture.claims_with("aud", json!("other"));
    let token = own.sign(&json!({"alg": "ES256", "kid": "unknown"}), &other);
    assert_eq!(fixture.refusal(&token).await, Refusal::Audience);
    assert_eq!(fixture.server.count(KEYS), before);
}

#[tokio::test]
async fn threat_a_storm_of_unknown_kids_while_the_issuer_is_slow_waits_in_no_queue() {
    let fixture = Arc::new(Fixture::new());
    assert!(fixture.outcome(&fixture.claims()).await.is_ok());
    fixture.wait(30);
    let release = fixture.server.hold();
    let own = IssuerKey::new("x", Algorithm::Es256);
    let token = own.token(&fixture.claims());
    let asking = tokio::spawn({
        let (fixture, token) = (Arc::clone(&fixture), token.clone());
        async move { fixture.verify(&token).await }
    });
    while fixture.server.count(DISCOVERY) < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        let answered = fixture.verify(&token).await;
        assert_eq!(answered, Err(Error::Unavailable(Unavailable::Reading)));
    }
    // Whoever has a known key does not notice.
    assert!(fixture.outcome(&fixture.claims()).await.is_ok());
    drop(release);
    assert_eq!(
        asking.await.unwrap(),
        Err(Error::Refused(Refusal::UnknownKey))
    );
    assert_eq!(fixture.server.count(KEYS), 2);
}

#[tokio::test]
async fn whoever_asked_first_may_go_away_and_the_keys_are_read_all_the_same() {
    let fixture = Fixture::new();
    assert!(fixture.outcome(&fixture.claims()).await.is_ok());
    let next = IssuerKey::new("two", Algorithm::Es256);
    let token = next.token(&fixture.claims());
    fixture.server.publish(&[&fixture.key, &next]);
    fixture.wait(30);
    let release = fixture.server.hold();
    {
        let mut asking = std::pin::pin!(fixture.verify(&token));
        while fixture.server.count(DISCOVERY) < 2 {
            tokio::select! {
                biased;
                _ = &mut asking => panic!("it was answered"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    drop(release);
    while fixture.verify(&token).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.server.count(KEYS), 2);
}

#[tokio::test]
async fn threat_an_issuer_that_is_away_is_believed_until_the_limit_and_not_longer() {
    let fixture = Fixture::with(
        Algorithm::Es256,
        "keep_keys = \"1h\"\nmax_lifetime = \"3h\"",
    );
    let claims = fixture.claims_with("exp", json!(super::NOW + 10_000));
    let token = fixture.key.token(&claims);
    assert!(fixture.verify(&token).await.is_ok());
    fixture.server.set_away(true);
    let issuer = &fixture.oidc.issuers()[0];
    assert!(matches!(
        issuer.fetch().await,
        Err(FetchError::Unreachable(..))
    ));
    fixture.wait(3_600);
    assert!(fixture.verify(&token).await.is_ok() && fixture.oidc.recent(&token).is_some());
    assert!(issuer.standing().usable);
    fixture.wait(1);
    let unavailable = Err(Error::Unavailable(Unavailable::NoKeys));
    assert_eq!(fixture.verify(&token).await, unavailable);
    assert_eq!(fixture.oidc.recent(&token), None);
    let standing = issuer.standing();
    assert!(!standing.usable && standing.age.unwrap().as_secs() == 3_601);
    // It is asked again once in the time of the floor, and believed as soon as it is back.
    let before = fixture.server.count(DISCOVERY);
    for _ in 0..10 {
        assert_eq!(fixture.verify(&token).await, unavailable);
    }
    assert_eq!(fixture.server.count(DISCOVERY), before);
    fixture.server.set_away(false);
    fixture.wait(30);
    assert!(fixture.verify(&token).await.is_ok() && issuer.standing().usable);
}

/// Otherwise a clock that ran a year ahead would keep a new key from being found for a year.
#[tokio::test]
async fn a_clock_that_was_set_back_begins_the_floor_anew() {
    let fixture = Fixture::new();
    let mut claims = fixture.claims();
    claims["iat"] = json!(super::NOW - 100);
    assert!(fixture.outcome(&claims).await.is_ok());
    let next = IssuerKey::new("two", Algorithm::Es256);
    fixture.server.publish(&[&fixture.key, &next]);
    fixture.wait(-60);
    assert!(fixture.verify(&next.token(&claims)).await.is_ok());
    assert_eq!(fixture.server.count(KEYS), 2);
}

#[tokio::test]
async fn an_issuer_that_was_never_read_is_not_believed() {
    let fixture = Fixture::new();
    fixture.server.set_away(true);
    let token = fixture.key.token(&fixture.claims());
    for _ in 0..3 {
        let unavailable = Err(Error::Unavailable(Unavailable::NoKeys));
        assert_eq!(fixture.verify(&token).await, unavailable);
    }
    assert_eq!(fixture.server.count(DISCOVERY), 1);
    let standing = fixture.oidc.issuers()[0].standing();
    assert!(!standing.usable && standing.age.is_none());
}

/// An answer that makes no sense takes no key away; an empty set does.
#[tokio::test]
async fn threat_an_issuer_that_answers_with_something_else() {
    let fixture = Fixture::new();
    let issuer = &fixture.oidc.issuers()[0];
    let url = fixture.server.url();
    issuer.fetch().await.unwrap();
    let page = |status: u16, headers: &str, body: &str| Page {
        status,
        headers: headers.to_owned(),
        body: body.to_owned(),
    };
    let keys = testkit::issuer::key_set(&[&IssuerKey::new("one", Algorithm::Es256)]);
    fixture.server.put("/elsewhere", &keys);
    let document = json!({"issuer": url, "jwks_uri": format!("{url}{KEYS}")}).to_string();
    let other = |issuer: &str, keys: &str| json!({"issuer": issuer, "jwks_uri": keys}).to_string();
    let redirect = format!("location: {url}/elsewhere\r\n");
    let long = format!("{}{keys}", " ".repeat(600_000));
    for (path, wrong, said) in [
        (KEYS, page(302, &redirect, ""), "responded with 302"),
        (KEYS, page(307, &redirect, &keys), "responded with 307"),
        (KEYS, page(500, "", &keys), "responded with 500"),
        (KEYS, page(204, "", ""), "responded with 204"),
        (KEYS, page(200, "", "<html>"), "cannot be read"),
        (KEYS, page(200, "", &long), "longer than"),
        (DISCOVERY, page(302, &redirect, ""), "responded with 302"),
        (DISCOVERY, page(404, "", ""), "responded with 404"),
        (DISCOVERY, page(200, "", "{}"), "no discovery document"),
        (
            DISCOVERY,
            page(200, "", &other(&format!("{url}/"), &url)),
            "of the issuer",
        ),
        (
            DISCOVERY,
            page(200, "", &other("https://id.example", &url)),
            "of the issuer",
        ),
        (
            DISCOVERY,
            page(200, "", &other(&url, "http://127.0.0.2:1/")),
            "another host",
        ),
        (
            DISCOVERY,
            page(200, "", &other(&url, "https://id.example/k")),
            "another host",
        ),
        (
            DISCOVERY,
            page(200, "", &other(&url, "file:///etc/passwd")),
            "expected an https URL",
        ),
    ] {
        fixture.server.put_page(path, wrong);
        let error = error_chain(&issuer.fetch().await.unwrap_err());
        assert!(error.contains(said), "{error}: {said}");
        fixture.server.put(DISCOVERY, &document);
        fixture.server.publish(&[&fixture.key]);
        assert!(fixture.outcome(&fixture.claims()).await.is_ok(), "{said}");
    }
    assert_eq!(fixture.server.count("/elsewhere"), 0);
    fixture.server.publish(&[]);
    assert_eq!(issuer.fetch().await.unwrap(), 0);
    assert_eq!(
        fixture.refusal_of(&fixture.claims()).await,
        Refusal::UnknownKey
    );
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_in_time_is_away() {
    let fixture = Fixture::with(Algorithm::Es256, "time_limit = \"1s\"");
    let release = fixture.server.hold();
    let error = fixture.oidc.issuers()[0].fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable(..)), "{error}");
    drop(release);
}

/// As the API server of Kubernetes asks for it.
#[tokio::test]
async fn the_bearer_file_is_read_each_time_and_shown_to_the_issuer_alone() {
    let key = IssuerKey::new("one", Algorithm::Es256);
    let server = IssuerServer::new(&[&key]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let more = format!("bearer_file = {file:?}");
    let (oidc, _) = service(vec![read(&written(&server.url(), "ES256", &more))]);
    let issuer = &oidc.issuers()[0];
    assert!(matches!(issuer.fetch().await, Err(FetchError::File { .. })));
    for bearer in ["first", "second"] {
        std::fs::write(&file, format!("{bearer}\n")).unwrap();
        issuer.fetch().await.unwrap();
        let asked = server.asked();
        let shown = format!("authorization: Bearer {bearer}\r\n");
        let last = &asked[asked.len() - 2..];
        assert!(last.iter().all(|head| head.contains(&shown)), "{last:?}");
    }
    for wrong in ["", "a b", "a\nb", "a\r\nHost: b"] {
        std::fs::write(&file, wrong).unwrap();
        let error = issuer.fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::Bearer(_)), "{wrong:?}");
    }
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn the_background_reads_the_keys_and_goes_on_after_a_failure() {
    let fixture = Fixture::with(Algorithm::Es256, "refresh_floor = \"1s\"\nrefresh = \"1s\"");
    fixture.server.set_away(true);
    let mut tasks = base::Tasks::default();
    fixture.oidc.start(&mut tasks);
    while fixture.server.count(DISCOVERY) == 0 {
        tokio::task::yield_now().await;
    }
    fixture.server.set_away(false);
    while !fixture.oidc.issuers()[0].standing().usable {
        fixture.wait(1);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    tasks.stop().await;
    assert!(fixture.outcome(&fixture.claims()).await.is_ok());
}
