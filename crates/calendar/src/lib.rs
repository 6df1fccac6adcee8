//! Chancery's calendar: when keys, secrets and certificates rotate, and whether that can go well.
//!
//! This crate is pure: no clock, no network, no database, no randomness, and nothing of the crate `trust`. Time is an
//! argument, facts and policies are documents, and the same functions serve the engine, the HTTP interface and a simulation
//! of a year.
//!
//! Reading order: [`words`], [`name`] and [`key_type`] are the vocabulary; [`policy`] with [`floors`] and [`windows`] says what
//! an installation wants, [`facts`] what there is; [`plan`](mod@plan) decides when each asset rotates, [`admission`] whether what
//! somebody asks for becomes an event, and [`next_step`](mod@next_step) what an event needs next. [`simulate`](mod@simulate) runs all of it
//! over a year and finds what must not be. [`cron`] has the slots of the jobs, [`weekly`] that of the digest, [`alerts`] what people are told is not as it should be.

pub mod admission;
pub mod alerts;
pub mod cron;
pub mod facts;
pub mod floors;
pub mod key_type;
pub mod name;
pub mod next_step;
pub mod picture;
pub mod plan;
pub mod policy;
pub mod simulate;
pub mod time;
pub mod weekly;
pub mod windows;
pub mod words;

pub use facts::{AssetFacts, Consent, Facts, Limits, Order};
pub use key_type::{Grace, KeyType, KeyTypes};
pub use name::{AssetName, Word};
pub use next_step::{EventFacts, Next, next_step};
pub use plan::{Plan, Rotation, plan};
pub use policy::{Policies, Policy, PolicyDocument};
pub use simulate::{Report, World, simulate};
pub use time::{Span, Time};
