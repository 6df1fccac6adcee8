//! Chancery's rules: keys, ceremonies, transcripts, verdicts.
//!
//! This crate is what an auditor has to trust and all that an offline check needs. It is pure: no
//! clock, no network, no database, no randomness. Time is an argument, documents are bytes, and the
//! service, the command line and a stranger's offline check run the same functions.
//!
//! Reading order: [`json`] and [`dsse`] say which bytes are signed, [`sshsig`] who signed them,
//! [`roster`], [`policy`] and [`chain`] whose signature counts, [`request`] what is asked,
//! [`tally`](mod@tally) whether it may happen, [`transcript`] how to check that afterwards, [`state`]
//! what becomes of a key, [`publication`] what verifiers see of it, [`timestamp`] what an outside
//! authority says of a signature's age and [`verdict`](mod@verdict) what a signature made with it is
//! worth.

pub mod act;
pub mod actor;
pub mod acts;
pub mod alg;
pub mod approval;
pub mod attestation;
pub mod base64url;
pub mod browser;
pub mod bytes16;
pub mod chain;
pub mod clock;
pub mod digest;
pub mod dsse;
mod ed25519;
pub mod emergency;
mod error_chain;
pub mod evidence;
pub mod exception;
pub mod finding;
pub mod format;
pub mod hex;
pub mod history;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod key_name;
pub mod key_type;
pub mod leaf;
pub mod life;
pub mod log_acts;
pub mod log_clock;
pub mod logged;
pub mod logged_quorum;
pub mod member_signature;
pub mod name;
pub mod namespace;
pub mod note;
pub mod order_log;
pub mod place;
pub mod plan;
pub mod policy;
pub mod printed;
mod proofs;
pub mod publication;
pub mod read;
pub mod recovery;
pub mod relying_party;
pub mod request;
pub mod review;
pub mod revocation;
pub mod roster;
pub mod safety;
pub mod signature;
pub mod spelled;
pub mod sshkey;
pub mod sshsig;
pub mod state;
pub mod stop;
pub mod stop_file;
pub mod subject;
pub mod suspension;
pub mod tally;
pub mod template;
#[cfg(test)]
mod testing;
pub mod text;
pub mod time;
pub mod timestamp;
pub mod tlog;
pub mod transcript;
pub mod usage;
pub mod verdict;
pub mod webauthn;
pub mod withdrawal;
pub mod word;
pub mod words;

pub use alg::{Algorithm, Hash, KeySpec};
pub use approval::{Acceptance, Approval, Objection, Outcome};
pub use base64url::Base64Url;
pub use chain::{ChainError, Chains, Pin, SignedDocument, Trusted};
pub use digest::Sha256Digest;
pub use error_chain::error_chain;
pub use json::JsonError;
pub use jwk::{Jwk, Kid, PublicKey};
pub use key_type::KeyTypeName;
pub use member_signature::MemberSignature;
pub use name::{LOG_RING, Name};
pub use namespace::{Namespace, Purpose};
pub use place::{Location, Place};
pub use policy::{Policy, Threshold};
pub use recovery::RecoveryRoster;
pub use request::{
    ClockCorrection, Destroy, DestroyKey, DocumentRef, EmergencyRotation, Generate, KeyPurpose,
    NewOrigin, Operation, OrderUse, Ratification, Request, Resume, Revoke, RotationPolicy,
    StandingOrder, Usage,
};
pub use roster::{Member, MemberId, MemberKey, Role, Roster};
pub use safety::Safety;
pub use signature::{BadSignature, Verifier};
pub use state::KeyState;
pub use subject::{Line, Scope, Subject};
pub use tally::{Accepted, Approved, ApprovedOperation, Ceremony, History, Tally, tally};
pub use template::Template;
pub use time::Time;
pub use transcript::{
    Transcript, TranscriptError, VerifiedTranscript, verify_transcript, verify_transcript_knowing,
};
pub use verdict::{Verdict, verdict};
