//! What is carried out on a machine without a network: an approved request goes there on a file, and what was done comes
//! back on another.
//!
//! The intent is written before the file leaves, so the ceremony is `executing`, and a lease says that it is on a file. That
//! machine counts the approvals itself, from the pinned genesis, before it touches the token. What comes back is unsigned:
//! facts that custodians accept or do not, once this service has put them into the same statement as if it had been here.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use trust::base64url::Base64Url;
use trust::format::V1;
use trust::transcript::Record;
use trust::{
    ApprovedOperation, Destroy, Generate, History, Kid, Location, Operation, Outcome, Pin, Place,
    PublicKey, Request, Sha256Digest, Time, Trusted, json,
};

use super::error::Error;
use super::execute::{generated_outcome, require_token};
use super::intend::sole_location;
use super::report::Report;
use super::service::{CeremonyFacts, CeremonyService};
use crate::keys::Snapshot;
use store::{CeremonyState, KeyObjectRow, ObjectState};
use token::{Executor, Found};
use trust::text::is_plain;
use trust::withdrawal::MAX_REASON;

/// Beyond `execute_by`, for the way back.
const WAY_BACK: Duration = Duration::from_secs(3_600);

/// How far the clock of a machine without a network may be behind.
const BEHIND: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum RequestKind {
    #[serde(rename = "chancery-execution-request")]
    ChanceryExecutionRequest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum ResultKind {
    #[serde(rename = "chancery-execution-result")]
    ChanceryExecutionResult,
}

/// How both files are written. The digest finds what was damaged on the way; what was changed on purpose is found by the
/// approvals, and when the result comes back.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digested<T> {
    body: T,
    sha256: Sha256Digest,
}

fn encode(body: &(impl Serialize + Clone)) -> Result<Vec<u8>, Error> {
    Ok(json::canonical(&Digested {
        body: body.clone(),
        sha256: Sha256Digest::of(&json::canonical(body)?),
    })?)
}

fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let changed = |why: &dyn std::fmt::Display| {
        Error::Unfit(format!(
            "the file was changed on the way, or is another one: {why}"
        ))
    };
    let file: Digested<T> = json::require_canonical(bytes).map_err(|error| changed(&error))?;
    match Sha256Digest::of(&json::canonical(&file.body)?) == file.sha256 {
        true => Ok(file.body),
        false => Err(changed(&"its digest is another one")),
    }
}

/// The file that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedRequest {
    /// When the intent was written; the quorum held then.
    intended_at: Time,
    /// Of the keys that are destroyed (DER), in the order of the request.
    public_keys: Vec<Base64Url>,
    record: Record,
    #[serde(rename = "type")]
    kind: RequestKind,
    v: V1,
}

/// The file that comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedResult {
    /// By that machine's clock; it proves nothing.
    carried_out_at: Time,
    ceremony: Sha256Digest,
    /// None where the token has nothing of it.
    outcome: Option<Outcome>,
    /// Of the file that went.
    request_file: Sha256Digest,
    #[serde(rename = "type")]
    kind: ResultKind,
    v: V1,
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What was approved.
    CarryOut,
    /// After a crash: nothing is generated, and what the token has is told.
    ReadBack,
}

impl CarriedRequest {
    /// Nothing in it is verified by that.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode(bytes)
    }

    /// The ceremony's id.
    pub fn ceremony(&self) -> Sha256Digest {
        Sha256Digest::of(self.record.request.as_bytes())
    }

    /// Counted anew, as of the intent and, where something is to be done, as of now. This machine's clock has nothing to
    /// compare itself with, so a clock that is before the intent is wrong.
    fn approved(
        &self,
        trusted: &Trusted,
        (now, look): (Time, Look),
    ) -> Result<ApprovedOperation, Error> {
        if self.intended_at.since(now) > BEHIND {
            let why = format!(
                "the clock of this machine says {now}, which is before the file was written ({})",
                self.intended_at
            );
            return Err(Error::Unfit(why));
        }
        let ceremony = self.record.ceremony();
        let history = History::claimed_by(&ceremony.request);
        let tally = |at| trust::tally(trusted, &ceremony, &history, at).into_approved();
        let not = |not: trust::tally::NotApproved| Error::NotApproved(not.standing);
        let intended = tally(self.intended_at).map_err(not)?;
        match look {
            // What the token has is told however late it is: it was made in its time or is not there.
            Look::ReadBack => Ok(intended),
            Look::CarryOut => tally(now.max(self.intended_at)).map_err(not),
        }
    }

    /// Whether anything may still be done.
    fn is_late(&self, now: Time) -> Result<bool, Error> {
        Ok(now > Request::decode(self.record.request.as_bytes())?.execute_by)
    }
}

