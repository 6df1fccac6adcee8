//! `GET /v1/ceremonies/{ceremony}`: everything that a member reads before signing, in exact bytes.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use keyring::ceremony::{Reading, Report};
use serde::Serialize;
use trust::{Kid, Line, Sha256Digest};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::reader::reader;
use crate::v1::response::{NO_STORE, Named, bytes_of, no_query};
use crate::v1::state::{ServerState, SharedState};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

#[derive(Debug, Serialize, ToSchema)]
pub struct CeremonyAnswer {
    ceremony: CeremonyReport,
    /// The canonical request: these bytes are what is approved, and their SHA-256 is the id.
    request: String,
    /// Once it was executed: the canonical transcript with the acceptances so far. `acceptance.statement` has the
    /// bytes that are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript: Option<String>,
    /// The last ceremony on its first subject that was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    previous: Option<Sha256Digest>,
    notes: Vec<NoteView>,
}

/// How far a ceremony is, counted anew by the tally; of a closed one, by its transcript under the roster of its time.
#[derive(Debug, Serialize, ToSchema)]
pub struct CeremonyReport {
    ceremony: String,
    /// Its place in the line of each of its subjects.
    #[schema(value_type = Vec<Object>)]
    lines: Vec<Line>,
    operation: &'static str,
    ring: Option<String>,
    proposer: Option<String>,
    state: String,
    /// In words.
    standing: String,
    approvals_needed: Option<usize>,
    approved_by: Vec<String>,
    acceptances_needed: Option<usize>,
    accepted_by: Vec<String>,
    /// Stored signatures that do not count, each with its reason.
    not_counted: Vec<String>,
    /// The keys that it is about; from the execution on.
    #[schema(value_type = Vec<String>)]
    kids: Vec<Kid>,
}

/// What a member noted for the record.
#[derive(Debug, Serialize, ToSchema)]
pub struct NoteView {
    #[schema(value_type = String, format = DateTime)]
    at: trust::Time,
    /// `note` or `exception`.
    what: &'static str,
    member: String,
    /// Of an exception with who decided, and when it happened.
    note: String,
}

impl From<Report> for CeremonyReport {
    fn from(report: Report) -> Self {
        Self {
            ceremony: report.ceremony,
            lines: report.lines,
            operation: report.operation,
            ring: report.ring,
            proposer: report.proposer,
            state: report.state,
            standing: report.standing,
            approvals_needed: report.approvals_needed,
            approved_by: report.approved_by,
            acceptances_needed: report.acceptances_needed,
            accepted_by: report.accepted_by,
            not_counted: report.not_counted,
            kids: report.kids,
        }
    }
}

/// One ceremony
///
/// A closed one is public; any other is for principals with a role that reads and for members who sign the request, as at
/// `/v1/ceremonies`. `chancery ceremony review ID --url` reads it and shows what it says.
#[utoipa::path(
    get,
    path = "/v1/ceremonies/{ceremony}",
    operation_id = "ceremony",
    tag = "ceremonies",
    params(
        ("ceremony" = String, Path, description = "SHA-256 of the request, in lower-case hex"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, body = CeremonyAnswer),
        (status = 404, description = "Unknown ceremony", body = problem::Document, content_type = "application/problem+json"),
        (status = "4XX", description = "No permission", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
    security((), ("access_token" = []), ("mtls" = []), ("read_signature" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(ceremony): Named,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    let named: Option<Sha256Digest> = ceremony.parse().ok();
    if let Some(known) = named.and_then(|id| state.closed.of(&id)) {
        return Ok(bytes_of(known, JSON, NO_STORE));
    }
    let id = readable(&state, &context, &ceremony, &headers, &uri).await?;
    let reading = state.services.ceremonies.reading(&id).await?;
    let closed = reading.is_closed;
    let answer = serde_json::to_vec(&CeremonyAnswer::of(reading)?);
    let answer = answer.map_err(|error| Problem::caused_by(Code::Internal, &error))?;
    let answer = Bytes::from(answer);
    if let Some(id) = named.filter(|_| closed) {
        state.closed.keep(id, answer.clone());
    }
    Ok(bytes_of(answer, JSON, NO_STORE))
}

impl CeremonyAnswer {
    fn of(reading: Reading) -> Result<Self, Problem> {
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).map_err(|error| Problem::caused_by(Code::Internal, &error))
        };
        Ok(Self {
            request: text(reading.request)?,
            transcript: reading.transcript.map(text).transpose()?,
            previous: reading.previous,
            notes: reading
                .notes
                .into_iter()
                .map(|note| NoteView {
                    at: note.at,
                    what: note.what,
                    member: note.member.to_string(),
                    note: note.note,
                })
                .collect(),
            ceremony: reading.report.into(),
        })
    }
}

/// The id of a ceremony that the caller may read. Who may read none learns nothing of which there are, but for the
/// closed ones, which are public.
pub async fn readable(
    state: &ServerState,
    context: &RequestContext,
    ceremony: &str,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<String, Problem> {
    let unknown = || {
        Problem::new(
            Code::UnknownCeremony,
            "expected the SHA-256 of a request, in lower-case hex",
        )
        .about("ceremony")
    };
    let id: Result<Sha256Digest, _> = ceremony.parse();
    if let Ok(id) = &id
        && state.services.ceremonies.is_closed(&id.to_string()).await?
    {
        return Ok(id.to_string());
    }
    reader(state, context, headers, uri)?;
    id.map(|id| id.to_string()).map_err(|_| unknown())
}
