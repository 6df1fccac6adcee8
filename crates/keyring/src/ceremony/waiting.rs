//! For whom ceremonies wait. It tells people where to look and permits nothing: a signature is counted when it comes, by
//! the tally, and whom a stored one is by is taken from the key that it names, unverified.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use trust::{
    MemberId, MemberSignature, Purpose, Request, Role, Roster, Sha256Digest, Time, Trusted, sshsig,
};

use super::error::Error;
use super::pages::Summary;
use super::service::CeremonyService;
use store::{CeremonyHeadRow, CeremonySignatureRow, Heads};

/// Open ceremonies that are looked at; older ones wait unseen.
const MOST: i64 = 2_000;

/// Ceremonies whose signatures are read together.
const TOGETHER: usize = 500;

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

#[derive(Default)]
struct Known {
    waiting: Option<(Read, Arc<Vec<Waiting>>)>,
    /// Of open ceremonies, by their digests: a request never changes.
    requests: HashMap<Sha256Digest, Arc<Request>>,
}

impl Waitings {
    pub fn new(service: CeremonyService) -> Self {
        Self {
            service,
            known: tokio::sync::Mutex::default(),
        }
    }

    /// As of these versions of ceremonies and trust documents, or later. Whoever comes while it is being read waits
    /// for that reading.
    pub async fn at(&self, read: Read, trusted: &Trusted) -> Result<Arc<Vec<Waiting>>, Error> {
        let mut known = self.known.lock().await;
        if let Some((at, waiting)) = &known.waiting
            && *at == read
        {
            return Ok(Arc::clone(waiting));
        }
        let (roster, requests) = (trusted.roster(), &mut known.requests);
        let waiting = Arc::new(self.service.waiting(roster, requests).await?);
        known.waiting = Some((read, Arc::clone(&waiting)));
        Ok(waiting)
    }
}

impl CeremonyService {
    async fn waiting(
        &self,
        roster: &Roster,
        requests: &mut HashMap<Sha256Digest, Arc<Request>>,
    ) -> Result<Vec<Waiting>, Error> {
        let newest = (i64::MAX, "");
        let rows = self.store.ceremony_heads(Heads::UnderWay, newest, MOST);
        // A row that cannot be read is told by `page`.
        let rows = rows.await?.read;
        let mut read = HashMap::with_capacity(rows.len());
        for row in &rows {
            let digest = Sha256Digest::of(&row.request);
            let request = match requests.remove(&digest) {
                Some(known) => known,
                None => match Request::decode(&row.request) {
                    Ok(request) => Arc::new(request),
                    Err(_) => continue,
                },
            };
            read.insert(digest, request);
        }
        let mut waiting = Vec::with_capacity(rows.len());
        for rows in rows.chunks(TOGETHER) {
            let ids: Vec<_> = rows.iter().map(|row| row.id.to_string()).collect();
            let mut signed: HashMap<Sha256Digest, Vec<CeremonySignatureRow>> = HashMap::new();
            for signature in self.store.signatures_of(&ids).await? {
                signed
                    .entry(signature.ceremony)
                    .or_default()
                    .push(signature);
            }
            let of = |row: &CeremonyHeadRow| {
                let signed = signed.get(&row.id).map_or(&[][..], Vec::as_slice);
                // By the id: a request that was changed is none.
                waits(row, read.get(&row.id)?, signed, roster)
            };
            waiting.extend(rows.iter().filter_map(of));
        }
        // Those that ended are forgotten.
        *requests = read;
        Ok(waiting)
    }
}

fn waits(
    row: &CeremonyHeadRow,
    request: &Request,
    signed: &[CeremonySignatureRow],
    roster: &Roster,
) -> Option<Waiting> {
    use store::CeremonyState as S;
    let summary = Summary::with(row, request);
    let (asked, purpose, until) = match row.state {
        S::Proposed => (
            Some(Asked::Approve),
            Purpose::Approve,
            Some(request.approve_by),
        ),
        S::Executed => (Some(Asked::Accept), Purpose::Accept, None),
        _ => (None, Purpose::Approve, None),
    };
    let by = |signature: &CeremonySignatureRow| {
        let decoded = MemberSignature::decode(signature.signature.as_bytes()).ok()?;
        let MemberSignature::Ssh { signature } = decoded else {
            return None;
        };
        let key = sshsig::unverified_key(&signature).ok()?;
        roster.owner(&key).map(|member| member.id.clone())
    };
    let of_purpose = signed.iter().filter(|row| row.purpose == purpose);
    let have: Vec<_> = of_purpose.filter_map(by).collect();
    let could = |member: &&trust::Member| {
        asked.is_some()
            && request.proposer.as_ref() != Some(&member.id)
            && !have.contains(&member.id)
    };
    let waiting_for = roster.active(Role::Custodian).filter(could);
    Some(Waiting {
        waiting_for: waiting_for.map(|member| member.id.clone()).collect(),
        summary,
        asked,
        until,
    })
}
