//! Who is heard at all. Whoever submits something over the network is a stranger until a signature says otherwise, so what
//! costs least is asked first: the form of the signature, whose key it names, one row, and then the signature itself.
//! Rosters are walked and votes are counted for members alone. A stranger is told the same whether a ceremony exists or
//! not, and whatever its state; only closed ones are public.

use trust::approval::{ObjectionBody, acceptance_message};
use trust::bytes16::Nonce;
use trust::format::V1;
use trust::key_name::KeyName;
use trust::note::NoteBody;
use trust::stop::{StopBody, StopError};
use trust::tally::{Obstacle, Standing, WhyNot, verify_by};
use trust::withdrawal::withdrawal_message;
use trust::{
    MemberId, MemberSignature, Namespace, Purpose, Request, Sha256Digest, Time, Trusted, dsse,
};

use super::error::Error;
use super::service::{CeremonyService, draft};
use super::standing_order::withdrawal_body;
use super::vote::normalized;
use store::{CeremonyHeadRow, CeremonyState};

/// What somebody submits to a ceremony.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    pub purpose: Purpose,
    /// Armored, or a passkey's as JSON.
    pub signature: &'a str,
    /// The reason or the note that was signed, or the body of an exception or an attestation; empty for the other
    /// purposes.
    pub text: &'a str,
}

impl CeremonyService {
    /// Lets through what an active member signed for this purpose over the ceremony of this id, if its state is one in
    /// which such a signature is taken. What it is worth there is for the tally. `trusted` is the roster as the caller
    /// knows it, as old as its read model at most.
    pub async fn admit(
        &self,
        trusted: Option<&Trusted>,
        id: Sha256Digest,
        submission: &Submission<'_>,
    ) -> Result<(), Error> {
        let trusted = trusted.ok_or(Error::NoGenesis)?;
        let signature = normalized(submission.signature)?;
        of_member(trusted, &signature)?;
        let head = self.store.ceremony_head(&id.to_string()).await?;
        let (taken, needed) = taken(submission.purpose);
        let state = head.as_ref().map(|head| head.state);
        let wrong = |found: CeremonyState| Error::State {
            found: found.to_string(),
            needed,
        };
        if state == Some(CeremonyState::Closed) && submission.purpose != Purpose::Witness {
            return Err(wrong(CeremonyState::Closed));
        }
        let purpose = submission.purpose;
        let namespace = Namespace::new(purpose, trusted.service(), trusted.environment());
        let message = self.message(&namespace, id, submission, head.as_ref());
        let message = message.await?;
        verify_by(trusted.roster(), &signature, &namespace, &message).map_err(not_counted)?;
        match state {
            None => Err(Error::Unknown(id.to_string())),
            Some(state) if taken.contains(&state) => Ok(()),
            Some(state) => Err(wrong(state)),
        }
    }

    /// The same for the withdrawal of a standing order. Whoever is no active member learns nothing of it.
    pub async fn admit_withdrawal(
        &self,
        trusted: Option<&Trusted>,
        order: Nonce,
        (reason, signature): (&str, &str),
    ) -> Result<(), Error> {
        let trusted = trusted.ok_or(Error::NoGenesis)?;
        let signature = normalized(signature)?;
        of_member(trusted, &signature)?;
        let (service, environment) = (trusted.service(), trusted.environment());
        let message = match self.store.order(&order.to_string()).await? {
            Some(row) => withdrawal_message(service, environment, &withdrawal_body(&row, reason)?),
            // Nobody signs it.
            None => Vec::new(),
        };
        let namespace = Namespace::new(Purpose::Withdraw, service, environment);
        verify_by(trusted.roster(), &signature, &namespace, &message).map_err(not_counted)?;
        Ok(())
    }

