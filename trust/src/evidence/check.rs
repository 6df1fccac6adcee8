//! The steps of docs/LOG.md, "Verify", in their order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Covers, Evidence, Finding, Refused, Subject};
use crate::chain::Pin;
use crate::digest::Sha256Digest;
use crate::history::History;
use crate::jwk::PublicKey;
use crate::leaf::{self, ActKind, ActLeaf, Leaf, SignatureLeaf};
use crate::life::Life;
use crate::name::LOG_RING;
use crate::request::{Generate, Operation};
use crate::signature::Verifier;
use crate::time::Time;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::merkle::leaf_hash;
use crate::tlog::note::VerifierKey;
use crate::tlog::policy::{WitnessPolicy, Witnessed};
use crate::tlog::proof::TlogProof;
use crate::transcript::{VerifiedTranscript, verify_transcript};
use crate::verdict::{Existence, Facts, verdict};

/// The smallest step of an instant.
const MILLISECOND: Duration = Duration::from_millis(1);

/// Made of text that cannot fail to be a policy.
const NOBODY: &str = "quorum none\n";

fn refused(word: &'static str, why: impl std::fmt::Display) -> Refused {
    Refused {
        word,
        why: why.to_string(),
    }
}

/// An error with its sources in one line: what auditors read.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text.push_str(": ");
        text.push_str(&next.to_string());
        source = next.source();
    }
    text
}

/// A key by its verified transcript.
struct Certified {
    order: Generate,
    public: PublicKey,
    prepared_at: Time,
    digest: Sha256Digest,
}

pub(super) fn check(
    file: &Evidence,
    genesis: Sha256Digest,
    witnesses: Option<&WitnessPolicy>,
) -> Result<Finding, Refused> {
    let pin = Pin {
        genesis,
        service: file.service.clone(),
        environment: file.environment.clone(),
    };
    let log_keys = log_keys(file, &pin)?;
    let key = certified("transcript", &file.transcript, &pin)?;
    if key.order.ring.as_str() == LOG_RING {
        return Err(refused("transcript", "a key of the log signs no records"));
    }
    let mut proofs = Proofs::new(&log_keys, witnesses)?;
    let proven = proofs.check(&file.proof, &file.leaf)?;
    let leaf = signature_leaf(&file.leaf, &key)?;
    let (history, places) = life(file, &key, &mut proofs)?;
    proofs.all_used()?;
    revocation(file, &key, &history, &pin)?;
    let checks = match &file.subject {
        Some(subject) => subject_checks(subject, &leaf, &key)?,
        None => true,
    };
    // A quorum of nobody proves no time.
    let nobody = proven.witnessed.complete && proven.witnessed.at.is_none();
    let by_witnesses = proven.witnessed.at;
    let at = match nobody {
        true => Some(leaf.time),
        false => by_witnesses,
    };
    // The order of the log is not to be dated back: what stands after an act came after it.
    let floor = places.before(proven.index);
    let at = at.map(|at| floor.map_or(at, |floor| at.max(floor)));
    let whole = history.state().map_err(|error| refused("life", error))?;
    let state = match places.primary {
        Some(primary) if primary < proven.index => whole,
        // It was not primary yet: as good as never.
        _ => Life {
            activated_at: None,
            demoted_at: None,
            retired_at: None,
            archived_at: None,
            revocation: None,
            ..history.life()
        }
        .state()
        .map_err(|error| refused("life", error))?,
    };
    // Behind the retirement in the log is after it, within the same millisecond too.
    let late = places.retired.is_some_and(|place| place < proven.index);
    let judged = at.map(|at| if late { at + MILLISECOND } else { at });
    let mut verdict = verdict(&Facts {
        key: Some(&state),
        checks,
        existence: judged.map(|at| Existence { at, sound: true }),
        logged: true,
        withdrawn: None,
    });
    verdict.existed_at = at;
    Ok(Finding {
        verdict,
        kid: leaf.kid.clone(),
        ring: leaf.ring.clone(),
        index: proven.index,
        origin: proven.origin,
        cosigners: proven.witnessed.cosigners,
        witnessed: by_witnesses.is_some(),
        subject: file.subject.is_some(),
        sig_hash: leaf.sig_hash,
    })
}