impl CarriedResult {
    /// Nothing in it is verified by that.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode(bytes)
    }

    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        encode(self)
    }

    pub fn ceremony(&self) -> Sha256Digest {
        self.ceremony
    }

    /// What is read aloud.
    pub fn kids(&self) -> Vec<Kid> {
        self.outcome
            .as_ref()
            .map(super::report::kids)
            .unwrap_or_default()
    }

    /// Whether anything was done.
    pub fn is_done(&self) -> bool {
        self.outcome.is_some()
    }
}

/// Carries a file out, without a database: from the pinned genesis alone.
pub async fn carry_out(
    bytes: &[u8],
    pin: &Pin,
    executor: &Executor,
    (now, look): (Time, Look),
) -> Result<CarriedResult, Error> {
    let file = CarriedRequest::decode(bytes)?;
    let trusted = trust::chain::walk(&file.record.chains, pin)?;
    let outcome = match file.approved(&trusted, (now, look))? {
        ApprovedOperation::Generate(approved) => {
            let order = approved.order().clone();
            let Place::Pkcs11(place) = &order.place else {
                return Err(Error::Unfit("key vaults are not supported".to_owned()));
            };
            require_token(executor, &place.token_serial, &place.token_label).await?;
            let found = executor.list().await?;
            let found = found.iter().find(|found| found.cka_id == place.cka_id.0);
            let generated = match (look, found) {
                // Whatever comes of it, the next look finds it by the CKA_ID that custodians signed.
                (Look::CarryOut, None) => Some(executor.generate(approved).await?),
                (Look::CarryOut, Some(_)) => return Err(Error::CarriedOutBefore),
                (Look::ReadBack, None) => None,
                (Look::ReadBack, Some(pair)) if pair.is_complete() => {
                    Some(executor.read_back(place.cka_id.0).await?)
                }
                (Look::ReadBack, Some(_)) => {
                    let why = "the token has one half of the key pair: remove it with the vendor's tool, then read back again";
                    return Err(Error::Unfit(why.to_owned()));
                }
            };
            match generated {
                Some(generated) => {
                    let request = file.record.request.as_bytes();
                    let outcome = generated_outcome(request, &order, &generated, executor).await?;
                    Some(Outcome::Generated(Box::new(outcome)))
                }
                None => None,
            }
        }
        ApprovedOperation::Destroy(approved) => {
            let order = approved.order().clone();
            file.destroy(Arc::new(approved), &order, executor, (now, look))
                .await?
        }
        _ => {
            let why = "only what touches a token is carried out elsewhere";
            return Err(Error::Unfit(why.to_owned()));
        }
    };
    Ok(CarriedResult {
        carried_out_at: now,
        ceremony: file.ceremony(),
        outcome,
        request_file: Sha256Digest::of(bytes),
        kind: ResultKind::ChanceryExecutionResult,
        v: V1,
    })
}

impl CarriedRequest {
    /// All keys are looked for before any is touched. Read back, a destruction that died in the middle is ended: what is
    /// left of it was approved.
    async fn destroy(
        &self,
        approved: Arc<trust::Approved<Destroy>>,
        order: &Destroy,
        executor: &Executor,
        (now, look): (Time, Look),
    ) -> Result<Option<Outcome>, Error> {
        if self.public_keys.len() != order.keys.len() {
            let why = "the file has not the public keys of the keys in its request";
            return Err(Error::Unfit(why.to_owned()));
        }
        let found = executor.list().await?;
        let mut left = Vec::with_capacity(order.keys.len());
        for (key, spki) in order.keys.iter().zip(&self.public_keys) {
            let is_named = PublicKey::from_spki_der(&spki.0).is_ok_and(|of| of.kid() == key.kid);
            let Location::Pkcs11(at) = sole_location(key)? else {
                return Err(Error::Unfit("key vaults are not supported".to_owned()));
            };
            if !is_named {
                let why = format!("the file has another public key than that of {}", key.kid);
                return Err(Error::Unfit(why));
            }
            require_token(executor, &at.token_serial, &at.token_label).await?;
            let here = |found: &Found| found.cka_id == at.cka_id.0;
            if found.iter().any(here) {
                left.push((key, spki.0.clone()));
            }
        }
        let all = left.len() == order.keys.len();
        match look {
            Look::CarryOut if !all => return Err(Error::CarriedOutBefore),
            Look::ReadBack if all => return Ok(None),
            Look::ReadBack if !left.is_empty() && self.is_late(now)? => {
                let why = format!(
                    "{} of {} keys are destroyed, and it is too late for the others: end it by `chancery executor recall` and propose it anew",
                    order.keys.len() - left.len(),
                    order.keys.len()
                );
                return Err(Error::Unfit(why));
            }
            _ => {}
        }
        for (key, spki) in left {
            executor.destroy(Arc::clone(&approved), key, spki).await?;
        }
        Ok(Some(Outcome::Destroyed {
            kids: order.keys.iter().map(|key| key.kid.clone()).collect(),
        }))
    }
}

