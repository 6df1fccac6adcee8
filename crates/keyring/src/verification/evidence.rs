//! Evidence files: everything that an offline check of one signature needs, gathered.
//!
//! What is handed out was verified here first, with the very function that a stranger will use: a
//! file that would be refused is never given away.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use trust::base64url::Base64Url;
use trust::evidence::{Certified, Evidence, Kind, Logged, Subject};
use trust::format::V1;
use trust::history::History;
use trust::leaf::Leaf;
use trust::request::NewOrigin;
use trust::tlog::checkpoint;
use trust::tlog::note::{Note, VerifierKey};
use trust::{Kid, Pin};

use super::question::{Claim, Error};
use super::sought::Sought;
use super::stop_files::{StopFiles, stop_files};
use super::verify::{Checked, check};
use crate::keys::{Key, Keys, Share, leaves_of_use};
use log::Proofs;
use store::Store;
use trust::log_acts::LogAct;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum NoEvidence {
    #[error(transparent)]
    Verification(#[from] Error),
    #[error("the database could not be read")]
    Store(#[from] store::Error),
    #[error("no leaf with this index, or no checkpoint covers it yet")]
    NotFound,
    #[error("leaf {0} does not record a signature")]
    NotASignature(i64),
    /// No verdict could rest on it.
    #[error(
        "the time of leaf {0} is before that of earlier leaves: an operator has to look (`chancery log check`)"
    )]
    Backdated(i64),
    /// A finding: what we sign is logged.
    #[error("the signature is not in the log")]
    NotInLog,
    #[error("the signature is invalid: {0}")]
    BadSignature(String),
    /// A defect, or a database that was tampered with: nothing is handed out.
    #[error("the evidence would not verify: {0}")]
    Broken(String),
}

impl From<log::ProofError> for NoEvidence {
    fn from(error: log::ProofError) -> Self {
        Self::Verification(Error::Tree(Arc::new(error)))
    }
}

/// What the log tells of one key.
#[derive(Debug, Clone)]
pub struct KeyLife {
    /// Every act that made the key what it is, oldest first, as in an evidence file.
    pub life: Vec<Logged>,
    /// Acts that no checkpoint covers yet, by their places in the log.
    pub pending: Vec<i64>,
    /// The keys that signed the checkpoints.
    pub log_keys: Vec<String>,
}

struct KeyActs {
    life: Vec<Logged>,
    history: History,
    pending: Vec<i64>,
}

/// Gathers evidence. Cheap to clone.
#[derive(Clone)]
pub struct EvidenceBuilder {
    pub(super) keys: Arc<Keys>,
    pub(super) store: Store,
    pub(super) proofs: Proofs,
    pub(super) pin: Pin,
    pub(super) stops: StopFiles,
}

impl EvidenceBuilder {
    pub fn new(keys: Arc<Keys>, store: Store, proofs: Proofs, pin: Pin) -> Self {
        Self {
            keys,
            store,
            proofs,
            pin,
            stops: stop_files(),
        }
    }

    /// Of the signature at this place in the log, without the signature, which the log has not got.
    pub async fn of_leaf(&self, index: i64) -> Result<Vec<u8>, NoEvidence> {
        self.build(index, None).await
    }