/// Steps 2 and 3: a transcript that holds and is of a birth.
fn certified(word: &'static str, text: &str, pin: &Pin) -> Result<Certified, Refused> {
    let verified =
        verify_transcript(text.as_bytes(), pin).map_err(|error| refused(word, told(&error)))?;
    let prepared_at = verified.statement().executed_at;
    let digest = Sha256Digest::of(text.as_bytes());
    let kid = verified.kid().clone();
    let accepted = verified
        .into_accepted(&kid)
        .map_err(|error| refused(word, told(&error)))?;
    Ok(Certified {
        order: accepted.order().clone(),
        public: accepted.public_key().clone(),
        prepared_at,
        digest,
    })
}

fn log_keys(file: &Evidence, pin: &Pin) -> Result<Vec<PublicKey>, Refused> {
    let mut keys: Vec<PublicKey> = Vec::new();
    for text in &file.log_keys {
        let key = certified("log_key", text, pin)?;
        if key.order.ring.as_str() != LOG_RING {
            return Err(refused("log_key", "a key of another ring than the log's"));
        }
        if keys.iter().any(|known| known.kid() == key.public.kid()) {
            return Err(refused("log_key", "the same key twice"));
        }
        keys.push(key.public);
    }
    Ok(keys)
}

struct Proven {
    index: u64,
    origin: String,
    witnessed: Witnessed,
}

/// Step 4, for every proof in the file.
struct Proofs<'a> {
    /// Roots by size: a log has one of each.
    roots: BTreeMap<u64, Sha256Digest>,
    keys: &'a [PublicKey],
    used: Vec<bool>,
    origin: Option<String>,
    policy: WitnessPolicy,
}

impl<'a> Proofs<'a> {
    fn new(keys: &'a [PublicKey], policy: Option<&WitnessPolicy>) -> Result<Self, Refused> {
        let policy = match policy {
            Some(policy) => policy.clone(),
            None => WitnessPolicy::parse(NOBODY).map_err(|error| refused("proof", error))?,
        };
        Ok(Self {
            keys,
            roots: BTreeMap::new(),
            used: vec![false; keys.len()],
            origin: None,
            policy,
        })
    }

    fn check(&mut self, proof: &str, leaf: &str) -> Result<Proven, Refused> {
        let proof =
            TlogProof::parse(proof.as_bytes()).map_err(|error| refused("proof", told(&error)))?;
        if proof.extra.is_some() {
            return Err(refused("proof", "extra data"));
        }
        let origin = proof.checkpoint.text.lines().next().unwrap_or_default();
        if *self.origin.get_or_insert_with(|| origin.to_owned()) != origin {
            return Err(refused("proof", "checkpoints of two logs"));
        }
        let mut keys = Vec::with_capacity(self.keys.len());
        for (key, used) in self.keys.iter().zip(&mut self.used) {
            let key = VerifierKey::for_log(origin, key)
                .map_err(|error| refused("log_key", told(&error)))?;
            *used |= proof.checkpoint.by(&key).next().is_some();
            keys.push(key);
        }
        let logged = proof
            .verify(leaf_hash(leaf.as_bytes()), &keys, &self.policy)
            .map_err(|error| refused("proof", told(&error)))?;
        let Checkpoint { size, root, .. } = logged.checkpoint;
        if *self.roots.entry(size).or_insert(root) != root {
            return Err(refused("proof", "two roots of one size: the log forked"));
        }
        Ok(Proven {
            index: logged.index,
            origin: origin.to_owned(),
            witnessed: logged.witnessed,
        })
    }

    fn all_used(&self) -> Result<(), Refused> {
        match self.used.iter().all(|used| *used) {
            true => Ok(()),
            false => Err(refused("proof", "a log key that signed no checkpoint")),
        }
    }
}

fn parse_leaf(word: &'static str, text: &str) -> Result<Leaf, Refused> {
    // No log of ours has one: the bound is the readers', so that all of them have the same.
    if text.len() > leaf::MAX_LEN {
        return Err(refused(word, "a leaf that is too long"));
    }
    Leaf::parse(text.as_bytes()).map_err(|error| refused(word, error))
}

/// Step 5.
fn signature_leaf(text: &str, key: &Certified) -> Result<SignatureLeaf, Refused> {
    let leaf = parse_leaf("leaf", text)?;
    let Leaf::Signature(leaf) = leaf else {
        return Err(refused("leaf", "it is not of a signature"));
    };
    let agrees = leaf.kid == key.public.kid()
        && leaf.ring == key.order.ring
        && leaf.alg == key.order.algorithm;
    match agrees {
        true => Ok(*leaf),
        false => Err(refused("leaf", "it is of another key than the transcript")),
    }
}

