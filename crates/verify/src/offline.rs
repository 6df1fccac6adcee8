//! Signatures checked with a key set alone: nothing is known of the keys' histories, nor of times.

use serde_json::{Value, json};
use trust::dsse::{Envelope, pae};
use trust::jwk::foreign::{ForeignKey, ForeignSet, parse_set};
use trust::jws::{NO_PAYLOAD, UnverifiedJws, parse_jws, parse_jws_json};
use trust::verdict::Reason;
use trust::{Algorithm, Usage, Verifier};

use crate::input::Beside;
use crate::output::{Failure, Output};

/// The set in a file. What cannot be used in it is remarked upon.
pub fn read_set(bytes: &[u8], output: &Output) -> Result<ForeignSet, Failure> {
    let set = parse_set(bytes).map_err(|error| Failure::usage(trust::error_chain(&error)))?;
    for key in &set.left_out {
        output.remark(format!("A key of the set is left out: {}.", key.why));
    }
    Ok(set)
}

/// A result for each signature. A signature by a key that stands in the set and cannot be used is no
/// verdict, and an error about the set.
pub fn offline(set: &ForeignSet, all: &[&str], beside: Beside<'_>) -> Result<Vec<Value>, Failure> {
    all.iter()
        .map(|text| match check(set, text, beside) {
            Ok(kid) => Ok(json!({"verdict": "VALID", "kid": kid, "explanation": "signature only"})),
            Err(No::Invalid { reason, why }) => {
                Ok(json!({"verdict": "INVALID", "reasons": [reason], "explanation": why}))
            }
            Err(No::Unusable(why)) => Err(Failure::usage(format!(
                "the key set cannot be used for this signature: {why}"
            ))),
        })
        .collect()
}

/// Why there is no good signature.
enum No {
    /// In a stable code and in words.
    Invalid { reason: Reason, why: String },
    /// The key is there, and is not to be used.
    Unusable(String),
}

impl<E: std::fmt::Display> From<E> for No {
    fn from(error: E) -> Self {
        Self::Invalid {
            reason: Reason::BadSignature,
            why: error.to_string(),
        }
    }
}

/// One signature of those that stand in a document, and what it is over.
struct Candidate {
    kid: Option<String>,
    /// As its header names it; an envelope names none.
    alg: Option<String>,
    message: Vec<u8>,
    signature: Vec<u8>,
    objection: Option<String>,
    lacks_payload: bool,
}

impl From<UnverifiedJws> for Candidate {
    fn from(jws: UnverifiedJws) -> Self {
        Self {
            kid: Some(jws.kid).filter(|kid| !kid.is_empty()),
            alg: Some(jws.alg),
            message: jws.signing_input,
            signature: jws.signature,
            objection: jws.objection,
            lacks_payload: jws.lacks_payload,
        }
    }
}

/// A compact JWS, one in JSON (RFC 7515 section 7), or a DSSE envelope.
fn candidates(text: &str, beside: Beside<'_>) -> Result<Vec<Candidate>, No> {
    if !text.starts_with('{') {
        return Ok(vec![parse_jws(text, beside.payload)?.into()]);
    }
    let value: Option<Value> = serde_json::from_str(text).ok();
    if value.is_none_or(|value| value.get("payloadType").is_none()) {
        let all = parse_jws_json(text.as_bytes(), beside.payload)?;
        return Ok(all.into_iter().map(Candidate::from).collect());
    }
    let envelope = Envelope::decode(text.as_bytes())?;
    let message = pae(&envelope.payload_type, &envelope.unverified_payload()?);
    if trust::namespace::is_reserved(&message) {
        return Err(No::Invalid {
            reason: Reason::WrongUsage,
            why: "a proof of possession, or another message of the service's own".to_owned(),
        });
    }
    let mut unreadable = None;
    let read = envelope.signatures.iter().filter_map(|signature| {
        let bytes = signature.bytes();
        let bytes = bytes.map_err(|error| unreadable = Some(error)).ok()?;
        let kid = beside.kid.or(signature.keyid());
        Some(Candidate {
            kid: kid.map(str::to_owned),
            alg: None,
            message: message.clone(),
            signature: bytes,
            objection: None,
            lacks_payload: false,
        })
    });
    let read: Vec<_> = read.collect();
    match unreadable {
        Some(error) if read.is_empty() => Err(error.into()),
        _ => Ok(read),
    }
}

/// The kid of a key that made one of the signatures. Signatures by keys that are not in the set are
/// somebody else's, unless there is no other.
fn check(set: &ForeignSet, text: &str, beside: Beside<'_>) -> Result<String, No> {
    let all = candidates(text, beside)?;
    let mut first = None;
    for candidate in &all {
        for key in set.named(candidate.kid.as_deref()) {
            match by_key(candidate, key) {
                Ok(()) => return Ok(shown(candidate, key)),
                Err(no) => first = first.or(Some(no)),
            }
        }
    }
    if let Some(no) = first {
        return Err(no);
    }
    let kids = || all.iter().filter_map(|candidate| candidate.kid.as_deref());
    if let Some(why) = kids().find_map(|kid| set.why_left_out(kid)) {
        return Err(No::Unusable(why.to_owned()));
    }
    Err(No::Invalid {
        reason: Reason::UnknownKey,
        why: match kids().next() {
            Some(kid) => format!("the file has no key {kid}"),
            None => "the signature names no key, and the file has several".to_owned(),
        },
    })
}

fn shown(candidate: &Candidate, key: &ForeignKey) -> String {
    let named = key.kid.clone().or_else(|| candidate.kid.clone());
    named.unwrap_or_else(|| key.public.kid().to_string())
}

fn by_key(candidate: &Candidate, key: &ForeignKey) -> Result<(), No> {
    // A good signature does not make good what its header asks for and is not done here.
    if let Some(objection) = &candidate.objection {
        return Err(objection.into());
    }
    let spec = key.public.spec();
    let algorithm = match (candidate.alg.as_deref(), key.algorithm) {
        (Some(alg), of_key) => {
            let mut all = Algorithm::ALL.into_iter();
            let named = all.find(|each| each.is_named(alg));
            let named = named.ok_or_else(|| format!("algorithm {alg:?} is not accepted"))?;
            if of_key.is_some_and(|of_key| of_key != named) {
                return Err("the key has a different algorithm".into());
            }
            named
        }
        (None, Some(of_key)) => of_key,
        (None, None) => Algorithm::only_for(spec)
            .ok_or("neither the envelope nor the key names an algorithm")?,
    };
    let verifier = Verifier::new(&key.public, algorithm)?;
    let mut verified = verifier.verify_message(&candidate.message, &candidate.signature);
    // Envelopes carry ECDSA signatures in DER.
    if verified.is_err() && candidate.alg.is_none() && algorithm.is_ecdsa() {
        let half = spec.signature_len() / 2;
        let fixed = trust::signature::der_to_p1363(&candidate.signature, half)?;
        verified = verifier.verify_message(&candidate.message, &fixed);
    }
    match verified {
        Err(_) if candidate.lacks_payload => return Err(NO_PAYLOAD.into()),
        verified => verified?,
    }
    // A set of somebody else's says nothing of usages; a key of ours for another one signs no structure.
    let other = |usage: &&str| *usage != Usage::Structured.name();
    match key.usage.as_deref().filter(other) {
        Some(usage) => Err(No::Invalid {
            reason: Reason::WrongUsage,
            why: format!("the key's usage is {usage:?}, which does not allow JWS or DSSE"),
        }),
        None => Ok(()),
    }
}
