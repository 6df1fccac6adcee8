//! For whom ceremonies and statements wait. It tells people where to look and permits nothing: a signature is counted when
//! it comes, by the tally. Whom a stored one in a ceremony is by is taken from the key that it names, unverified.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use trust::key_name::KeyName;
use trust::{MemberId, MemberSignature, Purpose, Request, Role, Sha256Digest, Time, Trusted};

use super::error::Error;
use super::pages::Summary;
use super::service::CeremonyService;
use super::statements::{Ask, Asked};
use crate::keys::Snapshot;
use store::{CeremonySignatureRow, CeremonyUnderWay, Heads, PageStart, StatementMark};

/// Open ceremonies that are looked at; older ones wait unseen.
const MOST: i64 = 2_000;

/// The same of statements, of which a member has a few open.
const MOST_STATEMENTS: i64 = 500;

/// Ceremonies that are read together.
const TOGETHER: usize = 200;

/// Closed ceremonies that are looked at for witnesses, the newest.
const MOST_CLOSED: i64 = 20;

/// How long after its end a ceremony is attested.
const ATTESTED_WITHIN: Duration = Duration::from_secs(14 * 86_400);

/// Signatures since the last reading that are looked through.
const MOST_VOTES: i64 = 1_000;

/// An open ceremony and who could go on with it; or a closed one, and who could attest it.
#[derive(Debug, Clone, Serialize)]
pub struct Waiting {
    #[serde(flatten)]
    pub summary: Summary,
    /// None where it waits for the executor.
    pub asked: Option<Asked>,
    /// After this instant the signatures asked for do not count.
    pub until: Option<Time>,
    pub waiting_for: Vec<MemberId>,
}

impl Waiting {
    /// Whether this member could sign now.
    pub fn is_for(&self, member: &MemberId, now: Time) -> bool {
        self.asked.is_some()
            && self.until.is_none_or(|until| now <= until)
            && self.waiting_for.contains(member)
    }
}

/// One thing that an open statement asks for: the next roster or policy, a suspension or a recovery. One that asks for
/// several things is there once for each.
#[derive(Debug, Clone, Serialize)]
pub struct WaitingStatement {
    pub statement: Sha256Digest,
    pub kind: &'static str,
    pub state: &'static str,
    pub opened_by: String,
    pub created_at: Time,
    /// None where nobody could do anything.
    pub asked: Option<Asked>,
    /// After this instant a signature is not taken. A recovery may take effect from this instant on.
    pub until: Option<Time>,
    /// Those of the next roster too, who may read nothing yet.
    pub waiting_for: Vec<MemberId>,
}

impl WaitingStatement {
    /// Whether this member could do it now.
    pub fn is_for(&self, member: &MemberId, now: Time) -> bool {
        self.asked.is_some()
            && self.ends().is_none_or(|until| now <= until)
            && self.waiting_for.contains(member)
    }

    /// After this instant it waits no more. A recovery that may take effect can be vetoed until it does.
    pub fn ends(&self) -> Option<Time> {
        self.until.filter(|_| self.asked != Some(Asked::Veto))
    }

    fn of(mark: &StatementMark, ask: Option<&Ask>) -> Self {
        Self {
            statement: mark.id,
            kind: mark.kind.as_str(),
            state: mark.state.as_str(),
            opened_by: mark.opened_by.clone(),
            created_at: mark.created_at,
            asked: ask.map(|ask| ask.asked),
            until: ask.map_or(Some(mark.closes_at), |ask| ask.until),
            waiting_for: ask.map(|ask| ask.of.clone()).unwrap_or_default(),
        }
    }
}

/// All that waits for somebody, each the newest first.
#[derive(Debug, Default)]
pub struct Waits {
    pub ceremonies: Vec<Waiting>,
    pub statements: Vec<WaitingStatement>,
}

/// At which versions of the database it was read: of ceremonies and trust documents.
type Read = (i64, i64);

/// What waits, read once for each version of the ceremonies and shared by all who ask.
pub struct Waitings {
    service: CeremonyService,
    known: tokio::sync::Mutex<Known>,
}

/// What was read before and does not change.
#[derive(Default)]
struct Known {
    waiting: Option<(Read, Arc<Waits>)>,
    /// Open ceremonies by their ids. A request never changes, and signatures are only added.
    open: HashMap<Sha256Digest, Seen>,
    /// Signatures of leaves before this one were read.
    until: i64,
    /// Open statements by their ids. The document never changes, and signatures are only added.
    statements: HashMap<Sha256Digest, Judgement>,
}

/// What a statement asks for, as long as its row and whom to trust are the same.
struct Judgement {
    mark: StatementMark,
    trust: i64,
    asks: Vec<Ask>,
}

