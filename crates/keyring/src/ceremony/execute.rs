//! The executor: an approved request becomes an act on the token.
//!
//! Intent first, then the act, then the result. If we die after the intent, the ceremony is
//! `executing` and its object is named by the `CKA_ID` that the custodians signed, so
//! [`CeremonyService::reconcile`] finds out what happened; nothing is ever repeated blindly.

use std::sync::Arc;

use trust::approval::{Acceptance, Generated as GeneratedOutcome, Statement};
use trust::format::V1;
use trust::leaf::ActKind;
use trust::tally::Standing;
use trust::transcript::{Record, Step};
use trust::{
    Approved, ApprovedOperation, ClockCorrection, Destroy, DestroyKey, Generate, Kid, Name,
    Outcome, Place, Request, Revoke, Sha256Digest, Time, Transcript,
};

use super::claim::Claim;
use super::error::Error;
use super::intend::sole_location;
use super::key_of_ring::numbered;
use super::outcome::{generated_outcome, require_token};
use super::reconcile::Alone;
use super::report::Report;
use super::service::CeremonyFacts;
use super::service::CeremonyService;
use super::vote::require_state;
use crate::keys::Snapshot;
use base::step;
use log::Event;
use store::{AfterLatest, CeremonyState, Change, ObjectState};
use token::{Executor, Generated};

impl CeremonyService {
    /// Carries an approved ceremony out. `snapshot` says what is, for revocation and destruction.
    /// What an earlier executor left half done is settled first: a new act on top of an unknown
    /// one would leave two unknowns. A revocation needs no token: it has to be possible when the
    /// token is gone, and just then.
    pub async fn execute(
        &self,
        id: &str,
        executor: Option<&Executor>,
        snapshot: &Snapshot,
    ) -> Result<Report, Error> {
        if let Some(executor) = executor {
            // On the heap: it may settle what another execution began.
            Box::pin(self.reconcile(executor, Alone::Unknown)).await?;
        }
        self.execute_settled(id, executor, snapshot).await
    }

    /// The same, by somebody who has just seen that nobody left anything half done: to compare all of a token for each of
    /// many keys would cost more with each key.
    pub(super) async fn execute_settled(
        &self,
        id: &str,
        executor: Option<&Executor>,
        snapshot: &Snapshot,
    ) -> Result<Report, Error> {
        let claim = self.claim(id).await?;
        step::reached("claimed");
        let done = self.carry_out(&claim, id, executor, snapshot).await;
        claim.give_back().await;
        done
    }

    async fn carry_out(
        &self,
        claim: &Claim,
        id: &str,
        executor: Option<&Executor>,
        snapshot: &Snapshot,
    ) -> Result<Report, Error> {
        let facts = self.facts(id).await?;
        require_state(
            &facts,
            &[CeremonyState::Proposed, CeremonyState::Approved],
            "approved",
        )?;
        if facts.ceremony.order.is_some() {
            // Before anything is made: what another key signs is accepted by nobody.
            match facts.tally(self.env.now()).under() {
                Some(under) => self.require_signer(&under.order)?,
                None if self.result_signer.is_none() => return Err(Error::NoResultSigner),
                None => {}
            }
        }
        // Counted here and now, from the stored bytes: the row's state is nobody's permission. This
        // is also the instant of the intent, so that what is adopted later tallies as it did now.
        let now = self.env.now();
        match self.approved_now(&facts, now).await? {
            ApprovedOperation::Generate(approved) => {
                let executor = executor.ok_or(Error::NoExecutor)?;
                let kid = self
                    .generate((&facts, claim), approved, executor, now)
                    .await?;
                // Where the executor's signature accepts it.
                Box::pin(self.close_if_accepted(&facts.id)).await?;
                step::reached("closed");
                return self.generated_report(&facts.id, &kid).await;
            }
            ApprovedOperation::Destroy(approved) => {
                let executor = executor.ok_or(Error::NoExecutor)?;
                self.destroy((&facts, claim), approved, executor, snapshot)
                    .await?;
            }
            ApprovedOperation::Revoke(approved) => self.revoke(&facts, &approved, snapshot).await?,
            ApprovedOperation::ClockCorrection(approved) => {
                self.correct(&facts, &approved, now).await?;
            }
            ApprovedOperation::Order(approved) => self.order(&facts, &approved, now).await?,
            ApprovedOperation::Resume(approved) => {
                self.resume(&facts, &approved, snapshot, now).await?;
            }
            ApprovedOperation::EmergencyRotation(approved) => {
                self.rotate_at_once(&facts, &approved, snapshot).await?;
            }
            ApprovedOperation::Ratification(approved) => {
                self.ratify(&facts, &approved, snapshot, now).await?;
            }
            ApprovedOperation::RotationPolicy(approved) => {
                self.set_policy(&facts, &approved, now).await?;
            }
            ApprovedOperation::NewOrigin(_) => {
                let why = "a new origin is begun by `chancery ceremony bundle apply`";
                self.record_refusal("execute", &facts, why).await?;
                return Err(Error::Unfit(why.to_owned()));
            }
        }
        self.report(&facts.id).await
    }

