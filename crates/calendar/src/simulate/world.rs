//! What a simulation begins with and what happens to it.

use serde::{Deserialize, Serialize};

use crate::facts::{AssetFacts, Facts, Order, Request};
use crate::key_type::{KeyType, KeyTypes};
use crate::name::{AssetName, Word};
use crate::policy::{Caches, PolicyDocument};
use crate::time::{Span, Time};
use crate::words::{Reason, Step, words};

words! {
    /// What is out of order for a while.
    FaultKind {
        /// The HSM.
        Token = "token",
        /// The database: nothing is written.
        Database = "database",
        /// The witnesses: nothing new is published.
        Witness = "witness",
        /// The executor: no key is made under an order or by a ceremony, and none destroyed.
        Executor = "executor",
        /// The scheduler is paused.
        Paused = "paused",
        /// Probes do not see what is published.
        ProbesSilent = "probes-silent",
        /// A probe says that it sees what another does not.
        ProbeLies = "probe-lies",
        /// The scheduler's replicas are all down: no job runs, no event goes on.
        Replicas = "replicas",
    }
}

impl FaultKind {
    /// Whether it stops a step of an asset; `hsm` if the asset's keys are in an HSM, `ceremonial` if a quorum's consent is needed.
    pub(super) fn stops(self, step: Step, hsm: bool, ceremonial: bool) -> bool {
        match self {
            Self::Database | Self::Replicas => true,
            Self::Token => hsm && matches!(step, Step::Generate | Step::Test),
            Self::Witness => step == Step::Publish,
            Self::Executor => ceremonial && matches!(step, Step::Generate | Step::Archive),
            // Those are asked for elsewhere.
            Self::Paused | Self::ProbesSilent | Self::ProbeLies => false,
        }
    }

    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Token => Reason::Token,
            Self::Database => Reason::Database,
            Self::Witness => Reason::Witness,
            Self::Executor => Reason::Executor,
            Self::Paused => Reason::Paused,
            Self::ProbesSilent => Reason::Propagation,
            Self::ProbeLies => Reason::ProbeContradicts,
            Self::Replicas => Reason::Backlog,
        }
    }
}

/// A fault with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Since when.
    pub from: Time,
    /// Until when.
    pub until: Time,
}

/// A verifier: how long it keeps what it fetched, and how far its clock is off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    /// Its name.
    pub name: Word,
    /// It fetches again after this at the latest.
    pub max_age: Span,
    /// It may keep a document so much longer, because its clock is slow.
    pub skew: Span,
    /// How old a signature may be that it is shown.
    pub oldest_signature: Span,
}

/// Something that people do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// These policies take the place of all others.
    Policies(Vec<PolicyDocument>),
    /// An order is approved.
    Order(Order),
    /// An order is withdrawn.
    Withdraw(Word),
    /// An asset is imported.
    Import(AssetFacts),
    /// A rotation is asked for, or an emergency declared.
    Request(AssetName, Request),
    /// The old version is wanted back.
    RollBack(AssetName),
    /// A person holds an asset, or lets it go.
    Hold(AssetName, bool),
}

/// Something that people do, at an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// When.
    pub at: Time,
    /// What.
    pub what: What,
}

/// A world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// When it begins.
    pub start: Time,
    /// What there is.
    pub facts: Facts,
    /// The standing orders.
    pub orders: Vec<Order>,
    /// Key types beside the sixteen.
    #[serde(default)]
    pub key_types: Vec<KeyType>,
    /// The policies.
    pub policies: Vec<PolicyDocument>,
    /// What the installation tells verifiers to keep.
    #[serde(skip, default)]
    pub caches: Caches,
    /// Who checks signatures.
    pub verifiers: Vec<Verifier>,
    /// What is out of order, and when.
    pub faults: Vec<Fault>,
    /// What people do.
    pub changes: Vec<Change>,
    /// By how many seconds each replica's clock is ahead of the database's. One of them takes each step.
    pub replicas: Vec<i64>,
    /// A replica whose clock is off by more than this does nothing.
    pub tolerance: Span,
    /// How long a ceremony takes from its draft to its approval; without it none is ever held.
    pub ceremony: Option<Span>,
    /// Of a thousand steps so many fail once.
    pub failures: u32,
}

impl World {
    /// The sixteen key types with their policies, one replica, one verifier that does as it is told, ceremonies within three
    /// days, and nothing out of order.
    pub fn standard(start: Time, facts: Facts, orders: Vec<Order>) -> Self {
        let caches = Caches::default();
        let verifier = "default".parse().map(|name| Verifier {
            name,
            max_age: caches.max_age,
            skew: caches.skew,
            oldest_signature: Span::hours(1),
        });
        Self {
            start,
            facts,
            orders,
            key_types: Vec::new(),
            policies: KeyTypes::standard()
                .iter()
                .map(PolicyDocument::standard)
                .collect(),
            caches,
            verifiers: verifier.into_iter().collect(),
            faults: Vec::new(),
            changes: Vec::new(),
            replicas: vec![0],
            tolerance: Span::seconds(2),
            ceremony: Some(Span::days(3)),
            failures: 0,
        }
    }

    /// Its key types. One that is there twice counts once.
    pub fn types(&self) -> KeyTypes {
        self.key_types
            .iter()
            .fold(KeyTypes::standard(), |types, key_type| {
                match types.clone().with(key_type.clone()) {
                    Ok(more) => more,
                    Err(_) => types,
                }
            })
    }
}
