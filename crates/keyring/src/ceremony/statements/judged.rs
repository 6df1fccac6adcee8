//! Signatures of a statement, counted by `trust`.

use std::collections::BTreeSet;

use trust::chain::{self, Change, Progress, SignedDocument};
use trust::suspension::Suspension;
use trust::tally::{Counted, NotCounted, SuspensionTally, WhyNot, tally_suspension};
use trust::{MemberId, MemberSignature, Roster, Time, Trusted, json};

use super::owner;
use crate::ceremony::error::Error;
use store::StatementKind;

/// What the signatures of a statement are worth.
pub(super) enum Judged {
    Document {
        change: Change,
        progress: Progress,
        /// Of each signature.
        members: Vec<Option<MemberId>>,
    },
    Suspension {
        tally: SuspensionTally,
        members: Vec<Option<MemberId>>,
    },
}

impl Judged {
    /// An error is of a statement that cannot take effect, whoever signs it.
    pub fn of(
        trusted: &Trusted,
        kind: StatementKind,
        body: &[u8],
        signatures: Vec<MemberSignature>,
        suspended: &BTreeSet<MemberId>,
    ) -> Result<Self, Error> {
        let body = String::from_utf8(body.to_vec())
            .map_err(|_| Error::Unfit("a statement is UTF-8".to_owned()))?;
        let by = |new: &Roster| {
            let signatures = signatures.iter();
            let members = signatures.map(|each| owner([trusted.roster(), new], each).cloned());
            members.collect::<Vec<_>>()
        };
        match kind {
            StatementKind::Suspension => {
                let members = by(trusted.roster());
                let suspension = Suspension {
                    body,
                    received_at: Time::from_millis(0),
                    signatures,
                };
                let mut tally = tally_suspension(trusted, &suspension)?;
                // A suspended member suspends nobody else.
                let silenced = |counted: &Counted| {
                    counted.member != tally.member && suspended.contains(&counted.member)
                };
                let (not, counted): (Vec<_>, Vec<_>) = std::mem::take(&mut tally.counted)
                    .into_iter()
                    .partition(silenced);
                tally.counted = counted;
                tally
                    .not_counted
                    .extend(not.into_iter().map(|counted| NotCounted {
                        index: counted.index,
                        member: Some(counted.member),
                        why: WhyNot::Suspended,
                    }));
                Ok(Self::Suspension { tally, members })
            }
            StatementKind::Roster => {
                let new: Roster = json::require_canonical(body.as_bytes())
                    .map_err(|error| Error::Unfit(error.to_string()))?;
                let members = by(&new);
                let change = Change::Roster(SignedDocument { body, signatures });
                let progress = chain::progress(trusted, &change, suspended)?;
                Ok(Self::Document {
                    change,
                    progress,
                    members,
                })
            }
            StatementKind::Policy => {
                let members = by(trusted.roster());
                let change = Change::Policy(SignedDocument { body, signatures });
                let progress = chain::progress(trusted, &change, suspended)?;
                Ok(Self::Document {
                    change,
                    progress,
                    members,
                })
            }
        }
    }

    pub fn is_complete(&self) -> bool {
        match self {
            Self::Document { progress, .. } => progress.is_complete(),
            Self::Suspension { tally, .. } => tally.holds(),
        }
    }

    pub fn not_counted(&self) -> &[NotCounted] {
        match self {
            Self::Document { progress, .. } => &progress.not_counted,
            Self::Suspension { tally, .. } => &tally.not_counted,
        }
    }

    fn members(&self) -> &[Option<MemberId>] {
        match self {
            Self::Document { members, .. } | Self::Suspension { members, .. } => members,
        }
    }

    /// Whose the signature at this place is; refuses one that is good for nothing.
    pub fn require(&self, index: usize) -> Result<&MemberId, Error> {
        if let Some(not) = self.not_counted().iter().find(|not| not.index == index) {
            return Err(Error::DoesNotCount(not.why.to_string()));
        }
        let member = self.members().get(index).and_then(Option::as_ref);
        member.ok_or_else(|| Error::DoesNotCount(trust::tally::WhyNot::UnknownKey.to_string()))
    }

    /// The document with the signatures that are good for something; nothing else belongs into the chain.
    pub fn document(&self) -> Option<Change> {
        let Self::Document {
            change, progress, ..
        } = self
        else {
            return None;
        };
        let mut change = change.clone();
        let (Change::Roster(signed) | Change::Policy(signed)) = &mut change;
        let mut place = 0..;
        signed
            .signatures
            .retain(|_| place.next().is_some_and(|index| progress.serves(index)));
        Some(change)
    }
}
