//! From a claim to a verdict: find the key by its kid alone, check the signature with the ring's
//! algorithm, ask the audit trail since when it exists, and let `trust::verdict` judge.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use trust::dsse::{Envelope, EnvelopeError};
use trust::evidence::Covers;
use trust::namespace::is_reserved;
use trust::timestamp::Timestamp;
use trust::verdict::{Existence, Known, Outcome, Reason, Stamp, Verdict};
use trust::{Kid, Sha256Digest, Time};

use super::existence::{Once, by_row};
use super::question::{Answer, Claim, Covered, Error, Question};
use super::rules::Rules;
use super::sought::Sought;
use crate::keys::{Cpu, Key, Keys, NoKey, Share, Snapshot};
use base::Env;
use log::Proofs;
use store::{Occurrence, Store};
use trust::error_chain;
use trust::jws::{NO_PAYLOAD, UnverifiedJws, parse_jws, parse_jws_json};

/// Cheap to clone.
#[derive(Clone)]
pub struct Verification {
    keys: Arc<Keys>,
    pub(super) store: Store,
    /// Replaced when its files change.
    rules: Arc<ArcSwap<Rules>>,
    env: Env,
    proofs: Proofs,
    cpu: Cpu,
    share: Share,
}

/// Signatures that are checked in one turn of the CPU.
const TURN: usize = 32;

/// A claim whose signature was checked; what is missing is the trail's word.
pub(super) struct Checked {
    pub kid: String,
    key: Option<Arc<Key>>,
    pub checks: bool,
    pub covers: Covers,
    pub input: Vec<u8>,
    /// As it was verified: ECDSA in the form of P1363.
    pub signature: Vec<u8>,
    pub sig_hash: String,
    pub explanation: String,
    /// A message of the service's own, by a key that has signed it as such.
    reserved: bool,
}

/// There is a row, and its leaf cannot be held against the tree any more: that is no proof, and no
/// finding against the signature either.
fn unproven(verdict: &mut Verdict) {
    verdict.reasons.retain(|reason| *reason != Reason::NotInLog);
    let stated = verdict.reasons.contains(&Reason::NoProofOfExistence);
    if verdict.outcome == Outcome::Indeterminate && !stated {
        verdict.reasons.push(Reason::NoProofOfExistence);
    }
}

/// A checked claim and what else was asked.
struct Asked {
    checked: Checked,
    stamped: Option<Option<Timestamp>>,
    /// Of the timestamp token.
    remarks: Vec<String>,
    at: Option<Time>,
}

impl Verification {
    pub fn new(keys: Arc<Keys>, store: Store, proofs: Proofs, rules: Rules, env: Env) -> Self {
        Self {
            cpu: keys.cpu().clone(),
            keys,
            proofs,
            store,
            rules: Arc::new(ArcSwap::from_pointee(rules)),
            env,
            share: Share::Known,
        }
    }

    /// For verdicts from here on, of all clones.
    pub fn replace_rules(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// For a caller without credentials: with fewer of the cores.
    pub fn for_stranger(&self) -> Self {
        Self {
            share: Share::Stranger,
            ..self.clone()
        }
    }

    /// Any other work of the CPU that a caller asks for, within the same share.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        Ok(self.cpu.run(self.share, work).await?)
    }

    pub async fn verify(&self, question: Question) -> Result<Answer, Error> {
        let mut answers = self.verify_batch(vec![question]).await;
        answers.pop().unwrap_or_else(|| {
            Err(Error::Malformed {
                member: "",
                problem: "no verdict".to_owned(),
            })
        })
    }

