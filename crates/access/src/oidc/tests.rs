//! Issuers on loopback with keys made on the spot, and tokens that are wrong in each way.

mod issuers;
mod keys;
mod principals;
mod settings;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base::{Env, NoRandomness};
use serde_json::{Value, json};
use testkit::issuer::{IssuerKey, IssuerServer};
use trust::{Algorithm, Time};

use super::{Error, IssuerSettings, Oidc, OidcSettings, Refusal};
use crate::Principal;

/// Seconds; when tests begin.
const NOW: i64 = 1_800_000_000;

/// One issuer with one key, and the service that believes it.
struct Fixture {
    oidc: Oidc,
    server: IssuerServer,
    key: IssuerKey,
    clock: Arc<AtomicI64>,
}

/// Members of `[[access.oidc.issuer]]`, as somebody writes them.
fn written(url: &str, algorithm: &str, more: &str) -> String {
    format!(
        r#"
        name = "test"
        issuer = "{url}"
        audience = "chancery"
        algorithms = ["{algorithm}"]
        {more}
        [[map]]
        claim = "/groups"
        value = "signers"
        roles = ["signer:records"]
        [[map]]
        claim = "/groups"
        value = "watchers"
        roles = ["operator", "auditor"]
        "#
    )
}

fn read(text: &str) -> IssuerSettings {
    let settings: IssuerSettings = toml::from_str(text).unwrap();
    let all = super::Settings {
        oidc: OidcSettings {
            issuer: vec![settings.clone()],
        },
    };
    all.validate().unwrap();
    settings
}

fn service(issuers: Vec<IssuerSettings>) -> (Oidc, Arc<AtomicI64>) {
    // Whoever makes a client of HTTP needs it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock = Arc::new(AtomicI64::new(NOW * 1_000));
    let read = Arc::clone(&clock);
    let now = move || Time::from_millis(read.load(Ordering::Relaxed));
    let env = Env::new(now, |_: &mut [u8]| Err(NoRandomness));
    (Oidc::new(&OidcSettings { issuer: issuers }, &env), clock)
}

impl Fixture {
    fn new() -> Self {
        Self::with(Algorithm::Es256, "")
    }

    /// With further settings of the issuer.
    fn with(algorithm: Algorithm, more: &str) -> Self {
        let key = IssuerKey::new("one", algorithm);
        let server = IssuerServer::new(&[&key]);
        let settings = read(&written(&server.url(), algorithm.jws_alg(), more));
        let (oidc, clock) = service(vec![settings]);
        Self {
            oidc,
            server,
            key,
            clock,
        }
    }

    /// Good ones.
    fn claims(&self) -> Value {
        json!({
            "iss": self.server.url(),
            "aud": "chancery",
            "sub": "payments",
            "iat": NOW,
            "exp": NOW + 600,
            "groups": ["people", "signers"],
        })
    }

    /// Good ones but for one.
    fn claims_with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    fn claims_without(&self, name: &str) -> Value {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    fn wait(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000, Ordering::Relaxed);
    }

    async fn verify(&self, token: &str) -> Result<Principal, Error> {
        self.oidc.verify(token).await
    }

    /// Of a token with these claims.
    async fn outcome(&self, claims: &Value) -> Result<Principal, Error> {
        self.verify(&self.key.token(claims)).await
    }

    async fn refusal(&self, token: &str) -> Refusal {
        match self.verify(token).await {
            Err(Error::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    /// Why a token with these claims is refused; the same with good ones is not.
    async fn refusal_of(&self, claims: &Value) -> Refusal {
        self.refusal(&self.key.token(claims)).await
    }
}
