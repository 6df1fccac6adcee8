//! Ceremonies: requests in, custodians' signatures counted, the token touched, transcripts out.
//!
//! Nothing here decides whether a quorum was reached: `trust::tally` does, from the stored bytes
//! and the pinned genesis, whenever something is about to be done. Rows only say how far we are.

mod accept;
mod admission;
mod bundle;
mod carried;
mod claim;
mod cloned;
mod clones;
mod correction;
mod deadlines;
mod due;
mod emergency;
mod emergency_report;
mod error;
mod execute;
mod intend;
mod key_of_ring;
mod known_orders;
mod new_origin;
mod note;
mod outcome;
mod pages;
mod passkeys;
mod pauses;
mod propose;
mod reading;
mod reconcile;
mod report;
mod restore;
mod result_signer;
mod rotation_policy;
mod runner;
mod schedule;
mod service;
mod standing_order;
mod statements;
mod under_order;
mod verified_order;
mod vote;
mod waiting;
mod wish;
mod witness;

pub use admission::{Submission, admit_proposal, admit_stop};
pub use bundle::{Bundle, BundleReport};
pub use carried::{CarriedRequest, CarriedResult, Look, carry_out};
pub use correction::WrongLeaves;
pub use emergency_report::{EmergencyReport, StopReport, UnratifiedReport};
pub use error::{Error, Kind};
pub use new_origin::PermittedOrigin;
pub use note::{ExceptionInput, Note};
pub use pages::{Cursor, Filter, PAGE_MAX, Page, StateFilter, Summary};
pub use passkeys::{PasskeyAttestation, enrolment_options};
pub use propose::{Draft, ProposalInput};
pub use reading::Reading;
pub use reconcile::{Alone, Finding};
pub use report::{Report, kids};
pub use result_signer::ResultSigner;
pub use rotation_policy::{Replaced, canonical as canonical_policy, replaced as replaced_policy};
pub use runner::{Delayed, DelayedOrder, Rotated, Round, Runner};
pub use service::{CeremonyService, File, SigningPayload, open_file};
pub use standing_order::{ORDERS_MAX, OrderInput, OrderReport, UseReport, WithdrawalReport};
#[cfg(test)]
pub(crate) use statements::Decision;
pub use statements::{Asked, OPEN_STATEMENTS, StatementReport, StatementSummary};
pub use waiting::{Waiting, WaitingStatement, Waitings, Waits};
pub use wish::{NotAsWished, Wanted, Wish, spelled};
pub use witness::{Printed, payload as attestation_payload};
