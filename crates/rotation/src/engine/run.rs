//! One event, step by step, under its lease.

use base::trace::TARGET;
use base::{names, step};
use calendar::next_step::{Next, next_step};
use calendar::policy::{Policies, Policy};
use calendar::words::{EventState, Reason, Step, Trigger};
use calendar::{EventFacts, Span, Time, Word};
use log::Event;
use metrics::{counter, histogram};
use serde_json::{Value, json};
use store::{
    Change, RotationEventRow, RotationLease, RotationPause, RotationStepRow, RotationWrite,
    StepBegin, StepEnd,
};
use tracing::Instrument as _;
use trust::leaf::ActKind;

use super::error::Error;
use super::facts::event_facts;
use super::{Engine, LEASE};
use crate::drivers::{Answer, Done, Driver, Task, Usage, ring_of_asset};
use crate::times::{from_row, to_row};

/// Most steps that one look takes; what is left is taken by the next one.
const MOST_STEPS: usize = 24;

/// Longest evidence of a step, in bytes of JSON.
const LONGEST_EVIDENCE: usize = 8_000;

/// How long until somebody looks again at what waits for something that may come at any time.
const SOON: Span = Span::seconds(30);

/// The same of what people do, with whose act it is not looked at by itself.
const LATER: Span = Span::minutes(5);

/// The same of what people say, which is looked at as soon as they have.
const SAID: Span = Span::hours(1);

/// What came of a look at one event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Ran {
    /// Nothing happens any more.
    Ended {
        /// How it ended.
        state: &'static str,
    },
    /// It is looked at again.
    Waits {
        /// When.
        look_at: Time,
        /// For what, unless it is a time.
        reason: Option<Reason>,
    },
    /// Another replica has it.
    Busy,
    /// Another replica took it while this one worked, which wrote nothing more.
    Overtaken,
}

/// What every step of an event is judged by.
struct Judged<'a> {
    lease: &'a RotationLease,
    policies: &'a Policies,
    pause: &'a RotationPause,
}

impl Engine {
    /// Goes on with one event as far as it goes now.
    pub async fn run(&self, id: &str) -> Result<Ran, Error> {
        let now = self.now().await?;
        let policies = self.parts().inventory.policies(now).await?;
        self.run_under(id, &policies).await
    }

    /// Whether the old version of an event is still used, by its driver.
    pub async fn usage(&self, task: Task<'_>) -> Option<Usage> {
        let driver = self.parts().drivers.of(&task.event.asset)?;
        Some(driver.usage(task).await)
    }

    pub(super) async fn run_under(&self, id: &str, policies: &Policies) -> Result<Ran, Error> {
        let owner = self.owner();
        let Some(lease) = self.store().take_rotation(id, owner, LEASE).await? else {
            return match self.store().rotation_event(id).await? {
                None => Err(Error::UnknownEvent(id.to_owned())),
                Some(row) if row.ended_at.is_some() => Ok(Ran::Ended {
                    state: super::facts::state(&row.state)?.as_str(),
                }),
                Some(_) => Ok(Ran::Busy),
            };
        };
        let pause = self.store().rotation_pause().await?;
        let judged = Judged {
            lease: &lease,
            policies,
            pause: &pause,
        };
        match self.steps(judged).await {
            Ok(ran) => {
                // If we die before it, the next one waits for the rest of the lease.
                self.store().return_rotation(&lease).await?;
                Ok(ran)
            }
            Err(Error::Store(error)) if error.is_conflict() => {
                // By another owner, or by somebody who marked it meanwhile: that is looked at soon.
                self.store().return_rotation(&lease).await?;
                Ok(Ran::Overtaken)
            }
            Err(error) => {
                self.store().return_rotation(&lease).await?;
                Err(error)
            }
        }
    }

    async fn steps(&self, judged: Judged<'_>) -> Result<Ran, Error> {
        let mut look_at = self.now().await?;
        for _ in 0..MOST_STEPS {
            if let Some(ran) = self.step(&judged, &mut look_at).await? {
                return Ok(ran);
            }
            self.store().hold_rotation(judged.lease, LEASE).await?;
        }
        Ok(Ran::Waits {
            look_at,
            reason: None,
        })
    }

