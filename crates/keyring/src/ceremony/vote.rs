//! Approvals and rejections. A signature that would not count is refused at once, with the
//! reason; what is kept is counted again whenever it matters.

use trust::actor::Actor;
use trust::approval::{Approval, Objection};
use trust::leaf::ActKind;
use trust::tally::{Standing, Tally};
use trust::text::is_plain;
use trust::{MemberId, MemberSignature, Name, Purpose, Time, browser, sshsig};

use super::clones::Refused;
use super::error::Error;
use super::passkeys::counter;
use super::report::Report;
use super::service::CeremonyService;
use super::service::{CeremonyFacts, objection_body};
use log::Event;
use store::{CeremonySignatureRow, CeremonyState, Change, Subject};

/// Most characters of a reason, as of a request's.
const REASON_MAX: usize = 1_000;

impl CeremonyService {
    /// Takes a custodian's approval. When it completes the quorum the ceremony is approved.
    pub async fn approve(&self, id: &str, signature: &str) -> Result<Report, Error> {
        let signature = normalized(signature)?;
        let mut facts = self.facts(id).await?;
        require_state(
            &facts,
            &[CeremonyState::Proposed, CeremonyState::Approved],
            "proposed",
        )?;
        let received_at = self.env.now();
        facts.ceremony.approvals.push(Approval {
            signature: signature.clone(),
            received_at,
        });
        let tally = facts.tally(received_at);
        if let Standing::Refused(_) | Standing::Expired { .. } = &tally.standing {
            return Err(Error::NotApproved(tally.into_standing()));
        }
        let last = facts.ceremony.approvals.len() - 1;
        let mut before = facts.ceremony.approvals[..last].iter();
        // Whoever took it before died, or lost the database, before the row was moved.
        let unfinished = tally.standing == Standing::Approved
            && facts.row.state == CeremonyState::Proposed
            && before.any(|approval| approval.signature == signature);
        match tally.not_counted.iter().find(|not| not.index == last) {
            Some(_) if unfinished => {}
            Some(not) => {
                let why = not.why.to_string();
                self.record_refusal("approve", &facts, &why).await?;
                return Err(Error::DoesNotCount(why));
            }
            None => {
                let member = tally.counted.last().map(|counted| counted.member.clone());
                let purpose = Purpose::Approve;
                self.add_signature(&facts, purpose, member, None, &signature, received_at)
                    .await?;
            }
        }
        if tally.standing == Standing::Approved && facts.row.state == CeremonyState::Proposed {
            let to = CeremonyState::Approved;
            let moved = self.move_to(&facts, CeremonyState::Proposed, to, "approved");
            match moved.await {
                // Another approval completed the quorum at the same time, or somebody rejected it: the report tells.
                Err(Error::Store(error))
                    if error.is_conflict()
                        && self.row(&facts.id).await?.state != CeremonyState::Proposed => {}
                done => done?,
            }
        }
        self.report(&facts.id).await
    }

    /// Takes a custodian's rejection; one blocks for good.
    pub async fn reject(&self, id: &str, reason: &str, signature: &str) -> Result<Report, Error> {
        self.object(id, Purpose::Reject, reason, signature).await
    }

    /// Takes the proposer's cancellation, which blocks for good too.
    pub async fn cancel(&self, id: &str, reason: &str, signature: &str) -> Result<Report, Error> {
        self.object(id, Purpose::Cancel, reason, signature).await
    }

