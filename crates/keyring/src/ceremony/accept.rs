//! Acceptances: only with them does what was done take effect, for a key: is it published.

use trust::approval::Acceptance;
use trust::emergency::{HeldUnder, RATIFY, RESUME};
use trust::leaf::ActKind;
use trust::tally::{AcceptanceTally, Counted, Standing, WhyNot, suspended, tally_acceptance};
use trust::{
    Member, Name, Operation, Purpose, Request, Role, Time, Transcript, VerifiedTranscript,
    verify_transcript,
};

use super::error::Error;
use super::report::Report;
use super::service::CeremonyService;
use super::service::{CeremonyFacts, draft};
use super::vote::{normalized, require_state};
use crate::keys::fault_of_use;
use log::{Event, fault_of_decision};
use store::{CeremonyState, Change, KeyRow, KeyStatus};

impl CeremonyService {
    /// Takes a custodian's acceptance. When it completes the quorum the transcript is closed, and
    /// a generated key appears in JWKS as a standby.
    ///
    /// The signature and the closing are two transactions. If we die between them, or two
    /// custodians accept at once, the next acceptance, a repeated one or reconciliation closes; a
    /// rotation policy, which has a deadline, whoever keeps the deadlines.
    pub async fn accept(&self, id: &str, signature: &str) -> Result<Report, Error> {
        let signature = normalized(signature)?;
        let mut facts = self.facts(id).await?;
        require_state(&facts, &[CeremonyState::Executed], "executed")?;
        facts.accepts.push(signature.clone());
        facts.may_be_accepted(self.env.now())?;
        self.still_in_time(&facts, self.env.now()).await?;
        let (_, tally) = facts.acceptances()?;
        let last = facts.accepts.len() - 1;
        if let Some(counted) = tally.counted.iter().find(|counted| counted.index == last) {
            facts.counts_today(counted)?;
        }
        match tally.not_counted.iter().find(|not| not.index == last) {
            None => {
                // Proven for those alone whose acceptance counts.
                self.still_takes_effect(&facts, self.env.now()).await?;
                let member = tally.counted.last().map(|counted| counted.member.clone());
                let now = self.env.now();
                self.add_signature(&facts, Purpose::Accept, member, None, &signature, now)
                    .await?;
            }
            Some(_) if tally.is_complete() => {}
            Some(not) => {
                let why = not.why.to_string();
                self.record_refusal("accept", &facts, &why).await?;
                return Err(Error::DoesNotCount(why));
            }
        }
        self.close_if_accepted(&facts.id).await?;
        self.report(&facts.id).await
    }

    /// Closes an executed ceremony whose stored acceptances are enough; tells whether it did.
    pub(super) async fn close_if_accepted(&self, id: &str) -> Result<bool, Error> {
        let facts = self.facts(id).await?;
        if facts.row.state != CeremonyState::Executed {
            return Ok(false);
        }
        let (mut transcript, tally) = facts.acceptances()?;
        if !tally.is_complete() || facts.may_be_accepted(self.env.now()).is_err() {
            return Ok(false);
        }
        // What does not count has no place in a transcript: nothing else covers its bytes.
        let mut place = 0..;
        transcript.acceptance.signatures.retain(|_| {
            let index = place.next();
            !tally.not_counted.iter().any(|not| Some(not.index) == index)
        });
        match self.close(&facts, transcript).await {
            Err(Error::Store(error)) if error.is_already() => {
                Box::pin(self.give_up_use(id, "the standing order is withdrawn")).await?;
                Ok(false)
            }
            // What every replica would refuse is not published.
            Err(Error::Use(fault)) => {
                Box::pin(self.give_up_use(id, &fault.to_string())).await?;
                Ok(false)
            }
            // Another version of the policy took effect in between, and this one never will.
            Err(Error::Overtaken(why)) => {
                Box::pin(self.give_up_use(id, &why)).await?;
                Ok(false)
            }
            // Nobody is told of what has no effect; it ends with the others whose time is over.
            Err(Error::NoEffect(_)) => Ok(false),
            // Another process closed it in between.
            Err(Error::Store(error))
                if error.is_conflict() && self.row(id).await?.state == CeremonyState::Closed =>
            {
                Ok(false)
            }
            done => done.map(|()| true),
        }
    }

