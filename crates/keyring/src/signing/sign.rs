//! From request to release.
//!
//! The order is the guarantee: the token signs and the signature is verified; one transaction
//! records it and checks that the key may still sign; only then does it leave. If we die anywhere
//! before the last step, nobody has a signature that the audit trail does not know.

use std::sync::Arc;
use std::time::Instant;

use tracing::Instrument as _;
use tracing::field::Empty;
use trust::{LOG_RING, Sha256Digest, Usage};

use super::answer;
use super::formats::{Format, Prepared, Serialised};
use super::readiness::{Outcomes, Readiness, tells};
use super::signed::{Error, Signed};
use crate::keys::{Key, Keys, Ring, Snapshot};
use access::Principal;
use base::Env;
use base::trace::TARGET;
use log::{self, Group, SignatureLeaf};
use store::{Idempotency, Judged, SignatureOutcome, SignatureRecord, Store};
use token::{self, Pool};

/// Items of a batch that are under way together.
const CHUNK: usize = 256;

/// What a repeated request is recognised by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub String);

/// The sign path; cheap to clone.
#[derive(Clone)]
pub struct Signing {
    pub(super) keys: Arc<Keys>,
    pub(super) pool: Pool,
    group: Group,
    pub(super) store: Store,
    pub(super) env: Env,
    pub(super) readiness: Arc<Readiness>,
}

/// What the items of one request share.
struct Request<'a> {
    caller: &'a Principal,
    ring: &'a str,
    idempotency: Option<&'a IdempotencyKey>,
    deadline: Instant,
}

/// One item on its way.
struct Item {
    format: Format,
    idempotency: Option<(String, String)>,
}

impl Signing {
    pub fn new(keys: Arc<Keys>, pool: Pool, group: Group, store: Store, env: Env) -> Self {
        Self {
            keys,
            pool,
            group,
            store,
            env,
            readiness: Arc::default(),
        }
    }

    /// What the last signatures came to.
    pub fn outcomes(&self) -> Outcomes {
        self.readiness.outcomes()
    }

    /// `algorithm` is what the caller expects the ring to use, if it said so.
    pub async fn sign(
        &self,
        caller: &Principal,
        ring: &str,
        format: Format,
        algorithm: Option<&str>,
        idempotency: Option<IdempotencyKey>,
        deadline: Instant,
    ) -> Result<Signed, Error> {
        let formats = vec![Ok(format)];
        self.sign_batch(caller, ring, formats, algorithm, idempotency, deadline)
            .await?
            .pop()
            .unwrap_or_else(|| Err(Error::Broken("no result".to_owned())))
    }

    /// Each item has a result of its own; one bad item does not stop the others. The outer error
    /// is for what concerns them all: the ring, the caller, the algorithm.
    pub async fn sign_batch(
        &self,
        caller: &Principal,
        ring: &str,
        formats: Vec<Result<Format, String>>,
        algorithm: Option<&str>,
        idempotency: Option<IdempotencyKey>,
        deadline: Instant,
    ) -> Result<Vec<Result<Signed, Error>>, Error> {
        let snapshot = self.keys.current();
        // Somebody who may not sign on a ring does not learn whether it exists.
        if !caller.may_sign(ring) {
            return Err(Error::NotAllowed {
                principal: caller.name.to_string(),
                ring: ring.to_owned(),
            });
        }
        // Whatever the caller may do: a key of the log signs checkpoints and nothing else.
        if ring == LOG_RING {
            return Err(Error::Reserved(ring.to_owned()));
        }
        let found = find(&snapshot, ring).map_err(|why| why(ring.to_owned()))?;
        if let Some(asked) = algorithm.filter(|asked| !found.algorithm.is_named(asked)) {
            return Err(Error::WrongAlgorithm {
                ring: ring.to_owned(),
                algorithm: found.algorithm,
                asked: asked.to_owned(),
            });
        }
        let request = Request {
            caller,
            ring,
            idempotency: idempotency.as_ref(),
            deadline,
        };
        let mut results = Vec::with_capacity(formats.len());
        let mut formats = formats.into_iter().peekable();
        while formats.peek().is_some() {
            let chunk: Vec<_> = formats.by_ref().take(CHUNK).collect();
            results.extend(self.chunk(&request, results.len(), chunk).await);
        }
        Ok(results)
    }

    /// A JWT with `typ: jwk-set+jwt` over the history's claims, by the primary of `ring`.
    pub async fn sign_history(
        &self,
        ring: &str,
        claims: &[u8],
        deadline: Instant,
    ) -> Result<String, Error> {
        let service = Principal::signer("chancery", ring);
        let format = Format::KeyHistory {
            claims: claims.to_vec(),
        };
        let signed = self.sign(&service, ring, format, None, None, deadline);
        match signed.await?.signature {
            Serialised::Jws(text) => Ok(text),
            _ => Err(Error::Broken("the history is not a JWS".to_owned())),
        }
    }