    /// Each question has an answer of its own; the trail is asked once for all of them.
    pub async fn verify_batch(&self, questions: Vec<Question>) -> Vec<Result<Answer, Error>> {
        if self.proofs.published().incomplete {
            let unknown = questions.iter().map(|_| Err(Error::Incomplete));
            return unknown.collect();
        }
        let snapshot = self.keys.current();
        let now = self.env.now();
        let questions = Arc::new(questions);
        let mut asked: Vec<Result<Asked, Error>> = Vec::with_capacity(questions.len());
        let mut sought = Vec::new();
        let none = Arc::default();
        for from in (0..questions.len()).step_by(TURN) {
            let turn = from..questions.len().min(from + TURN);
            let done = self.ask_all(&snapshot, &questions, turn.clone().collect(), &none, now);
            for (at, (answer, missing)) in turn.zip(done.await) {
                if !missing.is_empty() {
                    sought.push((at, missing));
                }
                asked.push(answer);
            }
        }
        self.ask_again(&snapshot, &questions, sought, &mut asked, now)
            .await;
        let hashes: Vec<String> = asked
            .iter()
            .flatten()
            .filter(|asked| asked.checked.checks)
            .map(|asked| asked.checked.sig_hash.clone())
            .collect();
        let found = match hashes.is_empty() {
            true => Ok(Vec::new()),
            false => self.store.occurrences(&hashes).await.map_err(Arc::new),
        };
        let mut answers = Vec::with_capacity(asked.len());
        let mut once = Once::default();
        for asked in asked {
            answers.push(match (asked, &found) {
                (Ok(asked), Ok(found)) => self.judge(asked, found, now, &mut once).await,
                // Without the trail there is no proof of existence, and no proof of its absence
                // either: nothing is said rather than something wrong.
                (Ok(_), Err(error)) => Err(Error::Log(error.clone())),
                (Err(error), _) => Err(error),
            });
        }
        answers
    }

    /// A new key's proof of possession is public and in no leaf; it is no signature over anybody's data
    /// (case S6).
    fn set_reserved(&self, checked: &mut Checked) {
        let of_key = |key: &Key| self.keys.possession_digest(key);
        let reserved = match (checked.covers, &checked.key) {
            (Covers::Jws, _) => false,
            (Covers::Dsse | Covers::Message, _) => is_reserved(&checked.input),
            (Covers::Digest, Some(key)) => {
                of_key(key).is_some_and(|digest| checked.input == digest.as_bytes())
            }
            (Covers::Digest, None) => false,
        };
        if reserved && checked.checks {
            checked.reserved = true;
            checked.explanation =
                "a key's proof of possession, or another message of the service's own".to_owned();
        }
    }

    /// One turn of the CPU. With each answer come kids that it may depend on and that are of no key in memory.
    async fn ask_all(
        &self,
        snapshot: &Arc<Snapshot>,
        questions: &Arc<Vec<Question>>,
        turn: Vec<usize>,
        others: &Arc<HashMap<Kid, Arc<Key>>>,
        now: Time,
    ) -> Vec<(Result<Asked, Error>, BTreeSet<Kid>)> {
        let count = turn.len();
        let (this, snapshot) = (self.clone(), snapshot.clone());
        let (questions, others) = (questions.clone(), others.clone());
        let work = move || {
            let each = turn.into_iter().filter_map(|at| {
                let mut sought = Sought::new(&snapshot, &others);
                let answer = this.ask(&mut sought, questions.get(at)?, now);
                Some((answer, sought.missing))
            });
            each.collect()
        };
        match self.cpu.run(self.share, work).await {
            Ok(done) => done,
            Err(error) => (0..count)
                .map(|_| (Err(error.into()), BTreeSet::new()))
                .collect(),
        }
    }

    /// With keys that are not in memory. What is not known of a key is no answer.
    async fn ask_again(
        &self,
        snapshot: &Arc<Snapshot>,
        questions: &Arc<Vec<Question>>,
        sought: Vec<(usize, BTreeSet<Kid>)>,
        asked: &mut [Result<Asked, Error>],
        now: Time,
    ) {
        let mut once: HashMap<Kid, Result<Arc<Key>, NoKey>> = HashMap::new();
        let mut again = Vec::new();
        for (at, kids) in sought {
            let mut failed = None;
            let mut found = false;
            for kid in kids {
                if !once.contains_key(&kid) {
                    let key = self.keys.find_beside(snapshot, &kid, self.share).await;
                    once.insert(kid.clone(), key);
                }
                match once.get(&kid) {
                    Some(Ok(_)) => found = true,
                    Some(Err(error)) if error.may_pass() => failed = Some(error.clone()),
                    _ => {}
                }
            }
            match (failed, asked.get_mut(at)) {
                (Some(error), Some(slot)) => *slot = Err(Error::Key(error)),
                _ if found => again.push(at),
                _ => {}
            }
        }
        let found = once
            .into_iter()
            .filter_map(|(kid, key)| Some((kid, key.ok()?)));
        let found: Arc<HashMap<Kid, Arc<Key>>> = Arc::new(found.collect());
        for turn in again.chunks(TURN) {
            let done = self.ask_all(snapshot, questions, turn.to_vec(), &found, now);
            for (at, (answer, _)) in turn.iter().zip(done.await) {
                if let Some(slot) = asked.get_mut(*at) {
                    *slot = answer;
                }
            }
        }
    }

