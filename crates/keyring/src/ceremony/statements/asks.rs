//! Whom a statement waits for: who could sign it, prove a new key, or veto it.

use std::collections::BTreeSet;

use serde::Serialize;
use trust::chain::Progress;
use trust::tally::Counted;
use trust::{MemberId, Role, Roster, Sha256Digest, Time, Trusted, json};

use super::judged::Judged;
use crate::ceremony::error::Error;
use crate::ceremony::service::CeremonyService;
use store::{StatementKind, StatementState};

/// What is asked of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// A request.
    Approve,
    /// What was done.
    Accept,
    /// A statement.
    Sign,
    /// A statement with a key that is new for the member: that somebody has it, and the duty.
    Acknowledge,
    /// Nothing, unless the member is against a recovery.
    Veto,
    /// That a witness saw a ceremony that is closed.
    Attest,
}

impl Asked {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Accept => "accept",
            Self::Sign => "sign",
            Self::Acknowledge => "acknowledge",
            Self::Veto => "veto",
            Self::Attest => "attest",
        }
    }
}

/// One thing that a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub asked: Asked,
    /// Who could do it now, whether on the roster or not yet.
    pub of: Vec<MemberId>,
    /// Until when; of a veto the instant from which the recovery may take effect.
    pub until: Option<Time>,
}

impl CeremonyService {
    /// What an open statement asks for, its signatures verified and counted by this roster. One that cannot take effect,
    /// whoever signs it, asks for nothing.
    pub(in crate::ceremony) async fn asks(
        &self,
        id: Sha256Digest,
        trusted: &Trusted,
        suspended: &BTreeSet<MemberId>,
    ) -> Result<Vec<Ask>, Error> {
        let (row, agreed) = match self.stored_statement(&id.to_string()).await {
            Err(error @ Error::Store(_)) => return Err(error),
            Err(_) => return Ok(Vec::new()),
            Ok(stored) => (stored.row, stored.agreed),
        };
        let mut asks = Vec::new();
        if row.state == StatementState::Open {
            let judged = Judged::of(trusted, row.kind, &row.body, agreed, suspended);
            let asked = judged.and_then(|judged| judged.asks(trusted, row.kind, suspended));
            asks = asked.unwrap_or_default();
            for ask in &mut asks {
                ask.until = Some(row.closes_at);
            }
        }
        let vetoed = matches!(row.state, StatementState::Open | StatementState::Announced);
        if row.kind == StatementKind::Recovery && vetoed && row.effect.is_none() {
            asks.push(Ask {
                asked: Asked::Veto,
                of: may_veto(trusted.roster()),
                until: self.takes_effect(trusted, row.announced).await?,
            });
        }
        asks.retain(|ask| !ask.of.is_empty());
        Ok(asks)
    }

    /// From when on a recovery that was announced may take effect.
    async fn takes_effect(
        &self,
        trusted: &Trusted,
        announced: Option<i64>,
    ) -> Result<Option<Time>, Error> {
        let Some((announced, entitled)) = announced.zip(trusted.recovery()) else {
            return Ok(None);
        };
        let leaf = self.store.leaf(announced).await?;
        Ok(leaf.map(|leaf| Time::from_millis(leaf.time) + entitled.delay()))
    }
}

/// Whatever the role, executors excepted; no suspension matters here.
fn may_veto(roster: &Roster) -> Vec<MemberId> {
    let members = roster.members.iter();
    let may = members.filter(|member| member.active && !member.roles.contains(&Role::Executor));
    may.map(|member| member.id.clone()).collect()
}

fn custodians(roster: &Roster, suspended: &BTreeSet<MemberId>) -> Vec<MemberId> {
    let all = roster.active(Role::Custodian);
    let all = all.filter(|member| !suspended.contains(&member.id));
    all.map(|member| member.id.clone()).collect()
}

/// Those who have not counted, where fewer have than are needed.
fn missing(people: Vec<MemberId>, counted: &[Counted], needed: usize) -> Vec<MemberId> {
    if counted.len() >= needed {
        return Vec::new();
    }
    let have: BTreeSet<_> = counted.iter().map(|counted| &counted.member).collect();
    let left = people.into_iter().filter(|id| !have.contains(id));
    left.collect()
}

impl Judged {
    /// Without a time.
    fn asks(
        &self,
        trusted: &Trusted,
        kind: StatementKind,
        suspended: &BTreeSet<MemberId>,
    ) -> Result<Vec<Ask>, Error> {
        let ask = |asked, of| Ask {
            asked,
            of,
            until: None,
        };
        match self {
            Self::Suspension { tally, .. } => {
                let mut of = custodians(trusted.roster(), suspended);
                of.retain(|id| *id != tally.member);
                // The member's own signature is enough, whatever the role.
                let mut of = missing(of, &tally.counted, usize::MAX);
                of.insert(0, tally.member.clone());
                Ok(vec![ask(Asked::Sign, of)])
            }
            Self::Document {
                signed, progress, ..
            } => {
                let next: Option<Roster> = match kind {
                    StatementKind::Roster | StatementKind::Recovery => {
                        Some(json::require_canonical(signed.body.as_bytes())?)
                    }
                    _ => None,
                };
                let old = match (kind, trusted.recovery()) {
                    (StatementKind::Recovery, Some(entitled)) => {
                        let members = entitled.members.iter();
                        members.map(|member| member.id.clone()).collect()
                    }
                    _ => custodians(trusted.roster(), suspended),
                };
                let new = match (kind, &next) {
                    // Suspensions are the old roster's, and whoever recovers is on none.
                    (StatementKind::Recovery, Some(next)) => custodians(next, &BTreeSet::new()),
                    (_, Some(next)) => custodians(next, suspended),
                    (_, None) => custodians(trusted.roster(), suspended),
                };
                Ok(of_document(progress, old, new)
                    .map(|(asked, of)| ask(asked, of))
                    .into())
            }
        }
    }
}

fn of_document(
    progress: &Progress,
    old: Vec<MemberId>,
    new: Vec<MemberId>,
) -> [(Asked, Vec<MemberId>); 2] {
    let mut unproven: Vec<MemberId> = Vec::new();
    for (id, _) in &progress.unproven {
        if !unproven.contains(id) {
            unproven.push(id.clone());
        }
    }
    let mut sign = missing(old, &progress.old, progress.needed);
    for id in missing(new, &progress.new, progress.needed_new) {
        // Whoever proves a key of the next roster counts by it.
        if !sign.contains(&id) && !unproven.contains(&id) {
            sign.push(id);
        }
    }
    [(Asked::Sign, sign), (Asked::Acknowledge, unproven)]
}
