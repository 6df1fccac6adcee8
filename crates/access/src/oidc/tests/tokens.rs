//! Tokens that somebody else made, or that were made for something else.

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use testkit::issuer::{IssuerKey, IssuerServer, KEYS};
use trust::{Algorithm, base64url};

use super::{Fixture, NOW, read, service, written};
use crate::oidc::token::UnverifiedToken;
use crate::oidc::{Error, LONGEST, Refusal};

#[tokio::test]
async fn a_token_of_its_issuer_stands_for_a_principal_until_it_ends() {
    let fixture = Fixture::new();
    let found = fixture.outcome(&fixture.claims()).await.unwrap();
    assert_eq!(&*found.name, "oidc:test:payments");
    assert!(found.may_sign("records") && !found.may_sign("others"));
    assert_eq!(found.expires_at().unwrap().millis(), (NOW + 630) * 1_000);
    assert_eq!(fixture.server.count(KEYS), 1, "the keys are read once");
    fixture.outcome(&fixture.claims()).await.unwrap();
    assert_eq!(fixture.server.count(KEYS), 1);
}

#[tokio::test]
async fn each_algorithm_that_is_configured_verifies_and_no_other() {
    for algorithm in Algorithm::ALL {
        let fixture = Fixture::with(algorithm, "");
        assert!(
            fixture.outcome(&fixture.claims()).await.is_ok(),
            "{algorithm:?}"
        );
        for other in Algorithm::ALL
            .into_iter()
            .filter(|other| *other != algorithm)
        {
            let header = json!({"alg": other.jws_alg(), "kid": "one"});
            let token = fixture.key.sign(&header, &fixture.claims());
            assert_eq!(fixture.refusal(&token).await, Refusal::Algorithm);
        }
        // One bit of what was signed.
        let good = fixture.key.token(&fixture.claims());
        let (input, signature) = good.rsplit_once('.').unwrap();
        let mut bytes = base64url::decode(signature).unwrap();
        bytes[9] ^= 1;
        let changed = format!("{input}.{}", base64url::encode(&bytes));
        assert_eq!(fixture.refusal(&changed).await, Refusal::Signature);
        let short = format!("{input}.{}", base64url::encode(&bytes[1..]));
        assert_eq!(fixture.refusal(&short).await, Refusal::Signature);
    }
}

#[tokio::test]
async fn threat_a_public_key_is_used_as_the_secret_of_an_hmac() {
    let fixture = Fixture::with(Algorithm::Rs256, "");
    let der = fixture.key.public_der();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64url::encode(&der)
    );
    for (alg, kid) in [
        ("HS256", "one"),
        ("hs256", "one"),
        ("HS256", ""),
        ("HS512", "one"),
    ] {
        let header = json!({"alg": alg, "kid": kid}).to_string();
        let parts = [header, fixture.claims().to_string()];
        let input = parts
            .map(|part| base64url::encode(part.as_bytes()))
            .join(".");
        for secret in [&der[..], pem.as_bytes(), b""] {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            let tag = hmac::sign(&key, input.as_bytes());
            let token = format!("{input}.{}", base64url::encode(tag.as_ref()));
            assert_eq!(fixture.refusal(&token).await, Refusal::Algorithm);
        }
    }
    assert_eq!(fixture.server.count(KEYS), 0, "nothing was asked for it");
}