    /// Verifies the finished transcript as a stranger would, from its bytes, and only then lets
    /// it take effect.
    async fn close(&self, facts: &CeremonyFacts, transcript: Transcript) -> Result<(), Error> {
        let bytes = transcript.encode()?;
        let verified = verify_transcript(&bytes, &self.pin)?;
        // The executor's clock may be ahead of ours; a life does not run backwards.
        let at = self.env.now().max(verified.statement().executed_at);
        if let Some(used) = verified.logged_use() {
            let fault = fault_of_use(&self.store, &self.pin, used, at).await?;
            fault.map_or(Ok(()), Err)?;
        }
        self.still_in_time(facts, at).await?;
        self.still_counts(&verified, &bytes).await?;
        let digest = verified.core_digest();
        if let trust::Operation::RotationPolicy(order) = &verified.request().operation {
            // The leaf has this time: one that is later never takes effect.
            facts.may_be_accepted(at)?;
            let asked = (verified.request(), &**order);
            return self.close_policy(facts, asked, (bytes, digest), at).await;
        }
        let mut kid = None;
        let mut act = (ActKind::Ceremony, "accepted", None);
        let change = match &verified.request().operation {
            trust::Operation::Generate(order) => {
                let order = order.clone();
                let accepted = verified.into_key()?;
                let key = KeyRow {
                    kid: accepted.kid().clone(),
                    ring: order.ring,
                    number: order.number,
                    status: KeyStatus::Prepared,
                    spki: accepted.public_key().to_spki_der(),
                    object: order.place.object(),
                    location: accepted.location().clone(),
                    published_at: at,
                    activate_at: order.activate_at,
                    retire_at: order.retire_at,
                    activated_at: None,
                    demoted_at: None,
                    retired_at: None,
                    archived_at: None,
                    unpublished_at: None,
                    revocation: None,
                    ceremony: facts.row.id,
                };
                kid = Some(accepted.kid().clone());
                Change::AcceptKey {
                    ceremony: facts.id.clone(),
                    key: Box::new(key),
                    transcript: bytes,
                    at: at.millis(),
                }
            }
            trust::Operation::Order(order) => Change::AcceptOrder {
                order: Box::new(Self::accepted_order(order, facts.row.id, at)),
                transcript: bytes,
                at: at.millis(),
            },
            operation => {
                // What changes the log itself takes effect by this very leaf.
                if let trust::Operation::ClockCorrection(order) = operation {
                    act = (ActKind::Log, "clock-correction", Some(order.clone()));
                }
                // As what keeps a ring from signing, or does not any more.
                match operation {
                    trust::Operation::Resume(_) => act = (ActKind::Emergency, RESUME, None),
                    trust::Operation::Ratification(_) => act = (ActKind::Emergency, RATIFY, None),
                    _ => {}
                }
                if let [one] = verified.kids().as_slice() {
                    kid = Some((*one).clone());
                }
                Change::CloseCeremony {
                    ceremony: facts.id.clone(),
                    transcript: bytes,
                    at: at.millis(),
                    corrected: act.2.as_ref().map(|order| store::Corrected {
                        first: order.first.cast_signed(),
                        last: order.last.cast_signed(),
                        bound: order.bound.millis(),
                    }),
                }
            }
        };
        let (kind, action, correction) = act;
        let event = Event {
            kind,
            action,
            bound: correction.as_ref().map(|order| order.bound),
            leaves: correction.as_ref().map(|order| (order.first, order.last)),
            origin: correction.as_ref().map(|order| order.origin.as_str()),
            digest: Some(digest),
            time: at,
            reference: Some(&facts.id),
            ring: facts.row.ring.as_ref().map(Name::as_str),
            kid: kid.as_ref(),
            ..self.event()
        };
        self.log.commit(&change, &event).await?;
        Ok(())
    }
}

impl CeremonyService {
    /// Refuses a resume, a ratification, a standing order or a rotation policy that no replica would take: of those who
    /// decided it too few count by the log. Others may accept it.
    async fn still_counts(
        &self,
        verified: &VerifiedTranscript,
        transcript: &[u8],
    ) -> Result<(), Error> {
        use trust::Operation as O;
        let judged = matches!(
            verified.request().operation,
            O::Resume(_) | O::Ratification(_) | O::Order(_) | O::RotationPolicy(_)
        );
        if !judged {
            return Ok(());
        }
        let held = HeldUnder::of(transcript, verified)?;
        let documents = self.store.documents().await?;
        match fault_of_decision(&self.store, &self.pin, &documents, &held).await? {
            None => Ok(()),
            Some(why) => Err(Error::NoEffect(why.to_string())),
        }
    }
}

impl CeremonyFacts {
    /// The transcript with the acceptances so far, and their tally.
    pub(super) fn acceptances(&self) -> Result<(Transcript, AcceptanceTally), Error> {
        let mut transcript = draft(&self.row)?;
        transcript.acceptance = Acceptance {
            result: transcript.acceptance.result,
            statement: transcript.acceptance.statement,
            signatures: self.accepts.clone(),
        };
        let held_under = self.held_under.as_ref().unwrap_or(&self.trusted);
        let tally = tally_acceptance(held_under, &transcript.record, &transcript.acceptance)?;
        Ok((transcript, tally))
    }

    /// What was carried out under an earlier roster or policy may be accepted under it until its deadline; a rotation policy
    /// always, because it has no effect before.
    pub(super) fn may_be_accepted(&self, now: Time) -> Result<(), Error> {
        let request = Request::decode(&self.row.request)?;
        let execute_by = request.execute_by;
        let has_deadline =
            self.held_under.is_some() || matches!(request.operation, Operation::RotationPolicy(_));
        match has_deadline && now > execute_by {
            false => Ok(()),
            true => Err(Error::NotApproved(Standing::Expired {
                deadline: "execute_by",
                at: execute_by,
            })),
        }
    }

    /// Whoever left, or is suspended, since it was carried out accepts nothing more: of what was accepted before, the log
    /// tells the order.
    fn counts_today(&self, counted: &Counted) -> Result<(), Error> {
        let owner = self.trusted.roster().owner_of(&counted.key);
        let active = |member: &&Member| member.active && member.roles.contains(&Role::Custodian);
        if owner
            .filter(active)
            .is_none_or(|owner| owner.id != counted.member)
        {
            return Err(Error::DoesNotCount(WhyNot::Inactive.to_string()));
        }
        let suspended = suspended(&self.trusted, &self.ceremony.suspensions);
        match suspended.contains(&counted.member) {
            true => Err(Error::DoesNotCount(WhyNot::Suspended.to_string())),
            false => Ok(()),
        }
    }
}
