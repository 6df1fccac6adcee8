//! All routes of the API listener, and what is said where there is none.

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;

use crate::listener::{docs_page, openapi};
use crate::middleware::layer;
use crate::problem::{Code, Problem};
use crate::v1::state::SharedState;

/// The router behind [`super::connection::Connection`].
pub fn router(state: &SharedState) -> Router {
    let (router, description) = openapi::routes().split_for_parts();
    router
        .merge(docs_page::routes(&description))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
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
