//! `GET /v1/ceremonies/draft`: a request as it could be proposed now, for a member to sign.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use keyring::ceremony::{Wanted, Wish};
use serde::{Deserialize, Serialize};
use trust::Sha256Digest;
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::reader::reader;
use crate::v1::response::{json, query};
use crate::v1::state::{ServerState, SharedState};

/// A hundred years.
const LONGEST_MILLIS: u64 = 100 * 366 * 24 * 60 * 60 * 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    operation: String,
    ring: String,
    proposer: String,
    reason: String,
    ticket: Option<String>,
    approve_within_ms: u64,
    execute_within_ms: u64,
    activate_in_ms: Option<u64>,
    lifetime_ms: Option<u64>,
    kid: Option<String>,
    because: Option<String>,
    compromised_since: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DraftAnswer {
    /// The canonical request, not signed and not kept. Its proposer compares it with what was asked for, signs it and
    /// proposes it.
    request: String,
    /// The last ceremony on its first subject that was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    previous: Option<Sha256Digest>,
}

/// Draft
///
/// A request with everything resolved: place in the line of its subject, number, algorithm, token, roster, policy, times. For
/// those who may read open ceremonies. Nothing is kept: it is proposed at `POST /v1/ceremonies`, with its proposer's
/// signature. `chancery ceremony new generate --url` and `chancery ring archive|revoke --url` compare it before they sign.
#[utoipa::path(
    get,
    path = "/v1/ceremonies/draft",
    operation_id = "ceremony_draft",
    tag = "ceremonies",
    params(
        ("operation" = String, Query, description = "`generate`, `destroy` or `revoke`"),
        ("ring" = String, Query, description = "Name of the ring"),
        ("proposer" = String, Query, description = "The id of the member who will sign it"),
        ("reason" = String, Query, description = "For the record: 1 to 1000 characters"),
        ("ticket" = Option<String>, Query, description = "For the record"),
        ("approve_within_ms" = u64, Query, description = "Approvals after this time from now do not count"),
        ("execute_within_ms" = u64, Query, description = "It is not executed after this time from now"),
        ("activate_in_ms" = Option<u64>, Query, description = "Of `generate`: time from now until the key may become primary, at least `publish_safety`"),
        ("lifetime_ms" = Option<u64>, Query, description = "Of `generate`: how long the key signs once active"),
        ("kid" = Option<String>, Query, description = "Of `destroy` and `revoke`: the key"),
        ("because" = Option<String>, Query, description = "Of `revoke`: `unspecified`, `compromised` or `superseded`"),
        ("compromised_since" = Option<String>, Query, description = "Of `revoke` with `compromised`: the earliest instant"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, body = DraftAnswer),
        (status = "4XX", description = "No permission, an invalid parameter, or a request that no quorum could approve", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "The database or the token is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = []), ("read_signature" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    reader(&state, &context, &headers, &uri)?;
    let wish = wish(query(&uri)?)?;
    // However old the key is that is named.
    let (kid, token) = match &wish.wanted {
        Wanted::Generate { .. } => (None, token(&state)?),
        Wanted::Destroy { kid } | Wanted::Revoke { kid, .. } => (Some(kid.clone()), <_>::default()),
    };
    let snapshot = state.services.keys.snapshot_with(kid).await?;
    let ceremonies = &state.services.ceremonies;
    let request = ceremonies.draft_of(wish, token, &snapshot).await?;
    let previous = ceremonies.previous(&request).await?;
    let bytes = request.encode().map_err(Problem::from)?;
    let request = String::from_utf8(bytes);
    let request = request.map_err(|error| Problem::caused_by(Code::Internal, &error))?;
    json(&DraftAnswer { request, previous })
}

/// Serial and label of the token that this replica signs with. Where the executor has another one, it refuses the request.
fn token(state: &ServerState) -> Result<(String, String), Problem> {
    let status = state.services.token.status();
    let known = status.serial.zip(status.label);
    known.ok_or_else(|| Problem::new(Code::TokenUnavailable, "the token is not known yet"))
}

fn bad(name: &str, what: &str) -> Problem {
    Problem::new(Code::BadQuery, what).about(name.to_owned())
}

fn parsed<T: std::str::FromStr>(name: &str, text: &str, what: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| bad(name, what))
}

fn millis(name: &str, millis: u64) -> Result<Duration, Problem> {
    match millis {
        1..=LONGEST_MILLIS => Ok(Duration::from_millis(millis)),
        _ => Err(bad(
            name,
            "expected milliseconds, of a hundred years at most",
        )),
    }
}

fn wish(asked: Asked) -> Result<Wish, Problem> {
    let absent = |name: &str, given: bool| match given {
        true => Err(bad(name, "not allowed for this operation")),
        false => Ok(()),
    };
    let kid = || {
        let kid = asked.kid.as_deref();
        let kid = kid.ok_or_else(|| bad("kid", "missing for this operation"))?;
        parsed("kid", kid, "expected a kid")
    };
    let generates = asked.operation == "generate";
    let revokes = asked.operation == "revoke";
    absent("kid", generates && asked.kid.is_some())?;
    absent(
        "activate_in_ms",
        !generates && asked.activate_in_ms.is_some(),
    )?;
    absent("lifetime_ms", !generates && asked.lifetime_ms.is_some())?;
    absent("because", !revokes && asked.because.is_some())?;
    absent(
        "compromised_since",
        !revokes && asked.compromised_since.is_some(),
    )?;
    let wanted = match asked.operation.as_str() {
        "generate" => Wanted::Generate {
            activate_in: match asked.activate_in_ms {
                // At once, as far as `publish_safety` allows it.
                Some(0) => Some(Duration::ZERO),
                given => given
                    .map(|time| millis("activate_in_ms", time))
                    .transpose()?,
            },
            lifetime: millis(
                "lifetime_ms",
                asked
                    .lifetime_ms
                    .ok_or_else(|| bad("lifetime_ms", "missing for this operation"))?,
            )?,
        },
        "destroy" => Wanted::Destroy { kid: kid()? },
        "revoke" => Wanted::Revoke {
            kid: kid()?,
            reason: parsed(
                "because",
                asked.because.as_deref().unwrap_or("unspecified"),
                "expected unspecified, compromised or superseded",
            )?,
            compromised_since: asked
                .compromised_since
                .as_deref()
                .map(|since| parsed("compromised_since", since, "expected an instant"))
                .transpose()?,
        },
        _ => return Err(bad("operation", "expected generate, destroy or revoke")),
    };
    Ok(Wish {
        ring: parsed("ring", &asked.ring, "expected a name")?,
        proposer: parsed("proposer", &asked.proposer, "expected a member's id")?,
        reason: asked.reason,
        ticket: asked.ticket,
        approve_within: millis("approve_within_ms", asked.approve_within_ms)?,
        execute_within: millis("execute_within_ms", asked.execute_within_ms)?,
        wanted,
    })
}