    /// Of a signature that the caller holds, with it. `salt` is what came with it.
    pub async fn of_claim(
        &self,
        claim: Claim,
        salt: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, NoEvidence> {
        self.complete()?;
        let checked = check_anywhere(&self.keys, &claim, Share::Stranger).await?;
        if !checked.checks {
            return Err(NoEvidence::BadSignature(checked.explanation));
        }
        let found = self
            .store
            .occurrences(std::slice::from_ref(&checked.sig_hash))
            .await?;
        let entry = found.iter().find(|entry| entry.kid == checked.kid);
        let entry = entry.ok_or(NoEvidence::NotInLog)?;
        let subject = Subject {
            covers: checked.covers,
            input: Base64Url(checked.input),
            salt: salt.map(Base64Url),
            signature: Base64Url(checked.signature),
        };
        self.build(entry.index, Some(subject)).await
    }

    fn complete(&self) -> Result<(), NoEvidence> {
        match self.proofs.published().incomplete {
            true => Err(Error::Incomplete.into()),
            false => Ok(()),
        }
    }

    async fn build(&self, index: i64, subject: Option<Subject>) -> Result<Vec<u8>, NoEvidence> {
        self.complete()?;
        let receipt = self.proofs.receipt(index).await?;
        let receipt = receipt.ok_or(NoEvidence::NotFound)?;
        let times = self.keys.times().await?;
        if receipt.existed(&times).backdated {
            return Err(NoEvidence::Backdated(index));
        }
        let kid = match Leaf::parse(receipt.leaf.body.as_bytes()) {
            Ok(Leaf::Signature(leaf)) => leaf.kid,
            _ => return Err(NoEvidence::NotASignature(index)),
        };
        let key = self.key(&kid).await.map_err(|error| match error {
            NoEvidence::NotFound => NoEvidence::Broken(format!("key {kid} is refused")),
            error => error,
        })?;
        let key = &*key;
        let mut signers = BTreeSet::from([receipt.log_kid.clone()]);
        let acts = self.whole_life(key, &mut signers).await?;
        let order = self.of_order(key, &mut signers).await?;
        let (origins, corrections) = self.log_acts(&mut signers).await?;
        let log_keys = self.log_keys(signers).await?;
        let revocation = match acts.history.revoked_by() {
            Some(ceremony) => self.store.transcript(ceremony).await?,
            None => None,
        };
        let file = Evidence {
            corrections,
            environment: self.pin.environment.clone(),
            proof: receipt.proof.to_string(),
            leaf: receipt.leaf.body,
            life: acts.life,
            log_keys,
            order,
            origins,
            revocation: revocation.map(text).transpose()?,
            service: self.pin.service.clone(),
            subject,
            transcript: self.transcript(&key.ceremony.to_string()).await?,
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

    /// What the log tells of the standing order under which the key was made, if it was under one.
    async fn of_order(
        &self,
        key: &Key,
        signers: &mut BTreeSet<String>,
    ) -> Result<Vec<Logged>, NoEvidence> {
        let (Some((used, documents)), Some(accepted)) = (key.logged_use(), key.log_index) else {
            return Ok(Vec::new());
        };
        let mut order = Vec::new();
        for index in leaves_of_use(&self.store, used, documents, accepted).await? {
            let receipt = self.proofs.receipt(index).await?;
            let receipt = receipt.ok_or(NoEvidence::NotFound)?;
            signers.insert(receipt.log_kid);
            order.push(Logged {
                leaf: receipt.leaf.body,
                proof: receipt.proof.to_string(),
            });
        }
        Ok(order)
    }

    /// New origins of the log, and corrections of its clock, which a reader has to know to read its
    /// places and times.
    async fn log_acts(
        &self,
        signers: &mut BTreeSet<String>,
    ) -> Result<(Vec<Certified>, Vec<Certified>), NoEvidence> {
        let (mut origins, mut corrections) = (Vec::new(), Vec::new());
        for act in self.keys.log_acts().await? {
            let receipt = self.proofs.receipt(act.index).await?;
            let receipt = receipt.ok_or(NoEvidence::NotFound)?;
            signers.insert(receipt.log_kid);
            let certified = Certified {
                leaf: receipt.leaf.body,
                proof: receipt.proof.to_string(),
                transcript: self.transcript(&act.ceremony).await?,
            };
            match act.act {
                LogAct::Began(order) => {
                    signers.extend(self.signer_of_the_end(&order)?);
                    origins.push(certified);
                }
                LogAct::Corrected(_) => corrections.push(certified),
            }
        }
        Ok((origins, corrections))
    }

    /// The log's key that signed the last checkpoint of an origin that ended.
    fn signer_of_the_end(&self, order: &NewOrigin) -> Result<Option<String>, NoEvidence> {
        let broken = |error: &dyn std::fmt::Display| NoEvidence::Broken(error.to_string());
        let note = Note::parse(order.previous_checkpoint.as_bytes());
        let note = note.map_err(|error| broken(&error))?;
        let snapshot = self.keys.current();
        let ring = snapshot.rings.get(trust::LOG_RING);
        let mut keys = ring.into_iter().flat_map(|ring| &ring.keys);
        let signed = keys.find(|key| {
            let key = VerifierKey::for_log(&order.previous_origin, &key.public);
            key.is_ok_and(|key| checkpoint::open(&note, &[key]).is_ok())
        });
        Ok(signed.map(|key| key.kid.to_string()))
    }

    /// The transcripts of the log's keys with these kids.
    pub(super) async fn log_keys(
        &self,
        signers: BTreeSet<String>,
    ) -> Result<Vec<String>, NoEvidence> {
        let mut log_keys = Vec::new();
        for signer in signers {
            let unknown = || NoEvidence::Broken("an unknown log key".to_owned());
            let signer: Kid = signer.parse().map_err(|_| unknown())?;
            let known = self.key(&signer).await.map_err(|error| match error {
                NoEvidence::NotFound => unknown(),
                error => error,
            })?;
            log_keys.push(self.transcript(&known.ceremony.to_string()).await?);
        }
        Ok(log_keys)
    }

    /// The acts on a key with their proofs, for whoever wants to check its state offline.
    pub async fn life_of(&self, kid: &Kid) -> Result<KeyLife, NoEvidence> {
        let key = self.key(kid).await?;
        let mut signers = BTreeSet::new();
        let KeyActs { life, pending, .. } = self.acts(&key, &mut signers).await?;
        Ok(KeyLife {
            life,
            pending,
            log_keys: signers.into_iter().collect(),
        })
    }

    /// In memory or not. A key that is refused is none.
    pub(super) async fn key(&self, kid: &Kid) -> Result<Arc<Key>, NoEvidence> {
        match self.keys.find(kid, Share::Stranger).await {
            Ok(key) => Ok(key),
            Err(error) if error.may_pass() => Err(Error::Key(error).into()),
            Err(_) => Err(NoEvidence::NotFound),
        }
    }

    /// All acts, under checkpoints. One that the database's index lacks, a revocation perhaps, would be missing from the
    /// file: what the acts make of the key has to be what its row says.
    async fn whole_life(
        &self,
        key: &Key,
        signers: &mut BTreeSet<String>,
    ) -> Result<KeyActs, NoEvidence> {
        // The key may change between the two readings.
        const ATTEMPTS: usize = 3;
        for _ in 0..ATTEMPTS {
            let acts = self.acts(key, signers).await?;
            if !acts.pending.is_empty() {
                return Err(NoEvidence::NotFound);
            }
            let state = acts.history.state();
            let told = state.map_err(|error| NoEvidence::Broken(error.to_string()))?;
            if told == key.state {
                return Ok(acts);
            }
            // The snapshot may be older than the acts.
            let rows = self.store.key(key.kid.as_str()).await?;
            if rows.read.first().and_then(|row| key.state_of(row)) == Some(told) {
                return Ok(acts);
            }
        }
        Err(NoEvidence::Broken(format!(
            "the acts that are found of key {} do not make it what its row says: run `chancery log check`",
            key.kid
        )))
    }

    /// The acts that made the key what it is, with their proofs.
    async fn acts(&self, key: &Key, signers: &mut BTreeSet<String>) -> Result<KeyActs, NoEvidence> {
        let mut acts = KeyActs {
            life: Vec::new(),
            history: History::new(key.kid.clone(), key.state.life().prepared_at),
            pending: Vec::new(),
        };
        for index in self.keys.acts_of(&key.kid, Share::Stranger).await? {
            let Some(receipt) = self.proofs.receipt(index).await? else {
                acts.pending.push(index);
                continue;
            };
            let broken = |error: &dyn std::fmt::Display| NoEvidence::Broken(error.to_string());
            let act = match Leaf::parse(receipt.leaf.body.as_bytes()) {
                Ok(Leaf::Act(act)) => act,
                _ => return Err(NoEvidence::Broken(format!("leaf {index} is not an act"))),
            };
            acts.history.apply(&act).map_err(|error| broken(&error))?;
            signers.insert(receipt.log_kid);
            acts.life.push(Logged {
                leaf: receipt.leaf.body,
                proof: receipt.proof.to_string(),
            });
        }
        Ok(acts)
    }

    pub(super) async fn transcript(&self, ceremony: &str) -> Result<String, NoEvidence> {
        let bytes = self.store.transcript(ceremony).await?;
        let bytes =
            bytes.ok_or_else(|| NoEvidence::Broken("a transcript is missing".to_owned()))?;
        text(bytes)
    }
}

fn text(bytes: Vec<u8>) -> Result<String, NoEvidence> {
    String::from_utf8(bytes).map_err(|_| NoEvidence::Broken("a transcript is not UTF-8".to_owned()))
}

/// One claim, with keys that are not in memory. What is not known of a key is no answer.
async fn check_anywhere(keys: &Keys, claim: &Claim, share: Share) -> Result<Checked, Error> {
    let snapshot = keys.current();
    let none = HashMap::new();
    let mut sought = Sought::new(&snapshot, &none);
    let checked = check(&mut sought, claim)?;
    if checked.checks || sought.missing.is_empty() {
        return Ok(checked);
    }
    let missing = sought.missing;
    let others = keys.find_others(&snapshot, missing, share).await;
    let others = others.map_err(Error::Key)?;
    check(&mut Sought::new(&snapshot, &others), claim)
}