impl CeremonyService {
    /// An approved ceremony for a machine without a network: the intent is written, and from then on it is carried out
    /// there or nowhere. The same file again, as long as it has not come back.
    ///
    /// Until the intent the lease is a short one, as of any executor: if we die before it, somebody else carries it out soon.
    /// If we die after it and before the long one, no file has left, and reconciliation ends it.
    pub async fn export_execution(&self, id: &str, snapshot: &Snapshot) -> Result<Vec<u8>, Error> {
        if let Some(claim) = self.claim_on_a_file(id).await? {
            let facts = self.facts(id).await?;
            if facts.row.state == CeremonyState::Executing {
                claim.hold_for(self.way(&facts)?).await?;
                return self.carried_request(&facts).await;
            }
        }
        let claim = self.claim_for_a_file(id).await?;
        if let Err(error) = self.intend_elsewhere(id, snapshot).await {
            claim.give_back().await;
            return Err(error);
        }
        let facts = self.facts(id).await?;
        claim.hold_for(self.way(&facts)?).await?;
        self.carried_request(&facts).await
    }

    /// How long a file may be under way.
    fn way(&self, facts: &CeremonyFacts) -> Result<Duration, Error> {
        let execute_by = Request::decode(&facts.row.request)?.execute_by;
        Ok(execute_by.since(self.env.now()) + WAY_BACK)
    }

    /// Ends what is on a file that will not come back, or whose result can no longer be accepted, because roster, policy or
    /// suspensions have changed since. Whatever that machine did or does: a key that it made is never accepted, and one that
    /// it destroyed is destroyed once more, by a ceremony that finds nothing.
    pub async fn recall_execution(&self, id: &str, reason: &str) -> Result<Report, Error> {
        if !is_plain(reason, MAX_REASON) {
            return Err(Error::Reason);
        }
        let facts = self.facts(id).await?;
        let claim = self.claim_on_a_file(&facts.id).await?;
        let (CeremonyState::Executing, Some(claim)) = (facts.row.state, claim) else {
            return Err(Error::State {
                found: facts.row.state.to_string(),
                needed: "executing, on a file",
            });
        };
        let why = format!("recalled: {reason}");
        match &Request::decode(&facts.row.request)?.operation {
            Operation::Generate(order) => {
                let object = order.place.object();
                self.resolve(&facts, &object, ObjectState::Abandoned, &why)
                    .await?;
            }
            Operation::Destroy(order) => {
                for object in self.objects(&objects_of(order)?).await? {
                    // An import that died in the middle recorded some.
                    if object.state == ObjectState::Destroying {
                        self.resolve(&facts, &object.id, ObjectState::Present, &why)
                            .await?;
                    }
                }
            }
            _ => return Err(Error::Unfit("it touches no token".to_owned())),
        }
        claim.give_back().await;
        self.report(&facts.id).await
    }

    async fn intend_elsewhere(&self, id: &str, snapshot: &Snapshot) -> Result<(), Error> {
        let facts = self.facts(id).await?;
        not_under_an_order(&facts)?;
        let now = self.env.now();
        match self.approved_now(&facts, now).await? {
            ApprovedOperation::Generate(approved) => {
                self.intend_generation(&facts, approved.order(), now).await
            }
            ApprovedOperation::Destroy(approved) => {
                let ending = self.checked_for_destruction(&approved.order().keys, snapshot)?;
                self.intend_destruction(&facts, &ending).await
            }
            _ => Err(Error::Unfit(
                "it touches no token: `chancery ceremony execute` carries it out".to_owned(),
            )),
        }
    }

    /// Made of what the database has, so it is the same each time.
    async fn carried_request(&self, facts: &CeremonyFacts) -> Result<Vec<u8>, Error> {
        let request = Request::decode(&facts.row.request)?;
        let kids: Vec<String> = match &request.operation {
            Operation::Generate(_) => Vec::new(),
            Operation::Destroy(order) => {
                let kids = order.keys.iter().map(|key| key.kid.to_string());
                kids.collect()
            }
            _ => return Err(Error::Unfit("it touches no token".to_owned())),
        };
        let rows = self.store.keys_of(&kids).await?;
        let mut public_keys = Vec::with_capacity(kids.len());
        for kid in &kids {
            let mut rows = rows.read.iter();
            let row = rows.find(|row| row.kid.as_str() == kid);
            let row = row.ok_or_else(|| Error::Unfit(format!("unknown key {kid}")))?;
            public_keys.push(Base64Url(row.spki.clone()));
        }
        let file = CarriedRequest {
            // When it began to be carried out. Its objects would not do: an import that died in the middle moved some.
            intended_at: facts.row.updated_at,
            public_keys,
            record: facts.record(self.noted_by_now(facts).await?)?,
            kind: RequestKind::ChanceryExecutionRequest,
            v: V1,
        };
        encode(&file)
    }