    /// The next step of it; what came of the look, if it is over with that.
    async fn step(&self, judged: &Judged<'_>, at: &mut Time) -> Result<Option<Ran>, Error> {
        let id = &judged.lease.event;
        let unknown = || Error::UnknownEvent(id.clone());
        let row = self.store().rotation_event(id).await?.ok_or_else(unknown)?;
        let steps = self.store().rotation_steps(id).await?;
        let mut facts = event_facts(&row, &steps, judged.pause.since.is_some())?;
        let now = self.now().await?;
        *at = now;
        let key_type: Word = row.key_type.parse().map_err(|_| Error::Word {
            column: "key_type",
            value: row.key_type.clone(),
        })?;
        // A ring may have been called routine when it began, and not be by now.
        let held = self.parts().inventory.held(&row.asset, &key_type).await?;
        let key_type = held.unwrap_or(key_type);
        let (Some(policy), Some(driver)) = (
            judged.policies.get(&key_type),
            self.parts().drivers.of(&row.asset),
        ) else {
            let why = "its key type has no policy, or nothing here rotates such assets";
            return self
                .wait(judged, &row, now, (Some(Reason::Person), why.to_owned()))
                .await
                .map(Some);
        };
        let task = Task {
            event: &row,
            now,
            lease: Some(judged.lease),
        };
        let (next, said) = self.next(&mut facts, policy, driver.as_ref(), task).await?;
        match next {
            Next::Step(which) => {
                let span = tracing::trace_span!(
                    target: TARGET,
                    "rotation step",
                    chancery.rotation = id.as_str(),
                    chancery.step = which.as_str(),
                    chancery.key_type = key_type.as_str(),
                );
                self.carry_out(judged, (&row, &facts), (which, said), driver.as_ref(), now)
                    .instrument(span)
                    .await
            }
            Next::WaitUntil(until) => self.wait_until(judged, &row, now, until).await.map(Some),
            Next::Waiting(reason) => {
                let why = why(reason, &row, &steps, &said);
                let mut write = self.waiting(&row, now, Some(reason), why);
                if reason == Reason::Person {
                    write.state = EventState::Failed.as_str();
                }
                self.keep(judged, write, Some(reason)).await.map(Some)
            }
            Next::Cancel => {
                let answer = driver.revoke(task).await;
                self.ends(judged, &row, (answer, EventState::Cancelled), now)
                    .await
            }
            Next::RollBack => {
                let answer = driver.roll_back(task).await;
                self.ends(judged, &row, (answer, EventState::RolledBack), now)
                    .await
            }
            Next::Done => {
                let done = Answer::Done(Done::default());
                self.ends(judged, &row, (done, EventState::Done), now).await
            }
        }
    }

    /// What is next. Probes, and whether the versions are used, are asked for only where they decide; with what they said.
    async fn next(
        &self,
        facts: &mut EventFacts,
        policy: &Policy,
        driver: &dyn Driver,
        task: Task<'_>,
    ) -> Result<(Next, Value), Error> {
        let ends = facts.cancel || facts.roll_back;
        if facts.promoted_at.is_none() && (ends || facts.record(Step::Promote).is_some()) {
            facts.in_use = driver.in_use(task).await;
        }
        let next = next_step(facts, policy, task.now);
        let Next::Step(which) = next else {
            return Ok((next, Value::Null));
        };
        if facts.is_under_way(which) || facts.in_use {
            return Ok((next, Value::Null));
        }
        let said = match (which, &task.event.made) {
            (Step::Promote, Some(made)) => {
                let propagation = &self.parts().propagation;
                let (word, said) = propagation.look(self.store(), made).await?;
                facts.propagation = word;
                said
            }
            (Step::Archive, _) => {
                let usage = driver.usage(task).await;
                facts.old_use = usage.old;
                usage.evidence
            }
            _ => return Ok((next, Value::Null)),
        };
        Ok((next_step(facts, policy, task.now), said))
    }

