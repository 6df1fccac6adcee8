//! All routes of the API listener, and what is said where there is none.

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;

use crate::listener::published::published;
use crate::listener::{docs_page, openapi};
use crate::middleware::layer;
use crate::problem::{Code, Problem};
use crate::v1::state::SharedState;

/// The router behind [`super::connection::Connection`].
pub fn router(state: &SharedState) -> Router {
    with_layers(handlers(state.settings.batch_limit), state)
}

/// Everything that answers.
fn handlers(batch_limit: usize) -> Router<SharedState> {
    let (router, description) = openapi::routes().split_for_parts();
    router
        .merge(docs_page::routes(&published(&description, batch_limit)))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
}

fn with_layers(handlers: Router<SharedState>, state: &SharedState) -> Router {
    handlers
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.layer.clone(), layer::run))
        .with_state(state.clone())
}

async fn no_such_path(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(Code::NotFound, format!("no resource at {path}"))
}

async fn no_such_method(request: Request) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!("{} is not allowed; see the Allow header", request.method()),
    )
}

/// A defect in a handler costs its request and nothing else.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    tracing::error!(what, "a handler panicked");
    Problem::new(Code::Internal, "a handler panicked").into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::Method;
    use axum::middleware::{Next, from_fn};
    use tokio::sync::Semaphore;
    use tower::ServiceExt as _;

    use super::*;
    use crate::middleware::routes::Route;
    use crate::testing::{self, Fixture};

    /// What a handler has done waits here before it is an answer.
    struct Gate {
        reached: Semaphore,
        open: Semaphore,
    }

    impl Gate {
        async fn pass(&self) {
            self.reached.add_permits(1);
            self.open.acquire().await.unwrap().forget();
        }
    }

    /// With something for each parameter.
    fn testing_path(path: &str) -> String {
        let parts = path.split('/').map(|part| match part.strip_prefix('{') {
            Some(_) => "records",
            None => part,
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// Of every route, and of those that there are not: a path that says what it is.
    fn requests() -> Vec<(Method, String)> {
        let mut requests = Vec::new();
        for route in openapi::paths() {
            let path = testing_path(&route.path);
            let methods = route.operations.into_iter().map(|(method, _)| method);
            requests.extend(methods.map(|method| (method, path.clone())));
        }
        requests.push((Method::GET, "/nothing".to_owned()));
        requests.push((Method::DELETE, "/v1/verify".to_owned()));
        requests
    }

    async fn until(what: impl Fn() -> bool) {
        while !what() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn case_c1_whatever_needs_no_credentials_is_readable_from_any_page_errors_too() {
        let fixture = Fixture::new().await;
        let described = openapi::describe();
        // What says itself that it needs credentials.
        let private = |method: &Method, path: &str| {
            let (paths, method) = (&described["paths"], method.as_str().to_lowercase());
            let names = [
                "{ring}",
                "{ceremony}",
                "{statement}",
                "{order}",
                "{asset}",
                "{alert}",
                "{report}",
                "{event}",
                "{key_type}",
                "{kid}",
                "",
            ];
            names.iter().any(|name| {
                let path = path.replacen("records", name, 1);
                paths[&path][&method]["security"].is_array()
            })
        };
        for (method, path) in requests() {
            let request = |method: &Method| {
                let mut request = testing::post(&path, "{}");
                *request.method_mut() = method.clone();
                request
            };
            let public = !private(&method, &path);
            let answered = fixture.send(request(&method)).await;
            let origin = answered.header("access-control-allow-origin");
            assert_eq!(origin == "*", public, "{method} {path} {}", answered.status);
            if path.starts_with("/docs") || path == "/nothing" {
                continue;
            }
            let asked = fixture.send(request(&Method::OPTIONS)).await;
            assert_eq!(asked.status, 204, "{path}");
            let methods = asked.header("access-control-allow-methods");
            let others = requests().into_iter().filter(|(_, other)| *other == path);
            let any = others
                .into_iter()
                .any(|(method, path)| !private(&method, &path));
            assert_eq!(!methods.is_empty(), any, "{path}");
            let allowed = asked.header("allow");
            if method != Method::DELETE {
                assert!(allowed.contains(method.as_str()), "{path} {allowed}");
            }
        }
        let unchanged = Request::get("/v1/keys/history").body(Body::empty());
        let answered = fixture.send(unchanged.unwrap()).await;
        let exposed = answered.header("access-control-expose-headers");
        assert!(exposed.contains("retry-after"), "{exposed}");
    }

    #[tokio::test]
    async fn case_s2_every_route_holds_its_place_until_it_is_done() {
        let mut settings = testing::settings();
        settings.max_in_flight = 1;
        let fixture = Fixture::with(settings).await;
        let roles = [
            "signer:records",
            "operator",
            "auditor",
            "administrator",
            "on-call",
            "prober",
            "reporter:*",
        ];
        fixture.grant_token("all", &roles).await;
        let described = openapi::paths().collect::<Vec<_>>();
        let is_public = |method: &Method, path: &str| {
            let named = |route: &&Route| testing_path(&route.path) == path;
            let route = described.iter().find(named);
            route.is_none_or(|route| route.is_public(method))
        };
        let gate = Arc::new(Gate {
            reached: Semaphore::new(0),
            open: Semaphore::new(0),
        });
        let held = Arc::clone(&gate);
        let gated = handlers(1).layer(from_fn(move |request: Request, next: Next| {
            let gate = Arc::clone(&held);
            async move {
                let response = next.run(request).await;
                gate.pass().await;
                response
            }
        }));
        let router = with_layers(gated, &fixture.state);
        let limits = &fixture.state.layer.limits;
        let requests = requests();
        assert!(requests.len() > 25, "{requests:?}");
        for (method, path) in requests {
            let request = |known: bool| {
                let mut request = testing::post(&path, "{}");
                *request.method_mut() = method.clone();
                if method == Method::GET {
                    *request.body_mut() = Body::empty();
                }
                if known {
                    let bearer = "Bearer all".parse().unwrap();
                    request.headers_mut().insert("authorization", bearer);
                }
                request
            };
            // Nobody does anything for those who lack a role.
            let callers = [false, true].into_iter();
            for known in callers.filter(|known| *known || is_public(&method, &path)) {
                let asked = tokio::spawn(router.clone().oneshot(request(known)));
                gate.reached.acquire().await.unwrap().forget();
                assert_eq!(limits.in_flight(), 1, "{method} {path}");
                // Its client goes away.
                asked.abort();
                assert!(asked.await.is_err());
                assert_eq!(limits.in_flight(), 1, "{method} {path} was left");
                let another = router.clone().oneshot(request(known)).await.unwrap();
                assert_eq!(another.status(), 503, "{method} {path}");
                gate.open.add_permits(1);
                until(|| limits.in_flight() == 0).await;
            }
        }
    }
}