    pub(super) async fn approved_now(
        &self,
        facts: &CeremonyFacts,
        now: Time,
    ) -> Result<ApprovedOperation, Error> {
        let approved = match facts.tally(now).into_approved() {
            Ok(approved) => approved,
            Err(refused) => {
                let why = super::error::describe_standing(&refused.standing);
                self.record_refusal("execute", facts, &why).await?;
                return Err(Error::NotApproved(refused.standing));
            }
        };
        if facts.row.state == CeremonyState::Proposed {
            let (from, to) = (CeremonyState::Proposed, CeremonyState::Approved);
            self.move_to(facts, from, to, "approved").await?;
        }
        step::reached("approved");
        Ok(approved)
    }

    async fn generate(
        &self,
        (facts, claim): (&CeremonyFacts, &Claim),
        approved: Approved<Generate>,
        executor: &Executor,
        intended_at: Time,
    ) -> Result<Kid, Error> {
        let order = approved.order().clone();
        let Place::Pkcs11(place) = &order.place else {
            return Err(Error::Unfit("key vaults are not supported".to_owned()));
        };
        require_token(executor, &place.token_serial, &place.token_label).await?;
        claim.hold().await?;
        self.intend_generation(facts, &order, intended_at).await?;
        step::reached("intended");
        claim.hold().await?;
        match executor.generate(approved).await {
            Ok(generated) => {
                step::reached("generated");
                self.record_generation(
                    facts,
                    &order,
                    &generated,
                    executor,
                    intended_at,
                    "generated",
                )
                .await
            }
            // Nobody knows whether there is a key now: reconciliation looks.
            Err(error) if error.is_outcome_unknown() => Err(error.into()),
            Err(error) => {
                let object = order.place.object();
                self.resolve(facts, &object, ObjectState::Abandoned, &error.to_string())
                    .await?;
                Err(error.into())
            }
        }
    }

    /// Writes down what was born, with the key's own proof that it can sign. Also how an
    /// interrupted birth is adopted: the instant is that of the intent, when the quorum held.
    pub(super) async fn record_generation(
        &self,
        facts: &CeremonyFacts,
        order: &Generate,
        generated: &Generated,
        executor: &Executor,
        executed_at: Time,
        how: &str,
    ) -> Result<Kid, Error> {
        let outcome = generated_outcome(&facts.row.request, order, generated, executor).await?;
        self.record_outcome(facts, order, outcome, executed_at, how)
            .await
    }

    /// The same from what another machine told of it.
    pub(super) async fn record_outcome(
        &self,
        facts: &CeremonyFacts,
        order: &Generate,
        generated: GeneratedOutcome,
        executed_at: Time,
        how: &str,
    ) -> Result<Kid, Error> {
        let (kid, location) = (generated.key.kid().clone(), generated.location.clone());
        let steps = self.noted_by_now(facts).await?;
        let outcome = Outcome::Generated(Box::new(generated));
        let mut draft = facts.draft(steps, outcome, executed_at, how)?;
        let request = Request::decode(&facts.row.request)?;
        if request.order.is_some() {
            // By the leaf that tells of it, whatever instant the executor states.
            if self.env.now() > request.execute_by {
                return Err(Error::NotApproved(Standing::Expired {
                    deadline: "execute_by",
                    at: request.execute_by,
                }));
            }
            draft.acceptance.result = Some(self.sign_result(&request, &draft)?);
            step::reached("signed");
        }
        // What custodians could not accept is not even put before them.
        trust::tally::tally_acceptance(&facts.trusted, &draft.record, &draft.acceptance)?;
        let execution = draft.encode()?;
        let recorded = Sha256Digest::of(&execution);
        let change = Change::RecordGeneration {
            ceremony: facts.id.clone(),
            object: order.place.object(),
            location: Box::new(location),
            kid: kid.clone(),
            execution,
            at: self.env.now().millis(),
        };
        let event = Event {
            kid: Some(&kid),
            digest: Some(recorded),
            ..self.about(facts, how)
        };
        self.log.commit(&change, &event).await?;
        step::reached("recorded");
        Ok(kid)
    }

    /// The kid that is read aloud comes from the token, and the database has to agree.
    async fn generated_report(&self, id: &str, kid: &Kid) -> Result<Report, Error> {
        let report = self.report(id).await?;
        if report.kids == [kid.clone()] {
            return Ok(report);
        }
        Err(Error::Unfit(format!(
            "the token generated {kid}, but the database records another key: do not accept it"
        )))
    }

