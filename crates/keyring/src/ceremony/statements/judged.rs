//! Signatures of a statement, counted by `trust`.

use std::collections::BTreeSet;

use trust::chain::{self, Next, Progress, SignedDocument};
use trust::key_name::KeyName;
use trust::recovery::RecoveryRoster;
use trust::suspension::Suspension;
use trust::tally::{Counted, NotCounted, SuspensionTally, WhyNot, tally_suspension};
use trust::{MemberId, MemberKey, MemberSignature, Roster, Time, Trusted, json};

use crate::ceremony::error::Error;
use store::StatementKind;

/// What the signatures of a statement are worth.
pub(super) enum Judged {
    Document {
        signed: SignedDocument,
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
        let next = match kind {
            StatementKind::Roster => Next::Roster,
            StatementKind::Policy => Next::Policy,
            StatementKind::RecoveryRoster => Next::RecoveryRoster,
            StatementKind::Recovery => Next::Recovery,
            StatementKind::Suspension => return suspension(trusted, body, signatures, suspended),
        };
        let people = People::of(trusted, kind, &body)?;
        let members = signatures.iter().map(|each| people.owner(each)).collect();
        let signed = SignedDocument { body, signatures };
        let progress = chain::progress(trusted, next, &signed, suspended)?;
        Ok(Self::Document {
            signed,
            progress,
            members,
        })
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
        member.ok_or_else(|| Error::DoesNotCount(WhyNot::UnknownKey.to_string()))
    }

    /// The document with the signatures that are good for something; nothing else belongs into the chain.
    pub fn document(&self) -> Option<SignedDocument> {
        let Self::Document {
            signed, progress, ..
        } = self
        else {
            return None;
        };
        let mut signed = signed.clone();
        let mut place = 0..;
        signed
            .signatures
            .retain(|_| place.next().is_some_and(|index| progress.serves(index)));
        Some(signed)
    }
}

fn suspension(
    trusted: &Trusted,
    body: String,
    signatures: Vec<MemberSignature>,
    suspended: &BTreeSet<MemberId>,
) -> Result<Judged, Error> {
    let people = People::of(trusted, StatementKind::Suspension, &body)?;
    let members = signatures.iter().map(|each| people.owner(each)).collect();
    let suspension = Suspension {
        body,
        received_at: Time::from_millis(0),
        signatures,
    };
    let mut tally = tally_suspension(trusted, &suspension)?;
    // A suspended member suspends nobody else.
    let silenced =
        |counted: &Counted| counted.member != tally.member && suspended.contains(&counted.member);
    let (not, counted): (Vec<_>, Vec<_>) = std::mem::take(&mut tally.counted)
        .into_iter()
        .partition(silenced);
    tally.counted = counted;
    let silenced = not.into_iter().map(|counted| NotCounted {
        index: counted.index,
        member: Some(counted.member),
        why: WhyNot::Suspended,
    });
    tally.not_counted.extend(silenced);
    Ok(Judged::Suspension { tally, members })
}

/// Who may have signed, by the keys that signatures name. Whether they verify is the progress's to say.
struct People<'a> {
    roster: &'a Roster,
    recovery: Option<&'a RecoveryRoster>,
    next_roster: Option<Roster>,
    next_recovery: Option<RecoveryRoster>,
}

impl<'a> People<'a> {
    fn of(trusted: &'a Trusted, kind: StatementKind, body: &str) -> Result<Self, Error> {
        let unfit = |error: trust::JsonError| Error::Unfit(error.to_string());
        let body = body.as_bytes();
        let mut people = Self {
            roster: trusted.roster(),
            recovery: trusted.recovery(),
            next_roster: None,
            next_recovery: None,
        };
        match kind {
            StatementKind::Roster | StatementKind::Recovery => {
                people.next_roster = Some(json::require_canonical(body).map_err(unfit)?);
            }
            StatementKind::RecoveryRoster => {
                people.next_recovery = Some(json::require_canonical(body).map_err(unfit)?);
            }
            StatementKind::Policy | StatementKind::Suspension => {}
        }
        Ok(people)
    }

    fn owner(&self, signature: &MemberSignature) -> Option<MemberId> {
        let name = KeyName::unverified(signature).ok()?;
        let mut rosters = [Some(self.roster), self.next_roster.as_ref()]
            .into_iter()
            .flatten();
        let member = rosters.find_map(|roster| roster.named(&name));
        if let Some(member) = member {
            return Some(member.id.clone());
        }
        // On a recovery roster there are no passkeys.
        let KeyName::Ssh(key) = name else {
            return None;
        };
        let entitled = [self.recovery, self.next_recovery.as_ref()];
        let mut entitled = entitled
            .into_iter()
            .flatten()
            .flat_map(|roster| &roster.members);
        let owner = entitled.find(|member| {
            let mut keys = member.keys.iter().filter_map(MemberKey::ssh);
            keys.any(|known| *known == key)
        });
        owner.map(|member| member.id.clone())
    }
}