    /// Intent, effect, record.
    async fn carry_out(
        &self,
        judged: &Judged<'_>,
        (row, facts): (&RotationEventRow, &EventFacts),
        (which, said): (Step, Value),
        driver: &dyn Driver,
        now: Time,
    ) -> Result<Option<Ran>, Error> {
        let lease = judged.lease;
        if !facts.is_under_way(which) {
            let (store, at) = (self.store(), to_row(now));
            let by = (which.as_str(), self.parts().actor.as_str());
            let begin = StepBegin {
                again: facts.is_begun(which),
                // What was done is written, whoever wanted it otherwise.
                unless_marked: !facts.in_use,
            };
            store.begin_rotation_step(lease, by, begin, at).await?;
        }
        step::reached(&format!("rotation-{which}-intended"));
        let task = Task {
            event: row,
            now,
            lease: Some(lease),
        };
        let answer = match which {
            Step::PreCheck => driver.check(task).await,
            Step::Generate => driver.generate(task).await,
            Step::Publish => driver.publish(task).await,
            Step::Test => driver.test(task).await,
            Step::Promote => driver.promote(task).await,
            Step::Watch => {
                let usage = driver.usage(task).await;
                Done::with(json!({ "old_version": usage.old, "usage": usage.evidence }))
            }
            Step::Retire => driver.retire(task).await,
            Step::Archive => driver.archive(task).await,
        };
        step::reached(&format!("rotation-{which}-done"));
        let now = self.now().await?.max(now);
        match answer {
            Answer::Done(done) => self.done(judged, row, (which, done, said), now).await,
            Answer::WaitUntil(until) => self.wait_until(judged, row, now, until).await.map(Some),
            Answer::WaitFor(waits) => {
                let mut write = self.waiting(row, now, Some(waits.reason), waits.detail);
                (write.ceremony, write.order) = (waits.ceremony, waits.order);
                self.keep(judged, write, Some(waits.reason)).await.map(Some)
            }
            Answer::Failed { transient, why } => {
                let outcome = if transient { "transient" } else { "person" };
                counter!(
                    names::ROTATION_FAILURES,
                    "step" => which.as_str(), "reason" => outcome
                )
                .increment(1);
                tracing::warn!(
                    rotation = row.id,
                    step = which.as_str(),
                    why,
                    "a step failed"
                );
                let mut write = RotationWrite::new(to_row(now), EventState::Waiting.as_str());
                write.waits = Some(Reason::Retry.as_str());
                write.detail = Some(why.clone());
                write.step = Some(StepEnd {
                    step: which.as_str(),
                    outcome,
                    why: Some(why),
                    evidence: None,
                });
                self.store().keep_rotation(lease, &write).await?;
                Ok(None)
            }
        }
    }

    /// A step is done. The log tells of a promotion.
    async fn done(
        &self,
        judged: &Judged<'_>,
        row: &RotationEventRow,
        (which, done, said): (Step, Done, Value),
        now: Time,
    ) -> Result<Option<Ran>, Error> {
        let mut write = RotationWrite::new(to_row(now), EventState::Running.as_str());
        let at = done.at.map_or(now, |at| at.min(now));
        match which {
            Step::Publish => write.published_at = Some(to_row(at)),
            Step::Promote => write.promoted_at = Some(to_row(at)),
            Step::Retire => write.retired_at = Some(to_row(at)),
            _ => {}
        }
        write.version = done.version;
        write.made = done.made;
        write.previous_version = done.previous;
        write.ceremony = done.ceremony;
        write.step = Some(StepEnd {
            step: which.as_str(),
            outcome: "done",
            why: None,
            evidence: Some(evidence(done.evidence, said)),
        });
        if which == Step::Promote {
            let version = write.version.unwrap_or(row.version);
            let previous = write.previous_version.or(row.previous_version);
            self.record(judged.lease, write, (row, version, previous), "promote")
                .await?;
            let took = at.since(from_row(row.slot.max(row.created_at)));
            #[expect(clippy::cast_precision_loss, reason = "seconds of a rotation")]
            histogram!(
                names::ROTATION_SECONDS,
                "key_type" => self.key_types().of(&row.key_type)
            )
            .record(took.as_seconds() as f64);
        } else {
            self.store().keep_rotation(judged.lease, &write).await?;
        }
        step::reached(&format!("rotation-{which}-recorded"));
        Ok(None)
    }

    /// It is over: the log tells of it.
    async fn ends(
        &self,
        judged: &Judged<'_>,
        row: &RotationEventRow,
        (answer, state): (Answer, EventState),
        now: Time,
    ) -> Result<Option<Ran>, Error> {
        match answer {
            Answer::Done(_) => {}
            Answer::WaitUntil(until) => {
                return self.wait_until(judged, row, now, until).await.map(Some);
            }
            Answer::WaitFor(waits) => {
                let why = (Some(waits.reason), waits.detail);
                return self.wait(judged, row, now, why).await.map(Some);
            }
            Answer::Failed { transient, why } => {
                let reason = match transient {
                    true => Reason::Retry,
                    false => Reason::Person,
                };
                let mut write = self.waiting(row, now, Some(reason), why);
                if !transient {
                    write.state = EventState::Failed.as_str();
                }
                return self.keep(judged, write, Some(reason)).await.map(Some);
            }
        }
        let now = self.now().await?.max(now);
        let mut write = RotationWrite::new(to_row(now), state.as_str());
        write.ends = true;
        let of = (row, row.version, row.previous_version);
        self.record(judged.lease, write, of, state.as_str()).await?;
        let key_type = self.key_types().of(&row.key_type);
        counter!(names::ROTATIONS_ENDED, "key_type" => key_type, "state" => state.as_str())
            .increment(1);
        tracing::info!(
            rotation = row.id,
            asset = row.asset,
            state = state.as_str(),
            "a rotation ended"
        );
        Ok(Some(Ran::Ended {
            state: state.as_str(),
        }))
    }

