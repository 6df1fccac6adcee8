//! `GET /v1/ceremonies/draft`: a request as it could be proposed now, for a member to sign.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use keyring::ceremony::{Wanted, Wish, WrongLeaves};
use serde::{Deserialize, Serialize};
use trust::request::{Ended, RATIFY_WITHIN};
use trust::{Kid, Operation, Request, Sha256Digest, base64url};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::reader::reader;
use crate::v1::response::{json, query};
use crate::v1::state::{ServerState, SharedState};

const DIGEST: &str = "expected a SHA-256, in lower-case hex";

/// A hundred years.
const LONGEST_MILLIS: u64 = 100 * 366 * 24 * 60 * 60 * 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    operation: String,
    ring: Option<String>,
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
    first: Option<u64>,
    last: Option<u64>,
    bound: Option<String>,
    ceremony: Option<String>,
    stop: Option<String>,
    sequence: Option<u64>,
    rotation: Option<String>,
    ratify_within_ms: Option<u64>,
    document: Option<String>,
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
/// signature. `chancery ceremony new … --url`, `chancery ceremony renew --url` and `chancery ring archive|revoke --url`
/// compare it before they sign.
#[utoipa::path(
    get,
    path = "/v1/ceremonies/draft",
    operation_id = "ceremony_draft",
    tag = "ceremonies",
    params(
        ("operation" = String, Query, description = "`generate`, `destroy`, `revoke`, `clock-correction`, `resume`, `emergency-rotation`, `ratification`, `rotation-policy`, or `renew` for the same as another ceremony"),
        ("ring" = Option<String>, Query, description = "Of all but `clock-correction`, `rotation-policy` and `renew`: name of the ring; of `resume` without it of all rings"),
        ("proposer" = String, Query, description = "The id of the member who will sign it"),
        ("reason" = String, Query, description = "For the record: 1 to 1000 characters"),
        ("ticket" = Option<String>, Query, description = "For the record"),
        ("approve_within_ms" = u64, Query, description = "Approvals after this time from now do not count"),
        ("execute_within_ms" = u64, Query, description = "It is not executed after this time from now"),
        ("activate_in_ms" = Option<u64>, Query, description = "Of `generate`: time from now until the key may become primary, at least `publish_safety`"),
        ("lifetime_ms" = Option<u64>, Query, description = "Of `generate`: how long the key signs once active"),
        ("kid" = Option<String>, Query, description = "Of `destroy` and `revoke`: the key; of `emergency-rotation`: the standby key, by default the one that would take over"),
        ("because" = Option<String>, Query, description = "Of `revoke`: `unspecified`, `compromised` or `superseded`"),
        ("compromised_since" = Option<String>, Query, description = "Of `revoke` with `compromised`, and of `emergency-rotation`: the earliest instant"),
        ("first" = Option<u64>, Query, description = "Of `clock-correction`: the first leaf that the wrong clock wrote, with `last`; by default what lies ahead of the clock"),
        ("last" = Option<u64>, Query, description = "Of `clock-correction`: the last one"),
        ("bound" = Option<String>, Query, description = "Of `clock-correction`: the instant that they are not younger than; by default the time of the next leaf, or now"),
        ("ceremony" = Option<String>, Query, description = "Of `renew`: the id of the ceremony"),
        ("stop" = Option<String>, Query, description = "Of `resume`: SHA-256 of the stop that it ends, with `sequence`"),
        ("sequence" = Option<u64>, Query, description = "Of `resume`: the place of that stop in its line"),
        ("rotation" = Option<String>, Query, description = "Of `ratification`, and of `resume` where one was not ratified in time: the emergency rotation, by its ceremony"),
        ("ratify_within_ms" = Option<u64>, Query, description = "Of `emergency-rotation`: after which the ring stops signing unless it is ratified; 24 h at most, and the default"),
        ("document" = Option<String>, Query, description = "Of `rotation-policy`: the whole policy of a critical key type, canonical JSON in base64url without padding; its version is one more than that in force and that of the newest row"),
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
    let asked: Asked = query(&uri)?;
    check(&asked)?;
    let ceremonies = &state.services.ceremonies;
    let renewed = match (asked.operation.as_str(), &asked.ceremony) {
        ("renew", Some(id)) => {
            let id: Sha256Digest = parsed("ceremony", id, "expected the id of a ceremony")?;
            let (request, _) = ceremonies.request(&id.to_string()).await?;
            Some(Request::decode(&request)?)
        }
        _ => None,
    };
    let wish = wish(asked, renewed)?;
    let token = match &wish.wanted {
        Wanted::Generate { .. } => token(&state)?,
        _ => <_>::default(),
    };
    // However old the key is that is named.
    let kid = named(&wish.wanted);
    let snapshot = state.services.keys.snapshot_with(kid).await?;
    let request = ceremonies.draft_of(wish, token, &snapshot).await?;
    let previous = ceremonies.previous(&request).await?;
    let bytes = request.encode().map_err(Problem::from)?;
    let request = String::from_utf8(bytes);
    let request = request.map_err(|error| Problem::caused_by(Code::Internal, &error))?;
    json(&DraftAnswer { request, previous })
}

