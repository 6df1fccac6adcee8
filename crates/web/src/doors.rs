//! The rooms below, as the edge's doors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trust::tlog::tile::Resource;
use trust::{Kid, Sha256Digest, Time};

use super::app::{
    Archive, BoxError, Evidence, Later, Order, ReadModel, Refusal, Refusals, Results, Roll, Sign,
    Token, Verify,
};
use base::Env;
use keyring::keys::{self, Document, Keys, Snapshot};
use keyring::signing::{self, Format, Signed, Signing};
use keyring::verification::{
    self, Answer, Claim, EvidenceBuilder, KeyLife, NoEvidence, Question, Radius, RadiusQuestion,
    Verification,
};
use log::{self, Log, Proofs, Published, Receipt};
use store::{LeafRow, Store};
use token::{Pool, Status};

/// The read model is shared; what works on it longer than a moment keeps it for itself.
impl ReadModel for Arc<Keys> {
    fn current(&self) -> Arc<Snapshot> {
        Keys::current(self)
    }

    fn confirmed_ago(&self) -> Duration {
        Keys::confirmed_ago(self)
    }

    fn jwks_as_of(
        &self,
        ring: Option<String>,
        at: Time,
    ) -> Later<Result<Option<Document>, keys::Error>> {
        let keys = self.clone();
        Box::pin(async move { Keys::jwks_as_of(&keys, ring.as_deref(), at) })
    }
}

impl Sign for Signing {
    fn sign(&self, order: Order<Format>) -> Later<Result<Signed, signing::Error>> {
        let signing = self.clone();
        Box::pin(async move {
            signing
                .sign(
                    &order.caller,
                    &order.ring,
                    order.what,
                    order.algorithm.as_deref(),
                    order.idempotency,
                    order.deadline,
                )
                .await
        })
    }

    fn sign_batch(
        &self,
        order: Order<Vec<Result<Format, String>>>,
    ) -> Later<Result<Results<Signed, signing::Error>, signing::Error>> {
        let signing = self.clone();
        Box::pin(async move {
            signing
                .sign_batch(
                    &order.caller,
                    &order.ring,
                    order.what,
                    order.algorithm.as_deref(),
                    order.idempotency,
                    order.deadline,
                )
                .await
        })
    }

    fn sign_history(
        &self,
        ring: String,
        claims: Vec<u8>,
        deadline: Instant,
    ) -> Later<Result<String, signing::Error>> {
        let signing = self.clone();
        Box::pin(async move { signing.sign_history(&ring, &claims, deadline).await })
    }
}

impl Verify for Verification {
    fn verify(&self, question: Question) -> Later<Result<Answer, verification::Error>> {
        let verification = self.clone();
        Box::pin(async move { verification.verify(question).await })
    }

    fn verify_batch(
        &self,
        questions: Vec<Question>,
    ) -> Later<Results<Answer, verification::Error>> {
        let verification = self.clone();
        Box::pin(async move { verification.verify_batch(questions).await })
    }

    fn radius(&self, question: RadiusQuestion) -> Later<Result<Radius, verification::Error>> {
        let verification = self.clone();
        Box::pin(async move { verification.radius(question).await })
    }
}

impl Evidence for EvidenceBuilder {
    fn of_leaf(&self, index: i64) -> Later<Result<Vec<u8>, NoEvidence>> {
        let evidence_builder = self.clone();
        Box::pin(async move { evidence_builder.of_leaf(index).await })
    }

    fn of_claim(&self, claim: Claim, salt: Option<Vec<u8>>) -> Later<Result<Vec<u8>, NoEvidence>> {
        let evidence_builder = self.clone();
        Box::pin(async move { evidence_builder.of_claim(claim, salt).await })
    }

    fn transcript_of(&self, kid: Kid) -> Later<Result<Vec<u8>, NoEvidence>> {
        let evidence_builder = self.clone();
        Box::pin(async move { evidence_builder.transcript_of(&kid).await })
    }

    fn life_of(&self, kid: Kid) -> Later<Result<KeyLife, NoEvidence>> {
        let evidence_builder = self.clone();
        Box::pin(async move { evidence_builder.life_of(&kid).await })
    }
}

impl Archive for Store {
    fn audit(&self, from: i64, limit: i64) -> Later<Result<Vec<LeafRow>, store::Error>> {
        let store = self.clone();
        Box::pin(async move { store.leaves(from, limit).await })
    }

    fn transcript(&self, ceremony: String) -> Later<Result<Option<Vec<u8>>, store::Error>> {
        let store = self.clone();
        Box::pin(async move { store.transcript(&ceremony).await })
    }

    fn ping(&self) -> Later<Result<(), store::Error>> {
        let store = self.clone();
        Box::pin(async move { store.ping().await })
    }
}

impl Roll for Proofs {
    fn published(&self) -> Published {
        Proofs::published(self)
    }

    fn file(
        &self,
        resource: Resource,
    ) -> Later<Result<Option<std::sync::Arc<Vec<u8>>>, log::ProofError>> {
        let proofs = self.clone();
        Box::pin(async move { proofs.file(resource).await })
    }

    fn covered(&self, index: i64, deadline: Instant) -> Later<bool> {
        let proofs = self.clone();
        Box::pin(async move { proofs.covered(index, deadline).await })
    }

    fn receipt(&self, index: i64) -> Later<Result<Option<Receipt>, log::ProofError>> {
        let proofs = self.clone();
        Box::pin(async move { proofs.receipt(index).await })
    }

    fn consistency(
        &self,
        old: u64,
        new: u64,
    ) -> Later<Result<Option<Vec<Sha256Digest>>, log::ProofError>> {
        let proofs = self.clone();
        Box::pin(async move { proofs.consistency(old, new).await })
    }
}

impl Token for Pool {
    fn status(&self) -> Status {
        Pool::status(self)
    }
}

/// Refusals into the audit trail.
pub struct AuditedRefusals {
    log: Log,
    env: Env,
}

impl AuditedRefusals {
    pub fn new(log: Log, env: Env) -> Self {
        Self { log, env }
    }
}

impl Refusals for AuditedRefusals {
    fn record(&self, refusal: Refusal) -> Later<Result<(), BoxError>> {
        let log = self.log.clone();
        let now = self.env.now();
        Box::pin(async move {
            let actor = match &refusal.principal {
                Some(principal) => principal.to_string(),
                None => format!("anonymous@{}", refusal.from),
            };
            let ring = refusal.ring.as_deref();
            log.record_refusal(now, &actor, &refusal.action, ring, &refusal.reason)
                .await?;
            Ok(())
        })
    }
}