    /// What needs no database: the signature, and the timestamp token.
    fn ask(&self, sought: &mut Sought<'_>, question: &Question, now: Time) -> Result<Asked, Error> {
        if question.at.is_some_and(|at| at > now) {
            return Err(Error::Malformed {
                member: "at",
                problem: format!("expected an instant not later than now, {now}"),
            });
        }
        let mut checked = check(sought, &question.claim)?;
        let signs = checked.key.as_ref().is_some_and(|key| key.state.can_sign());
        sought.settle(checked.checks && checked.fits_usage() && signs);
        self.set_reserved(&mut checked);
        let mut remarks = Vec::new();
        let token = question.timestamp.as_deref();
        let stamped = token.and_then(|token| self.stamp(&checked, token, now, &mut remarks));
        Ok(Asked {
            checked,
            stamped,
            remarks,
            at: question.at,
        })
    }

    async fn judge(
        &self,
        asked: Asked,
        found: &[Occurrence],
        now: Time,
        once: &mut Once,
    ) -> Result<Answer, Error> {
        let Asked {
            checked,
            stamped,
            remarks: of_the_stamp,
            at,
        } = asked;
        // The trail's entry has to be about this key: a signature's hash alone proves nothing.
        let entry = found
            .iter()
            .find(|entry| entry.sig_hash == checked.sig_hash && entry.kid == checked.kid)
            .filter(|_| checked.checks);
        let mut remarks = vec![checked.explanation.clone()];
        let key = checked.key.as_ref();
        let withdrawn = key.and_then(|key| self.rules.load().withdrawn(key.algorithm));
        // The verdict on a key that signs today does not rest on when the signature was made, as
        // long as its algorithm is sound.
        let signs = key.is_some_and(|key| key.state.can_sign());
        let rests = at.is_some() || withdrawn.is_some() || !signs;
        let logged = match (entry, key) {
            (Some(entry), Some(key)) if rests => {
                let of = (&self.proofs, &*self.keys, &self.store);
                once.logged(of, &key.kid, entry, &mut remarks).await?
            }
            (Some(entry), _) => Some(by_row(entry, &self.keys.current().times)),
            (None, _) => None,
        };
        remarks.extend(of_the_stamp);
        let known = Known {
            key: checked.key.as_ref().map(|key| &key.state),
            checks: checked.checks,
            fits_usage: checked.fits_usage(),
            log: logged.as_ref().and_then(|logged| logged.existence),
            timestamp: stamped.as_ref().map(|stamped| match stamped {
                Some(timestamp) => Stamp::Proof(Existence {
                    at: timestamp.at,
                    sound: true,
                }),
                None => Stamp::Bad,
            }),
            withdrawn,
        };
        let mut verdict = match at {
            None => known.verdict(now),
            Some(at) => known.verdict_as_of(at),
        };
        if logged.as_ref().is_some_and(|row| row.existence.is_none()) {
            unproven(&mut verdict);
        }
        if let (Some(at), Some(key)) = (at, &checked.key) {
            let state = key.state.word();
            remarks.push(format!("as of {at}; today the key is {state}"));
        }
        remarks.retain(|remark| !remark.is_empty());
        Ok(Answer {
            kid: checked.kid.parse::<Kid>().ok(),
            ring: checked.key.as_ref().map(|key| key.ring.clone()),
            number: checked.key.as_ref().map(|key| key.number),
            existed_at: verdict.existed_at,
            // What came later is no part of an answer about then.
            index: logged
                .filter(|row| at.is_none_or(|at| row.existence.is_some_and(|proof| proof.at <= at)))
                .map(|logged| logged.index),
            timestamp: stamped.flatten(),
            as_of: at,
            explanation: remarks.join("; "),
            verdict,
        })
    }