    /// All keys are checked before any is touched; then each is destroyed and its end recorded by
    /// itself, so that the log tells of each, and the statement of all of them comes last.
    async fn destroy(
        &self,
        (facts, claim): (&CeremonyFacts, &Claim),
        approved: Approved<Destroy>,
        executor: &Executor,
        snapshot: &Snapshot,
    ) -> Result<(), Error> {
        let approved = Arc::new(approved);
        let keys = &approved.order().keys;
        let ending = self.checked_for_destruction(keys, snapshot)?;
        for at in &ending.at {
            require_token(executor, &at.token_serial, &at.token_label).await?;
        }
        claim.hold().await?;
        self.intend_destruction(facts, &ending).await?;
        let intended_at = ending.intended_at;
        for (order, spki) in keys.iter().zip(ending.spkis) {
            claim.hold().await?;
            match executor.destroy(approved.clone(), order, spki).await {
                Ok(()) => {}
                // An earlier attempt had done it.
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    // A clean no leaves the key where it was; after an unknown outcome
                    // reconciliation looks.
                    if !error.is_outcome_unknown() {
                        let object = sole_location(order)?.object();
                        self.resolve(facts, &object, ObjectState::Present, &error.to_string())
                            .await?;
                    }
                    return Err(error.into());
                }
            }
            self.archive(facts, order, intended_at).await?;
            step::reached("archived");
        }
        self.record_destruction(facts, approved.order(), intended_at, "destroyed")
            .await
    }

    /// One key's private half is gone.
    pub(super) async fn archive(
        &self,
        facts: &CeremonyFacts,
        order: &DestroyKey,
        executed_at: Time,
    ) -> Result<(), Error> {
        let now = self.env.now();
        let object = sole_location(order)?.object();
        let change = |at: Time| Change::ArchiveKey {
            ceremony: facts.id.clone(),
            ring: order.ring.to_string(),
            kid: order.kid.as_str().to_owned(),
            object: object.clone(),
            at: at.millis(),
        };
        let event = |at: Time| Event {
            kind: ActKind::Key,
            kid: Some(&order.kid),
            ring: Some(order.ring.as_str()),
            time: at,
            ..self.about(facts, "archive")
        };
        let when = AfterLatest {
            earliest: now.max(executed_at).millis(),
            strictly: false,
        };
        let make = |at| (change(at), event(at));
        self.log.commit_at(&when, &make).await?;
        Ok(())
    }

    /// All of them are gone: what custodians accept.
    pub(super) async fn record_destruction(
        &self,
        facts: &CeremonyFacts,
        order: &Destroy,
        executed_at: Time,
        how: &str,
    ) -> Result<(), Error> {
        let outcome = Outcome::Destroyed {
            kids: order.keys.iter().map(|key| key.kid.clone()).collect(),
        };
        let steps = self.noted_by_now(facts).await?;
        let execution = facts.draft(steps, outcome, executed_at, how)?.encode()?;
        let digest = Sha256Digest::of(&execution);
        let change = Change::ExecuteCeremony {
            ceremony: facts.id.clone(),
            execution,
            at: self.env.now().max(executed_at).millis(),
        };
        let event = Event {
            digest: Some(digest),
            ..self.about(facts, how)
        };
        self.log.commit(&change, &event).await?;
        Ok(())
    }

    /// A clock correction takes effect when it is accepted: by the leaf that says so.
    async fn correct(
        &self,
        facts: &CeremonyFacts,
        approved: &Approved<ClockCorrection>,
        now: Time,
    ) -> Result<(), Error> {
        let order = approved.order().clone();
        let origin = self.store.tree().await?.origin;
        if origin != order.origin {
            return Err(Error::Unfit(format!(
                "the log's origin is {origin:?}, the request corrects {:?}",
                order.origin
            )));
        }
        let execution = facts
            .draft(facts.noted(), Outcome::Corrected(order), now, "corrected")?
            .encode()?;
        let digest = Sha256Digest::of(&execution);
        let change = Change::ExecuteCeremony {
            ceremony: facts.id.clone(),
            execution,
            at: now.millis(),
        };
        let event = Event {
            digest: Some(digest),
            ..self.about(facts, "corrected")
        };
        self.log.commit(&change, &event).await?;
        Ok(())
    }

    /// A revocation takes effect here, with the approvals alone: two may act in a hurry, and
    /// acceptance only closes the record.
    async fn revoke(
        &self,
        facts: &CeremonyFacts,
        approved: &Approved<Revoke>,
        snapshot: &Snapshot,
    ) -> Result<(), Error> {
        let order = approved.order();
        let ring = snapshot
            .rings
            .get(order.ring.as_str())
            .ok_or_else(|| Error::Unfit(format!("unknown ring {}", order.ring)))?;
        let key = numbered(ring, &order.kid, order.number)?;
        let now = self.env.now();
        let successor = key
            .state
            .is_primary()
            .then(|| ring.successor(&self.safety, now))
            .flatten();
        // Not before what happened to these keys last, and later than whatever was signed by anybody:
        // what the log has by now is decided under its head, whatever this clock says.
        let last_changes = successor.iter().map(|next| next.last_change());
        let earliest = last_changes.fold(now.max(key.last_change()), Time::max);
        let draft = facts.draft(
            facts.noted(),
            Outcome::Revoked {
                kid: order.kid.clone(),
            },
            now,
            "revoked",
        )?;
        let execution = draft.encode()?;
        let digest = Sha256Digest::of(&execution);
        let reason = order.reason.to_string();
        let change = |at: Time| Change::RevokeKey {
            ceremony: facts.id.clone(),
            ring: order.ring.to_string(),
            expected_version: ring.version,
            kid: order.kid.as_str().to_owned(),
            reason: reason.clone(),
            compromised_since: order.compromised_since.map(Time::millis),
            successor: successor.as_ref().map(|key| key.kid.as_str().to_owned()),
            execution: execution.clone(),
            at: at.millis(),
        };
        let event = |at: Time| Event {
            kind: ActKind::Key,
            kid: successor.as_ref().map(|key| &key.kid),
            previous_kid: Some(&order.kid),
            reason: Some(&reason),
            compromised_since: order.compromised_since,
            digest: Some(digest),
            time: at,
            ..self.about(facts, "revoke")
        };
        let when = AfterLatest {
            earliest: earliest.millis(),
            strictly: true,
        };
        let make = |at| (change(at), event(at));
        self.log.commit_at(&when, &make).await?;
        Ok(())
    }

    /// An act that certainly did not happen, or whose result will never be accepted: the ceremony
    /// has failed, and the object is what `state` says: `abandoned`, `present` as before, or
    /// `destroyed` where another ceremony took this one's place in the line.
    pub(super) async fn resolve(
        &self,
        facts: &CeremonyFacts,
        object: &str,
        state: ObjectState,
        why: &str,
    ) -> Result<(), Error> {
        let change = Change::ResolveObject {
            ceremony: facts.id.clone(),
            object: object.to_owned(),
            state,
            at: self.env.now().millis(),
        };
        let event = Event {
            reason: Some(why),
            ..self.about(facts, "failed")
        };
        self.log.commit(&change, &event).await?;
        Ok(())
    }

    pub(super) fn about<'a>(&'a self, facts: &'a CeremonyFacts, action: &'a str) -> Event<'a> {
        Event {
            action,
            reference: Some(&facts.id),
            ring: facts.row.ring.as_ref().map(Name::as_str),
            ..self.event()
        }
    }
}

