//! All routes of the API listener and the description that is generated from them.

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::codes::Code;
use super::problem::Problem;
use super::{
    Shared, audit, blast_radius, docs, edge, evidence, history, inventory, jwks, jwks_then, key,
    key_log, key_material, log_files, receipt, rings, sign, sign_batch, transcript, verify,
    verify_batch,
};

/// What stands at the head of the description.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Chancery",
        description = "Signs with keys that never leave the HSM, publishes the public keys as \
            JWKS, and verifies every signature it ever made. Errors are problem documents (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "signing", description = "For signers of a ring"),
        (name = "publication", description = "Public: keys, their history and their transcripts"),
        (name = "verification", description = "Public: verdicts with their reasons"),
        (name = "log", description = "Public: the transparency log, its receipts and its files"),
        (name = "operation", description = "For operators and auditors"),
    ),
)]
struct Head;

/// The description, without a running service.
pub fn describe() -> OpenApi {
    routes().split_for_parts().1
}

/// Every path of the description, as the router writes it.
pub fn paths() -> impl Iterator<Item = String> {
    describe().paths.paths.into_keys()
}

fn routes() -> OpenApiRouter<Shared> {
    let mut head = <Head as utoipa::OpenApi>::openapi();
    let components = head.components.get_or_insert_default();
    components.add_security_scheme(
        "access_token",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(
                    "An access token; a client certificate is the alternative",
                ))
                .build(),
        ),
    );
    components.add_security_scheme(
        "mtls",
        SecurityScheme::MutualTls {
            description: Some(
                "A client certificate whose name is mapped to a principal".to_owned(),
            ),
            deprecated: None,
            extensions: None,
        },
    );
    OpenApiRouter::with_openapi(head)
        .routes(routes!(sign::handle))
        .routes(routes!(sign_batch::handle))
        .routes(routes!(verify::handle))
        .routes(routes!(verify_batch::handle))
        .routes(routes!(blast_radius::handle))
        .routes(routes!(jwks::combined))
        .routes(routes!(jwks::of_ring))
        .routes(routes!(jwks_then::combined))
        .routes(routes!(jwks_then::of_ring))
        .routes(routes!(history::handle))
        .routes(routes!(key::handle))
        .routes(routes!(key_log::handle))
        .routes(routes!(key_material::jwk))
        .routes(routes!(key_material::pem))
        .routes(routes!(key_material::certificate))
        .routes(routes!(transcript::handle))
        .routes(routes!(transcript::of_ceremony))
        .routes(routes!(rings::list))
        .routes(routes!(rings::one))
        .routes(routes!(inventory::handle))
        .routes(routes!(audit::handle))
        .routes(routes!(receipt::handle))
        .routes(routes!(receipt::consistency))
        .routes(routes!(evidence::of_leaf))
        .routes(routes!(evidence::of_signature))
        .routes(routes!(log_files::checkpoint))
        .routes(routes!(log_files::tile))
}

/// The router behind [`super::front::Front`].
pub fn router(edge: &Shared) -> Router {
    let (router, description) = routes().split_for_parts();
    router
        .merge(docs::routes(&description))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(edge.clone(), edge::layer))
        .with_state(edge.clone())
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
