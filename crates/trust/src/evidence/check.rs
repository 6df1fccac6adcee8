//! The steps of docs/LOG.md, "Verify", in their order.

use std::collections::BTreeMap;

use super::{Covers, Evidence, EvidenceError, EvidenceReport, Subject};
use crate::act::Act;
use crate::alg::Algorithm;
use crate::base64url;
use crate::chain::Pin;
use crate::clock::{Corrections, LogPlace, Origins};
use crate::digest::Sha256Digest;
use crate::history::History;
use crate::json;
use crate::jwk::PublicKey;
use crate::leaf::{self, ActKind, ActLeaf, Leaf, SignatureLeaf};
use crate::life::Life;
use crate::name::LOG_RING;
use crate::order_log::{LoggedUse, UseProof};
use crate::proofs::{NotProven, Proofs, Proven, told};
use crate::request::{Generate, Operation};
use crate::signature::{Verifier, canonical};
use crate::tally::Finished;
use crate::time::Time;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::merkle::leaf_hash;
use crate::tlog::policy::WitnessPolicy;
use crate::transcript::{OfOrder, Transcript, VerifiedTranscript, log_keys, verify_core};
use crate::verdict::{Existence, Facts, verdict};

fn refused(word: &'static str, why: impl std::fmt::Display) -> EvidenceError {
    EvidenceError {
        word,
        why: why.to_string(),
    }
}

impl From<NotProven> for EvidenceError {
    fn from(error: NotProven) -> Self {
        match error {
            NotProven::LogKey(why) => refused("log_key", why),
            NotProven::Proof(why) => refused("proof", why),
        }
    }
}

/// A key by its verified transcript.
struct Certified {
    order: Generate,
    algorithm: Algorithm,
    public: PublicKey,
    prepared_at: Time,
    digest: Sha256Digest,
    used: Option<LoggedUse>,
}

