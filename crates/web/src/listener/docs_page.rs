//! `GET /openapi.json` and `/docs`: the description, and a page to read it by. Every asset of the
//! page is in the binary, and its policy lets it load nothing else.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::{CONTENT_SECURITY_POLICY, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::Value;
use utoipa_swagger_ui::Config;

use crate::problem::{Code, Problem};
use crate::v1::response::bytes_of;
use crate::v1::state::SharedState;

/// Swagger UI writes styles into its elements and draws its icons from data URLs.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const SHORT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// As [`routes`] has them.
pub const PATHS: [&str; 4] = ["/openapi.json", "/docs", "/docs/", "/docs/{*path}"];

pub fn routes(description: &Value) -> Router<SharedState> {
    let text: Bytes = description.to_string().into();
    let config = Arc::new(Config::new(["/openapi.json"]).validator_url("none"));
    let page = Arc::clone(&config);
    Router::new()
        .route(
            PATHS[0],
            get(move || {
                let text = text.clone();
                async move { bytes_of(text, HeaderValue::from_static("application/json"), SHORT) }
            }),
        )
        .route(
            PATHS[1],
            get(|| async {
                let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
                response
                    .headers_mut()
                    .insert(LOCATION, HeaderValue::from_static("/docs/"));
                response
            }),
        )
        .route(PATHS[2], get(move || async move { asset("", page) }))
        .route(
            PATHS[3],
            get(move |Path(path): Path<String>| async move { asset(&path, config) }),
        )
}

fn asset(path: &str, config: Arc<Config<'static>>) -> Result<Response, Problem> {
    let file = utoipa_swagger_ui::serve(path, config).map_err(|error| {
        tracing::error!(%error, "the OpenAPI page cannot be generated");
        Problem::new(Code::Internal, "page")
    })?;
    let file =
        file.ok_or_else(|| Problem::new(Code::NotFound, "no such file of the OpenAPI page"))?;
    let content_type = HeaderValue::from_str(&file.content_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let mut response = bytes_of(file.bytes.into_owned(), content_type, SHORT);
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, POLICY);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use crate::testing::Fixture;

    #[tokio::test]
    async fn the_page_loads_nothing_from_elsewhere() {
        let fixture = Fixture::new().await;
        let redirect = fixture.get("/docs").await;
        assert_eq!(redirect.header("location"), "/docs/");
        let page = fixture.get("/docs/").await;
        assert_eq!(page.status, StatusCode::OK);
        let html = String::from_utf8(page.body.clone()).unwrap();
        assert!(
            !html.contains("http://") && !html.contains("https://"),
            "{html}"
        );
        assert!(!html.contains("<script>"), "{html}");
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let script = fixture.get("/docs/swagger-initializer.js").await;
        let script = String::from_utf8(script.body).unwrap();
        assert!(script.contains("/openapi.json"), "{script}");
        assert_eq!(fixture.get("/docs/none.js").await.code(), "not_found");
        assert_eq!(
            fixture.get("/openapi.json").await.json()["openapi"],
            "3.1.0"
        );
    }
}
