//! What claims are worth.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::issuer::{IssuerKey, IssuerServer};
use trust::Algorithm;
use trust::actor::is_reserved;

use super::{Fixture, NOW, read, service};
use crate::oidc::Refusal;
use crate::{PrincipalName, Role};

fn roles(principal: &crate::Principal) -> BTreeSet<String> {
    principal.roles().iter().map(Role::to_string).collect()
}

#[tokio::test]
async fn the_roles_of_all_mappings_that_match_are_given() {
    let fixture = Fixture::new();
    for (groups, expected) in [
        (json!(["signers"]), &["signer:records"][..]),
        (json!("signers"), &["signer:records"]),
        (json!(["watchers", "x"]), &["auditor", "operator"]),
        (
            json!(["watchers", "signers"]),
            &["auditor", "operator", "signer:records"],
        ),
        (
            json!(["signers", 7, null, ["watchers"]]),
            &["signer:records"],
        ),
    ] {
        let claims = fixture.claims_with("groups", groups);
        let found = fixture.outcome(&claims).await.unwrap();
        let expected: BTreeSet<_> = expected.iter().map(|role| (*role).to_owned()).collect();
        assert_eq!(roles(&found), expected);
    }
}

#[tokio::test]
async fn threat_an_empty_or_unknown_claim_gives_no_role_and_no_principal() {
    let fixture = Fixture::new();
    for groups in [
        json!(""),
        json!([]),
        json!([""]),
        json!(["Signers"]),
        json!(["signers "]),
        json!(["signers,watchers"]),
        json!("signers watchers"),
        json!({"signers": true}),
        json!([["signers"]]),
        json!(true),
        Value::Null,
    ] {
        let claims = fixture.claims_with("groups", groups.clone());
        assert_eq!(
            fixture.refusal_of(&claims).await,
            Refusal::NoRole,
            "{groups}"
        );
    }
    let claims = fixture.claims_without("groups");
    assert_eq!(fixture.refusal_of(&claims).await, Refusal::NoRole);
    for subject in [
        json!(""),
        json!(1),
        json!(["payments"]),
        json!({}),
        Value::Null,
    ] {
        let claims = fixture.claims_with("sub", subject.clone());
        assert_eq!(
            fixture.refusal_of(&claims).await,
            Refusal::NoPrincipal,
            "{subject}"
        );
    }
    let claims = fixture.claims_without("sub");
    assert_eq!(fixture.refusal_of(&claims).await, Refusal::NoPrincipal);
}

/// Settings refuse it; an empty claim is worth nothing even so.
#[tokio::test]
async fn a_mapping_without_a_value_matches_nothing() {
    let key = IssuerKey::new("one", Algorithm::Es256);
    let server = IssuerServer::new(&[&key]);
    let mut settings = read(&super::written(&server.url(), "ES256", ""));
    settings.map[0].value.clear();
    let (oidc, _) = service(vec![settings]);
    for groups in [json!(""), json!([""]), json!(["", "x"])] {
        let claims = json!({
            "iss": server.url(), "aud": "chancery", "sub": "a",
            "iat": NOW, "exp": NOW + 600, "groups": groups,
        });
        let refused = oidc.verify(&key.token(&claims)).await;
        assert_eq!(refused, Err(crate::oidc::Error::Refused(Refusal::NoRole)));
    }
}

