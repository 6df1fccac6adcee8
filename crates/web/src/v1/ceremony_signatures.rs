//! `POST /v1/ceremonies/{ceremony}/signatures`: approvals, rejections, cancellations, acceptances,
//! notes, exceptions, and what witnesses attest.

use axum::extract::{Request, State};
use axum::response::Response;
use keyring::ceremony::Submission;
use serde::Deserialize;
use trust::Purpose;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::ceremony::CeremonyReport;
use crate::v1::ceremony_propose::BODY_LIMIT;
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;

/// What a signature is for: the word of its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SignedFor {
    /// Over the request.
    Approve,
    /// Over the request's digest and a reason.
    Reject,
    /// Over the same, by the proposer.
    Cancel,
    /// Over the statement.
    Accept,
    /// Over the request's digest and a note.
    Note,
    /// Over a body: what went otherwise than planned, who decided, and when it happened.
    Exception,
    /// Over a body: the digest of the closed ceremony's transcript, by a witness.
    Witness,
}

impl SignedFor {
    fn purpose(self) -> Purpose {
        match self {
            Self::Approve => Purpose::Approve,
            Self::Reject => Purpose::Reject,
            Self::Cancel => Purpose::Cancel,
            Self::Accept => Purpose::Accept,
            Self::Note => Purpose::Note,
            Self::Exception => Purpose::Exception,
            Self::Witness => Purpose::Witness,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitSignature {
    purpose: SignedFor,
    /// By `ssh-keygen -Y sign`, armored.
    signature: String,
    /// Of a rejection or a cancellation, and of nothing else: 1 to 1000 characters.
    reason: Option<String>,
    /// Of a note, and of nothing else: 1 to 1000 characters.
    note: Option<String>,
    /// Of an exception or an attestation, and of nothing else: the canonical JSON (RFC 8785) that was signed.
    body: Option<String>,
}

/// Submit a signature
///
/// Needs no credentials: a signature authenticates itself, and one that does not count is refused with the reason. Whoever
/// is no active member is answered `signature_not_counted`, whether there is such a ceremony or not, unless it is closed.
/// The answer is how far the ceremony is then. Execution is not offered over HTTP.
#[utoipa::path(
    post,
    path = "/v1/ceremonies/{ceremony}/signatures",
    operation_id = "submit_signature",
    tag = "ceremonies",
    params(("ceremony" = String, Path, description = "SHA-256 of the request, in lower-case hex")),
    request_body = SubmitSignature,
    responses(
        (status = 200, body = CeremonyReport),
        (status = "4XX", description = "Refused; nothing was changed", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(ceremony): Named,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: SubmitSignature = body::strict_within(&context, request, BODY_LIMIT).await?;
    let id: trust::Sha256Digest = ceremony.parse().map_err(|_| {
        let expected = "expected the SHA-256 of a request, in lower-case hex";
        Problem::new(Code::UnknownCeremony, expected).about("ceremony")
    })?;
    let objects = matches!(asked.purpose, SignedFor::Reject | SignedFor::Cancel);
    let reason = text("reason", asked.reason.as_deref(), objects)?;
    let notes = asked.purpose == SignedFor::Note;
    let note = text("note", asked.note.as_deref(), notes)?;
    let bodied = matches!(asked.purpose, SignedFor::Exception | SignedFor::Witness);
    let body = text("body", asked.body.as_deref(), bodied)?;
    let (ceremonies, signature) = (&state.services.ceremonies, &asked.signature);
    let submission = Submission {
        purpose: asked.purpose.purpose(),
        signature,
        // One of them, by the purpose.
        text: [reason, note, body]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
    };
    let snapshot = state.services.keys.current();
    ceremonies
        .admit(snapshot.trusted(), id, &submission)
        .await?;
    let id = id.to_string();
    let report = match asked.purpose {
        SignedFor::Approve => ceremonies.approve(&id, signature).await?,
        SignedFor::Reject => ceremonies.reject(&id, reason, signature).await?,
        SignedFor::Cancel => ceremonies.cancel(&id, reason, signature).await?,
        SignedFor::Accept => ceremonies.accept(&id, signature).await?,
        SignedFor::Note => {
            ceremonies.note(&id, note, signature).await?;
            ceremonies.report(&id).await?
        }
        SignedFor::Exception => {
            ceremonies.exception(&id, body, signature).await?;
            ceremonies.report(&id).await?
        }
        SignedFor::Witness => {
            ceremonies.attest(&id, body, signature).await?;
            ceremonies.report(&id).await?
        }
    };
    json(&CeremonyReport::from(report))
}

/// A member that goes with some purposes and not with the others.
fn text<'a>(member: &str, given: Option<&'a str>, needed: bool) -> Result<&'a str, Problem> {
    match (given, needed) {
        (Some(text), true) => Ok(text),
        (None, false) => Ok(""),
        (None, true) => Err(Problem::member(member, "missing for this purpose")),
        (Some(_), false) => Err(Problem::member(member, "not allowed for this purpose")),
    }
}
