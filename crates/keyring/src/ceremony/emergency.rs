//! Emergencies: stops by one person's signature, the ceremonies that end them, and rotations onto a standby key at once.

use std::time::Duration;

use trust::actor::Actor;
use trust::emergency::{EmergencyAct, STOP, Unratified, place};
use trust::format::V1;
use trust::leaf::{ActKind, Leaf};
use trust::plan::Blocked;
use trust::request::{EmergencyRotation, Ended, Nonce, Ratification, Resume, RevocationReason};
use trust::stop::{StopBody, StopError, verify_stop};
use trust::tally::Last;
use trust::text::is_plain;
use trust::{
    Approved, KeyState, Kid, Line, Name, Namespace, Operation, Outcome, Purpose, Request, Scope,
    Sha256Digest, Subject, Time, dsse,
};

use super::admission::still_fresh;
use super::error::Error;
use super::key_of_ring::{find, numbered, primary};
use super::service::{CeremonyFacts, CeremonyService, SigningPayload, statement_digest};
use super::vote::{encoded, normalized};
use crate::keys::{Key, Ring, Snapshot};
use log::{Event, suspended};
use store::{AfterLatest, Change, Hindrance, LeafRow, LineRow, StopRow};

/// The longest that a stop may be signed before it is submitted.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Leaves of a ring that are read together; most often the newest is the one.
const FEW: i64 = 16;

impl CeremonyService {
    /// The next place in the line of a subject.
    pub(super) async fn next_line(&self, subject: Subject) -> Result<Line, Error> {
        let head = self.store.line_head(&subject.to_string()).await?;
        let mut last = match head {
            Some(head) => Some(Last {
                sequence: sequence(head.seq)?,
                digest: statement_digest(&head.execution)?,
            }),
            None => None,
        };
        if let Some(stop) = self.last_stop(&subject).await?
            && last.is_none_or(|last| last.sequence < stop.sequence)
        {
            last = Some(stop);
        }
        Ok(Line {
            previous: last.map(|last| last.digest),
            sequence: last.map_or(0, |last| last.sequence) + 1,
            subject,
        })
    }

    /// The last stop of a line.
    pub(super) async fn last_stop(&self, subject: &Subject) -> Result<Option<Last>, Error> {
        if !matches!(subject, Subject::Stop(_)) {
            return Ok(None);
        }
        let row = self.store.last_stop(&subject.to_string()).await?;
        let last = match row {
            Some(row) => Some(Last {
                sequence: sequence(row.line.seq)?,
                digest: row.id,
            }),
            None => None,
        };
        // The leaf of a stop keeps its place where the row is gone.
        let told = self.last_told(subject).await?;
        let later = |told: &Last| last.is_none_or(|last| last.sequence < told.sequence);
        Ok(told.filter(later).or(last))
    }

    /// The last stop of a line of which a leaf tells that has a place.
    async fn last_told(&self, subject: &Subject) -> Result<Option<Last>, Error> {
        let Subject::Stop(scope) = subject else {
            return Ok(None);
        };
        let ring = scope.ring().map_or("", Name::as_str);
        let mut before = i64::MAX;
        loop {
            let of = Hindrance::Stop;
            let page = self.store.hindrances_before(of, ring, before, FEW).await?;
            let told = page.iter().filter_map(|leaf| stop_of_leaf(leaf, subject));
            if let Some(last) = told.max_by_key(|told| told.sequence) {
                return Ok(Some(last));
            }
            match page.last() {
                Some(last) if page.len() as i64 == FEW => before = last.index,
                _ => return Ok(None),
            }
        }
    }

    /// Until when the log says that a rotation had to be ratified.
    pub(super) async fn deadline(&self, order: &Ratification) -> Result<Option<Time>, Error> {
        let mut before = i64::MAX;
        loop {
            let (of, ring) = (Hindrance::Rotation, order.ring.as_str());
            let page = self.store.hindrances_before(of, ring, before, FEW).await?;
            let deadlines = page.iter().filter_map(|leaf| match told(leaf)? {
                EmergencyAct::Rotated {
                    ring,
                    kid,
                    rotation,
                    until,
                } if rotation == order.rotation
                    && ring == order.ring.as_str()
                    && kid.as_ref() == Some(&order.kid) =>
                {
                    Some(until)
                }
                _ => None,
            });
            if let Some(until) = deadlines.min() {
                return Ok(Some(until));
            }
            match page.last() {
                Some(last) if page.len() as i64 == FEW => before = last.index,
                _ => return Ok(None),
            }
        }
    }

