//! The life of a ring's keys by hand: every change is planned purely, shown, and applied to
//! exactly the version of the ring that it was planned on. Schedules and emergencies come later.

use trust::acts::UNPUBLISH;
use trust::leaf::ActKind;
use trust::plan::{self, Action, Blocked};
use trust::{Kid, Safety, Time};

use crate::keys::Ring;
use log::{Event, Log};
use store::{AfterLatest, Change, RotationFence};

/// A change that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RingChange {
    /// The next standby becomes the primary.
    Rotate,
    /// The key that was primary before becomes it again.
    RollBack,
    /// A secondary stops signing for good.
    Retire(Kid),
    /// A key that has ended leaves the key sets for good, at the end of its ring's grace.
    Unpublish(Kid),
}

impl RingChange {
    /// For the audit trail.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::RollBack => "roll-back",
            Self::Retire(_) => "retire",
            Self::Unpublish(_) => UNPUBLISH,
        }
    }
}

/// Steps with their reasons, and the one change that carries them out.
#[derive(Debug, Clone)]
pub struct Plan {
    pub steps: Vec<plan::Step>,
    ring: String,
    action: &'static str,
    old: Option<Kid>,
    new: Option<Kid>,
    expected_version: i64,
    /// The last change of the keys concerned. A clock that is behind the one of an earlier change
    /// would otherwise write a life that runs backwards.
    not_before: Time,
    rotation: Option<RotationFence>,
}

impl Plan {
    /// The key that becomes primary, where one does.
    pub fn next_primary(&self) -> Option<&Kid> {
        self.new.as_ref()
    }

    /// The same for a rotation: nothing of it, where another one has the rotation by then or somebody wants it otherwise.
    #[must_use]
    pub fn of_rotation(self, fence: RotationFence) -> Self {
        Self {
            rotation: Some(fence),
            ..self
        }
    }
}

/// Pure: facts in, steps out.
pub fn plan(ring: &Ring, change: &RingChange, safety: &Safety, now: Time) -> Result<Plan, Blocked> {
    let keys = ring.plan_keys();
    let steps = match change {
        RingChange::Rotate => plan::plan_rotate(&keys, safety, now)?,
        RingChange::RollBack => plan::plan_roll_back(&keys)?,
        RingChange::Retire(kid) => plan::plan_retire(&keys, kid, safety, now)?,
        RingChange::Unpublish(kid) => {
            let found = ring.keys.iter().find(|key| key.kid == *kid);
            if found.is_some_and(|key| key.unpublished_at.is_some()) {
                return Err(Blocked::State {
                    kid: kid.clone(),
                    found: "out of the key sets",
                    expected: "retired or archived, and in them",
                });
            }
            plan::plan_unpublish(&keys, kid)?
        }
    };
    let of = |wanted: &[Action]| {
        let step = steps.iter().find(|step| wanted.contains(&step.action));
        step.map(|step| step.kid.clone())
    };
    let new = of(&[Action::Activate, Action::RollBack]);
    // What the custodians approved for this key is not overtaken by a shorter waiting time.
    let approved = |kid: &Kid| ring.keys.iter().find(|key| key.kid == *kid);
    if let Some(key) = new.as_ref().and_then(approved)
        && now < key.activate_at
    {
        return Err(Blocked::NotReady {
            kid: key.kid.clone(),
            ready_at: key.activate_at,
        });
    }
    let concerned = |kid: &Kid| steps.iter().any(|step| step.kid == *kid);
    let last_changes = ring.keys.iter().filter(|key| concerned(&key.kid));
    Ok(Plan {
        not_before: last_changes
            .map(|key| key.last_change())
            .max()
            .unwrap_or(now),
        old: of(&[Action::Demote, Action::Retire, Action::Unpublish]),
        new,
        ring: ring.name.to_string(),
        action: change.word(),
        expected_version: ring.version,
        rotation: None,
        steps,
    })
}

/// One transaction, of an instant that is not before any leaf of the log: what another replica has signed
/// with a key is not of after its end. Of two replicas that planned the same at once, one gets a conflict.
pub async fn apply(
    plan: &Plan,
    log: &Log,
    actor: &str,
    reason: Option<&str>,
    now: Time,
) -> Result<i64, store::Error> {
    let text = |kid: &Kid| kid.as_str().to_owned();
    let change = |at: Time| match (&plan.new, &plan.old) {
        (Some(new), old) => Change::SwitchPrimary {
            ring: plan.ring.clone(),
            expected_version: plan.expected_version,
            old: old.as_ref().map(text),
            new: text(new),
            at: at.millis(),
        },
        (None, Some(kid)) if plan.action == UNPUBLISH => Change::UnpublishKey {
            ring: plan.ring.clone(),
            expected_version: plan.expected_version,
            kid: text(kid),
            at: at.millis(),
        },
        (None, Some(kid)) => Change::RetireKey {
            ring: plan.ring.clone(),
            expected_version: plan.expected_version,
            kid: text(kid),
            at: at.millis(),
        },
        // A plan without a step changes nothing, and says so in the trail.
        (None, None) => Change::Record,
    };
    let event = |at: Time| Event {
        ring: Some(&plan.ring),
        kid: plan.new.as_ref().or(plan.old.as_ref()),
        previous_kid: plan.new.as_ref().and(plan.old.as_ref()),
        reason,
        ..Event::new(ActKind::Key, plan.action, actor, at)
    };
    let when = AfterLatest {
        earliest: now.max(plan.not_before).millis(),
        strictly: false,
    };
    let fenced = |at: Time| match &plan.rotation {
        Some(fence) => Change::OfRotation {
            fence: fence.clone(),
            change: Box::new(change(at)),
        },
        None => change(at),
    };
    log.commit_at(&when, &|at| (fenced(at), event(at))).await
}