#[tokio::test]
async fn threat_a_token_without_a_signature() {
    let fixture = Fixture::new();
    let claims = base64url::encode(fixture.claims().to_string().as_bytes());
    for alg in [
        json!("none"),
        json!("None"),
        json!(""),
        json!(["ES256"]),
        Value::Null,
    ] {
        let header = json!({"alg": alg, "kid": "one"}).to_string();
        let token = format!("{}.{claims}.", base64url::encode(header.as_bytes()));
        assert_eq!(fixture.refusal(&token).await, Refusal::Algorithm, "{alg}");
    }
    let header = base64url::encode(br#"{"alg":"ES256","kid":"one"}"#);
    let token = format!("{header}.{claims}.");
    assert_eq!(fixture.refusal(&token).await, Refusal::Signature);
}

#[tokio::test]
async fn threat_a_token_brings_its_own_key() {
    let fixture = Fixture::new();
    let own = IssuerKey::new("one", Algorithm::Es256);
    fixture
        .server
        .put("/own", &testkit::issuer::key_set(&[&own]));
    let url = format!("{}/own", fixture.server.url());
    for (member, value) in [
        ("jwk", own.jwk()),
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
    ] {
        let mut header = json!({"alg": "ES256", "kid": "one"});
        header[member] = value.clone();
        let token = own.sign(&header, &fixture.claims());
        assert_eq!(
            fixture.refusal(&token).await,
            Refusal::Signature,
            "{member}"
        );
        // It says nothing in a good token either.
        let token = fixture.key.sign(&header, &fixture.claims());
        assert!(fixture.verify(&token).await.is_ok(), "{member}");
    }
    assert_eq!(fixture.server.count("/own"), 0);
}

#[tokio::test]
async fn threat_a_token_for_another_audience() {
    let fixture = Fixture::new();
    for audience in [
        json!("chancery2"),
        json!("Chancery"),
        json!("chancery "),
        json!(""),
        json!([]),
        json!(["other"]),
        json!(["chancery", 1]),
        json!({"chancery": true}),
        json!(1),
        Value::Null,
    ] {
        let claims = fixture.claims_with("aud", audience.clone());
        assert_eq!(
            fixture.refusal_of(&claims).await,
            Refusal::Audience,
            "{audience}"
        );
    }
    let claims = fixture.claims_without("aud");
    assert_eq!(fixture.refusal_of(&claims).await, Refusal::Audience);
    let claims = fixture.claims_with("aud", json!(["other", "chancery"]));
    assert!(fixture.outcome(&claims).await.is_ok());
}

#[tokio::test]
async fn threat_a_token_of_another_issuer() {
    let fixture = Fixture::new();
    let url = fixture.server.url();
    for issuer in [
        json!("https://other.example"),
        json!(format!("{url}/")),
        json!(url.to_uppercase()),
        json!([url]),
        json!(""),
        Value::Null,
    ] {
        let claims = fixture.claims_with("iss", issuer.clone());
        assert_eq!(
            fixture.refusal_of(&claims).await,
            Refusal::Issuer,
            "{issuer}"
        );
    }
    let claims = fixture.claims_without("iss");
    assert_eq!(fixture.refusal_of(&claims).await, Refusal::Issuer);
}

/// Whoever asks an issuer directly is told so too.
#[tokio::test]
async fn an_issuer_verifies_no_token_of_another() {
    let fixture = Fixture::new();
    let issuer = &fixture.oidc.issuers()[0];
    for (iss, good) in [
        (json!(fixture.server.url()), true),
        (json!("https://other.example"), false),
        (Value::Null, false),
    ] {
        let token = fixture.key.token(&fixture.claims_with("iss", iss));
        let unverified = UnverifiedToken::parse(&token).unwrap();
        let verified = issuer.verify(&unverified).await;
        match good {
            true => assert!(verified.is_ok()),
            false => assert_eq!(verified.err(), Some(Error::Refused(Refusal::Issuer))),
        }
    }
}

#[tokio::test]
async fn threat_a_token_of_one_issuer_under_the_kid_of_another() {
    let keys = ["a", "b"].map(|_| IssuerKey::new("one", Algorithm::Es256));
    let servers = [0, 1].map(|at: usize| IssuerServer::new(&[&keys[at]]));
    let names = ["a", "b"];
    let settings = [0, 1].map(|at: usize| {
        let mut settings = read(&written(&servers[at].url(), "ES256", ""));
        names[at].clone_into(&mut settings.name);
        settings
    });
    let (oidc, _) = service(settings.into());
    let token = |of: usize, by: usize| {
        keys[by].token(&json!({
            "iss": servers[of].url(), "aud": "chancery", "sub": "payments",
            "iat": NOW, "exp": NOW + 600, "groups": ["signers"],
        }))
    };
    for (of, by) in [(0, 1), (1, 0)] {
        let refused = oidc.verify(&token(of, by)).await;
        assert_eq!(refused, Err(Error::Refused(Refusal::Signature)));
    }
    // The same subject of each is somebody else.
    let a = oidc.verify(&token(0, 0)).await.unwrap();
    let b = oidc.verify(&token(1, 1)).await.unwrap();
    assert_eq!((&*a.name, &*b.name), ("oidc:a:payments", "oidc:b:payments"));
}

#[tokio::test]
async fn threat_a_token_that_two_readers_read_differently() {
    let fixture = Fixture::new();
    let header = r#"{"alg":"ES256","kid":"one"}"#;
    let claims = fixture.claims().to_string();
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    for (header, claims) in [
        (twice(header, r#""alg":"none""#), claims.clone()),
        (twice(header, r#""kid":"two""#), claims.clone()),
        (header.to_owned(), twice(&claims, r#""sub":"root""#)),
        (header.to_owned(), twice(&claims, r#""s\u0075b":"root""#)),
        (header.to_owned(), twice(&claims, r#""x":{"a":1,"a":2}"#)),
        (header.to_owned(), twice(&claims, r#""x":1.5"#)),
        (header.to_owned(), format!("{claims} {{}}")),
        (header.to_owned(), format!("[{claims}]")),
        (format!("[{header}]"), claims.clone()),
        (header.to_owned(), String::new()),
        (
            header.to_owned(),
            twice(
                &claims,
                &format!(r#""x":{}1{}"#, "[".repeat(99), "]".repeat(99)),
            ),
        ),
    ] {
        let token = fixture.key.sign_text(&header, &claims);
        assert_eq!(
            fixture.refusal(&token).await,
            Refusal::Malformed,
            "{header} {claims}"
        );
    }
    let good = fixture.key.token(&fixture.claims());
    // Bits that are no part of the signature: another spelling of the same bytes.
    let rest = &good[..good.len() - 1];
    for other in ["B", "R", "h", "x"] {
        let refused = fixture.refusal(&format!("{rest}{other}")).await;
        assert_eq!(refused, Refusal::Malformed, "{other}");
    }
    for token in [
        format!("{good}="),
        good.replacen('.', "=.", 1),
        good.replacen('.', "..", 1),
        format!(" {good}"),
        good.rsplit_once('.').unwrap().0.to_owned(),
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
    ] {
        let refused = fixture.refusal(&token).await;
        assert!(
            matches!(refused, Refusal::Malformed | Refusal::Signature),
            "{token}"
        );
    }
}

#[tokio::test]
async fn threat_a_token_that_is_too_long() {
    let fixture = Fixture::new();
    let token = |length: usize| {
        let claims = fixture.claims_with("x", json!("a".repeat(length)));
        fixture.key.token(&claims)
    };
    let fits = token(5_000);
    assert!(fits.len() < LONGEST && fixture.verify(&fits).await.is_ok());
    assert_eq!(fixture.refusal(&token(LONGEST)).await, Refusal::TooLong);
}

#[tokio::test]
async fn threat_a_token_for_another_purpose_of_the_same_issuer() {
    let fixture = Fixture::new();
    let with = |member: &str, value: Value| {
        let mut header = json!({"alg": "ES256", "kid": "one"});
        header[member] = value;
        fixture.key.sign(&header, &fixture.claims())
    };
    for good in ["JWT", "jwt", "at+jwt", "application/at+JWT"] {
        assert!(
            fixture.verify(&with("typ", json!(good))).await.is_ok(),
            "{good}"
        );
    }
    for bad in [
        json!("logout+jwt"),
        json!("dpop+jwt"),
        json!("JWE"),
        json!(""),
        json!(1),
    ] {
        assert_eq!(fixture.refusal(&with("typ", bad)).await, Refusal::Type);
    }
    for crit in [json!(["exp"]), json!([]), Value::Null] {
        assert_eq!(
            fixture.refusal(&with("crit", crit)).await,
            Refusal::Critical
        );
    }
    for kid in [json!(""), json!(1), Value::Null] {
        assert_eq!(fixture.refusal(&with("kid", kid)).await, Refusal::NoKid);
    }
    let bound = fixture.claims_with("cnf", json!({"jkt": "x"}));
    assert_eq!(fixture.refusal_of(&bound).await, Refusal::Bound);

    let strict = Fixture::with(Algorithm::Es256, r#"token_type = "at+jwt""#);
    let with = |header: Value| strict.key.sign(&header, &strict.claims());
    let token = with(json!({"alg": "ES256", "kid": "one", "typ": "application/at+jwt"}));
    assert!(strict.verify(&token).await.is_ok());
    for header in [
        json!({"alg": "ES256", "kid": "one", "typ": "JWT"}),
        json!({"alg": "ES256", "kid": "one"}),
    ] {
        assert_eq!(strict.refusal(&with(header)).await, Refusal::Type);
    }
}

#[tokio::test]
async fn a_token_counts_from_its_beginning_to_its_end_and_the_skew_beyond() {
    let fixture = Fixture::with(Algorithm::Es256, r#"clock_skew = "30s""#);
    let at = |iat: i64, exp: i64| {
        let mut claims = fixture.claims_with("iat", json!(iat));
        claims["exp"] = json!(exp);
        claims
    };
    assert!(fixture.outcome(&at(NOW - 600, NOW - 29)).await.is_ok());
    for ended in [NOW - 30, NOW - 31, NOW - 500] {
        let refused = fixture.refusal_of(&at(NOW - 600, ended)).await;
        assert_eq!(refused, Refusal::Expired, "{ended}");
    }
    assert!(fixture.outcome(&at(NOW + 30, NOW + 600)).await.is_ok());
    assert_eq!(
        fixture.refusal_of(&at(NOW + 31, NOW + 600)).await,
        Refusal::NotYet
    );
    let mut later = fixture.claims_with("nbf", json!(NOW + 31));
    assert_eq!(fixture.refusal_of(&later).await, Refusal::NotYet);
    later["nbf"] = json!(NOW + 30);
    assert!(fixture.outcome(&later).await.is_ok());
    // Each of the two by itself: an issuer's clock that is ahead is no less ahead if `nbf` lies before.
    let mut ahead = at(NOW + 31, NOW + 600);
    ahead["nbf"] = json!(NOW - 1);
    assert_eq!(fixture.refusal_of(&ahead).await, Refusal::NotYet);

    let exact = Fixture::with(Algorithm::Es256, r#"clock_skew = "0s""#);
    let ending = exact.claims_with("exp", json!(NOW + 1));
    assert!(exact.outcome(&ending).await.is_ok());
    exact.wait(1);
    assert_eq!(exact.refusal_of(&ending).await, Refusal::Expired);
}

#[tokio::test]
async fn threat_a_token_that_never_ends() {
    let fixture = Fixture::with(Algorithm::Es256, r#"max_lifetime = "1h""#);
    let exp = |value: Value| fixture.claims_with("exp", value);
    assert!(fixture.outcome(&exp(json!(NOW + 3_600))).await.is_ok());
    assert_eq!(
        fixture.refusal_of(&exp(json!(NOW + 3_601))).await,
        Refusal::Lifetime
    );
    let far = exp(json!(253_402_207_199_i64));
    assert_eq!(fixture.refusal_of(&far).await, Refusal::Lifetime);
    for bad in [
        json!(-1),
        json!("1900000000"),
        json!(9_007_199_254_740_991_i64),
        json!(NOW),
        json!(true),
        Value::Null,
    ] {
        assert_eq!(
            fixture.refusal_of(&exp(bad.clone())).await,
            Refusal::Times,
            "{bad}"
        );
    }
    for missing in ["exp", "iat"] {
        let claims = fixture.claims_without(missing);
        assert_eq!(
            fixture.refusal_of(&claims).await,
            Refusal::Times,
            "{missing}"
        );
    }
    let claims = fixture.claims_with("nbf", json!("soon"));
    assert_eq!(fixture.refusal_of(&claims).await, Refusal::Times);
}

#[tokio::test]
async fn any_single_character_of_a_token_changed_is_refused() {
    let fixture = Fixture::new();
    let good = fixture.key.token(&fixture.claims());
    assert!(fixture.verify(&good).await.is_ok());
    for at in 0..good.len() {
        for other in ["A", "B", ".", "=", "-"] {
            let mut changed = good.clone();
            changed.replace_range(at..=at, other);
            if changed != good {
                assert!(fixture.verify(&changed).await.is_err(), "{at} {other}");
            }
        }
        assert!(fixture.verify(&good[..at]).await.is_err(), "{at}");
        assert!(fixture.oidc.recent(&good[..at]).is_none());
    }
    // An unknown kid among them had the keys read again, and nothing else did.
    assert!(fixture.server.count(KEYS) <= 2);
}