    /// A stop as a member could sign it now, of one ring or of all. Nothing is kept.
    pub async fn stop_draft(
        &self,
        ring: Option<&Name>,
        reason: &str,
        expires_in: Duration,
    ) -> Result<StopBody, Error> {
        if !is_plain(reason, trust::stop::MAX_REASON) {
            return Err(Error::Reason);
        }
        let (_, trusted) = self.trusted().await?;
        let body = StopBody {
            expires_at: self.env.now() + expires_in.min(LONGEST),
            line: self.next_line(Subject::Stop(Scope::of(ring))).await?,
            nonce: Nonce(self.env.random()?),
            reason: reason.to_owned(),
            roster: trusted.roster_ref(),
            v: V1,
        };
        body.scope().map_err(unfit)?;
        Ok(body)
    }

    /// The exact bytes that a member signs to stop.
    pub fn stop_payload(&self, body: &StopBody) -> Result<SigningPayload, Error> {
        let (service, environment) = (&self.pin.service, &self.pin.environment);
        let namespace = Namespace::new(Purpose::Stop, service, environment).to_string();
        Ok(SigningPayload {
            bytes: dsse::pae(&namespace, &body.encode()?),
            namespace,
        })
    }

    /// Stops by one member's signature. What is stopped already stays stopped, and nothing is written: so nobody makes
    /// the log longer by it than the threshold resumes.
    pub async fn stop(
        &self,
        body: Vec<u8>,
        signature: &str,
        snapshot: &Snapshot,
    ) -> Result<Sha256Digest, Error> {
        let signature = normalized(signature)?;
        let (_, trusted) = self.trusted().await?;
        let refused = |error: &StopError| match error {
            StopError::Signature(_) | StopError::Role => Error::DoesNotCount(error.to_string()),
            error => Error::Unfit(error.to_string()),
        };
        let stop = match verify_stop(&trusted, &body, &signature) {
            Ok(stop) => stop,
            Err(error) => {
                self.refused("stop", None, &error.to_string()).await?;
                return Err(refused(&error));
            }
        };
        if suspended(&self.store, &trusted).await?.contains(&stop.by) {
            let why = trust::tally::WhyNot::Suspended.to_string();
            self.refused("stop", None, &why).await?;
            return Err(Error::DoesNotCount(why));
        }
        // By what the log tells now: of a stop that has ended meanwhile nobody hears that it holds.
        let mut open = snapshot.emergency.known().stops().iter();
        if let Some(open) = open.find(|open| open.scope == stop.scope)
            && !snapshot.emergency.is_old(&self.store).await?
            && self.store.version().await? >= snapshot.version
        {
            return Ok(open.digest);
        }
        let now = self.env.now();
        still_fresh(&stop.body, now)?;
        let ring = stop.scope.ring();
        if ring.is_some_and(|ring| snapshot.keys_of_ring(ring.as_str()).is_none()) {
            return Err(Error::Unfit(format!("unknown ring {}", stop.scope)));
        }
        // A stop that was signed for another time, such as before a resume, does nothing.
        let line = &stop.body.line;
        if *line != self.next_line(line.subject.clone()).await? {
            return Err(Error::Unfit(format!(
                "the stop has sequence {} of {}, which is not the next; it was submitted before, or another came first",
                line.sequence, line.subject
            )));
        }
        let seq = i64::try_from(line.sequence)
            .map_err(|_| Error::Unfit("the sequence number is too large".to_owned()))?;
        let row = StopRow {
            id: stop.digest,
            line: LineRow {
                subject: line.subject.to_string(),
                seq,
            },
            body,
            signature: encoded(&signature)?,
            at: now,
            index: None,
        };
        let (id, actor) = (
            stop.digest.to_string(),
            Actor::Member(stop.by.as_str()).to_string(),
        );
        let event = Event {
            kind: ActKind::Emergency,
            action: STOP,
            actor: &actor,
            digest: Some(signature.digest()?),
            reason: Some(&stop.body.reason),
            reference: Some(&id),
            ring: ring.map(Name::as_str),
            time: now,
            version: Some(line.sequence),
            ..self.event()
        };
        self.log
            .commit(&Change::StopSigning(Box::new(row)), &event)
            .await?;
        Ok(stop.digest)
    }

