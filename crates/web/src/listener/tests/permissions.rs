//! Who may call what, found out by calling: each route by each role, and by nobody.

use access::{Allowed, Call, RoleKind};
use axum::body::Body;
use axum::http::Method;
use tower::ServiceExt as _;

use crate::listener::golden::compare;
use crate::listener::openapi;
use crate::middleware::routes::Route;
use crate::testing::oidc::{self, TestIssuer};
use crate::testing::{self, Fixture};

/// A role of each kind, those that are restricted with what the requests ask for.
fn role(kind: RoleKind) -> String {
    let scope = match kind {
        RoleKind::Signer | RoleKind::Encrypter | RoleKind::Decrypter => ":records",
        RoleKind::SecretReader | RoleKind::Reporter => ":*",
        RoleKind::Requester => ":records",
        _ => "",
    };
    format!("{}{scope}", kind.name())
}

/// What there is for each parameter of a path.
fn filled(fixture: &Fixture, path: &str, open: &str) -> String {
    let keys = fixture.state.services.keys.current();
    let key = &keys.rings["records"].keys[0];
    let parts = path.split('/').map(|part| match part {
        "{ring}" => "records",
        "{kid}" => key.kid.as_str(),
        // A closed one is public.
        "{ceremony}" => open,
        part if part.starts_with('{') => "0",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Whether the caller got past the question of who it is.
async fn admitted(fixture: &Fixture, method: &Method, path: &str, token: Option<&str>) -> bool {
    let mut request = testing::post(path, "{}");
    *request.method_mut() = method.clone();
    if method != Method::POST {
        *request.body_mut() = Body::empty();
    }
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
    }
    // A stream does not end by itself.
    if path.ends_with("/events") {
        let response = fixture.connection().oneshot(request).await.unwrap();
        return !matches!(response.status().as_u16(), 401 | 403);
    }
    let answered = fixture.send(request).await;
    assert!(answered.status != 500, "{method} {path}");
    match answered.status.as_u16() {
        401 => {
            assert!(token != Some("nothing") || answered.code() == "invalid_credentials");
            assert!(token.is_some() || answered.code() == "unauthenticated");
            false
        }
        403 => {
            assert_eq!(answered.code(), "forbidden");
            false
        }
        _ => true,
    }
}

#[tokio::test]
async fn every_route_is_for_exactly_those_roles_that_the_table_names() {
    let groups = RoleKind::ALL.map(|kind| (kind.name(), role(kind)));
    let fixture = Fixture::new().await.with_oidc(&oidc::settings(&groups));
    let issuer = TestIssuer::new();
    issuer.publish(&fixture);
    // A principal of each role twice: one of the database's, one of an issuer's.
    let mut callers = Vec::new();
    for kind in RoleKind::ALL {
        fixture.grant_token(kind.name(), &[&role(kind)]).await;
        let token = issuer.token(&fixture, kind.name(), &[kind.name()]);
        callers.push((kind, [kind.name().to_owned(), token]));
    }
    let nobody = issuer.token(&fixture, "nobody", &[]);
    let open = fixture.propose("records", fixture.generate()).await;
    let mut text = String::new();
    for route in openapi::paths() {
        let path = filled(&fixture, &route.path, &open);
        for (method, call) in &route.operations {
            let call = call.unwrap_or_else(|| panic!("{method} {path} is not in the table"));
            let mut let_in = [Vec::new(), Vec::new()];
            for (kind, tokens) in &callers {
                for (let_in, token) in let_in.iter_mut().zip(tokens) {
                    if admitted(&fixture, method, &path, Some(token)).await {
                        let_in.push(*kind);
                    }
                }
            }
            let anonymous = admitted(&fixture, method, &path, None).await;
            let allowed = call.allowed();
            let expected = match allowed {
                Allowed::Anybody => RoleKind::ALL.to_vec(),
                Allowed::Roles(roles) | Allowed::MembersAndRoles(roles) => {
                    let mut roles = roles.to_vec();
                    roles.sort();
                    roles
                }
            };
            assert_eq!(let_in, [expected.clone(), expected], "{method} {path}");
            assert_eq!(anonymous, allowed.is_public(), "{method} {path}");
            for wrong in ["nothing", &nobody] {
                let wrong = admitted(&fixture, method, &path, Some(wrong)).await;
                assert_eq!(wrong, allowed.is_public(), "{method} {path}");
            }
            let (path, name) = (&route.path, call.name());
            text.push_str(&format!("{method} {path}: {name}, {}\n", allowed.text()));
        }
    }
    compare("permissions.txt", &text);
}

#[tokio::test]
async fn the_description_says_which_calls_need_credentials() {
    let described = openapi::describe();
    for route in openapi::paths() {
        for (method, call) in &route.operations {
            let path = route.path.replace("{*", "{");
            let operation = &described["paths"][path][method.as_str().to_lowercase()];
            let security = operation["security"].is_array();
            assert_eq!(security, !call.unwrap().allowed().is_public(), "{route:?}");
        }
    }
}

#[tokio::test]
async fn threat_a_role_for_one_ring_is_used_on_another() {
    let fixture = Fixture::new().await;
    for role in [
        "signer:digests",
        "signer:record",
        "signer:records2",
        "signer:*",
    ] {
        fixture.grant_token(role, &[role]).await;
        for path in ["/v1/rings/records/sign", "/v1/rings/records/sign-batch"] {
            assert!(!admitted(&fixture, &Method::POST, path, Some(role)).await);
        }
    }
}

#[test]
fn a_route_that_is_no_call_is_for_nobody() {
    let route = Route {
        path: "/new".to_owned(),
        operations: vec![(Method::GET, None), (Method::POST, Some(Call::Verify))],
    };
    let caller = crate::middleware::auth::Caller::Anonymous;
    assert!(route.permit(&Method::GET, &caller).is_err());
    assert!(route.permit(&Method::HEAD, &caller).is_err());
    assert!(route.permit(&Method::POST, &caller).is_ok());
    assert!(!route.is_public(&Method::GET));
}