fn named(wanted: &Wanted) -> Option<Kid> {
    match wanted {
        Wanted::Destroy { kid } | Wanted::Revoke { kid, .. } => Some(kid.clone()),
        Wanted::Again(request) => match &request.operation {
            Operation::Revoke(order) => Some(order.kid.clone()),
            Operation::Destroy(order) => order.keys.first().map(|key| key.kid.clone()),
            _ => None,
        },
        Wanted::EmergencyRotation { standby, .. } => standby.clone(),
        Wanted::Generate { .. }
        | Wanted::Correct(_)
        | Wanted::Resume { .. }
        | Wanted::Ratification { .. }
        | Wanted::RotationPolicy { .. } => None,
    }
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

/// Which parameters an operation has.
fn parameters(operation: &str) -> Result<&'static [&'static str], Problem> {
    match operation {
        "generate" => Ok(&["ring", "activate_in_ms", "lifetime_ms"]),
        "destroy" => Ok(&["ring", "kid"]),
        "revoke" => Ok(&["ring", "kid", "because", "compromised_since"]),
        "clock-correction" => Ok(&["first", "last", "bound"]),
        "renew" => Ok(&["ceremony"]),
        "resume" => Ok(&["ring", "stop", "sequence", "rotation"]),
        "emergency-rotation" => Ok(&["ring", "kid", "compromised_since", "ratify_within_ms"]),
        "ratification" => Ok(&["ring", "rotation"]),
        "rotation-policy" => Ok(&["document"]),
        _ => Err(bad(
            "operation",
            "expected generate, destroy, revoke, clock-correction, resume, emergency-rotation, ratification, rotation-policy or renew",
        )),
    }
}

/// Every parameter is one of the operation's.
fn check(asked: &Asked) -> Result<(), Problem> {
    let allowed = parameters(&asked.operation)?;
    for (name, given) in [
        ("ring", asked.ring.is_some()),
        ("kid", asked.kid.is_some()),
        ("activate_in_ms", asked.activate_in_ms.is_some()),
        ("lifetime_ms", asked.lifetime_ms.is_some()),
        ("because", asked.because.is_some()),
        ("compromised_since", asked.compromised_since.is_some()),
        ("first", asked.first.is_some()),
        ("last", asked.last.is_some()),
        ("bound", asked.bound.is_some()),
        ("ceremony", asked.ceremony.is_some()),
        ("stop", asked.stop.is_some()),
        ("sequence", asked.sequence.is_some()),
        ("rotation", asked.rotation.is_some()),
        ("ratify_within_ms", asked.ratify_within_ms.is_some()),
        ("document", asked.document.is_some()),
    ] {
        if given && !allowed.contains(&name) {
            return Err(bad(name, "not allowed for this operation"));
        }
    }
    let needs_ring = allowed.contains(&"ring") && asked.operation != "resume";
    match needs_ring && asked.ring.is_none() {
        true => Err(missing("ring")),
        false => Ok(()),
    }
}

fn missing(name: &str) -> Problem {
    bad(name, "missing for this operation")
}

/// `renewed` is the request of the ceremony that is named.
fn wish(asked: Asked, renewed: Option<Request>) -> Result<Wish, Problem> {
    let kid = || {
        let kid = asked.kid.as_deref().ok_or_else(|| missing("kid"))?;
        parsed("kid", kid, "expected a kid")
    };
    let instant = |name: &str, text: Option<&str>| {
        let time = text.map(|text| parsed(name, text, "expected an instant"));
        time.transpose()
    };
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
                asked.lifetime_ms.ok_or_else(|| missing("lifetime_ms"))?,
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
            compromised_since: instant("compromised_since", asked.compromised_since.as_deref())?,
        },
        "clock-correction" => Wanted::Correct(WrongLeaves {
            range: match (asked.first, asked.last) {
                (None, None) => None,
                (Some(first), Some(last)) => Some((first, last)),
                (None, Some(_)) => return Err(missing("first")),
                (Some(_), None) => return Err(missing("last")),
            },
            bound: instant("bound", asked.bound.as_deref())?,
        }),
        "resume" => Wanted::Resume {
            ends: match (&asked.stop, asked.sequence, &asked.rotation) {
                (Some(stop), Some(sequence), None) => Ended::Stop {
                    digest: parsed("stop", stop, DIGEST)?,
                    sequence,
                },
                (None, None, Some(rotation)) => Ended::Unratified {
                    rotation: parsed("rotation", rotation, DIGEST)?,
                },
                _ => return Err(bad("stop", "expected stop and sequence, or rotation")),
            },
        },
        "emergency-rotation" => Wanted::EmergencyRotation {
            standby: asked.kid.as_ref().map(|_| kid()).transpose()?,
            compromised_since: instant("compromised_since", asked.compromised_since.as_deref())?
                .ok_or_else(|| missing("compromised_since"))?,
            ratify_within: asked
                .ratify_within_ms
                .map(|time| millis("ratify_within_ms", time))
                .transpose()?
                .unwrap_or(Duration::from_secs(RATIFY_WITHIN)),
        },
        "ratification" => Wanted::Ratification {
            rotation: parsed(
                "rotation",
                asked
                    .rotation
                    .as_deref()
                    .ok_or_else(|| missing("rotation"))?,
                DIGEST,
            )?,
        },
        "rotation-policy" => {
            let document = asked.document.as_deref();
            let bytes = base64url::decode(document.ok_or_else(|| missing("document"))?);
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            let document = text.ok_or_else(|| bad("document", "expected base64url of JSON"))?;
            Wanted::RotationPolicy { document }
        }
        _ => Wanted::Again(Box::new(renewed.ok_or_else(|| missing("ceremony"))?)),
    };
    let ring = asked.ring.as_deref();
    Ok(Wish {
        ring: ring
            .map(|ring| parsed("ring", ring, "expected a name"))
            .transpose()?,
        proposer: parsed("proposer", &asked.proposer, "expected a member's id")?,
        reason: asked.reason,
        ticket: asked.ticket,
        approve_within: millis("approve_within_ms", asked.approve_within_ms)?,
        execute_within: millis("execute_within_ms", asked.execute_within_ms)?,
        wanted,
    })
}