    /// None where there is no signature that a token could be about; `Some(None)` for a bad token.
    fn stamp(
        &self,
        checked: &Checked,
        token: &[u8],
        now: Time,
        remarks: &mut Vec<String>,
    ) -> Option<Option<Timestamp>> {
        if !checked.checks {
            remarks.push("the timestamp token was not checked".to_owned());
            return None;
        }
        let rules = self.rules.load();
        let authorities = &rules.authorities;
        match trust::timestamp::verify(token, &checked.signature, authorities, now) {
            Ok(timestamp) => Some(Some(timestamp)),
            Err(error) => {
                remarks.push(format!(
                    "the timestamp token was not counted: {}",
                    error_chain(&error)
                ));
                Some(None)
            }
        }
    }
}

pub(super) fn check(sought: &mut Sought<'_>, claim: &Claim) -> Result<Checked, Error> {
    match claim {
        Claim::Jws {
            compact,
            detached_payload,
        } => Ok(jws(
            sought,
            parse_jws(compact, detached_payload.as_deref())?,
        )),
        Claim::JwsJson {
            json,
            detached_payload,
        } => {
            let all = parse_jws_json(json, detached_payload.as_deref())?;
            let all = all.into_iter().map(|each| jws(sought, each));
            one_of(all).ok_or_else(|| Error::Malformed {
                member: "jws",
                problem: "expected a signature".to_owned(),
            })
        }
        Claim::Raw {
            kid,
            covered,
            signature,
            der,
        } => {
            let (covers, input) = match covered {
                Covered::Digest(digest) => (Covers::Digest, digest.clone()),
                Covered::Message(message) => (Covers::Message, message.clone()),
            };
            Ok(raw(sought, kid.clone(), (covers, input), signature, *der))
        }
        Claim::Dsse { envelope, kid } => dsse(sought, envelope, kid.as_deref()),
    }
}

/// Of several signatures over one payload: a good one, by a key that signs today if there is one,
/// else the first by a key of ours, else the first. Who else signed changes nothing.
fn one_of(all: impl Iterator<Item = Checked>) -> Option<Checked> {
    let (mut best, mut number): (Option<Checked>, usize) = (None, 0);
    let rank = |one: &Checked| {
        let signs = one.key.as_ref().is_some_and(|key| key.state.can_sign());
        let good = one.checks && one.fits_usage();
        (good, good && signs, one.checks, one.key.is_some())
    };
    for one in all {
        number += 1;
        best = match best {
            Some(best) if rank(&best) >= rank(&one) => Some(best),
            _ => Some(one),
        };
    }
    let mut best = best?;
    if number > 1 {
        let remark = format!("one of {number} signatures counts, the others are ignored");
        best.explanation = match best.explanation.is_empty() {
            true => remark,
            false => format!("{}; {remark}", best.explanation),
        };
    }
    Some(best)
}

fn jws(sought: &mut Sought<'_>, jws: UnverifiedJws) -> Checked {
    let key = sought.find(&jws.kid);
    // The header's `alg` does not choose anything: it has to be what the ring signs with.
    let objection = jws.objection.clone().or_else(|| {
        let algorithm = key.as_ref()?.algorithm;
        (!algorithm.is_named(&jws.alg))
            .then(|| format!("the header names {:?}, the ring uses {algorithm}", jws.alg))
    });
    let input = (Covers::Jws, jws.signing_input);
    let could_check = key.is_some() && objection.is_none();
    let mut checked = finish(key, jws.kid, input, &jws.signature, objection);
    if could_check && !checked.checks && jws.lacks_payload {
        checked.explanation = NO_PAYLOAD.to_owned();
    }
    checked
}