    async fn record(
        &self,
        lease: &RotationLease,
        done: RotationWrite,
        (row, version, previous): (&RotationEventRow, u32, Option<u32>),
        action: &str,
    ) -> Result<(), Error> {
        let time = done.at;
        let change = Change::RecordRotation {
            lease: lease.clone(),
            done: Box::new(done),
        };
        let event = Event {
            asset: Some(&row.asset),
            version: Some(version.into()),
            previous_version: previous.map(Into::into),
            reason: row.reason.as_deref(),
            reference: Some(&row.id),
            ..Event::new(ActKind::Rotation, action, &self.parts().actor, time)
        };
        self.log().commit(&change, &event).await?;
        Ok(())
    }

    async fn wait_until(
        &self,
        judged: &Judged<'_>,
        row: &RotationEventRow,
        now: Time,
        until: Time,
    ) -> Result<Ran, Error> {
        let mut write = self.waiting(row, now, None, until_when(row, until));
        write.look_at = to_row(until.max(now));
        self.store().keep_rotation(judged.lease, &write).await?;
        Ok(Ran::Waits {
            look_at: until,
            reason: None,
        })
    }

    async fn wait(
        &self,
        judged: &Judged<'_>,
        row: &RotationEventRow,
        now: Time,
        (reason, why): (Option<Reason>, String),
    ) -> Result<Ran, Error> {
        let write = self.waiting(row, now, reason, why);
        self.keep(judged, write, reason).await
    }

    async fn keep(
        &self,
        judged: &Judged<'_>,
        write: RotationWrite,
        reason: Option<Reason>,
    ) -> Result<Ran, Error> {
        self.store().keep_rotation(judged.lease, &write).await?;
        Ok(Ran::Waits {
            look_at: from_row(write.look_at),
            reason,
        })
    }

    /// What is written of an event that waits. One that has done nothing yet is still only scheduled.
    fn waiting(
        &self,
        row: &RotationEventRow,
        now: Time,
        reason: Option<Reason>,
        detail: String,
    ) -> RotationWrite {
        let state = match row.state == EventState::Scheduled.as_str() {
            true => EventState::Scheduled,
            false => EventState::Waiting,
        };
        let pause = match reason {
            Some(Reason::Held | Reason::Paused | Reason::Approval | Reason::OrderUsedUp) => LATER,
            Some(Reason::Person) => SAID,
            _ => SOON,
        };
        let mut write = RotationWrite::new(to_row(now), state.as_str());
        write.waits = reason.map(Reason::as_str);
        write.detail = Some(detail);
        write.look_at = to_row(now + pause);
        write
    }
}

/// Why it waits, in words.
fn why(reason: Reason, row: &RotationEventRow, steps: &[RotationStepRow], said: &Value) -> String {
    match reason {
        Reason::Person => {
            let failed = steps.iter().rev().find_map(|step| step.why.clone());
            failed.or_else(|| row.detail.clone()).unwrap_or_default()
        }
        Reason::Propagation | Reason::ProbeContradicts => said.to_string(),
        Reason::Clock => "what was written lies ahead of the database's clock".to_owned(),
        reason => reason.to_string(),
    }
}

/// Of a ring's emergency also what people do meanwhile: the wait for verifiers' caches is that of a routine rotation.
fn until_when(row: &RotationEventRow, until: Time) -> String {
    let until = format!("until {}", until.minute());
    let is_open = row.cause == Trigger::Event.as_str() && row.promoted_at.is_none();
    match ring_of_asset(&row.asset) {
        Some(ring) if is_open => format!(
            "{until}: this emergency replaces nothing before every verifier has the standby key, and members of the roster order \
             that: chancery emergency rotate --ring {ring}; to stop its signing now: chancery emergency stop --ring {ring}"
        ),
        _ => until,
    }
}

/// One object, of bounded length.
fn evidence(done: Value, said: Value) -> String {
    let value = match said {
        Value::Null => done,
        said => json!({ "step": done, "said": said }),
    };
    let text = value.to_string();
    match text.len() <= LONGEST_EVIDENCE {
        true => text,
        false => json!({ "left_out": text.len() }).to_string(),
    }
}
