//! An OIDC issuer whose tokens the service of a test believes.

use access::oidc::{KeySet, OidcSettings};
use serde_json::{Value, json};
use testkit::issuer::{IssuerKey, key_set};
use trust::Algorithm;

use crate::testing::Fixture;

pub const ISSUER: &str = "https://id.example";

pub struct TestIssuer {
    pub key: IssuerKey,
}

/// Groups of its tokens, and the role of each.
pub fn settings(groups: &[(&str, String)]) -> OidcSettings {
    let map: Vec<_> = groups
        .iter()
        .map(|(group, role)| json!({"claim": "/groups", "value": group, "roles": [role]}))
        .collect();
    let issuer = json!({
        "name": "test",
        "issuer": ISSUER,
        "audience": "chancery",
        "algorithms": ["ES256"],
        // Nobody answers there.
        "jwks_uri": "http://127.0.0.1:1/keys",
        "keep_keys": "1d",
        "map": map,
    });
    serde_json::from_value(json!({ "issuer": [issuer] })).unwrap()
}

impl TestIssuer {
    pub fn new() -> Self {
        // Whoever makes a client of HTTP needs it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            key: IssuerKey::new("one", Algorithm::Es256),
        }
    }

    /// The service knows its key.
    pub fn publish(&self, fixture: &Fixture) {
        let set = key_set(&[&self.key]);
        let set = KeySet::parse(set.as_bytes(), &[Algorithm::Es256]).unwrap();
        fixture.state.services.oidc.issuers()[0].take(set);
    }

    pub fn claims(fixture: &Fixture, subject: &str, groups: &[&str]) -> Value {
        let now = fixture.now().millis() / 1_000;
        json!({
            "iss": ISSUER, "aud": "chancery", "sub": subject,
            "iat": now, "exp": now + 600, "groups": groups,
        })
    }

    pub fn token(&self, fixture: &Fixture, subject: &str, groups: &[&str]) -> String {
        self.key.token(&Self::claims(fixture, subject, groups))
    }
}
