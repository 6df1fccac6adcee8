//! What the edge asks of the rooms below. Each door is a small trait, so that the whole edge can
//! be tested over stand-ins, without a token and without a database.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trust::tlog::tile::Resource;
use trust::{Kid, Sha256Digest, Time};

use access::Principal;
use keyring::keys::{self, Document, Snapshot};
use keyring::signing::{self, Format, IdempotencyKey, Signed};
use keyring::verification::{
    self, Answer, Claim, KeyLife, NoEvidence, Question, Radius, RadiusQuestion,
};
use log::{self, Published, Receipt};
use metrics_exporter_prometheus::PrometheusHandle;
use store::LeafRow;
use token::Status;

/// A future that a door returns; it owns what it needs, so that work can outlive its request.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Everything the edge needs, handed in from `main`. `keys::Keys`, `signing::Signing`,
/// `verification::Verification` and `store::Store` come through their doors in `doors.rs`; `main`
/// gives the refusals' writer, the token's health, the clock and the recorder.
#[derive(Clone)]
pub struct App {
    pub keys: Arc<dyn ReadModel>,
    pub signing: Arc<dyn Sign>,
    pub verification: Arc<dyn Verify>,
    pub evidence: Arc<dyn Evidence>,
    pub archive: Arc<dyn Archive>,
    pub transparency_log: Arc<dyn Roll>,
    pub refusals: Arc<dyn Refusals>,
    pub token: Arc<dyn Token>,
    pub clock: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Renders what the recorder of metrics has counted.
    pub figures: PrometheusHandle,
    /// Names this process in the request ids that it makes; different for every start.
    pub instance: String,
}

/// The keys in memory.
pub trait ReadModel: Send + Sync {
    fn current(&self) -> Arc<Snapshot>;
    /// How long ago the database last said that [`Self::current`] is current.
    fn confirmed_ago(&self) -> Duration;
    /// The set of a ring, or the combined one, at an instant; none where there is no such ring.
    fn jwks_as_of(
        &self,
        ring: Option<String>,
        at: Time,
    ) -> Later<Result<Option<Document>, keys::Error>>;
}

/// One request to sign, complete.
#[derive(Debug, Clone)]
pub struct Order<T> {
    pub caller: Principal,
    pub ring: String,
    pub what: T,
    /// What the caller expects the ring to use, if it said so.
    pub algorithm: Option<String>,
    pub idempotency: Option<IdempotencyKey>,
    pub deadline: Instant,
}

/// A result for each item of a batch, in order.
pub type Results<T, E> = Vec<Result<T, E>>;

pub trait Sign: Send + Sync {
    fn sign(&self, order: Order<Format>) -> Later<Result<Signed, signing::Error>>;

    fn sign_batch(
        &self,
        order: Order<Vec<Result<Format, String>>>,
    ) -> Later<Result<Results<Signed, signing::Error>, signing::Error>>;

    /// A JWT with `typ: jwk-set+jwt` over `claims` by the primary of `ring`.
    fn sign_history(
        &self,
        ring: String,
        claims: Vec<u8>,
        deadline: Instant,
    ) -> Later<Result<String, signing::Error>>;
}

pub trait Verify: Send + Sync {
    fn verify(&self, question: Question) -> Later<Result<Answer, verification::Error>>;

    fn verify_batch(&self, questions: Vec<Question>)
    -> Later<Results<Answer, verification::Error>>;

    fn radius(&self, question: RadiusQuestion) -> Later<Result<Radius, verification::Error>>;
}

/// Evidence files, as their bytes.
pub trait Evidence: Send + Sync {
    fn of_leaf(&self, index: i64) -> Later<Result<Vec<u8>, NoEvidence>>;

    fn of_claim(&self, claim: Claim, salt: Option<Vec<u8>>) -> Later<Result<Vec<u8>, NoEvidence>>;

    /// The transcript of the ceremony that bore a key, with the log's proofs where there are some.
    fn transcript_of(&self, kid: Kid) -> Later<Result<Vec<u8>, NoEvidence>>;

    /// The acts on a key.
    fn life_of(&self, kid: Kid) -> Later<Result<KeyLife, NoEvidence>>;
}

/// Reads of what is not in memory.
pub trait Archive: Send + Sync {
    /// Leaves from the index `from` on, at most `limit`, in order and without gaps.
    fn audit(&self, from: i64, limit: i64) -> Later<Result<Vec<LeafRow>, store::Error>>;

    /// The transcript of a ceremony, by the digest of its request, once it is closed.
    fn transcript(&self, ceremony: String) -> Later<Result<Option<Vec<u8>>, store::Error>>;

    /// Whether the database answers.
    fn ping(&self) -> Later<Result<(), store::Error>>;
}

/// The transparency log.
pub trait Roll: Send + Sync {
    fn published(&self) -> Published;

    /// A file of the log, by its name.
    fn file(&self, resource: Resource) -> Later<Result<Option<Arc<Vec<u8>>>, log::ProofError>>;

    /// Waits until a checkpoint covers the leaf; false if it took too long.
    fn covered(&self, index: i64, deadline: Instant) -> Later<bool>;

    /// Under the first checkpoint that covers the leaf.
    fn receipt(&self, index: i64) -> Later<Result<Option<Receipt>, log::ProofError>>;

    /// None where there are no such trees.
    fn consistency(
        &self,
        old: u64,
        new: u64,
    ) -> Later<Result<Option<Vec<Sha256Digest>>, log::ProofError>>;
}

/// Somebody was told no. The writer puts it into the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The principal's name, or none for a caller without (valid) credentials.
    pub principal: Option<Arc<str>>,
    /// The address that the request came from.
    pub from: String,
    /// Method and route, such as `POST /v1/rings/{ring}/sign`.
    pub action: String,
    pub ring: Option<String>,
    /// The problem's code and detail.
    pub reason: String,
}

pub trait Refusals: Send + Sync {
    fn record(&self, refusal: Refusal) -> Later<Result<(), BoxError>>;
}

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub trait Token: Send + Sync {
    fn status(&self) -> Status;
}
