//! Gathers the facts about a signature and lets `trust` decide the verdict.

mod evidence;
pub(crate) mod existence;
mod question;
mod radius;
mod rules;
mod settings;
mod sought;
mod stop;
mod stop_files;
mod transcript;
mod verify;

pub use crate::keys::{Cpu, Share, Unfinished};
pub use evidence::{EvidenceBuilder, KeyLife, NoEvidence};
pub use question::{Answer, Claim, Covered, Error, Question};
pub use radius::{Issued, Radius, RadiusQuestion};
pub use rules::{Rules, RulesError};
pub use settings::Settings;
pub use verify::Verification;
