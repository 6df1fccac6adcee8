//! For whom ceremonies wait. It tells people where to look and permits nothing: a signature is counted when it comes, by
//! the tally, and whom a stored one is by is taken from the key that it names, unverified.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use trust::sshkey::SshKey;
use trust::{
    MemberId, MemberSignature, Purpose, Request, Role, Roster, Sha256Digest, Time, Trusted, sshsig,
};

use super::error::Error;
use super::pages::Summary;
use super::service::CeremonyService;
use store::{CeremonySignatureRow, CeremonyUnderWay, PageStart};

/// Open ceremonies that are looked at; older ones wait unseen.
const MOST: i64 = 2_000;

/// Ceremonies that are read together.
const TOGETHER: usize = 200;

/// Signatures since the last reading that are looked through.
const MOST_VOTES: i64 = 1_000;

/// What is asked of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    Approve,
    Accept,
}

/// An open ceremony and who could go on with it.
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

/// At which versions of the database it was read.
type Read = (i64, i64);

/// What waits, read once for each version of the ceremonies and shared by all who ask.
pub struct Waitings {
    service: CeremonyService,
    known: tokio::sync::Mutex<Known>,
}

/// What was read before and does not change.
#[derive(Default)]
struct Known {
    waiting: Option<(Read, Arc<Vec<Waiting>>)>,
    /// Open ceremonies by their ids. A request never changes, and signatures are only added.
    open: HashMap<Sha256Digest, Seen>,
    /// Signatures of leaves before this one were read.
    until: i64,
}

struct Seen {
    request: Request,
    /// Keys that signatures name, and what they are for.
    signed: Vec<(Purpose, SshKey)>,
}

impl Waitings {
    pub fn new(service: CeremonyService) -> Self {
        Self {
            service,
            known: tokio::sync::Mutex::default(),
        }
    }

    /// As of these versions of ceremonies and trust documents, or later. Whoever comes while it is being read waits
    /// for that reading. As long as nothing changed it is the same one.
    pub async fn at(&self, read: Read, trusted: &Trusted) -> Result<Arc<Vec<Waiting>>, Error> {
        let mut known = self.known.lock().await;
        if let Some((at, waiting)) = &known.waiting
            && *at == read
        {
            return Ok(Arc::clone(waiting));
        }
        let waiting = self.service.waiting(trusted.roster(), &mut known);
        let waiting = Arc::new(waiting.await?);
        known.waiting = Some((read, Arc::clone(&waiting)));
        Ok(waiting)
    }
}

impl CeremonyService {
    async fn waiting(&self, roster: &Roster, known: &mut Known) -> Result<Vec<Waiting>, Error> {
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
        let of = |row: &CeremonyUnderWay| Some(waits(row, known.open.get(&row.id)?, roster));
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
        let mut signed: HashMap<Sha256Digest, Vec<(Purpose, SshKey)>> = HashMap::new();
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
fn named(row: &CeremonySignatureRow) -> Option<(Purpose, SshKey)> {
    let decoded = MemberSignature::decode(row.signature.as_bytes()).ok()?;
    let MemberSignature::Ssh { signature } = decoded else {
        return None;
    };
    Some((row.purpose, sshsig::unverified_key(&signature).ok()?))
}

fn waits(row: &CeremonyUnderWay, seen: &Seen, roster: &Roster) -> Waiting {
    use store::CeremonyState as S;
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
    let owners = of_purpose.filter_map(|(_, key)| roster.owner(key));
    let have: Vec<_> = owners.map(|member| &member.id).collect();
    let could = |member: &&trust::Member| {
        asked.is_some()
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