fn raw(
    sought: &mut Sought<'_>,
    kid: String,
    input: (Covers, Vec<u8>),
    signature: &[u8],
    der: bool,
) -> Checked {
    let key = sought.find(&kid);
    match key.as_ref().filter(|key| der && key.algorithm.is_ecdsa()) {
        None => finish(key, kid, input, signature, None),
        Some(pair) => match fixed(pair, signature) {
            Some(fixed) => finish(key, kid, input, &fixed, None),
            None => {
                let objection = Some("the signature is not DER".to_owned());
                finish(key, kid, input, signature, objection)
            }
        },
    }
}

/// An ECDSA signature in DER, in the fixed form.
fn fixed(key: &Key, der: &[u8]) -> Option<Vec<u8>> {
    let length = key.public.spec().signature_len() / 2;
    trust::signature::der_to_p1363(der, length).ok()
}

fn dsse(sought: &mut Sought<'_>, envelope: &[u8], by: Option<&str>) -> Result<Checked, Error> {
    let malformed = |error: EnvelopeError| Error::Malformed {
        member: "envelope",
        problem: error_chain(&error),
    };
    let envelope = Envelope::decode(envelope).map_err(malformed)?;
    let payload = envelope.unverified_payload().map_err(malformed)?;
    let message = trust::dsse::pae(&envelope.payload_type, &payload);
    let mut unreadable = None;
    let all = envelope.signatures.iter().filter_map(|signature| {
        let bytes = signature.bytes();
        let bytes = bytes.map_err(|error| unreadable = Some(error)).ok()?;
        let kid = by.or(signature.keyid()).unwrap_or_default();
        Some(enveloped(sought, kid, &message, &bytes))
    });
    let checked = one_of(all);
    checked.ok_or_else(|| malformed(unreadable.unwrap_or(EnvelopeError::Unsigned)))
}

/// One signature of an envelope. Both spellings of a pair are read: ASN.1, which is what envelopes
/// usually carry and what we write, and the fixed form. One that has the length of the fixed form
/// is tried as it first.
fn enveloped(sought: &mut Sought<'_>, kid: &str, message: &[u8], bytes: &[u8]) -> Checked {
    let key = sought.find(kid);
    let pair = key.as_ref().filter(|key| key.algorithm.is_ecdsa());
    let other = pair.and_then(|key| fixed(key, bytes));
    let input = || (Covers::Dsse, message.to_vec());
    let as_it_is = finish(key.clone(), kid.to_owned(), input(), bytes, None);
    let checked = match other {
        Some(fixed) if !as_it_is.checks => finish(key, kid.to_owned(), input(), &fixed, None),
        _ => as_it_is,
    };
    match kid.is_empty() {
        false => checked,
        true => Checked {
            explanation: "the signature names no key: give its `kid`".to_owned(),
            ..checked
        },
    }
}

fn finish(
    key: Option<Arc<Key>>,
    kid: String,
    (covers, input): (Covers, Vec<u8>),
    signature: &[u8],
    objection: Option<String>,
) -> Checked {
    let checks = match (&key, &objection) {
        (Some(key), None) => match covers {
            Covers::Digest => key.verifier.verify_digest(&input, signature).is_ok(),
            _ => key.verifier.verify_message(&input, signature).is_ok(),
        },
        _ => false,
    };
    let explanation = match (&key, objection, checks) {
        (_, Some(objection), _) => objection,
        (None, None, _) => format!("no key has the kid {kid:?}; other keys are not tried"),
        (Some(_), None, false) => "the signature is invalid for this key".to_owned(),
        (Some(key), None, true) if !covers.fits(key.usage) => format!(
            "the key's usage is {}; the signature has another form",
            key.usage
        ),
        (Some(_), None, true) => String::new(),
    };
    let canonical = match &key {
        Some(key) => trust::signature::canonical(key.public.spec(), signature),
        None => signature.to_vec(),
    };
    Checked {
        kid,
        key,
        checks,
        covers,
        input,
        signature: signature.to_vec(),
        sig_hash: Sha256Digest::of(&canonical).to_string(),
        explanation,
        reserved: false,
    }
}

impl Checked {
    fn fits_usage(&self) -> bool {
        let key = self.key.as_ref();
        !self.reserved && key.is_none_or(|key| self.covers.fits(key.usage))
    }
}