    async fn object(
        &self,
        id: &str,
        purpose: Purpose,
        reason: &str,
        signature: &str,
    ) -> Result<Report, Error> {
        // People read it in the record and on terminals.
        if !is_plain(reason, REASON_MAX) {
            return Err(Error::Reason);
        }
        let signature = normalized(signature)?;
        let mut facts = self.facts(id).await?;
        require_state(
            &facts,
            &[CeremonyState::Proposed, CeremonyState::Approved],
            "proposed",
        )?;
        let body = objection_body(&facts.row.request, reason)?;
        let received_at = self.env.now();
        let objection = Objection {
            body: String::from_utf8_lossy(&body).into_owned(),
            signature: signature.clone(),
            received_at,
        };
        let (all, to, not) = match purpose {
            Purpose::Cancel => (
                &mut facts.ceremony.cancellations,
                CeremonyState::Cancelled,
                "not the proposer's signature over this request",
            ),
            _ => (
                &mut facts.ceremony.rejections,
                CeremonyState::Rejected,
                "not an active custodian's signature over this request",
            ),
        };
        // Kept before by somebody who died before the row was moved.
        let unfinished = all.iter().any(|before| before.signature == signature);
        *all = vec![objection];
        let tally = facts.tally(received_at);
        let by = match (&tally.standing, to) {
            (Standing::Rejected { by, .. }, CeremonyState::Rejected)
            | (Standing::Cancelled { by, .. }, CeremonyState::Cancelled) => by.clone(),
            _ => {
                self.record_refusal(purpose.word(), &facts, not).await?;
                return Err(Error::DoesNotCount(not.to_owned()));
            }
        };
        let by = Some(by);
        let why = Some((reason, body));
        if !unfinished {
            self.add_signature(&facts, purpose, by, why, &signature, received_at)
                .await?;
        }
        let moved = self.move_to(&facts, facts.row.state, to, to.as_str());
        match moved.await {
            // An approval moved it at the same time. It blocks by its signature already; the row only tells so.
            Err(Error::Store(error)) if error.is_conflict() => {
                let row = self.row(&facts.id).await?;
                if row.state == facts.row.state {
                    return Err(Error::Store(error));
                }
                if row.state == CeremonyState::Approved {
                    self.move_to(&facts, row.state, to, to.as_str()).await?;
                }
            }
            done => done?,
        }
        self.report(&facts.id).await
    }

    /// Keeps a signature. Its row and its leaf have the one instant by which it was judged.
    pub(super) async fn add_signature(
        &self,
        facts: &CeremonyFacts,
        purpose: Purpose,
        member: Option<MemberId>,
        objection: Option<(&str, Vec<u8>)>,
        signature: &MemberSignature,
        received_at: Time,
    ) -> Result<(), Error> {
        let (reason, body) = objection.unzip();
        let row = row(facts, purpose, body, (signature, received_at))?;
        let change = Change::AddCeremonySignature(row);
        let (by, said) = (member.as_ref(), (purpose, reason, received_at));
        self.keep_signature(facts, change, by, said, signature)
            .await
    }

    /// The same of what a member says for the record, where just so many of the purpose were counted: whether nobody else
    /// said something meanwhile. If somebody did, nothing was written, and it is counted anew.
    pub(super) async fn add_to_record(
        &self,
        facts: &CeremonyFacts,
        (purpose, member): (Purpose, &MemberId),
        (text, body): (&str, Vec<u8>),
        (signature, received_at): (&MemberSignature, Time),
        before: usize,
    ) -> Result<bool, Error> {
        let signed = row(facts, purpose, Some(body), (signature, received_at))?;
        let change = Change::AddToRecord {
            signature: signed,
            before: i64::try_from(before).unwrap_or(i64::MAX),
        };
        let said = (purpose, Some(text), received_at);
        let added = self.keep_signature(facts, change, Some(member), said, signature);
        match added.await {
            Err(Error::Store(store::Error::Conflict {
                what: Subject::CeremonyRecord,
                ..
            })) => Ok(false),
            done => done.map(|()| true),
        }
    }

    async fn keep_signature(
        &self,
        facts: &CeremonyFacts,
        change: Change,
        member: Option<&MemberId>,
        (purpose, reason, received_at): (Purpose, Option<&str>, Time),
        signature: &MemberSignature,
    ) -> Result<(), Error> {
        // Whose signature it is, by the tally; who typed the command proves nothing.
        let custodian = member.map(|member| {
            let actor = match purpose {
                // Any member may have proposed, and may note something.
                Purpose::Cancel | Purpose::Note | Purpose::Exception | Purpose::Witness => {
                    Actor::Member(member.as_str())
                }
                _ => Actor::Custodian(member.as_str()),
            };
            actor.to_string()
        });
        let event = Event {
            action: purpose.word(),
            digest: Some(signature.digest()?),
            actor: custodian.as_deref().unwrap_or(&self.actor),
            reason,
            reference: Some(&facts.id),
            ring: facts.row.ring.as_ref().map(Name::as_str),
            time: received_at,
            ..self.event()
        };
        let done = self.log.commit(&change, &event).await.map_err(counter);
        if let Err(Error::DoesNotCount(why)) = &done {
            // The signature is valid: it is the member's, or that of whoever has a copy of the passkey.
            let refused = Refused {
                reference: facts.id.clone(),
                ring: facts.row.ring.as_ref().map(ToString::to_string),
                why: format!("{}: {why}", purpose.word()),
            };
            let actor = custodian.as_deref().unwrap_or(&self.actor);
            self.note_clone(actor, refused).await;
        }
        done.map(drop)
    }

