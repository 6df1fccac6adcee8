//! `GET /v1/trust/statements/{statement}`: the exact bytes of the next roster or policy, or a suspension.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use keyring::ceremony::{PasskeyAttestation, StatementReport};
use serde::Serialize;
use trust::{Sha256Digest, Time};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::passkey_options::PasskeyOptions;
use crate::v1::reader::reader;
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

#[derive(Debug, Serialize, ToSchema)]
pub struct StatementAnswer {
    statement: StatementView,
    /// The canonical document: these bytes are what is signed, and their SHA-256 is the id.
    body: String,
    /// What a browser is asked for, where the document is a roster with new passkeys; null elsewhere.
    passkey: Option<PasskeyOptions>,
    /// What came with the new passkeys that have signed. Nothing of it is verified, and nothing depends on it.
    passkey_attestations: Vec<PasskeyAttestationView>,
}

/// What an authenticator said of a credential when it was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct PasskeyAttestationView {
    /// Base64url.
    credential_id: String,
    /// Of the attestation statement; `none` where there is none.
    format: String,
    /// The model of the authenticator, in hex.
    aaguid: String,
    /// The attestation object, base64url.
    attestation: String,
}

impl From<PasskeyAttestation> for PasskeyAttestationView {
    fn from(kept: PasskeyAttestation) -> Self {
        Self {
            credential_id: kept.credential_id,
            format: kept.format,
            aaguid: kept.aaguid,
            attestation: trust::base64url::encode(&kept.attestation.0),
        }
    }
}

/// How far a statement is, counted anew.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatementView {
    /// SHA-256 of the document.
    #[schema(value_type = String)]
    statement: Sha256Digest,
    /// `roster`, `policy`, `suspension`, `recovery-roster` or `recovery`.
    kind: &'static str,
    /// `open`, `announced` (a recovery that waits for its delay), `effective`, `rejected` (or vetoed), `void` (another
    /// document came first) or `expired`.
    state: &'static str,
    /// In words.
    standing: String,
    opened_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// Nobody signs it after this instant.
    #[schema(value_type = String, format = DateTime)]
    closes_at: Time,
    /// How many a document needs of the custodians of the current roster, a recovery of the recovery roster.
    needed: Option<usize>,
    /// How many custodians of the roster that it would install.
    needed_new: Option<usize>,
    /// Who counts by the current roster, or by the recovery roster.
    signed_by: Vec<String>,
    /// Who counts by the roster that it would install.
    signed_by_new: Vec<String>,
    /// Members with a new key that has not signed, and the key.
    unproven: Vec<String>,
    /// Stored signatures that do not count, each with its reason.
    not_counted: Vec<String>,
}

impl From<StatementReport> for StatementView {
    fn from(report: StatementReport) -> Self {
        Self {
            statement: report.statement,
            kind: report.kind,
            state: report.state,
            standing: report.standing,
            opened_by: report.opened_by,
            created_at: report.created_at,
            closes_at: report.closes_at,
            needed: report.needed,
            needed_new: report.needed_new,
            signed_by: report.signed_by,
            signed_by_new: report.signed_by_new,
            unproven: report.unproven,
            not_counted: report.not_counted,
        }
    }
}

/// The id in a path.
pub fn statement_id(text: &str) -> Result<String, Problem> {
    let id: Result<Sha256Digest, _> = text.parse();
    id.map(|id| id.to_string()).map_err(|_| {
        let expected = "expected the SHA-256 of a document, in lower-case hex";
        Problem::new(Code::UnknownCeremony, expected).about("statement")
    })
}

/// One statement about whom to trust
///
/// For principals with a role that reads, and for members who sign the request, as at `/v1/ceremonies`.
#[utoipa::path(
    get,
    path = "/v1/trust/statements/{statement}",
    operation_id = "statement",
    tag = "ceremonies",
    params(
        ("statement" = String, Path, description = "SHA-256 of the document, in lower-case hex"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, body = StatementAnswer),
        (status = "4XX", description = "No permission, or unknown", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = []), ("read_signature" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(statement): Named,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    no_query(&uri)?;
    reader(&state, &context, &headers, &uri)?;
    let id = statement_id(&statement)?;
    let ceremonies = &state.services.ceremonies;
    let (_, body) = ceremonies.statement_body(&id).await?;
    let body = String::from_utf8(body).map_err(|e| Problem::caused_by(Code::Internal, &e))?;
    let report = ceremonies.statement_report(&id).await?;
    // Of a roster with passkeys that are new.
    let passkey = ceremonies.enrolment_options(&id, None).await.ok();
    let passkey = passkey.filter(|options| !options.allow_credentials.is_empty());
    let kept = ceremonies.passkey_attestations(&id).await?;
    json(&StatementAnswer {
        statement: report.into(),
        body,
        passkey: passkey.map(Into::into),
        passkey_attestations: kept.into_iter().map(Into::into).collect(),
    })
}
