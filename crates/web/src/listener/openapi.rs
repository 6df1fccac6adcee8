//! The description of the interface, generated from the endpoints.

use access::Call;
use axum::http::Method;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::listener::docs_page;
use crate::middleware::routes::Route;
use crate::v1;
use crate::v1::state::SharedState;

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
        (name = "ceremonies", description = "For custodians, whose signatures authenticate themselves, and for those who watch over them"),
        (name = "rotation", description = "For administrators, and for those who watch: what rotates, when, and how far it is"),
        (name = "operation", description = "For operators and auditors"),
    ),
)]
struct Head;

/// The description, without a running service.
#[cfg(test)]
pub fn describe() -> serde_json::Value {
    let batch_limit = crate::settings::Http::default().batch_limit;
    crate::listener::published::published(&routes().split_for_parts().1, batch_limit)
}

/// Every path of the router: those of the description, and those of the description itself.
pub fn paths() -> impl Iterator<Item = Route> {
    let described = routes().split_for_parts().1;
    let described = described.paths.paths.into_iter().map(|(path, item)| {
        let operations = [
            (Method::GET, item.get),
            (Method::POST, item.post),
            (Method::PUT, item.put),
        ];
        let operations = operations.into_iter().filter_map(|(method, operation)| {
            let id = operation?.operation_id.unwrap_or_default();
            Some((method, v1::calls::of_operation(&id)))
        });
        Route {
            path,
            operations: operations.collect(),
        }
    });
    let page = docs_page::PATHS.iter().map(|path| Route {
        path: (*path).to_owned(),
        operations: vec![(Method::GET, Some(Call::ReadPublished))],
    });
    described.chain(page)
}

/// The endpoints under their description.
pub fn routes() -> OpenApiRouter<SharedState> {
    let mut head = <Head as utoipa::OpenApi>::openapi();
    let components = head.components.get_or_insert_default();
    components.add_security_scheme(
        "access_token",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(
                    "An access token of the service, or a JWT of a configured OIDC issuer; a client certificate is the alternative",
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
    components.add_security_scheme(
        "read_signature",
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            "Chancery-Signature",
            "A member's SSH signature over method, path and the instant in `Chancery-Time`, armored and in base64url; it holds for five minutes, and once on each replica",
        ))),
    );
    OpenApiRouter::with_openapi(head).merge(v1::routes())
}