    /// The key that an emergency rotation makes the primary: it waits long enough, published, for all to have it.
    pub(super) fn standby(
        &self,
        ring: &Ring,
        wanted: Option<Kid>,
        now: Time,
    ) -> Result<std::sync::Arc<Key>, Error> {
        let Some(kid) = wanted else {
            let found = ring.successor(&self.safety, now);
            let standby = found.filter(|key| matches!(key.state, KeyState::Prepared { .. }));
            return standby.ok_or_else(|| self.no_standby(ring));
        };
        find(ring, &kid)?;
        let key = ring.keys.iter().find(|key| key.kid == kid).cloned();
        let key = key.ok_or(Error::Plan(Blocked::NoStandby))?;
        match key.state {
            KeyState::Prepared {
                published_at: Some(at),
                ..
            } if at + self.safety.publish_safety() <= now => Ok(key),
            KeyState::Prepared {
                published_at: Some(at),
                ..
            } => Err(Error::Plan(Blocked::NotReady {
                kid,
                ready_at: at + self.safety.publish_safety(),
            })),
            _ => Err(Error::Plan(Blocked::State {
                kid,
                found: key.status(),
                expected: "prepared",
            })),
        }
    }

    /// Which key would be the next to be one, and when; what people do until then.
    fn no_standby(&self, ring: &Ring) -> Error {
        let newest = ring.primary.as_ref().map_or(0, |key| key.number);
        let waits = ring.keys.iter().filter_map(|key| match key.state {
            KeyState::Prepared {
                published_at: Some(at),
                ..
            } if key.number > newest => Some((at + self.safety.publish_safety(), key.kid.clone())),
            _ => None,
        });
        Error::NoStandby {
            ring: ring.name.to_string(),
            next: waits.min_by_key(|(ready_at, _)| *ready_at),
        }
    }