struct Seen {
    request: Request,
    /// Keys that signatures name, and what they are for.
    signed: Vec<(Purpose, KeyName)>,
}

impl Waitings {
    pub fn new(service: CeremonyService) -> Self {
        Self {
            service,
            known: tokio::sync::Mutex::default(),
        }
    }

    /// As of the snapshot's versions of ceremonies and trust documents, or later. Whoever comes while it is being read
    /// waits for that reading. As long as nothing changed it is the same one.
    pub async fn at(&self, snapshot: &Snapshot) -> Result<Arc<Waits>, Error> {
        let Some(trusted) = snapshot.trusted() else {
            return Ok(Arc::default());
        };
        let read = (snapshot.versions.ceremonies, snapshot.versions.trust);
        let mut known = self.known.lock().await;
        if let Some((at, waiting)) = &known.waiting
            && *at == read
        {
            return Ok(Arc::clone(waiting));
        }
        let people = (trusted, snapshot.suspended());
        let waiting = Arc::new(Waits {
            ceremonies: self.service.all_waiting(people, &mut known).await?,
            statements: self
                .service
                .statements_waiting(people, read.1, &mut known)
                .await?,
        });
        known.waiting = Some((read, Arc::clone(&waiting)));
        Ok(waiting)
    }
}

/// Whom to trust, and of them who is not counted.
type People<'a> = (&'a Trusted, &'a BTreeSet<MemberId>);

impl CeremonyService {
    /// What changed since it was looked at last is judged anew, and nothing else.
    async fn statements_waiting(
        &self,
        (trusted, suspended): People<'_>,
        trust: i64,
        known: &mut Known,
    ) -> Result<Vec<WaitingStatement>, Error> {
        // A row that cannot be read is told by `statements`.
        let marks = self.store.open_statement_marks(MOST_STATEMENTS).await?.read;
        let mut judged = HashMap::with_capacity(marks.len());
        let mut waiting = Vec::new();
        for mark in marks {
            let before = known.statements.remove(&mark.id);
            let judgement = match before {
                Some(before) if before.mark == mark && before.trust == trust => before,
                _ => Judgement {
                    asks: self.asks(mark.id, trusted, suspended).await?,
                    trust,
                    mark,
                },
            };
            let mark = &judgement.mark;
            let asks = judgement.asks.iter();
            waiting.extend(asks.map(|ask| WaitingStatement::of(mark, Some(ask))));
            if judgement.asks.is_empty() {
                waiting.push(WaitingStatement::of(mark, None));
            }
            judged.insert(mark.id, judgement);
        }
        // Those that ended are forgotten.
        known.statements = judged;
        Ok(waiting)
    }

    /// Each the newest first, those that are open before those that witnesses saw the end of.
    async fn all_waiting(
        &self,
        people: People<'_>,
        known: &mut Known,
    ) -> Result<Vec<Waiting>, Error> {
        let mut all = self.waiting(people, known).await?;
        all.extend(self.unattested(people).await?);
        Ok(all)
    }

    /// Closed ceremonies, each with the witnesses who neither took part in it nor have attested it.
    async fn unattested(&self, (trusted, suspended): People<'_>) -> Result<Vec<Waiting>, Error> {
        let roster = trusted.roster();
        let witnesses = roster.active(Role::Witness);
        let witnesses: Vec<&MemberId> = witnesses
            .filter(|member| member.may_attest() && !suspended.contains(&member.id))
            .map(|member| &member.id)
            .collect();
        if witnesses.is_empty() {
            return Ok(Vec::new());
        }
        let closed = Heads::EndedAs(store::CeremonyState::Closed);
        let newest = (i64::MAX, "");
        let rows = self.store.ceremony_heads(closed, newest, MOST_CLOSED);
        let (mut rows, now) = (rows.await?.read, self.env.now());
        rows.retain(|row| now <= row.updated_at + ATTESTED_WITHIN);
        let ids: Vec<_> = rows.iter().map(|row| row.id.to_string()).collect();
        let mut done: HashMap<Sha256Digest, Vec<&MemberId>> = HashMap::new();
        for signature in self.store.signatures_of(&ids).await? {
            use Purpose as P;
            // Whoever noted something was there, and has not taken part by that.
            let named = named(&signature).filter(|(purpose, _)| {
                matches!(purpose, P::Propose | P::Approve | P::Accept | P::Witness)
            });
            let owner = named.and_then(|(_, name)| roster.named(&name));
            let of = done.entry(signature.ceremony).or_default();
            of.extend(owner.map(|owner| &owner.id));
        }
        let waiting = rows.iter().filter_map(|row| {
            let done = done.get(&row.id).map_or(&[][..], Vec::as_slice);
            let left = witnesses.iter().filter(|witness| !done.contains(witness));
            let waiting_for: Vec<MemberId> = left.map(|witness| (*witness).clone()).collect();
            let summary = Summary::of(row).filter(|_| !waiting_for.is_empty())?;
            Some(Waiting {
                summary,
                asked: Some(Asked::Attest),
                until: Some(row.updated_at + ATTESTED_WITHIN),
                waiting_for,
            })
        });
        Ok(waiting.collect())
    }

