//! The database: what is kept, and in which transactions.
//!
//! There are three ways to write. An act is one named [`Change`] together with the [`Leaf`] that
//! tells of it, in one transaction ([`Store::commit`]). Signatures go through
//! [`Store::commit_signatures`], which also fences keys that may not sign any more. Everything else
//! is [`Housekeeping`] ([`Store::keep`]): leases, the index and the counts of signatures, expired answers; and, by
//! functions of their own because they answer more than a number, the Merkle tree and its
//! checkpoints, which are computed from the leaves, the outbox, which tells others of them, and how far rotations and jobs are.
//!
//! The database orders and keeps; it is not believed. Whoever reads a key from here tallies its
//! transcript again before using it.
//!
//! One file has one subject: its statements, its row types, its functions. Columns are decoded here,
//! once. In the tables instants are milliseconds since the Unix epoch, digests lower-case hex, kids as
//! in RFC 7638.

mod account;
mod acts;
mod after_latest;
mod alerts;
mod alerts_counted;
mod archive;
mod asked;
mod assets;
mod blast_radius;
mod breaker;
mod ceremonies;
mod ceremony_pages;
mod ceremony_signatures;
mod change;
mod checkpoints;
mod clock_correction;
mod commit;
mod compromise;
mod credentials;
mod database;
mod decode;
mod destruction;
mod emergency_lines;
mod emergency_statements;
mod engine;
mod error;
mod execution_statements;
mod executions;
mod fence;
mod generation;
mod housekeeping;
mod idempotency;
mod index;
mod inventory;
mod inventory_statements;
mod jobs;
mod kept;
mod key_effects;
mod keys;
mod leases;
mod leaves;
mod lines;
mod log_head;
mod migrate;
mod new_origin;
mod notices;
mod objects;
mod order_fence;
mod orders;
mod outbox;
mod outbox_alerts;
mod passkeys;
mod postgres;
mod propagation;
mod reads;
mod recover;
mod rings;
mod role;
mod rotation_events;
mod rotation_lease;
mod rotation_policies;
mod rotation_reports;
mod rotation_statements;
mod rotation_steps;
mod rotation_told;
mod rows;
mod settings;
mod signatures;
mod sqlite;
mod statements;
mod stops;
mod tail;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tree;
mod trust_documents;
mod trust_statements;
mod usage;
mod versions;
mod watch;

pub use account::{Account, PoolConnections};
pub use acts::{AcceptedRow, ActRow, ActWord, Acted, LOG as LOG_ACTS};
pub use after_latest::AfterLatest;
pub use alerts::{AlertCrowd, AlertRecord, AlertWrite};
pub use alerts_counted::CountedAlerts;
pub use archive::{EndedBefore, KeyCounts};
pub use assets::{AssetDescription, InventoryChange, NewAssetRow, VersionTurn};
pub use blast_radius::DayRow;
pub use ceremonies::{CeremonyMark, CeremonyRow, CeremonyState};
pub use ceremony_pages::{CeremonyHeadRow, CeremonyUnderWay, Heads, ProposalsOf};
pub use ceremony_signatures::{CeremonySignatureRow, VoteRow};
pub use change::Change;
pub use checkpoints::CheckpointRow;
pub use clock_correction::Corrected;
pub use compromise::{CompromiseDecision, CompromiseRow, MostReports, OpenReport};
pub use credentials::{CredentialName, CredentialRow, NotAPrincipalName, PrincipalName};
pub use database::{Database, Store};
pub use emergency_lines::Hindrance;
pub use error::{Error, Subject, UnreadableRow};
pub use executions::{HeldExecution, WaitingForExecutor};
pub use fence::{Clock, Halted};
pub use housekeeping::{ANSWERS, HOURS, Housekeeping};
pub use idempotency::{Idempotency, IdempotentAnswer};
pub use index::MAX_INDEXED;
pub use index::Occurrence;
pub use inventory::{
    AssetHeadRow, AssetPage, AssetState, ExternalVersionRow, InventoryRow, RotatedRow,
};
pub use jobs::{JobRow, JobRunRow, NewRun, RunLease};
pub use kept::KeptLeaf;
pub use key_effects::KeyEffect;
pub use keys::{KeyRow, KeyStatus};
#[cfg(test)]
pub use leaves::MAX_LEAF;
pub use leaves::{Leaf, LeafBody, LeafFilter, LeafRow};
pub use lines::{LineHeadRow, LineRow, OrderUseRow};
pub use migrate::Schema;
pub use new_origin::BeginOrigin;
pub use notices::{DigestRow, NoticeRow};
pub use objects::{KeyObjectRow, ObjectState};
pub use orders::{OrderRow, OrderWithdrawalRow, UseRow};
pub use outbox::{
    Addressee, Announced, DeliveryRow, DeliveryState, DroppedRow, MOST_COUNTED, NewMessage,
};
pub use outbox_alerts::AlertRow;
pub use passkeys::PasskeyAttestationRow;
pub use propagation::AcknowledgementRow;
pub use reads::MAX_PAGE;
pub use recover::{LostLeaf, NotTaken};
pub use rings::RingRow;
pub use role::{Role, RoleKind, UnknownRole};
pub use rotation_events::{
    Declaration, DueRotations, RotationEventRow, RotationMark, RotationPause, RotationWrite,
};
pub use rotation_lease::{RotationFence, RotationLease};
pub use rotation_policies::{KeyTypeRow, PolicyRow, policy_asset};
pub use rotation_steps::{RotationReport, RotationStepRow, StepBegin, StepEnd};
pub use rotation_told::{OpenRotations, Told};
pub use rows::{Page, PageStart, Rows};
pub use settings::{Identity, Settings};
pub use signatures::{MAX_BATCH, SignatureOutcome, SignatureRecord};
pub use stops::{Judged, StopRow};
pub use tree::TreeRow;
pub use trust_documents::{DocumentKind, DocumentRow};
pub use trust_statements::{
    DecidedBy, RestoredDocument, SUSPENSIONS_MAX, StatementKind, StatementMark, StatementRow,
    StatementState,
};
pub use usage::{HourRow, Rhythm, RhythmOf};
pub use versions::Versions;