    pub(super) async fn record_refusal(
        &self,
        action: &str,
        facts: &CeremonyFacts,
        why: &str,
    ) -> Result<(), Error> {
        if self.for_anybody {
            tracing::debug!(action, ceremony = facts.id, why, "refused");
            return Ok(());
        }
        let event = Event {
            kind: ActKind::Refusal,
            action,
            reference: Some(&facts.id),
            ring: facts.row.ring.as_ref().map(Name::as_str),
            reason: Some(why),
            ..self.event()
        };
        self.log.commit(&Change::Record, &event).await?;
        Ok(())
    }

    pub(super) async fn move_to(
        &self,
        facts: &CeremonyFacts,
        from: CeremonyState,
        to: CeremonyState,
        action: &str,
    ) -> Result<(), Error> {
        self.move_because(facts, (from, to), action, None).await
    }

    /// The same, and why.
    pub(super) async fn move_because(
        &self,
        facts: &CeremonyFacts,
        (from, to): (CeremonyState, CeremonyState),
        action: &str,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        let change = Change::MoveCeremony {
            id: facts.id.clone(),
            from,
            to,
            at: self.env.now().millis(),
        };
        let event = Event {
            action,
            reason,
            reference: Some(&facts.id),
            ring: facts.row.ring.as_ref().map(Name::as_str),
            ..self.event()
        };
        self.log.commit(&change, &event).await?;
        Ok(())
    }
}

fn row(
    facts: &CeremonyFacts,
    purpose: Purpose,
    body: Option<Vec<u8>>,
    (signature, received_at): (&MemberSignature, Time),
) -> Result<CeremonySignatureRow, Error> {
    Ok(CeremonySignatureRow {
        ceremony: facts.row.id,
        purpose,
        body: body.unwrap_or_default(),
        signature: encoded(signature)?,
        received_at,
    })
}

impl CeremonyFacts {
    pub(super) fn tally(&self, now: trust::Time) -> Tally {
        trust::tally(&self.trusted, &self.ceremony, &self.history, now)
    }
}

pub(super) fn require_state(
    facts: &CeremonyFacts,
    states: &[CeremonyState],
    needed: &'static str,
) -> Result<(), Error> {
    if states.contains(&facts.row.state) {
        return Ok(());
    }
    Err(Error::State {
        found: facts.row.state.to_string(),
        needed,
    })
}

/// One spelling for each signature, so that the same one is recognised. What `ssh-keygen` writes is armored; a passkey's
/// is JSON, either as documents have it or as a browser hands it out.
pub(super) fn normalized(signature: &str) -> Result<MemberSignature, Error> {
    let not_counted = |why: &dyn std::fmt::Display| Error::DoesNotCount(why.to_string());
    let json = signature.trim();
    if !json.starts_with('{') {
        let armored = sshsig::normalize(signature).map_err(|error| not_counted(&error))?;
        return Ok(MemberSignature::ssh(armored));
    }
    match trust::json::parse_strict(json.as_bytes()) {
        Ok(signature @ MemberSignature::Webauthn { .. }) => Ok(signature),
        // Its armor may be spelled in several ways.
        Ok(MemberSignature::Ssh { signature }) => {
            let armored = sshsig::normalize(&signature).map_err(|error| not_counted(&error))?;
            Ok(MemberSignature::ssh(armored))
        }
        Err(_) => browser::assertion(json.as_bytes()).map_err(|error| not_counted(&error)),
    }
}

/// As it is kept: the canonical form, whose digest the log has.
pub(super) fn encoded(signature: &MemberSignature) -> Result<String, Error> {
    String::from_utf8(signature.encode()?)
        .map_err(|_| Error::Unfit("a signature is not UTF-8".to_owned()))
}
