//! A driver for each kind of asset. A method is called again where nobody knows what came of it: drivers are idempotent under
//! the id of the rotation, and find out what a lost attempt has done instead of doing it twice.

mod external;
mod rings;
mod signing;

pub use external::External;
pub use rings::{Rings, asset_of_ring, ring_of_asset};
pub use signing::Signing;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use calendar::next_step::OldUse;
use calendar::time::Time;
use calendar::words::Reason;
use serde_json::Value;
use store::{RotationEventRow, RotationFence, RotationLease};

/// What a method does until it answers.
pub type Doing<'a, T = Answer> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is to be done, and when it is, by the database's clock.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The rotation as it was written last.
    pub event: &'a RotationEventRow,
    /// Now.
    pub now: Time,
    /// By what the rotation is this one's; `None` where somebody only looks.
    pub lease: Option<&'a RotationLease>,
}

impl Task<'_> {
    /// What has to hold when a step changes something; nothing is changed by who only looks.
    fn step(&self) -> Result<RotationFence, Answer> {
        self.lease().map(RotationFence::Step)
    }

    /// The same of a roll-back.
    fn roll_back(&self) -> Result<RotationFence, Answer> {
        self.lease().map(RotationFence::RollBack)
    }

    fn lease(&self) -> Result<RotationLease, Answer> {
        let lease = self.lease.cloned();
        lease.ok_or_else(|| Answer::transient("nobody has the rotation"))
    }
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done.
    Done(Done),
    /// It goes on, not before then.
    WaitUntil(Time),
    /// It goes on when something has happened: why, and in words.
    WaitFor(Waits),
    /// This attempt failed.
    Failed {
        /// Whether another attempt may succeed; otherwise a person decides.
        transient: bool,
        /// In words.
        why: String,
    },
}

/// What a step waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The reason.
    pub reason: Reason,
    /// The same in words, with what somebody may do about it.
    pub detail: String,
    /// The ceremony that it waits for.
    pub ceremony: Option<String>,
    /// The standing order that the ceremony is under.
    pub order: Option<String>,
}

/// What a step has done. What is not given is not changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// When it was published, if that was before now.
    pub at: Option<Time>,
    /// The number of the new version.
    pub version: Option<u32>,
    /// What names it among verifiers: a kid.
    pub made: Option<String>,
    /// The number of the version that was replaced.
    pub previous: Option<u32>,
    /// The ceremony by which it was made.
    pub ceremony: Option<String>,
    /// For the validation report; an object.
    pub evidence: Value,
}

impl Done {
    /// With nothing but evidence.
    pub fn with(evidence: Value) -> Answer {
        Answer::Done(Self {
            evidence,
            ..Self::default()
        })
    }
}

impl Answer {
    /// It waits for this.
    pub fn waits(reason: Reason, detail: impl Into<String>) -> Self {
        Self::WaitFor(Waits {
            reason,
            detail: detail.into(),
            ceremony: None,
            order: None,
        })
    }

    /// Another attempt may succeed.
    pub fn transient(why: impl Into<String>) -> Self {
        Self::Failed {
            transient: true,
            why: why.into(),
        }
    }

    /// A person has to look.
    pub fn person(why: impl Into<String>) -> Self {
        Self::Failed {
            transient: false,
            why: why.into(),
        }
    }
}

/// Whether the old version is still used.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Whether anything needs it.
    pub old: OldUse,
    /// For the validation report.
    pub evidence: Value,
}

/// A kind of assets. Methods are called in the order of the steps; each may be called any number of times for one rotation.
pub trait Driver: Send + Sync {
    /// What the names of its assets begin with.
    fn kind(&self) -> &'static str;

    /// Facts, roll-back plan and backup are there.
    fn check<'a>(&'a self, task: Task<'a>) -> Doing<'a>;

    /// The new version is made, or asked for.
    fn generate<'a>(&'a self, task: Task<'a>) -> Doing<'a>;

    /// Its public half is published, or the secret is delivered.
    fn publish<'a>(&'a self, task: Task<'a>) -> Doing<'a>;

    /// It works.
    fn test<'a>(&'a self, task: Task<'a>) -> Doing<'a>;

    /// It becomes the primary.
    fn promote<'a>(&'a self, task: Task<'a>) -> Doing<'a>;

    /// Whether the new version is the primary already, by whoever's act; `false` where that cannot be found out now.
    fn in_use<'a>(&'a self, task: Task<'a>) -> Doing<'a, bool>;

    /// Whether the old version is still used.
    fn usage<'a>(&'a self, task: Task<'a>) -> Doing<'a, Usage>;

    /// The old version can do nothing new any more.
    fn retire<'a>(&'a self, task: Task<'a>) -> Doing<'a>;

    /// The old version ends.
    fn archive<'a>(&'a self, task: Task<'a>) -> Doing<'a>;

    /// The old version is the primary again.
    fn roll_back<'a>(&'a self, task: Task<'a>) -> Doing<'a>;

    /// Nothing was promoted, and nothing shall be: what was made is taken back, as far as it can be.
    fn revoke<'a>(&'a self, task: Task<'a>) -> Doing<'a>;
}

/// The drivers there are. A kind is one line where they are put together.
#[derive(Clone, Default)]
pub struct Drivers(Vec<Arc<dyn Driver>>);

impl Drivers {
    /// These and one more.
    #[must_use]
    pub fn with(mut self, driver: Arc<dyn Driver>) -> Self {
        self.0.push(driver);
        self
    }

    /// The driver of an asset: of its kind, or the one for what is held elsewhere.
    pub fn of(&self, asset: &str) -> Option<&Arc<dyn Driver>> {
        let kind = asset.split('/').next().unwrap_or_default();
        let named = |kind: &str| self.0.iter().find(|driver| driver.kind() == kind);
        named(kind).or_else(|| named(External::KIND))
    }
}
