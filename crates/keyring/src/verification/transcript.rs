//! The transcript of a key, with the proofs that the acts of its ceremony are in the log.

use std::collections::BTreeSet;

use trust::leaf::{ActLeaf, Leaf};
use trust::transcript::Logged;
use trust::{Kid, MemberSignature, Name, Operation, Request, Sha256Digest, Transcript};

use super::evidence::{EvidenceBuilder, NoEvidence};
use crate::keys::leaves_of_use;
use log::Receipt;
use store::LeafRow;

/// Leaves of one ceremony that are looked at for its end; of an emergency, what came after it in its ring.
const OF_ONE: i64 = 1_000;

impl EvidenceBuilder {
    /// As it was written, and with proofs as soon as a checkpoint covers the ceremony's end. What
    /// would be refused is never given away.
    pub async fn transcript_of(&self, kid: &Kid) -> Result<Vec<u8>, NoEvidence> {
        let key = self.key(kid).await?;
        let core = self
            .transcript(&key.ceremony.to_string())
            .await?
            .into_bytes();
        let Some(end) = key.log_index else {
            return Ok(core);
        };
        let of_order = match key.logged_use() {
            Some((used, documents)) => leaves_of_use(&self.store, used, documents, end).await?,
            None => Vec::new(),
        };
        self.proven(&key.ceremony, core, end, &of_order).await
    }

    /// The same of any closed ceremony, by what the database keeps of it.
    pub async fn transcript_of_ceremony(
        &self,
        ceremony: &Sha256Digest,
        core: Vec<u8>,
    ) -> Result<Vec<u8>, NoEvidence> {
        let broken = |error: &dyn std::fmt::Display| NoEvidence::Broken(error.to_string());
        let transcript = Transcript::decode(&core).map_err(|error| broken(&error))?;
        let end = self.end_of(ceremony, &transcript).await?;
        match end {
            Some(end) => self.proven(ceremony, core, end, &[]).await,
            None => Ok(core),
        }
    }

    /// The leaf that ended a ceremony: it names the core.
    async fn end_of(
        &self,
        ceremony: &Sha256Digest,
        transcript: &Transcript,
    ) -> Result<Option<i64>, NoEvidence> {
        let broken = |error: &dyn std::fmt::Display| NoEvidence::Broken(error.to_string());
        let core = transcript.core_digest().map_err(|error| broken(&error))?;
        let request = Request::decode(transcript.record.request.as_bytes());
        let request = request.map_err(|error| broken(&error))?;
        let id = ceremony.to_string();
        let names = |leaf: &&LeafRow| match Leaf::parse(leaf.body.as_bytes()) {
            Ok(Leaf::Act(act)) => {
                act.digest == Some(core) && act.reference.as_deref() == Some(id.as_str())
            }
            _ => false,
        };
        if matches!(
            request.operation,
            Operation::ClockCorrection(_) | Operation::NewOrigin(_)
        ) {
            let acts = self.keys.log_acts().await?;
            let act = acts.iter().find(|act| act.ceremony == id);
            return Ok(act.map(|act| act.index));
        }
        let own = self.store.leaves_of_ceremony(&id, 0, OF_ONE).await?;
        if let Operation::Resume(_) | Operation::Ratification(_) = request.operation {
            let ring = request.operation.ring().map_or("", Name::as_str);
            let last = own.last().map_or(-1, |leaf| leaf.index);
            let ends = self.store.emergency_ends(ring, last, OF_ONE).await?;
            return Ok(ends.iter().find(names).map(|leaf| leaf.index));
        }
        Ok(own.iter().find(names).map(|leaf| leaf.index))
    }

    /// With the acts of the ceremony up to its end, and those of its order, as far as checkpoints cover them all.
    async fn proven(
        &self,
        ceremony: &Sha256Digest,
        core: Vec<u8>,
        end: i64,
        of_order: &[i64],
    ) -> Result<Vec<u8>, NoEvidence> {
        let broken = |error: &dyn std::fmt::Display| NoEvidence::Broken(error.to_string());
        let mut transcript = Transcript::decode(&core).map_err(|error| broken(&error))?;
        let votes = self.store.votes_of(&ceremony.to_string()).await?;
        let votes = votes.iter().map(|vote| vote.index);
        let indexes: BTreeSet<i64> = votes.chain(of_order.iter().copied()).chain([end]).collect();
        let indexes: Vec<i64> = indexes.into_iter().collect();
        let signatures = signatures(&transcript)?;
        let mut receipts = Vec::with_capacity(indexes.len());
        for index in &indexes {
            let Some(receipt) = self.proofs.receipt(*index).await? else {
                return Ok(core);
            };
            receipts.push(receipt);
        }
        // Proofs in one transcript are of one log.
        let origin = |receipt: &Receipt| {
            receipt
                .proof
                .checkpoint
                .text
                .lines()
                .next()
                .map(str::to_owned)
        };
        if receipts
            .windows(2)
            .any(|two| origin(&two[0]) != origin(&two[1]))
        {
            receipts = self.proofs.receipts_under_one(&indexes).await?;
        }
        let mut signers = BTreeSet::new();
        for receipt in receipts {
            let index = receipt.leaf.index;
            let shown = index == end || of_order.contains(&index);
            if !shown && !of_the_transcript(&receipt.leaf.body, &signatures) {
                continue;
            }
            signers.insert(receipt.log_kid);
            transcript.log_proofs.push(Logged {
                leaf: receipt.leaf.body,
                proof: receipt.proof.to_string(),
            });
        }
        transcript.log_keys = self.log_keys(signers).await?;
        let bytes = transcript.encode().map_err(|error| broken(&error))?;
        trust::verify_transcript(&bytes, &self.pin)
            .map_err(|error| broken(&trust::error_chain(&error)))?;
        Ok(bytes)
    }
}

impl EvidenceBuilder {
    /// Leaves with their proofs under one origin, and the transcripts of the log's keys that signed the checkpoints. None
    /// while no checkpoint covers them.
    pub async fn logged(
        &self,
        indexes: &[i64],
    ) -> Result<Option<(Vec<Logged>, Vec<String>)>, NoEvidence> {
        let receipts = self.proofs.receipts_under_one(indexes).await?;
        if receipts.len() != indexes.len() {
            return Ok(None);
        }
        let mut signers = BTreeSet::new();
        let mut logged = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            signers.insert(receipt.log_kid);
            logged.push(Logged {
                leaf: receipt.leaf.body,
                proof: receipt.proof.to_string(),
            });
        }
        Ok(Some((logged, self.log_keys(signers).await?)))
    }
}

/// Of a vote that is not in the transcript there is nothing to prove.
fn of_the_transcript(leaf: &str, signatures: &BTreeSet<Sha256Digest>) -> bool {
    let in_transcript = |act: &ActLeaf| {
        act.digest
            .is_some_and(|digest| signatures.contains(&digest))
    };
    matches!(Leaf::parse(leaf.as_bytes()), Ok(Leaf::Act(act)) if in_transcript(&act))
}

/// The digests of all signatures in a transcript.
fn signatures(transcript: &Transcript) -> Result<BTreeSet<Sha256Digest>, NoEvidence> {
    let record = &transcript.record;
    let approvals = record.proposal.iter().chain(&record.approvals);
    let objections = record.rejections.iter().chain(&record.cancellations);
    let all = approvals
        .map(|each| &each.signature)
        .chain(objections.map(|each| &each.signature))
        .chain(&transcript.acceptance.signatures);
    all.map(MemberSignature::digest)
        .collect::<Result<_, _>>()
        .map_err(|error| NoEvidence::Broken(error.to_string()))
}
