//! `/log/…`: the log as static files (c2sp.org/tlog-tiles), for monitors, witnesses and mirrors.

use axum::extract::{Path, State};
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use trust::tlog::tile::Resource;

use super::Shared;
use super::codes::Code;
use super::key::public;
use super::problem::{self, Problem};
use super::receipt::TEXT;
use super::respond::{bytes_of, no_query};

/// Checkpoint
///
/// The newest checkpoint: a signed note with the origin, the tree size and the root hash, signed
/// by the log's key and cosigned by its witnesses.
#[utoipa::path(
    get,
    path = "/log/checkpoint",
    tag = "log",
    responses(
        (status = 200, description = "A c2sp.org/tlog-checkpoint", body = String, content_type = "text/plain"),
        (status = 404, description = "Nothing is published yet", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn checkpoint(State(edge): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    no_query(&uri)?;
    let published = edge.app.roll.published();
    let row = published
        .checkpoint
        .ok_or_else(|| Problem::new(Code::NotFound, "no checkpoint is published yet"))?;
    Ok(open(bytes_of(row.signed(), TEXT, public("max-age=1"))))
}

/// Tiles and entries
///
/// `tile/<level>/<index>[.p/<width>]` holds hashes, `tile/entries/<index>[.p/<width>]` leaves. They
/// never change.
#[utoipa::path(
    get,
    path = "/log/tile/{*path}",
    tag = "log",
    params(("path" = String, Path, description = "Path as defined by c2sp.org/tlog-tiles, including its slashes")),
    responses(
        (status = 200, description = "A tile or an entry bundle", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "Not found", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The log's storage is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn tile(
    State(edge): State<Shared>,
    Path(path): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let none = || Problem::new(Code::NotFound, "no such file in the log");
    let resource = Resource::parse(&format!("tile/{path}")).map_err(|_| none())?;
    let bytes = edge.app.roll.file(resource).await?.ok_or_else(none)?;
    let response = bytes_of(
        bytes.to_vec(),
        HeaderValue::from_static("application/octet-stream"),
        public("max-age=31536000, immutable"),
    );
    Ok(open(response))
}

fn open(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