    /// What has to be signed. Where there is nothing that could be, it is a message that nobody signs: so it takes as long
    /// to be refused, and in the same words.
    async fn message(
        &self,
        namespace: &Namespace,
        id: Sha256Digest,
        submission: &Submission<'_>,
        head: Option<&CeremonyHeadRow>,
    ) -> Result<Vec<u8>, Error> {
        let over = |body: &[u8]| dsse::pae(&namespace.to_string(), body);
        let text = submission.text.to_owned();
        match submission.purpose {
            Purpose::Approve => Ok(head.map(|head| over(&head.request)).unwrap_or_default()),
            Purpose::Accept if head.is_some_and(|head| head.state == CeremonyState::Executed) => {
                let row = self.row(&id.to_string()).await?;
                let request = Request::decode(&row.request)?;
                let statement = draft(&row)?.acceptance.statement;
                Ok(acceptance_message(&request, statement.as_bytes()))
            }
            // Over the id and the text alone.
            Purpose::Reject | Purpose::Cancel => {
                let body = ObjectionBody {
                    v: V1,
                    request_digest: id,
                    reason: text,
                };
                Ok(over(&body.encode()?))
            }
            Purpose::Note => {
                let body = NoteBody {
                    note: text,
                    request_digest: id,
                    v: V1,
                };
                Ok(over(&body.encode()?))
            }
            // Whether the body is about this ceremony is for whoever takes it.
            Purpose::Exception | Purpose::Witness => Ok(over(text.as_bytes())),
            _ => Ok(Vec::new()),
        }
    }
}

/// The same for a stop: it is one, it can still be submitted, and an active member signed it. Costs no look-up; `body` is
/// what was signed. Whether the member may stop, and whether it is the next of its line, is for whoever takes it.
pub fn admit_stop(
    trusted: Option<&Trusted>,
    body: &[u8],
    signature: &str,
    now: Time,
) -> Result<(), Error> {
    let trusted = trusted.ok_or(Error::NoGenesis)?;
    let read = StopBody::decode(body);
    let read = read.map_err(|error| Error::Unfit(StopError::Unreadable(error).to_string()))?;
    read.scope()
        .map_err(|error| Error::Unfit(error.to_string()))?;
    still_fresh(&read, now)?;
    let signature = normalized(signature)?;
    of_member(trusted, &signature)?;
    let namespace = Namespace::new(Purpose::Stop, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), body);
    verify_by(trusted.roster(), &signature, &namespace, &message).map_err(not_counted)?;
    Ok(())
}

/// A stop is not taken after its expiry.
pub(super) fn still_fresh(stop: &StopBody, now: Time) -> Result<(), Error> {
    let at = stop.expires_at;
    match now <= at {
        true => Ok(()),
        false => Err(Error::Unfit(format!(
            "the stop had to be submitted by {at}"
        ))),
    }
}

/// The same for a request: its proposer signed it. Costs no look-up; `bytes` are those of the request.
pub fn admit_proposal(
    trusted: Option<&Trusted>,
    request: &Request,
    bytes: &[u8],
    signature: &str,
) -> Result<(), Error> {
    let trusted = trusted.ok_or(Error::NoGenesis)?;
    let proposer = request.proposer.as_ref();
    let proposer = proposer.ok_or_else(|| Error::Unfit("the request names no proposer".into()))?;
    let signature = normalized(signature)?;
    let namespace = Namespace::new(Purpose::Propose, trusted.service(), trusted.environment());
    let message = dsse::pae(&namespace.to_string(), bytes);
    // No proposal is by passkey.
    let signed = of_member(trusted, &signature).is_ok_and(|member| {
        member == proposer
            && verify_by(trusted.roster(), &signature, &namespace, &message)
                .is_ok_and(|key| !key.is_passkey())
    });
    match signed {
        true => Ok(()),
        false => {
            let obstacles = vec![Obstacle::Proposal(proposer.clone())];
            Err(Error::NotApproved(Standing::Refused(obstacles)))
        }
    }
}

/// The active member whose key a signature names. Nothing is verified by that, and nothing looked up.
fn of_member<'a>(trusted: &'a Trusted, signature: &MemberSignature) -> Result<&'a MemberId, Error> {
    let name = KeyName::unverified(signature).map_err(not_counted)?;
    let owner = trusted.roster().named(&name);
    let owner = owner.ok_or_else(|| not_counted(WhyNot::UnknownKey))?;
    match owner.active {
        true => Ok(&owner.id),
        false => Err(not_counted(WhyNot::Inactive)),
    }
}

fn not_counted(why: impl std::fmt::Display) -> Error {
    Error::DoesNotCount(why.to_string())
}

/// In which states a signature of a purpose is taken, and how that is told.
fn taken(purpose: Purpose) -> (&'static [CeremonyState], &'static str) {
    match purpose {
        Purpose::Accept => (&[CeremonyState::Executed], "executed"),
        Purpose::Note | Purpose::Exception => (OPEN, "proposed or approved"),
        Purpose::Witness => (&[CeremonyState::Closed], "closed"),
        _ => (OPEN, "proposed"),
    }
}

const OPEN: &[CeremonyState] = &[CeremonyState::Proposed, CeremonyState::Approved];