#[tokio::test]
async fn threat_a_subject_that_looks_like_somebody_else() {
    let fixture = Fixture::new();
    let mut names = BTreeSet::new();
    let long = "a".repeat(54);
    let subjects = [
        "payments",
        "chancery",
        "anonymous",
        "custodian:mary",
        "cli:0:root",
        "oidc:test:payments",
        "Payments",
        "payments ",
        " payments",
        "pay\u{202e}ments",
        "pay\nments",
        "grüße",
        "#payments",
        "#",
        &long,
        &format!("{long}a"),
        &format!("{long}b"),
        &"a".repeat(2_000),
    ];
    for subject in subjects {
        let claims = fixture.claims_with("sub", json!(subject));
        let name = fixture.outcome(&claims).await.unwrap().name;
        assert!(name.starts_with("oidc:test:"), "{name}");
        // It fits into a leaf, and `access grant` refuses it.
        assert!(
            name.parse::<PrincipalName>().is_ok() && is_reserved(&name),
            "{name}"
        );
        assert!(crate::grant::principal(&name).is_err());
        names.insert(name.to_string());
    }
    assert_eq!(
        names.len(),
        subjects.len(),
        "each has a name of its own: {names:?}"
    );
    assert!(
        names.contains(&format!("oidc:test:{long}")),
        "what fits is readable"
    );
    // The name that a digest gave is none that a subject can ask for.
    let hashed = names
        .iter()
        .find_map(|name| name.strip_prefix("oidc:test:#"));
    let claims = fixture.claims_with("sub", json!(format!("#{}", hashed.unwrap())));
    let name = fixture.outcome(&claims).await.unwrap().name;
    assert!(!names.contains(&*name));
}

/// A projected token of a service account, as the API server of Kubernetes 1.30 makes it.
#[tokio::test]
async fn a_kubernetes_service_account_is_a_principal() {
    let key = IssuerKey::new("DQ3Xx", Algorithm::Rs256);
    let server = IssuerServer::new(&[]);
    server.put("/openid/v1/jwks", &testkit::issuer::key_set(&[&key]));
    let settings = read(&format!(
        r#"
        name = "k8s"
        issuer = "https://kubernetes.default.svc.cluster.local"
        audience = "chancery"
        algorithms = ["RS256"]
        jwks_uri = "{}/openid/v1/jwks"
        max_lifetime = "2h"
        [[map]]
        claim = "/sub"
        value = "system:serviceaccount:payments:signer"
        roles = ["signer:records"]
        [[map]]
        claim = "/kubernetes.io/serviceaccount/name"
        value = "watcher"
        roles = ["operator"]
        [[map]]
        claim = "/kubernetes.io/namespace"
        value = "audit"
        roles = ["auditor"]
        "#,
        server.url()
    ));
    let (oidc, _) = service(vec![settings]);
    let token = |namespace: &str, account: &str| {
        let claims = json!({
            "aud": ["chancery"],
            "exp": NOW + 3_607,
            "iat": NOW,
            "iss": "https://kubernetes.default.svc.cluster.local",
            "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a",
            "kubernetes.io": {
                "namespace": namespace,
                "node": {"name": "node-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
                "pod": {"name": "app-0", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
                "serviceaccount": {"name": account, "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"}
            },
            "nbf": NOW,
            "sub": format!("system:serviceaccount:{namespace}:{account}"),
        });
        key.sign(&json!({"alg": "RS256", "kid": "DQ3Xx"}), &claims)
    };
    let found = oidc.verify(&token("payments", "signer")).await.unwrap();
    assert_eq!(
        &*found.name,
        "oidc:k8s:system:serviceaccount:payments:signer"
    );
    assert_eq!(roles(&found), BTreeSet::from(["signer:records".to_owned()]));
    let found = oidc.verify(&token("audit", "watcher")).await.unwrap();
    assert_eq!(
        roles(&found),
        BTreeSet::from(["auditor", "operator"].map(str::to_owned))
    );
    // An account of the same name in another namespace is another one.
    assert!(oidc.verify(&token("other", "signer")).await.is_err());
    assert_eq!(
        server.count(testkit::issuer::DISCOVERY),
        0,
        "its keys are where they are said to be"
    );
}

#[tokio::test]
async fn the_name_comes_from_the_claim_that_is_configured() {
    let more = r#"principal = "/account/mail""#;
    let fixture = Fixture::with(Algorithm::Es256, more);
    let claims = fixture.claims_with("account", json!({"mail": "olga@example.org"}));
    let found = fixture.outcome(&claims).await.unwrap();
    assert_eq!(&*found.name, "oidc:test:olga@example.org");
    assert_eq!(
        fixture.refusal_of(&fixture.claims()).await,
        Refusal::NoPrincipal
    );
}