    async fn waiting(&self, people: People<'_>, known: &mut Known) -> Result<Vec<Waiting>, Error> {
        // A row that cannot be read is told by `page`.
        let rows = self.store.under_way(MOST).await?.read;
        let until = self.store.log_size().await?;
        self.signed_since(known).await?;
        let new = rows.iter().filter(|row| !known.open.contains_key(&row.id));
        let new: Vec<_> = new.map(|row| row.id.to_string()).collect();
        for ids in new.chunks(TOGETHER) {
            self.read_open(ids, known).await?;
        }
        known.until = until;
        // Those that ended are forgotten.
        let ids: HashSet<_> = rows.iter().map(|row| row.id).collect();
        known.open.retain(|id, _| ids.contains(id));
        let of = |row: &CeremonyUnderWay| Some(waits(row, known.open.get(&row.id)?, people));
        Ok(rows.iter().filter_map(of).collect())
    }

    /// Adds what was signed in the ceremonies that are known. Signatures that are read twice do no harm.
    async fn signed_since(&self, known: &mut Known) -> Result<(), Error> {
        if known.open.is_empty() {
            return Ok(());
        }
        let from = PageStart {
            key: known.until.to_string(),
            behind: 0,
        };
        let page = self.store.votes(&from, MOST_VOTES).await?;
        if page.next.is_some() {
            // Nobody asked for long: to begin anew reads less.
            known.open.clear();
            return Ok(());
        }
        for row in page.rows.read {
            if let Some(seen) = known.open.get_mut(&row.vote.ceremony) {
                seen.signed.extend(named(&row.vote));
            }
        }
        Ok(())
    }

    async fn read_open(&self, ids: &[String], known: &mut Known) -> Result<(), Error> {
        let mut signed: HashMap<Sha256Digest, Vec<(Purpose, KeyName)>> = HashMap::new();
        for signature in self.store.signatures_of(ids).await? {
            let of = signed.entry(signature.ceremony).or_default();
            of.extend(named(&signature));
        }
        for row in self.store.ceremonies_of(ids).await?.read {
            // By the id: a request that was changed is none.
            if Sha256Digest::of(&row.request) != row.id {
                continue;
            }
            if let Ok(request) = Request::decode(&row.request) {
                let signed = signed.remove(&row.id).unwrap_or_default();
                known.open.insert(row.id, Seen { request, signed });
            }
        }
        Ok(())
    }
}

/// The key that a signature names, unverified.
fn named(row: &CeremonySignatureRow) -> Option<(Purpose, KeyName)> {
    let decoded = MemberSignature::decode(row.signature.as_bytes()).ok()?;
    Some((row.purpose, KeyName::unverified(&decoded).ok()?))
}

fn waits(row: &CeremonyUnderWay, seen: &Seen, (trusted, suspended): People<'_>) -> Waiting {
    use store::CeremonyState as S;
    let roster = trusted.roster();
    let Seen { request, signed } = seen;
    let summary = Summary::with(row, request);
    let (asked, purpose, until) = match row.state {
        // What a standing order permits waits for nobody's signature.
        S::Proposed if request.order.is_some() => (None, Purpose::Approve, None),
        S::Proposed => (
            Some(Asked::Approve),
            Purpose::Approve,
            Some(request.approve_by),
        ),
        S::Executed => (Some(Asked::Accept), Purpose::Accept, None),
        _ => (None, Purpose::Approve, None),
    };
    let of_purpose = signed.iter().filter(|(signed, _)| *signed == purpose);
    let names: Vec<_> = of_purpose.map(|(_, name)| name).collect();
    // Where all signed by passkey, each of them may give the one signature that is by none.
    let all_by_passkey = names.iter().all(|name| name.is_passkey());
    let done = names.iter().filter(|_| !all_by_passkey);
    let owners = done.filter_map(|name| roster.named(name));
    let have: Vec<_> = owners.map(|member| &member.id).collect();
    let could = |member: &&trust::Member| {
        asked.is_some()
            && !suspended.contains(&member.id)
            && request.proposer.as_ref() != Some(&member.id)
            && !have.contains(&&member.id)
    };
    let waiting_for = roster.active(Role::Custodian).filter(could);
    Waiting {
        waiting_for: waiting_for.map(|member| member.id.clone()).collect(),
        summary,
        asked,
        until,
    }
}
