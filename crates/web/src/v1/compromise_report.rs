//! `POST /v1/emergency/reports`: a named principal says that somebody else may have a key.

use axum::extract::{Request, State};
use axum::response::Response;
use rotation::compromise::{CompromiseReport, Target};
use serde::{Deserialize, Serialize};
use trust::Time;
use utoipa::ToSchema;

use crate::middleware::body;
use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::response::{json, no_query};
use crate::v1::rotation_words::asset;
use crate::v1::state::SharedState;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportCompromise {
    /// The caller's name for the report, 1 to 100 characters: the same again is the same report.
    report: String,
    /// The key by its kid, which is its JWK thumbprint (RFC 7638); or `asset`.
    kid: Option<String>,
    /// The asset, such as `external/partner`; or `kid`.
    asset: Option<String>,
    /// Where it was found out, such as `secret scanner`: 1 to 100 characters.
    source: String,
    /// For the record: 1 to 500 characters.
    reason: String,
    /// What was found, never a secret: 1 to 2000 characters.
    evidence: Option<String>,
    /// The earliest instant at which somebody else may have had it.
    #[schema(value_type = Option<String>, format = DateTime)]
    compromised_since: Option<Time>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ReportedCompromise {
    /// `cr_…`.
    report: String,
    /// `open`, or what was decided since.
    state: &'static str,
    /// The alert that calls people while it is open.
    alert: String,
    /// It was reported before; nothing was written.
    repeated: bool,
}

/// Report a compromise
///
/// Calls people by a critical alert, where a replica looks at alerts (`rotation.enabled`), and drafts what they could declare; it
/// changes nothing else, and a person decides. By a
/// principal with the role `reporter` for the asset (of a key: of its ring, `signing/RING`), an operator, an administrator or
/// somebody on call. The same report again changes nothing. At most 100 of a principal and day are kept, and 500 that nobody has decided; what is
/// beyond is refused.
#[utoipa::path(
    post,
    path = "/v1/emergency/reports",
    operation_id = "report_compromise",
    tag = "operation",
    request_body = ReportCompromise,
    responses(
        (status = 200, body = ReportedCompromise),
        (status = "4XX", description = "No permission, an unknown key or asset, a name that is taken, or too many; nothing was kept", body = problem::Document, content_type = "application/problem+json"),
        (status = "5XX", description = "See `code` and Retry-After", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    request: Request,
) -> Result<Response, Problem> {
    no_query(request.uri())?;
    let asked: ReportCompromise = body::strict(&context, request).await?;
    let principal = context.caller.known()?;
    let target = match (&asked.kid, &asked.asset) {
        (Some(kid), None) => {
            let unknown = || Problem::new(Code::UnknownKey, "no key has this kid").about("kid");
            Target::Key(kid.parse().map_err(|_| unknown())?)
        }
        (None, Some(name)) => Target::Asset(asset(name)?),
        _ => return Err(Problem::member("kid", "expected either kid or asset")),
    };
    let engine = state.services.rotation.engine();
    let forbidden = || {
        let detail = format!("{} may not report on this", principal.name);
        Problem::new(Code::Forbidden, detail)
    };
    match &target {
        // Before anything is said of the asset.
        Target::Asset(asset) if !principal.may_report_compromise(asset.as_str()) => {
            return Err(forbidden());
        }
        Target::Asset(_) => {}
        // Which keys there are is public.
        Target::Key(_) => {
            let (asset, _) = engine.compromise_target(&target).await?;
            if !principal.may_report_compromise(asset.as_str()) {
                return Err(forbidden());
            }
        }
    }
    let report = CompromiseReport {
        report: asked.report,
        target,
        source: asked.source,
        reason: asked.reason,
        evidence: asked.evidence,
        compromised_since: asked
            .compromised_since
            .map(|since| calendar::Time::from_millis(since.millis())),
    };
    let (view, repeated) = engine.report_compromise(&report, &principal.name).await?;
    json(&ReportedCompromise {
        report: view.id,
        state: view.state,
        alert: view.alert,
        repeated,
    })
}