    async fn objects(&self, ids: &[String]) -> Result<Vec<KeyObjectRow>, Error> {
        let rows = self.store.objects(ids).await?;
        match (rows.unreadable.is_empty(), rows.read.len() == ids.len()) {
            (true, true) => Ok(rows.read),
            _ => Err(Error::Unfit(
                "the objects of the ceremony cannot be read from the database".to_owned(),
            )),
        }
    }

    /// Takes what was done elsewhere, as long as nobody else has settled it. It is only stated; custodians accept it.
    pub async fn import_execution(&self, bytes: &[u8]) -> Result<Report, Error> {
        let result = CarriedResult::decode(bytes)?;
        let id = result.ceremony.to_string();
        let facts = self.facts(&id).await?;
        let claim = self.claim_on_a_file(&id).await?;
        let (CeremonyState::Executing, Some(claim)) = (facts.row.state, claim) else {
            return Err(Error::State {
                found: facts.row.state.to_string(),
                needed: "executing, on a file",
            });
        };
        not_under_an_order(&facts)?;
        let file = self.carried_request(&facts).await?;
        if Sha256Digest::of(&file) != result.request_file {
            let why = "the result is not of the file that was exported, or roster, policy or suspensions have changed since: it can be ended by `chancery executor recall`";
            self.record_refusal("import", &facts, why).await?;
            return Err(Error::Unfit(why.to_owned()));
        }
        let intended_at = CarriedRequest::decode(&file)?.intended_at;
        let request = Request::decode(&facts.row.request)?;
        match (&request.operation, result.outcome) {
            (Operation::Generate(order), outcome) => {
                self.take_generation(&facts, order, outcome, intended_at)
                    .await?;
            }
            (Operation::Destroy(order), outcome) => {
                self.take_destruction(&facts, order, outcome, intended_at)
                    .await?;
            }
            _ => return Err(Error::Unfit("it touches no token".to_owned())),
        }
        claim.give_back().await;
        self.report(&id).await
    }

    async fn take_generation(
        &self,
        facts: &CeremonyFacts,
        order: &Generate,
        outcome: Option<Outcome>,
        intended_at: Time,
    ) -> Result<(), Error> {
        match outcome {
            Some(Outcome::Generated(generated)) => {
                self.record_outcome(facts, order, *generated, intended_at, "generated")
                    .await?;
                Ok(())
            }
            None => {
                let object = order.place.object();
                let why = "nothing was generated elsewhere";
                self.resolve(facts, &object, ObjectState::Abandoned, why)
                    .await
            }
            Some(_) => Err(other_outcome()),
        }
    }

    async fn take_destruction(
        &self,
        facts: &CeremonyFacts,
        order: &Destroy,
        outcome: Option<Outcome>,
        intended_at: Time,
    ) -> Result<(), Error> {
        let named: Vec<Kid> = order.keys.iter().map(|key| key.kid.clone()).collect();
        let is_done = match outcome {
            Some(Outcome::Destroyed { kids }) if kids == named => true,
            None => false,
            Some(_) => return Err(other_outcome()),
        };
        // Whoever imported it before may have died in the middle.
        let objects = self.objects(&objects_of(order)?).await?;
        for key in &order.keys {
            let id = sole_location(key)?.object();
            let mut objects = objects.iter();
            let due = |row: &KeyObjectRow| row.id == id && row.state == ObjectState::Destroying;
            match (objects.any(due), is_done) {
                (false, _) => {}
                (true, true) => self.archive(facts, key, intended_at).await?,
                (true, false) => {
                    let why = "nothing was destroyed elsewhere";
                    self.resolve(facts, &id, ObjectState::Present, why).await?;
                }
            }
        }
        match is_done {
            true => {
                self.record_destruction(facts, order, intended_at, "destroyed")
                    .await
            }
            false => Ok(()),
        }
    }
}

fn objects_of(order: &Destroy) -> Result<Vec<String>, Error> {
    let objects = order.keys.iter();
    objects
        .map(|key| Ok(sole_location(key)?.object()))
        .collect()
}

fn other_outcome() -> Error {
    Error::Unfit("the result is of another operation than the request".to_owned())
}

/// What comes on a file is only stated, and under a standing order the executor's signature over it may be acceptance enough:
/// it signs what it has made itself and nothing else.
fn not_under_an_order(facts: &CeremonyFacts) -> Result<(), Error> {
    match facts.ceremony.order {
        None => Ok(()),
        Some(_) => Err(Error::Unfit(
            "a key under a standing order is made where its executor's key and the database are"
                .to_owned(),
        )),
    }
}