/// Step 6.
fn life(
    file: &Evidence,
    key: &Certified,
    proofs: &mut Proofs<'_>,
) -> Result<(History, Places), Refused> {
    let kid = key.public.kid();
    let mut places = Places::default();
    let mut history = History::new(kid.clone(), key.prepared_at);
    let mut last = None;
    for (number, logged) in file.life.iter().enumerate() {
        let proven = proofs.check(&logged.proof, &logged.leaf)?;
        if last.is_some_and(|last| proven.index <= last) {
            return Err(refused("life", "not in the order of the log"));
        }
        last = Some(proven.index);
        let act = act(&logged.leaf)?;
        if !History::concerns(&act, &kid) {
            return Err(refused("life", "an act that does not concern the key"));
        }
        let accepted = act.kind == ActKind::Ceremony;
        if accepted != (number == 0) {
            return Err(refused(
                "life",
                "the first act, and it alone, is the acceptance",
            ));
        }
        if accepted && act.digest != Some(key.digest) {
            return Err(refused("life", "another transcript was accepted"));
        }
        let elsewhere = act.ring.as_deref() != Some(key.order.ring.as_str());
        if elsewhere || (act.kid.is_some() && act.kid == act.previous_kid) {
            return Err(refused(
                "life",
                "an act of another ring, or of one key twice",
            ));
        }
        history
            .tell(&act)
            .map_err(|error| refused("life", told(&error)))?;
        if history.life().activated_at.is_some() {
            places.primary.get_or_insert(proven.index);
        }
        if history.life().retired_at.is_some() {
            places.retired.get_or_insert(proven.index);
        }
        places.acts.push((proven.index, act.time));
    }
    if file.life.is_empty() {
        return Err(refused("life", "no act"));
    }
    Ok((history, places))
}

/// Where the acts of a life stand in the log.
#[derive(Default)]
struct Places {
    acts: Vec<(u64, Time)>,
    /// The act that first made the key primary.
    primary: Option<u64>,
    /// The act that retired it.
    retired: Option<u64>,
}

impl Places {
    /// The latest instant of the acts before a place.
    fn before(&self, index: u64) -> Option<Time> {
        let acts = self.acts.iter().filter(|(place, _)| *place < index);
        acts.map(|(_, time)| *time).max()
    }
}

fn act(text: &str) -> Result<ActLeaf, Refused> {
    match parse_leaf("life", text)? {
        Leaf::Act(act) => Ok(*act),
        Leaf::Signature(_) => Err(refused("life", "a signature is no act")),
    }
}

/// Step 7.
fn revocation(
    file: &Evidence,
    key: &Certified,
    history: &History,
    pin: &Pin,
) -> Result<(), Refused> {
    let Some(text) = &file.revocation else {
        return Ok(());
    };
    let no = |why: &str| Err(refused("revocation", why));
    let Some(revocation) = history.life().revocation else {
        return no("the log does not tell of it");
    };
    let verified: VerifiedTranscript = verify_transcript(text.as_bytes(), pin)
        .map_err(|error| refused("revocation", told(&error)))?;
    let Operation::Revoke(order) = &verified.request().operation else {
        return no("the ceremony is of another operation");
    };
    let same = order.kid == key.public.kid()
        && order.ring == key.order.ring
        && order.reason == revocation.reason
        && order.compromised_since == revocation.compromised_since;
    if !same {
        return no("the ceremony revoked otherwise than the log says");
    }
    let request = verified.statement().request_digest.to_string();
    match history.revoked_by() == Some(request.as_str()) {
        true => Ok(()),
        false => no("the log names another ceremony"),
    }
}

/// Step 8: whether the signature checks; refused if it is not the one of the leaf.
fn subject_checks(
    subject: &Subject,
    leaf: &SignatureLeaf,
    key: &Certified,
) -> Result<bool, Refused> {
    let Subject {
        covers,
        input,
        salt,
        signature,
    } = subject;
    if Sha256Digest::of(&signature.0) != leaf.sig_hash {
        return Err(refused("subject", "another signature than the leaf's"));
    }
    if let Some(salt) = salt {
        let opened = Sha256Digest::of(&[salt.0.as_slice(), &input.0].concat());
        if opened != leaf.input_commit {
            return Err(refused("subject", "the salt does not open the commitment"));
        }
    }
    let verifier = Verifier::new(&key.public, key.order.algorithm)
        .map_err(|error| refused("transcript", error))?;
    let checked = match covers {
        Covers::Message => verifier.verify_message(&input.0, &signature.0),
        Covers::Digest => verifier.verify_digest(&input.0, &signature.0),
    };
    Ok(checked.is_ok())
}