    async fn chunk(
        &self,
        request: &Request<'_>,
        offset: usize,
        formats: Vec<Result<Format, String>>,
    ) -> Vec<Result<Signed, Error>> {
        let mut results: Vec<Option<Result<Signed, Error>>> = Vec::with_capacity(formats.len());
        let mut items = Vec::with_capacity(formats.len());
        for (place, format) in formats.into_iter().enumerate() {
            results.push(None);
            match self.admit(request, offset + place, format).await {
                Ok(Admitted::New(item)) => items.push((place, item)),
                Ok(Admitted::Answered(signed)) => results[place] = Some(Ok(signed)),
                Err(error) => results[place] = Some(Err(error)),
            }
        }
        // A key that was fenced between the snapshot and the commit, or a ring that was opened a
        // moment ago: one more try with the database's present word, so that no caller pays for a
        // rotation, a revocation or a replica that is a moment behind.
        for attempt in [Attempt::First, Attempt::Last] {
            if items.is_empty() {
                break;
            }
            if attempt == Attempt::Last {
                self.keys.refresh().await;
            }
            let mut again = Vec::new();
            let span = tracing::trace_span!(
                target: TARGET,
                "sign",
                chancery.ring = request.ring,
                chancery.signatures = i64::try_from(items.len()).unwrap_or(i64::MAX),
                chancery.kid = Empty,
            );
            for (place, item, outcome) in self.attempt(request, items).instrument(span).await {
                match outcome {
                    Err(
                        Error::KeyMayNotSign(_) | Error::NoActiveKey(_) | Error::Stopped { .. },
                    ) if attempt == Attempt::First => {
                        again.push((place, item));
                    }
                    done => results[place] = Some(done),
                }
            }
            items = again;
        }
        results
            .into_iter()
            .map(|done| done.unwrap_or_else(|| Err(Error::Broken("no result".to_owned()))))
            .collect()
    }

    /// Looks for a stored answer before anything is signed.
    async fn admit(
        &self,
        request: &Request<'_>,
        place: usize,
        format: Result<Format, String>,
    ) -> Result<Admitted, Error> {
        let format = format.map_err(Error::BadInput)?;
        let Some(IdempotencyKey(key)) = request.idempotency else {
            return Ok(Admitted::New(Item {
                format,
                idempotency: None,
            }));
        };
        let key = format!("{key}#{place}");
        let hash = answer::request_hash(request.ring, &format).to_string();
        let stored = self.store.idempotent(&request.caller.name, &key).await;
        match stored.map_err(|e| Error::Log(log::Error::Store(Arc::new(e))))? {
            Some(stored) => answer::from_stored(&stored, &hash, &format).map(Admitted::Answered),
            None => Ok(Admitted::New(Item {
                format,
                idempotency: Some((key, hash)),
            })),
        }
    }

    async fn attempt(
        &self,
        request: &Request<'_>,
        items: Vec<(usize, Item)>,
    ) -> Vec<(usize, Item, Result<Signed, Error>)> {
        let snapshot = self.keys.current();
        if let Some(why) = snapshot.stopped(request.ring, self.env.now()) {
            let stopped = |(place, item)| {
                let ring = request.ring.to_owned();
                let why = why.clone();
                (place, item, Err(Error::Stopped { ring, why }))
            };
            return items.into_iter().map(stopped).collect();
        }
        let judged = snapshot.judged(request.ring);
        let primary = primary(&snapshot, request.ring);
        let (ring, key) = match primary {
            Ok(found) => found,
            Err(why) => {
                return items
                    .into_iter()
                    .map(|(place, item)| (place, item, Err(why(request.ring.to_owned()))))
                    .collect();
            }
        };
        let mut results = Vec::with_capacity(items.len());
        let mut under_way = Vec::with_capacity(items.len());
        let mut inputs = Vec::with_capacity(items.len());
        for (place, item) in items {
            match prepare(&ring, &key, &item.format) {
                Ok(mut prepared) => {
                    inputs.push(std::mem::take(&mut prepared.token_input));
                    under_way.push((place, item, prepared));
                }
                Err(error) => results.push((place, item, Err(error))),
            }
        }
        tracing::Span::current().record("chancery.kid", key.kid.as_str());
        let expected = self.group.expect(inputs.len());
        let span = tracing::trace_span!(target: TARGET, "token", chancery.queue_ms = Empty);
        let made = span.in_scope(|| self.pool.sign_all(&key.handle, inputs, request.deadline));
        let signatures = made.instrument(span).await;
        if signatures.iter().any(Result::is_ok) {
            self.readiness.ring(&key.ring, None);
        } else if let Some(error) = signatures
            .iter()
            .find_map(|s| s.as_ref().err().and_then(tells))
        {
            self.readiness.ring(&key.ring, Some(error));
        }
        let mut records = Vec::with_capacity(signatures.len());
        let mut recorded = Vec::with_capacity(signatures.len());
        for ((place, item, prepared), signature) in under_way.into_iter().zip(signatures) {
            let made = signature.map_err(Error::Token).and_then(|signature| {
                self.record(request, (&key, judged), &item, prepared, &signature)
            });
            match made {
                Ok((record, signed)) => {
                    records.push(record);
                    recorded.push((place, item, signed));
                }
                Err(error) => results.push((place, item, Err(error))),
            }
        }
        if records.is_empty() {
            return results;
        }
        let span = tracing::trace_span!(
            target: TARGET,
            "commit",
            chancery.group = Empty,
            chancery.transaction_ms = Empty,
        );
        match self.group.record(records, expected).instrument(span).await {
            Ok(outcomes) => {
                self.readiness.write(None);
                let released = recorded.into_iter().zip(outcomes);
                results.extend(released.map(|((place, item, signed), outcome)| {
                    let outcome = release(signed, (request.ring, &item), outcome);
                    (place, item, outcome)
                }));
            }
            Err(error) => {
                if let log::Error::Store(_) = &error {
                    self.readiness
                        .write(Some(trust::error_chain(&error).into()));
                }
                let failed = recorded.into_iter();
                results.extend(
                    failed.map(|(place, item, _)| (place, item, Err(Error::Log(error.clone())))),
                );
            }
        }
        results
    }