    /// The switch of the primary and the revocation of the old one are one transaction, so that no replica sees the ring
    /// with both, or without one. It takes effect here, by the three approvals; ratification follows.
    pub(super) async fn rotate_at_once(
        &self,
        facts: &CeremonyFacts,
        approved: &Approved<Box<EmergencyRotation>>,
        snapshot: &Snapshot,
    ) -> Result<(), Error> {
        let order = approved.order();
        let ring = snapshot
            .rings
            .get(order.ring.as_str())
            .ok_or_else(|| Error::Unfit(format!("unknown ring {}", order.ring)))?;
        let key = numbered(ring, &order.kid, order.number)?;
        if primary(ring)?.kid != order.kid {
            return Err(Error::Plan(Blocked::State {
                kid: order.kid.clone(),
                found: key.status(),
                expected: "primary",
            }));
        }
        numbered(ring, &order.standby, order.standby_number)?;
        let now = self.env.now();
        let standby = self.standby(ring, Some(order.standby.clone()), now)?;
        let earliest = now.max(key.last_change()).max(standby.last_change());
        let outcome = Outcome::EmergencyRotated {
            kid: order.standby.clone(),
            revoked: order.kid.clone(),
        };
        let draft = facts.draft(facts.noted(), outcome, now, ROTATED)?;
        let execution = draft.encode()?;
        let digest = Sha256Digest::of(&execution);
        let reason = RevocationReason::Compromised.to_string();
        let change = |at: Time| Change::RevokeKey {
            ceremony: facts.id.clone(),
            ring: order.ring.to_string(),
            expected_version: ring.version,
            kid: order.kid.as_str().to_owned(),
            reason: reason.clone(),
            compromised_since: Some(order.compromised_since.millis()),
            successor: Some(order.standby.as_str().to_owned()),
            execution: execution.clone(),
            at: at.millis(),
        };
        let event = |at: Time| Event {
            kind: ActKind::Key,
            kid: Some(&order.standby),
            previous_kid: Some(&order.kid),
            reason: Some(&reason),
            compromised_since: Some(order.compromised_since),
            digest: Some(digest),
            time: at,
            until: Some(at + Duration::from_secs(order.ratify_within_seconds)),
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

    /// Carried out by its record alone; it takes effect when it is accepted, by the leaf that says so.
    pub(super) async fn resume(
        &self,
        facts: &CeremonyFacts,
        approved: &Approved<Resume>,
        snapshot: &Snapshot,
        now: Time,
    ) -> Result<(), Error> {
        let order = approved.order();
        let known = snapshot.emergency.known();
        let there = match &order.ends {
            Ended::Stop { digest, sequence } => {
                let named = (*digest, *sequence);
                let mut stops = known.stops().iter();
                stops.any(|stop| stop.is_named(named) && stop.scope == order.scope())
            }
            Ended::Unratified { rotation } => known
                .rotations()
                .iter()
                .any(|each| each.rotation == *rotation && now > each.until),
        };
        if !there {
            let why = "what it ends does not keep the ring from signing";
            return Err(Error::Unfit(why.to_owned()));
        }
        let outcome = Outcome::Resumed(order.clone());
        self.by_record(facts, outcome, RESUMED, now).await
    }

    /// As a resume.
    pub(super) async fn ratify(
        &self,
        facts: &CeremonyFacts,
        approved: &Approved<Ratification>,
        snapshot: &Snapshot,
        now: Time,
    ) -> Result<(), Error> {
        let order = approved.order();
        let waiting = unratified(snapshot, &order.ring, Some(order.rotation))
            .filter(|each| each.is_ratified_by(order))
            .ok_or_else(|| Error::Unfit("no such emergency rotation waits".to_owned()))?;
        if now > waiting.until {
            let at = waiting.until;
            return Err(Error::Unfit(format!(
                "the emergency rotation had to be ratified by {at}; the threshold decides by a resume"
            )));
        }
        let outcome = Outcome::Ratified {
            rotation: order.rotation,
        };
        self.by_record(facts, outcome, RATIFIED, now).await
    }

    /// Refuses what a leaf of this time would tell in vain: a ratification after the deadline of its rotation.
    pub(super) async fn still_in_time(&self, facts: &CeremonyFacts, at: Time) -> Result<(), Error> {
        let request = Request::decode(&facts.row.request)?;
        let Operation::Ratification(order) = request.operation else {
            return Ok(());
        };
        let deadline = self.deadline(&order).await?;
        match deadline {
            Some(until) if at <= until => Ok(()),
            Some(until) => Err(Error::NoEffect(format!(
                "too late: the emergency rotation had to be ratified by {until}; a resume is needed"
            ))),
            None => Err(Error::NoEffect(
                "the log tells of no such emergency rotation".to_owned(),
            )),
        }
    }

    pub(super) async fn by_record(
        &self,
        facts: &CeremonyFacts,
        outcome: Outcome,
        how: &str,
        now: Time,
    ) -> Result<(), Error> {
        let steps = self.noted_by_now(facts).await?;
        let execution = facts.draft(steps, outcome, now, how)?.encode()?;
        let digest = Sha256Digest::of(&execution);
        let change = Change::ExecuteCeremony {
            ceremony: facts.id.clone(),
            execution,
            at: now.millis(),
        };
        let event = Event {
            digest: Some(digest),
            ..self.about(facts, how)
        };
        self.log.commit(&change, &event).await?;
        Ok(())
    }
}

/// What happened, as the record says it.
const ROTATED: &str = "rotated in an emergency";
/// The action of the leaf that carries a resume out, too.
const RESUMED: &str = "resumed";
/// The same of a ratification.
const RATIFIED: &str = "ratified";

fn unfit(error: StopError) -> Error {
    Error::Unfit(error.to_string())
}

fn sequence(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Unfit("a negative sequence number".to_owned()))
}

fn told(leaf: &LeafRow) -> Option<EmergencyAct> {
    match Leaf::parse(leaf.body.as_bytes()) {
        Ok(Leaf::Act(act)) => EmergencyAct::told(&act),
        _ => None,
    }
}

/// The stop of this line of which a leaf tells, if it has a place.
fn stop_of_leaf(leaf: &LeafRow, subject: &Subject) -> Option<Last> {
    match told(leaf)? {
        EmergencyAct::Stopped {
            scope,
            digest,
            sequence,
        } if *subject == Subject::Stop(scope.clone()) => {
            let sequence = Some(place(sequence, leaf.index)).filter(|place| *place > 0)?;
            Some(Last { sequence, digest })
        }
        _ => None,
    }
}

/// The last emergency rotation of a ring that waits for its ratification, or missed it, and is the one that is meant.
fn unratified<'a>(
    snapshot: &'a Snapshot,
    ring: &Name,
    rotation: Option<Sha256Digest>,
) -> Option<&'a Unratified> {
    let waiting = snapshot.emergency.known().rotations().iter();
    let mut waiting = waiting.filter(|each| each.ring == ring.as_str());
    waiting.rfind(|each| rotation.is_none_or(|rotation| rotation == each.rotation))
}

/// Of the ring's last emergency rotation, or of the one that is meant. The key is the one that the rotation made the
/// primary, whichever is today's.
pub(super) fn ratification(
    name: &Name,
    rotation: Option<Sha256Digest>,
    snapshot: &Snapshot,
) -> Result<Ratification, Error> {
    let none = || {
        Error::Unfit(format!(
            "no emergency rotation of ring {name} waits for its ratification"
        ))
    };
    let waiting = unratified(snapshot, name, rotation).ok_or_else(none)?;
    Ok(Ratification {
        kid: waiting.kid.clone().ok_or_else(none)?,
        ring: name.clone(),
        rotation: waiting.rotation,
    })
}