impl CeremonyFacts {
    /// The transcript as it will be, without acceptances.
    pub(super) fn draft(
        &self,
        steps: Vec<Step>,
        outcome: Outcome,
        executed_at: Time,
        how: &str,
    ) -> Result<Transcript, Error> {
        stated(self.record(steps)?, outcome, executed_at, how)
    }

    /// What a tally needs, and what happened until now.
    pub(super) fn record(&self, steps: Vec<Step>) -> Result<Record, Error> {
        Ok(Record {
            v: V1,
            chains: self.chains.as_ref().clone(),
            request: text(self.row.request.clone())?,
            order: self.ceremony.order.clone(),
            proposal: self.ceremony.proposal.clone(),
            approvals: self.ceremony.approvals.clone(),
            rejections: self.ceremony.rejections.clone(),
            cancellations: self.ceremony.cancellations.clone(),
            suspensions: self.ceremony.suspensions.clone(),
            steps,
        })
    }
}

/// What was done about a record, as it will be accepted. From here on the record is frozen.
pub(super) fn stated(
    mut record: Record,
    outcome: Outcome,
    executed_at: Time,
    how: &str,
) -> Result<Transcript, Error> {
    record.steps.push(Step {
        at: executed_at,
        what: how.to_owned(),
        witness: None,
    });
    let statement = Statement {
        v: V1,
        request_digest: Sha256Digest::of(record.request.as_bytes()),
        record_digest: record.digest()?,
        executed_at,
        outcome,
    };
    Ok(Transcript {
        v: V1,
        record,
        acceptance: Acceptance {
            result: None,
            signatures: Vec::new(),
            statement: text(statement.encode()?)?,
        },
        log_keys: Vec::new(),
        log_proofs: Vec::new(),
    })
}

/// What was written as JSON.
fn text(bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| Error::Unfit("a document is not UTF-8".to_owned()))
}
