//! `GET /v1/ceremonies/waiting`: ceremonies and statements that wait for a member, at once or as soon as it is something
//! else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use keyring::ceremony::{Asked, Waiting, WaitingStatement, Waits};
use serde::{Deserialize, Serialize};
use trust::{MemberId, Sha256Digest, Time};
use utoipa::ToSchema;

use crate::middleware::context::RequestContext;
use crate::problem::{self, Code, Problem};
use crate::v1::ceremonies::CeremonySummary;
use crate::v1::reader::{Reader, reader};
use crate::v1::response::{json, query};
use crate::v1::state::{ServerState, SharedState};

/// How often the read model in memory is looked at; the database is read when it has changed.
pub const LOOK: Duration = Duration::from_millis(200);

/// Ceremonies of an answer at most, the newest, and as many statements.
const MOST: usize = 200;

/// What is left of the request's time for the answer.
const MARGIN: Duration = Duration::from_secs(1);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    member: Option<String>,
    known: Option<String>,
    wait: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WaitingAnswer {
    /// Open ceremonies, the newest first, at most 200; for a witness also those that were closed within 14 days and that the
    /// witness has not attested.
    ceremonies: Vec<WaitingView>,
    /// What open statements ask for (the next roster or policy, suspensions, recoveries), the newest first, at most 200.
    /// One that asks for several things is there once for each.
    statements: Vec<WaitingStatementView>,
    /// There is more of either than this answer has: see `/v1/ceremonies` and `/v1/trust/statements`, which have pages.
    more: bool,
    /// Names this state of things: `known` of the next request.
    pub version: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WaitingView {
    #[serde(flatten)]
    summary: CeremonySummary,
    /// `approve`, `accept`, or of a witness `attest`; absent where it waits for the executor.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<&'static str>,
    /// Active custodians, or witnesses, who have not signed yet. A hint: what counts is counted when a signature comes.
    #[schema(value_type = Vec<String>)]
    waiting_for: Vec<MemberId>,
}

impl WaitingView {
    fn of(waiting: &Waiting) -> Self {
        Self {
            summary: waiting.summary.clone().into(),
            asked: waiting.asked.map(Asked::as_str),
            waiting_for: waiting.waiting_for.clone(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WaitingStatementView {
    /// SHA-256 of the document.
    #[schema(value_type = String)]
    statement: Sha256Digest,
    /// `roster`, `policy`, `suspension`, `recovery-roster` or `recovery`.
    kind: &'static str,
    /// `open`, or `announced`: a recovery that waits for its delay.
    state: &'static str,
    opened_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// `sign`; `acknowledge`, with a key that is new for the member; or `veto`, for who is against a recovery. Absent
    /// where nobody could do anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<&'static str>,
    /// Nobody signs it after this instant. A recovery may take effect from this instant on, unless it is vetoed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Time>,
    /// Who could do it, those of the next roster included. A hint, as above.
    #[schema(value_type = Vec<String>)]
    waiting_for: Vec<MemberId>,
}

impl WaitingStatementView {
    fn of(waiting: &WaitingStatement) -> Self {
        Self {
            statement: waiting.statement,
            kind: waiting.kind,
            state: waiting.state,
            opened_by: waiting.opened_by.clone(),
            created_at: waiting.created_at,
            asked: waiting.asked.map(Asked::as_str),
            until: waiting.until,
            waiting_for: waiting.waiting_for.clone(),
        }
    }
}

/// What waits for a member
///
/// Ceremonies, and statements about whom to trust. For those who may read open ceremonies. Without `member` it is the
/// member who signed the request; for a principal, all that is open. With `known` and `wait` the answer comes when it is another one, or when the time is over.
#[utoipa::path(
    get,
    path = "/v1/ceremonies/waiting",
    operation_id = "ceremonies_waiting",
    tag = "ceremonies",
    params(
        ("member" = Option<String>, Query, description = "A member's id"),
        ("known" = Option<String>, Query, description = "`version` of the last answer"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for another answer than `known`, 0 to 60; less where `http.request_timeout_ms` is shorter"),
        ("Chancery-Time" = Option<String>, Header, description = "When the request was signed, such as 2026-11-22T09:00:00.000Z"),
        ("Chancery-Signature" = Option<String>, Header, description = "A member's read signature"),
    ),
    responses(
        (status = 200, body = WaitingAnswer),
        (status = "4XX", description = "No permission, or an invalid parameter", body = problem::Document, content_type = "application/problem+json"),
        (status = 503, description = "Too many wait, or the database is unavailable", body = problem::Document, content_type = "application/problem+json"),
    ),
    security(("access_token" = []), ("mtls" = []), ("read_signature" = [])),
)]
pub async fn handle(
    State(state): State<SharedState>,
    context: RequestContext,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let who = reader(&state, &context, &headers, &uri)?;
    let asked: Query = query(&uri)?;
    let wait = asked.wait.unwrap_or(0);
    if wait > 60 {
        return Err(Problem::new(Code::BadQuery, "expected 0 to 60").about("wait"));
    }
    let member = member(&who, asked.member)?;
    let until = Instant::now() + Duration::from_secs(wait);
    let until = until.min(context.deadline.checked_sub(MARGIN).unwrap_or(until));
    let mut watch = Watch::new(member);
    let mut answer = watch.look(&state).await?;
    let same = |answer: &WaitingAnswer| asked.known.as_ref() == Some(&answer.version);
    if same(&answer) && wait > 0 {
        let _permit = state.streams.enter(who.key())?;
        while same(&answer) && Instant::now() < until && !state.is_stopping() {
            tokio::time::sleep(LOOK).await;
            answer = watch.look(&state).await?;
        }
    }
    json(&*answer)
}

/// Whom it is about; none means all open ceremonies.
pub fn member(who: &Reader, named: Option<String>) -> Result<Option<MemberId>, Problem> {
    let named = named.map(|text| text.parse::<MemberId>()).transpose();
    let bad = || Problem::new(Code::BadQuery, "expected a member's id").about("member");
    Ok(named.map_err(|_| bad())?.or(match who {
        Reader::Member(member) => Some(member.clone()),
        Reader::Principal(_) => None,
    }))
}

/// What waits for one reader. While nothing changed it is looked at and not made anew: nobody pays for those who wait.
pub struct Watch {
    member: Option<MemberId>,
    seen: Option<Seen>,
}

struct Seen {
    /// Of ceremonies and trust documents.
    read: (i64, i64),
    all: Arc<Waits>,
    /// After this instant something waits no more.
    until: Option<Time>,
    answer: Arc<WaitingAnswer>,
}

impl Watch {
    pub fn new(member: Option<MemberId>) -> Self {
        Self { member, seen: None }
    }

    /// What waits now: the very answer of the last look where nothing changed since.
    pub async fn look(&mut self, state: &ServerState) -> Result<Arc<WaitingAnswer>, Problem> {
        let snapshot = state.services.keys.current();
        let read = (snapshot.versions.ceremonies, snapshot.versions.trust);
        let now = state.services.env.now();
        let in_time = |seen: &&mut Seen| seen.until.is_none_or(|until| now <= until);
        if let Some(seen) = self.seen.as_mut().filter(in_time)
            && seen.read == read
        {
            return Ok(Arc::clone(&seen.answer));
        }
        let all = state.waiting.at(&snapshot).await?;
        if let Some(seen) = self.seen.as_mut().filter(in_time)
            && Arc::ptr_eq(&seen.all, &all)
        {
            seen.read = read;
            return Ok(Arc::clone(&seen.answer));
        }
        let member = self.member.as_ref();
        let is_for = |is_for: &dyn Fn(&MemberId) -> bool| member.is_none_or(is_for);
        let ceremonies = all.ceremonies.iter().filter(|one| match member {
            Some(member) => one.is_for(member, now),
            None => one.asked != Some(Asked::Attest),
        });
        let ceremonies: Vec<_> = ceremonies.take(MOST + 1).collect();
        let statements = all.statements.iter();
        let statements = statements.filter(|one| is_for(&|member| one.is_for(member, now)));
        let statements: Vec<_> = statements.take(MOST + 1).collect();
        // Without a member time changes nothing: what is late is shown until it is ended.
        let deadlines = ceremonies.iter().filter_map(|waiting| waiting.until);
        let deadlines = deadlines.chain(statements.iter().filter_map(|waiting| waiting.ends()));
        let until = member.and_then(|_| deadlines.min());
        let answer = Arc::new(WaitingAnswer::of(&ceremonies, &statements)?);
        self.seen = Some(Seen {
            read,
            all: Arc::clone(&all),
            until,
            answer: Arc::clone(&answer),
        });
        Ok(answer)
    }
}

impl WaitingAnswer {
    fn of(ceremonies: &[&Waiting], statements: &[&WaitingStatement]) -> Result<Self, Problem> {
        let more = ceremonies.len() > MOST || statements.len() > MOST;
        let ceremonies = ceremonies.iter().take(MOST);
        let ceremonies: Vec<_> = ceremonies.copied().map(WaitingView::of).collect();
        let statements = statements.iter().take(MOST);
        let statements: Vec<_> = statements.copied().map(WaitingStatementView::of).collect();
        let text = serde_json::to_vec(&(&ceremonies, &statements, more));
        let text = text.map_err(|error| Problem::caused_by(Code::Internal, &error))?;
        Ok(Self {
            ceremonies,
            statements,
            more,
            version: Sha256Digest::of(&text).to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Watch;
    use crate::testing::Fixture;

    /// Two hundred who wait look a thousand times a second.
    #[tokio::test]
    async fn who_waits_costs_a_look_until_something_changes() {
        let fixture = Fixture::new().await;
        let open = fixture.propose("records", fixture.generate()).await;
        let mut alice = Watch::new(Some("alice".parse().unwrap()));
        let mut all = Watch::new(None);
        let state = &fixture.state;
        let first = (
            alice.look(state).await.unwrap(),
            all.look(state).await.unwrap(),
        );
        assert_eq!(first.0.ceremonies.len(), 1);
        // The database could not be asked, and the answer is the very same one.
        for sql in [
            "ALTER TABLE ceremony_signature RENAME TO away_signature",
            "ALTER TABLE ceremony RENAME TO away",
            "ALTER TABLE trust_statement RENAME TO away_statement",
        ] {
            fixture.place.raw(sql).await.unwrap();
        }
        for _ in 0..100 {
            fixture.wait_millis(100);
            assert!(Arc::ptr_eq(&alice.look(state).await.unwrap(), &first.0));
            assert!(Arc::ptr_eq(&all.look(state).await.unwrap(), &first.1));
        }
        for sql in [
            "ALTER TABLE away RENAME TO ceremony",
            "ALTER TABLE away_signature RENAME TO ceremony_signature",
            "ALTER TABLE away_statement RENAME TO trust_statement",
        ] {
            fixture.place.raw(sql).await.unwrap();
        }
        // A deadline passes without a change of the database.
        fixture.wait(61);
        let late = alice.look(state).await.unwrap();
        assert!(late.ceremonies.is_empty() && late.version != first.0.version);
        assert!(Arc::ptr_eq(&all.look(state).await.unwrap(), &first.1));
        // And something changes.
        let next = fixture.propose("records", fixture.generate()).await;
        let now = alice.look(state).await.unwrap();
        assert_eq!(now.ceremonies.len(), 1);
        assert_eq!(all.look(state).await.unwrap().ceremonies.len(), 2);
        assert_ne!(open, next);
    }
}
