//! Evidence files: everything that an offline check of one signature needs, gathered.
//!
//! What is handed out was verified here first, with the very function that a stranger will use: a
//! file that would be refused is never given away.

use std::collections::BTreeSet;
use std::sync::Arc;

use trust::base64url::Base64Url;
use trust::evidence::{Covers, Evidence, Kind, Logged, Subject};
use trust::format::V1;
use trust::history::History;
use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::{Kid, Pin};

use super::{Claim, Error};
use crate::keys::{Key, Keys};
use crate::log::{Proofs, Receipt};
use crate::store::{self, LeafFilter, MAX_PAGE, Store};

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum NoEvidence {
    #[error(transparent)]
    Verification(#[from] Error),
    #[error("the database could not be read")]
    Store(#[from] store::Error),
    #[error("there is no such leaf, or no checkpoint covers it yet")]
    NotFound,
    #[error("leaf {0} is not of a signature")]
    NotASignature(i64),
    /// A finding: what we sign is logged.
    #[error("the signature is not in the log")]
    NotInLog,
    #[error("the signature does not check: {0}")]
    BadSignature(String),
    /// A defect, or a database that was tampered with: nothing is handed out.
    #[error("the file would be refused: {0}")]
    Broken(String),
}

impl From<crate::log::ProofError> for NoEvidence {
    fn from(error: crate::log::ProofError) -> Self {
        Self::Verification(Error::Tree(Arc::new(error)))
    }
}

/// Gathers evidence. Cheap to clone.
#[derive(Clone)]
pub struct Gatherer {
    keys: Arc<Keys>,
    store: Store,
    proofs: Proofs,
    pin: Pin,
}

impl Gatherer {
    pub fn new(keys: Arc<Keys>, store: Store, proofs: Proofs, pin: Pin) -> Self {
        Self {
            keys,
            store,
            proofs,
            pin,
        }
    }

    /// Of the signature at this place in the log, without the signature, which the log has not got.
    pub async fn of_leaf(&self, index: i64) -> Result<Vec<u8>, NoEvidence> {
        self.gather(index, None).await
    }

    /// Of a signature that the caller holds, with it. `salt` is what came with it.
    pub async fn of_claim(
        &self,
        claim: Claim,
        salt: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, NoEvidence> {
        let snapshot = self.keys.current();
        let checked = super::verify::check(&snapshot, claim)?;
        if !checked.checks {
            return Err(NoEvidence::BadSignature(checked.explanation));
        }
        let found = self
            .store
            .occurrences(std::slice::from_ref(&checked.sig_hash))
            .await?;
        let entry = found.iter().find(|entry| entry.kid == checked.kid);
        let entry = entry.ok_or(NoEvidence::NotInLog)?;
        let (covers, input) = match checked.input {
            super::verify::Input::Message(input) => (Covers::Message, input),
            super::verify::Input::Digest(input) => (Covers::Digest, input),
        };
        let subject = Subject {
            covers,
            input: Base64Url(input),
            salt: salt.map(Base64Url),
            signature: Base64Url(checked.signature),
        };
        self.gather(entry.index, Some(subject)).await
    }

    async fn gather(&self, index: i64, subject: Option<Subject>) -> Result<Vec<u8>, NoEvidence> {
        let receipt = self.proofs.receipt(index).await?;
        let receipt = receipt.ok_or(NoEvidence::NotFound)?;
        let kid = match Leaf::parse(receipt.leaf.body.as_bytes()) {
            Ok(Leaf::Signature(leaf)) => leaf.kid,
            _ => return Err(NoEvidence::NotASignature(index)),
        };
        let snapshot = self.keys.current();
        let key = snapshot.keys.get(&kid);
        let key = key.ok_or_else(|| NoEvidence::Broken(format!("key {kid} is not believed")))?;
        let mut signers = BTreeSet::from([receipt.log_kid.clone()]);
        let (life, history) = self.life(key, &mut signers).await?;
        let mut log_keys = Vec::new();
        for signer in signers {
            let signer: Option<Kid> = signer.parse().ok();
            let known = signer.and_then(|kid| snapshot.keys.get(&kid));
            let known = known.ok_or_else(|| NoEvidence::Broken("an unknown log key".to_owned()))?;
            log_keys.push(self.transcript(&known.ceremony).await?);
        }
        let revocation = match history.revoked_by() {
            Some(ceremony) => self.store.transcript(ceremony).await?,
            None => None,
        };
        let file = Evidence {
            environment: self.pin.environment.clone(),
            proof: receipt.proof.to_string(),
            leaf: receipt.leaf.body,
            life,
            log_keys,
            revocation: revocation.map(text).transpose()?,
            service: self.pin.service.clone(),
            subject,
            transcript: self.transcript(&key.ceremony).await?,
            kind: Kind::ChanceryEvidence,
            v: V1,
        };
        let broken = |error: &dyn std::fmt::Display| NoEvidence::Broken(error.to_string());
        let bytes = file.encode().map_err(|error| broken(&error))?;
        trust::evidence::verify(&bytes, self.pin.genesis, None).map_err(|error| {
            match error.word {
                // The caller's salt, not our log.
                "subject" => NoEvidence::BadSignature(error.why),
                _ => broken(&error),
            }
        })?;
        Ok(bytes)
    }

    /// The acts that made the key what it is, with their proofs.
    async fn life(
        &self,
        key: &Key,
        signers: &mut BTreeSet<String>,
    ) -> Result<(Vec<Logged>, History), NoEvidence> {
        let mut life = Vec::new();
        let mut history = History::new(key.kid.clone(), key.state.life().prepared_at);
        let mut accepted = false;
        let mut from = 0;
        loop {
            let filter = LeafFilter {
                ring: Some(key.ring.to_string()),
                acts_only: true,
                from_index: from,
                ..LeafFilter::default()
            };
            let page = self.store.leaves_of(&filter, MAX_PAGE).await?;
            let Some(last) = page.last().map(|row| row.index) else {
                break;
            };
            for row in page {
                let Ok(Leaf::Act(act)) = Leaf::parse(row.body.as_bytes()) else {
                    continue;
                };
                if !belongs(&act, &key.kid, &mut accepted) {
                    continue;
                }
                let receipt = self.proofs.receipt(row.index).await?;
                let Receipt {
                    leaf,
                    proof,
                    log_kid,
                    ..
                } = receipt.ok_or(NoEvidence::NotFound)?;
                signers.insert(log_kid);
                history
                    .tell(&act)
                    .map_err(|error| NoEvidence::Broken(error.to_string()))?;
                life.push(Logged {
                    leaf: leaf.body,
                    proof: proof.to_string(),
                });
            }
            from = last + 1;
        }
        Ok((life, history))
    }

    async fn transcript(&self, ceremony: &str) -> Result<String, NoEvidence> {
        let bytes = self.store.transcript(ceremony).await?;
        let bytes = bytes.ok_or_else(|| NoEvidence::Broken("a transcript is gone".to_owned()))?;
        text(bytes)
    }
}

/// Of acceptances only the first: the others are of the key's revocation or destruction, which the
/// log tells of by themselves.
fn belongs(act: &ActLeaf, kid: &Kid, accepted: &mut bool) -> bool {
    let concerns = History::concerns(act, kid);
    if act.kind == ActKind::Ceremony {
        return concerns && !std::mem::replace(accepted, *accepted || concerns);
    }
    concerns
}

fn text(bytes: Vec<u8>) -> Result<String, NoEvidence> {
    String::from_utf8(bytes).map_err(|_| NoEvidence::Broken("a transcript is not text".to_owned()))
}
