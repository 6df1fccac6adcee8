//! `POST /v1/trust/statements/{statement}/signatures`: members' signatures over the next roster or policy, or a suspension.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::ceremony_propose::BODY_LIMIT;
use crate::v1::response::{Named, json, no_query};
use crate::v1::state::SharedState;
use crate::v1::submitted_signature::{SignatureForm, SubmittedSignature};
use crate::v1::trust_statement::{StatementView, statement_id};

/// What a signature says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Says {
    /// Over the document: a member agrees, or a new key proves itself.
    Sign,
    /// Over its digest and a reason, by a custodian who is not suspended: it ends the statement.
    Reject,
    /// Over a recovery's digest and a reason, by any member of the roster: it ends the recovery.
    Veto,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignStatement {
    purpose: Says,
    /// By `ssh-keygen -Y sign`, armored; or by a passkey that is new on the next roster, which shows that it is there.
    #[schema(value_type = SignatureForm)]
    signature: SubmittedSignature,
    /// With a passkey's signature, and with no other: the attestation object of its registration, base64url. It is kept;
    /// nothing depends on it.
    attestation: Option<String>,
    /// Of a rejection or a veto, and of nothing else: 1 to 1000 characters.
    reason: Option<String>,
}

/// Sign a statement
///
/// Needs no credentials: a signature authenticates itself, and one that is good for nothing is refused with the reason.
#[utoipa::path(
    post,
    path = "/v1/trust/statements/{statement}/signatures",
    operation_id = "sign_statement",
    tag = "ceremonies",
    params(("statement" = String, Path, description = "SHA-256 of the document, in lower-case hex")),
    request_body = SignStatement,
    responses(
        (status = 200, body = StatementView),
        (status = "4XX", description = "Refused; nothing was changed", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    Named(statement): Named,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: SignStatement = body::strict_within(&context, request, BODY_LIMIT).await?;
    let id = statement_id(&statement)?;
    let ceremonies = &state.services.ceremonies;
    let signature = asked.signature.as_str();
    let attestation = match (asked.purpose, &asked.attestation) {
        (_, None) => None,
        (Says::Sign, Some(text)) => {
            let object = trust::base64url::decode(text);
            let expected = "expected base64url without padding";
            Some(object.ok_or_else(|| Problem::member("attestation", expected))?)
        }
        (_, Some(_)) => {
            let why = "not allowed for this purpose";
            return Err(Problem::member("attestation", why));
        }
    };
    let report = match (asked.purpose, asked.reason.as_deref()) {
        (Says::Sign, None) => match attestation {
            None => ceremonies.sign_statement(&id, signature).await?,
            Some(attestation) => {
                ceremonies
                    .sign_statement_by_passkey(&id, signature, attestation)
                    .await?
            }
        },
        (Says::Reject, Some(reason)) => ceremonies.reject_statement(&id, reason, signature).await?,
        (Says::Veto, Some(reason)) => ceremonies.veto_statement(&id, reason, signature).await?,
        (Says::Sign, Some(_)) => {
            return Err(Problem::member("reason", "not allowed for this purpose"));
        }
        (Says::Reject | Says::Veto, None) => {
            return Err(Problem::member("reason", "missing for this purpose"));
        }
    };
    json(&StatementView::from(report))
}