    /// The record to be committed and the answer that waits for it.
    fn record(
        &self,
        request: &Request<'_>,
        (key, judged): (&Key, Judged),
        item: &Item,
        prepared: Prepared,
        signature: &[u8],
    ) -> Result<(SignatureRecord, Signed), Error> {
        let salt = self.env.random::<16>()?;
        let time = self.env.now();
        let canonical = trust::signature::canonical(key.public.spec(), signature);
        let leaf = SignatureLeaf {
            time,
            actor: &request.caller.name,
            ring: &key.ring_name,
            kid: &key.kid,
            algorithm: key.algorithm,
            sig_hash: Sha256Digest::of(&canonical),
            input_commit: prepared.commitment(&salt),
        }
        .leaf();
        let signed = Signed {
            signature: prepared
                .finish(key.algorithm, &key.kid, signature)
                .map_err(|e| Error::Broken(e.to_string()))?,
            kid: key.kid.clone(),
            number: key.number,
            algorithm: key.algorithm,
            index: -1,
            salt,
            time,
        };
        let idempotency = item.idempotency.as_ref().map(|(name, hash)| Idempotency {
            principal: request.caller.name.to_string(),
            key: name.clone(),
            request_hash: hash.clone(),
            response: answer::to_stored(&signed),
        });
        let record = SignatureRecord {
            leaf,
            kid: key.kid.as_str().to_owned(),
            judged,
            idempotency,
        };
        Ok((record, signed))
    }
}

enum Admitted {
    New(Item),
    Answered(Signed),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Last,
}

/// Why there is no such ring or key, of the ring's name.
type Why = fn(String) -> Error;

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Arc<Ring>, Why> {
    let why = match snapshot.unreadable_rings.contains_key(name) {
        true => Error::UnreadableRing,
        false => Error::UnknownRing,
    };
    snapshot.rings.get(name).ok_or(why)
}

fn primary(snapshot: &Snapshot, name: &str) -> Result<(Arc<Ring>, Arc<Key>), Why> {
    let ring = find(snapshot, name)?;
    let key = ring.primary.as_ref().ok_or(Error::NoActiveKey as Why)?;
    Ok((ring.clone(), key.clone()))
}

fn prepare(ring: &Ring, key: &Key, format: &Format) -> Result<Prepared, Error> {
    let usage = match (ring.usage, format.is_raw()) {
        (Usage::Structured, true) => Some("structured formats (jws, jws-detached, dsse)"),
        (Usage::Raw, false) => Some("raw digests and messages"),
        (Usage::Structured, false) | (Usage::Raw, true) => None,
        _ => Some("checkpoints of the log"),
    };
    if let Some(usage) = usage {
        return Err(Error::WrongUsage {
            ring: ring.name.to_string(),
            usage,
        });
    }
    format
        .prepare(key.algorithm, &key.kid)
        .map_err(Error::BadInput)
}

/// The last gate: what the transaction said of this signature.
fn release(
    signed: Signed,
    (ring, item): (&str, &Item),
    outcome: SignatureOutcome,
) -> Result<Signed, Error> {
    match outcome {
        SignatureOutcome::Committed { index } => Ok(Signed { index, ..signed }),
        SignatureOutcome::KeyMayNotSign => Err(Error::KeyMayNotSign(signed.kid)),
        SignatureOutcome::Unjudged => Err(Error::Stopped {
            ring: ring.to_owned(),
            why: "the log tells of a stop, or an emergency rotation was not ratified".to_owned(),
        }),
        SignatureOutcome::AnsweredBefore(stored) => {
            let hash = item.idempotency.as_ref().map(|(_, hash)| hash.as_str());
            answer::from_stored(&stored, hash.unwrap_or_default(), &item.format)
        }
    }
}

impl Prepared {
    /// `SHA-256(salt ‖ signing input)`.
    fn commitment(&self, salt: &[u8; 16]) -> Sha256Digest {
        let mut bytes = salt.to_vec();
        bytes.extend_from_slice(&self.committed);
        Sha256Digest::of(&bytes)
    }
}