pub(super) fn check(
    file: &Evidence,
    genesis: Sha256Digest,
    witnesses: Option<&WitnessPolicy>,
) -> Result<EvidenceReport, EvidenceError> {
    let pin = Pin {
        genesis,
        service: file.service.clone(),
        environment: file.environment.clone(),
    };
    let log_keys = log_keys(&file.log_keys, &pin).map_err(|(_, why)| refused("log_key", why))?;
    let key = certified(&file.transcript, &pin)?;
    if key.order.ring.as_str() == LOG_RING {
        return Err(refused(
            "transcript",
            "a key of the log signs only checkpoints",
        ));
    }
    let witnesses = witnesses.cloned().unwrap_or_else(WitnessPolicy::none);
    let mut proofs = Proofs::new(&log_keys, witnesses);
    let proven = proofs.check(&file.proof, &file.leaf)?;
    let acts = file.life.iter().chain(&file.order);
    let acts: Vec<Proven> = acts
        .map(|act| proofs.check(&act.proof, &act.leaf))
        .collect::<Result<_, _>>()?;
    let mut log = Log::read(file, &pin, &mut proofs, &proven)?;
    let place = log.stands("proof", &proven, &file.leaf)?;
    let mut acts: Vec<LogPlace> = (acts.iter().zip(file.life.iter().chain(&file.order)))
        .map(|(act, logged)| log.stands("proof", act, &logged.leaf))
        .collect::<Result<_, _>>()?;
    let of_order = acts.split_off(file.life.len());
    log.whole(&proofs)?;
    let leaf = signature_leaf(&file.leaf, &key)?;
    let (history, places) = life(file, &key, &acts, &log)?;
    let whole = history.state().map_err(|error| refused("life", error))?;
    under_order(file, &key, &acts, &of_order)?;
    revocation(file, &key, &history, &pin)?;
    let (checks, fits_usage) = match &file.subject {
        Some(subject) => subject_checks(subject, &leaf, &key)?,
        None => (true, true),
    };
    // A quorum of nobody proves no time.
    let nobody = proven.witnessed.complete && proven.witnessed.at.is_none();
    let by_witnesses = proven.witnessed.at;
    let at = match nobody {
        true => Some(log.time(place, leaf.time)),
        false => by_witnesses,
    };
    // The order of the log is not to be dated back: what stands after an act came after it.
    let floor = places.before(place);
    let at = at.map(|at| floor.map_or(at, |floor| at.max(floor)));
    let state = match places.primary {
        Some(primary) if primary < place => whole,
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
    let late = places.retired.is_some_and(|retired| retired < place);
    let verdict = verdict(&Facts {
        key: Some(&state),
        checks,
        fits_usage,
        existence: at.map(|at| Existence { at, sound: true }),
        after_retirement: late,
        logged: true,
        withdrawn: None,
    });
    Ok(EvidenceReport {
        verdict,
        kid: leaf.kid.clone(),
        ring: leaf.ring.clone(),
        usage: key.order.usage,
        index: proven.index,
        origin: proven.origin,
        cosigners: proven.witnessed.cosigners,
        witnessed: by_witnesses.is_some(),
        subject: file.subject.is_some(),
        order_use: (key.used.as_ref()).map(|_| UseProof::of(!file.order.is_empty())),
        sig_hash: leaf.sig_hash,
    })
}

/// A transcript that holds and is of a birth.
fn certified(text: &str, pin: &Pin) -> Result<Certified, EvidenceError> {
    let no = |error: &dyn std::error::Error| refused("transcript", told(error));
    let verified = verify_core(text.as_bytes(), pin).map_err(|error| no(&error))?;
    let prepared_at = verified.statement().executed_at;
    let digest = verified.core_digest();
    let used = verified.logged_use().cloned();
    let accepted = verified.into_key().map_err(|error| no(&error))?;
    Ok(Certified {
        order: accepted.order().clone(),
        algorithm: accepted.algorithm(),
        public: accepted.public_key().clone(),
        prepared_at,
        digest,
        used,
    })
}

/// What happened to the log itself.
struct Log {
    origins: Origins,
    /// The last checkpoint of each origin that ended.
    ends: Vec<Checkpoint>,
    corrections: Corrections,
    /// What stands at each place.
    leaves: BTreeMap<LogPlace, Sha256Digest>,
    /// Whether two leaves stand at one place.
    torn: bool,
}

impl Log {
    /// The line of origins, then the corrections.
    fn read(
        file: &Evidence,
        pin: &Pin,
        proofs: &mut Proofs<'_>,
        of_the_leaf: &Proven,
    ) -> Result<Self, EvidenceError> {
        let mut log = Self {
            origins: Origins::one(of_the_leaf.origin.as_str()),
            ends: Vec::new(),
            corrections: Corrections::default(),
            leaves: BTreeMap::new(),
            torn: false,
        };
        let mut proven = Vec::new();
        for (number, each) in file.origins.iter().enumerate() {
            let no = |why: &str| Err(refused("origin", why));
            let (act, found, verified) = log_act("origin", each, pin, proofs)?;
            let Operation::NewOrigin(order) = &verified.request().operation else {
                return no("the ceremony has a different operation");
            };
            if number == 0 {
                log.origins = Origins::one(order.previous_origin.as_str());
            } else if log.origins.newest() != order.previous_origin {
                return no("the origins do not form a single chain");
            }
            if log.origins.place(&order.origin, 0).is_some() {
                return no("an origin occurs twice");
            }
            let end = order
                .end()
                .ok_or_else(|| refused("origin", "the last checkpoint cannot be parsed"))?;
            let same = act.action == "new-origin"
                && act.origin.as_ref() == Some(&order.origin)
                && act.first == Some(order.size)
                && act.last == Some(end.size)
                && found.index == order.size;
            if !proofs.signed(&order.previous_checkpoint) {
                return no("no key of the log signed the last checkpoint of the previous origin");
            }
            if found.before != order.root {
                return no("the new log does not begin with the retained leaves");
            }
            log.ends.push(end);
            if !same {
                return no("the leaf differs from the ceremony");
            }
            log.origins.push(order.origin.as_str(), order.size);
            proven.push(found);
        }
        for (number, (found, each)) in proven.iter().zip(&file.origins).enumerate() {
            // In its own tree, or in a later one that took it over.
            let place = log.stands("origin", found, &each.leaf)?;
            if place.origin != number + 1 {
                return Err(refused("origin", "not at the start of the new origin"));
            }
        }
        let mut last = None;
        for each in &file.corrections {
            let (act, found, verified) = log_act("correction", each, pin, proofs)?;
            let place = log.stands("correction", &found, &each.leaf)?;
            let Finished::Corrected(correction) = verified.finished() else {
                return Err(refused(
                    "correction",
                    "the ceremony has a different operation",
                ));
            };
            let same = act.action == "clock-correction"
                && act.first == Some(correction.first)
                && act.last == Some(correction.last)
                && act.bound == Some(correction.bound)
                && act.origin.as_ref() == Some(&correction.origin);
            // An act that is logged again in another log corrects nothing there.
            let here = log.origins.name(place.origin) == Some(&correction.origin);
            if !same
                || !here
                || correction.last >= found.index
                || last.is_some_and(|last| place <= last)
            {
                let why = "the leaf differs from the ceremony, or has the wrong index";
                return Err(refused("correction", why));
            }
            last = Some(place);
            log.corrections.push(place, correction, None);
        }
        Ok(log)
    }

    fn time(&self, place: LogPlace, written: Time) -> Time {
        self.corrections.time(&self.origins, place, written)
    }

    /// The place of a leaf, which stands there from now on.
    fn stands(
        &mut self,
        word: &'static str,
        proven: &Proven,
        leaf: &str,
    ) -> Result<LogPlace, EvidenceError> {
        let place = self.origins.place(&proven.origin, proven.index);
        let place = place.ok_or_else(|| refused(word, "a checkpoint of a different log"))?;
        let hash = leaf_hash(leaf.as_bytes());
        self.torn |= *self.leaves.entry(place).or_insert(hash) != hash;
        Ok(place)
    }

    /// The checkpoints of the file are of one line of logs, each of which has one root of each size.
    fn whole(&self, proofs: &Proofs<'_>) -> Result<(), EvidenceError> {
        if self.torn {
            return Err(refused("proof", "two leaves with the same index"));
        }
        proofs.whole()?;
        match self.ends.iter().any(|end| proofs.contradicts(end)) {
            true => Err(refused(
                "origin",
                "a checkpoint not covered by the last checkpoint of the previous origin",
            )),
            false => Ok(()),
        }
    }
}

/// An act on the log, with the ceremony that it rests on.
fn log_act(
    word: &'static str,
    each: &super::Certified,
    pin: &Pin,
    proofs: &mut Proofs<'_>,
) -> Result<(ActLeaf, Proven, VerifiedTranscript), EvidenceError> {
    let proven = proofs
        .check(&each.proof, &each.leaf)
        .map_err(|error| refused(word, error))?;
    let Leaf::Act(act) = parse_leaf(word, &each.leaf)? else {
        return Err(refused(word, "the leaf is not a log act"));
    };
    let verified = verify_core(each.transcript.as_bytes(), pin)
        .map_err(|error| refused(word, told(&error)))?;
    let request = verified.statement().request_digest.to_string();
    let same = act.kind == ActKind::Log
        && act.reference.as_deref() == Some(request.as_str())
        && act.digest == Some(verified.core_digest());
    match same {
        true => Ok((*act, proven, verified)),
        false => Err(refused(word, "the leaf does not name the ceremony")),
    }
}

fn parse_leaf(word: &'static str, text: &str) -> Result<Leaf, EvidenceError> {
    // No log of ours has one: the bound is the readers', so that all of them have the same.
    if text.len() > leaf::MAX_LEN {
        return Err(refused(word, "a leaf exceeds the length limit"));
    }
    Leaf::parse(text.as_bytes()).map_err(|error| refused(word, error))
}

/// Step 5.
fn signature_leaf(text: &str, key: &Certified) -> Result<SignatureLeaf, EvidenceError> {
    let leaf = parse_leaf("leaf", text)?;
    let Leaf::Signature(leaf) = leaf else {
        return Err(refused("leaf", "it does not record a signature"));
    };
    let agrees = leaf.kid == key.public.kid()
        && leaf.ring == key.order.ring
        && leaf.alg == key.algorithm.to_string();
    match agrees {
        true => Ok(*leaf),
        false => Err(refused("leaf", "its key is not that of the transcript")),
    }
}

/// Step 6.
fn life(
    file: &Evidence,
    key: &Certified,
    acts: &[LogPlace],
    log: &Log,
) -> Result<(History, Places), EvidenceError> {
    let kid = key.public.kid();
    let mut places = Places::default();
    let mut history = History::new(kid.clone(), key.prepared_at);
    let mut last = None;
    for (number, (logged, &place)) in file.life.iter().zip(acts).enumerate() {
        if last.is_some_and(|last| place <= last) {
            return Err(refused("life", "not in log order"));
        }
        last = Some(place);
        let mut act = act(&logged.leaf)?;
        let written = act.time;
        act.time = log.time(place, written);
        if number == 0 {
            // A clock that was wrong at the acceptance was wrong at the birth before it.
            if key.prepared_at > written {
                return Err(refused("life", "accepted before it was generated"));
            }
            history = History::new(kid.clone(), key.prepared_at.min(act.time));
        }
        if !History::concerns(&act, &kid) {
            return Err(refused("life", "an act does not concern the key"));
        }
        let accepted = act.kind == ActKind::Ceremony;
        if accepted != (number == 0) {
            return Err(refused(
                "life",
                "the acceptance must be the first act and occur only once",
            ));
        }
        if accepted && act.digest != Some(key.digest) {
            return Err(refused("life", "a different transcript was accepted"));
        }
        let elsewhere = act.ring.as_deref() != Some(key.order.ring.as_str());
        if elsewhere || (act.kid.is_some() && act.kid == act.previous_kid) {
            return Err(refused(
                "life",
                "an act of a different ring, or a repeated act",
            ));
        }
        history
            .apply(&act)
            .map_err(|error| refused("life", told(&error)))?;
        if history.life().activated_at.is_some() {
            places.primary.get_or_insert(place);
        }
        if history.life().retired_at.is_some() {
            places.retired.get_or_insert(place);
        }
        places.acts.push((place, act.time));
    }
    if file.life.is_empty() {
        return Err(refused("life", "no act"));
    }
    Ok((history, places))
}

/// Step 6a: what the file has of the standing order under which the key was made.
fn under_order(
    file: &Evidence,
    key: &Certified,
    life: &[LogPlace],
    places: &[LogPlace],
) -> Result<(), EvidenceError> {
    if file.order.is_empty() {
        return Ok(());
    }
    let no = |why: &dyn std::fmt::Display| refused("order", why);
    let used = key.used.as_ref();
    let used = used.ok_or_else(|| no(&"the key was made under no standing order"))?;
    let transcript = Transcript::decode(file.transcript.as_bytes()).map_err(|error| no(&error))?;
    let order = OfOrder::new(&transcript.record.chains, used).map_err(|error| no(&error))?;
    // By their order: of leaves of several origins the indexes do not ascend.
    let mut told = Vec::with_capacity(places.len() + 1);
    for (logged, place) in file.order.iter().zip(places) {
        if told.last().is_some_and(|(before, _)| *before >= *place) {
            return Err(no(&"not in log order"));
        }
        let Leaf::Act(act) = parse_leaf("order", &logged.leaf)? else {
            return Err(no(&"not an act"));
        };
        if !order.tells(&act) && !order.makes(&act) {
            return Err(no(&"the leaf does not belong to the order or to the key"));
        }
        told.push((*place, *act));
    }
    let (Some(accepted), Some(first)) = (life.first(), file.life.first()) else {
        return Err(refused("life", "no act"));
    };
    let end = told.partition_point(|(place, _)| place < accepted);
    told.insert(end, (*accepted, act(&first.leaf)?));
    let acts: Vec<Act> = (0..)
        .zip(told)
        .map(|(index, (_, leaf))| Act { index, leaf })
        .collect();
    let end = i64::try_from(end).unwrap_or(i64::MAX);
    order.check(end, &acts).map_err(|error| no(&error))
}

/// Where the acts of a life stand in the log.
#[derive(Default)]
struct Places {
    acts: Vec<(LogPlace, Time)>,
    /// The act that first made the key primary.
    primary: Option<LogPlace>,
    /// The act that retired it.
    retired: Option<LogPlace>,
}

impl Places {
    /// The latest instant of the acts before a place.
    fn before(&self, leaf: LogPlace) -> Option<Time> {
        let acts = self.acts.iter().filter(|(place, _)| *place < leaf);
        acts.map(|(_, time)| *time).max()
    }
}

fn act(text: &str) -> Result<ActLeaf, EvidenceError> {
    match parse_leaf("life", text)? {
        Leaf::Act(act) => Ok(*act),
        Leaf::Signature(_) | Leaf::Unknown(_) => Err(refused("life", "no act on a key")),
    }
}

/// Step 7.
fn revocation(
    file: &Evidence,
    key: &Certified,
    history: &History,
    pin: &Pin,
) -> Result<(), EvidenceError> {
    let Some(text) = &file.revocation else {
        return Ok(());
    };
    let no = |why: &str| Err(refused("revocation", why));
    let Some(revocation) = history.life().revocation else {
        return no("the log does not record it");
    };
    let verified: VerifiedTranscript =
        verify_core(text.as_bytes(), pin).map_err(|error| refused("revocation", told(&error)))?;
    let Operation::Revoke(order) = &verified.request().operation else {
        return no("the ceremony has a different operation");
    };
    let same = order.kid == key.public.kid()
        && order.number == key.order.number
        && order.ring == key.order.ring
        && order.reason == revocation.reason
        && order.compromised_since == revocation.compromised_since;
    if !same {
        return no("the revocation in the ceremony differs from the log");
    }
    let request = verified.statement().request_digest.to_string();
    match history.revoked_by() == Some(request.as_str()) {
        true => Ok(()),
        false => no("the log names a different ceremony"),
    }
}

/// Step 8: whether the signature is valid, and whether the key's usage allows what was signed;
/// refused if it is not the one of the leaf.
fn subject_checks(
    subject: &Subject,
    leaf: &SignatureLeaf,
    key: &Certified,
) -> Result<(bool, bool), EvidenceError> {
    let Subject {
        covers,
        input,
        salt,
        signature,
    } = subject;
    if Sha256Digest::of(&canonical(key.public.spec(), &signature.0)) != leaf.sig_hash {
        return Err(refused("subject", "not the signature of the leaf"));
    }
    if let Some(salt) = salt {
        let opened = Sha256Digest::of(&[salt.0.as_slice(), &input.0].concat());
        if opened != leaf.input_commit {
            return Err(refused("subject", "the salt does not open the commitment"));
        }
    }
    if !is_what_it_says(*covers, &input.0) {
        return Err(refused("subject", "the input does not match `covers`"));
    }
    let verifier =
        Verifier::new(&key.public, key.algorithm).map_err(|error| refused("transcript", error))?;
    let checked = match covers {
        Covers::Jws | Covers::Dsse | Covers::Message => {
            verifier.verify_message(&input.0, &signature.0)
        }
        Covers::Digest => verifier.verify_digest(&input.0, &signature.0),
    };
    Ok((checked.is_ok(), covers.fits(key.order.usage)))
}

/// A JWS signing input begins with the base64url of a JSON object, a pre-authentication encoding
/// with its magic (RFC 7515 section 5.1; DSSE 1.0, PAE).
fn is_what_it_says(covers: Covers, input: &[u8]) -> bool {
    match covers {
        Covers::Jws => {
            let header = input.split(|byte| *byte == b'.').next().unwrap_or_default();
            let header = std::str::from_utf8(header).ok().and_then(base64url::decode);
            let object = header.and_then(|header| {
                json::parse_strict::<serde_json::Map<String, serde_json::Value>>(&header).ok()
            });
            input.contains(&b'.') && object.is_some()
        }
        Covers::Dsse => input.starts_with(b"DSSEv1 "),
        Covers::Message | Covers::Digest => true,
    }
}
