//! `GET /log/tile/…`: the log as static files (c2sp.org/tlog-tiles), for monitors, witnesses and
//! mirrors.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use trust::tlog::tile::Resource;

use crate::problem::{self, Code, Problem};
use crate::v1::response::{bytes_of, no_query, public};
use crate::v1::state::SharedState;

/// Tiles and entries
///
/// `tile/<level>/<index>[.p/<width>]` holds hashes, `tile/entries/<index>[.p/<width>]` leaves. They
/// never change.
#[utoipa::path(
    get,
    path = "/log/tile/{*path}",
    operation_id = "log_tile",
    tag = "log",
    params(("path" = String, Path, description = "Path as defined by c2sp.org/tlog-tiles, including its slashes")),
    responses(
        (status = 200, description = "A tile or an entry bundle", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "Not found", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The log's storage is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    Path(path): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let none = || Problem::new(Code::NotFound, "no such file in the log");
    let resource = Resource::parse(&format!("tile/{path}")).map_err(|_| none())?;
    let bytes = state
        .services
        .transparency_log
        .file(resource)
        .await?
        .ok_or_else(none)?;
    let response = bytes_of(
        bytes.to_vec(),
        HeaderValue::from_static("application/octet-stream"),
        public("max-age=31536000, immutable"),
    );
    Ok(response)
}
