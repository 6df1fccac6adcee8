//! `POST /v1/trust/statements`: the next roster or policy, or a suspension, with its first signature.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use store::StatementKind;
use trust::json::require_canonical;
use trust::recovery::RecoveryRoster;
use trust::suspension::SuspensionBody;
use trust::{JsonError, Policy, Roster};
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Problem};
use crate::v1::ceremony_propose::BODY_LIMIT;
use crate::v1::response::{json, no_query};
use crate::v1::state::SharedState;
use crate::v1::trust_statement::StatementView;

/// What a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// The next roster.
    Roster,
    /// The next policy.
    Policy,
    /// A member who is not to be counted any more.
    Suspension,
    /// Who may recover when the custodians are lost.
    RecoveryRoster,
    /// The next roster, by the recovery roster.
    Recovery,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenStatement {
    kind: Kind,
    /// The document in canonical JSON (RFC 8785), the very text that was signed.
    body: String,
    /// By `ssh-keygen -Y sign`, armored.
    signature: String,
}

/// Open a statement
///
/// Needs no credentials: an active member's signature over the document opens it, and counts. When nothing is missing
/// it takes effect at once: a suspension by the member's own key needs nothing else. A recovery is opened by a member of the
/// recovery roster, and announced when nothing is missing. A member has at most five open ones.
#[utoipa::path(
    post,
    path = "/v1/trust/statements",
    operation_id = "open_statement",
    tag = "ceremonies",
    request_body = OpenStatement,
    responses(
        (status = 200, body = StatementView),
        (status = "4XX", description = "Refused; nothing was changed", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: OpenStatement = body::strict_within(&context, request, BODY_LIMIT).await?;
    let kind = match asked.kind {
        Kind::Roster => StatementKind::Roster,
        Kind::Policy => StatementKind::Policy,
        Kind::Suspension => StatementKind::Suspension,
        Kind::RecoveryRoster => StatementKind::RecoveryRoster,
        Kind::Recovery => StatementKind::Recovery,
    };
    is_one(kind, asked.body.as_bytes()).map_err(|error| Problem::from(error).inside("body"))?;
    let ceremonies = &state.services.ceremonies;
    let report = ceremonies.open_statement(kind, asked.body.into_bytes(), &asked.signature);
    json(&StatementView::from(report.await?))
}

/// Names the member that is not what it has to be.
fn is_one(kind: StatementKind, body: &[u8]) -> Result<(), JsonError> {
    match kind {
        StatementKind::Roster | StatementKind::Recovery => {
            require_canonical::<Roster>(body).map(drop)
        }
        StatementKind::RecoveryRoster => require_canonical::<RecoveryRoster>(body).map(drop),
        StatementKind::Policy => require_canonical::<Policy>(body).map(drop),
        StatementKind::Suspension => require_canonical::<SuspensionBody>(body).map(drop),
    }
}
