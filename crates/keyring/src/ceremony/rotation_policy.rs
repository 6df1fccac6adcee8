//! The policy by which a critical key type rotates: what is asked for, whether it may still be, and how it takes effect.

use calendar::{KeyTypes, Policy, PolicyDocument};
use trust::leaf::ActKind;
use trust::request::{LONGEST_POLICY, RotationPolicy};
use trust::{Approved, KeyTypeName, Name, Operation, Outcome, Request, Sha256Digest, Time};

use super::error::Error;
use super::service::{CeremonyFacts, CeremonyService};
use log::{Event, key_types, policy_in_force};
use store::{Change, InventoryChange, PolicyRow, policy_asset};

/// The action of the leaf that tells that it was carried out, which HeldUnder in `trust` knows.
const SET: &str = "policy-set";

/// How often it is looked again because something came meanwhile.
const ATTEMPTS: usize = 3;

impl CeremonyService {
    /// The next version of the policy of a critical key type, with the one that it replaces, if it is what a policy has to
    /// be as of now. What the database has beside it that nobody decided does not keep a quorum from deciding: its number is
    /// passed over.
    pub(super) async fn policy_change(
        &self,
        document: &PolicyDocument,
    ) -> Result<RotationPolicy, Error> {
        let unfit = |what: String| Err(Error::Unfit(what));
        let types = key_types(&self.store).await?;
        let of = &document.key_type;
        let Some(key_type) = types.get(of.as_str()) else {
            return unfit(format!("no key type has the name {of}"));
        };
        if !key_type.is_critical() {
            return unfit(format!(
                "{of} is no critical key type: `chancery policy set` changes its policy"
            ));
        }
        let in_force = policy_in_force(&self.store, &self.pin, of).await?;
        let replaced = in_force.document(key_type);
        let newest = self.store.newest_policy_version(of).await?;
        let next = next_version(replaced.version, newest);
        if Some(document.version) != next {
            let next = next.map_or_else(
                || "none: there is no higher one".to_owned(),
                |next| next.to_string(),
            );
            return unfit(format!(
                "version {} of the policy of {of}, expected {next}: it follows version {}, which is in force, and the newest in the database",
                document.version, replaced.version
            ));
        }
        if let Err(why) = self.may_be(&types, document, self.env.now()) {
            return unfit(why);
        }
        let [document, replaces] = [canonical(document)?, canonical(&replaced)?];
        if document.len() > LONGEST_POLICY {
            return unfit(format!("a policy of more than {LONGEST_POLICY} bytes"));
        }
        let key_type: Result<KeyTypeName, _> = of.as_str().parse();
        let key_type = key_type
            .map_err(|error: trust::key_type::NotAKeyType| Error::Unfit(error.to_string()))?;
        let version = next.unwrap_or_default();
        Ok(RotationPolicy {
            document,
            key_type,
            replaces,
            version,
        })
    }

    /// Whether a policy is what one has to be at an instant.
    fn may_be(&self, types: &KeyTypes, document: &PolicyDocument, at: Time) -> Result<(), String> {
        let at = calendar::Time::from_millis(at.millis());
        match Policy::check(types, document.clone(), self.caches, at) {
            Ok(_) => Ok(()),
            Err(errors) => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                Err(errors.join("; "))
            }
        }
    }

    /// Whether what was asked for is still the next version, in place of what is in force, and what a policy has to be.
    pub(crate) async fn policy_is_next(&self, order: &RotationPolicy) -> Result<(), Error> {
        let document = read(order)?;
        match self.policy_change(&document).await? == *order {
            true => Ok(()),
            false => Err(Error::Unfit(format!(
                "the request replaces another policy of {} than the one in force",
                order.key_type
            ))),
        }
    }

    /// A policy takes effect when it is accepted: by the leaf that says so.
    pub(super) async fn set_policy(
        &self,
        facts: &CeremonyFacts,
        approved: &Approved<Box<RotationPolicy>>,
        now: Time,
    ) -> Result<(), Error> {
        self.policy_is_next(approved.order()).await?;
        let outcome = Outcome::PolicySet(approved.order().decided());
        self.by_record(facts, outcome, SET, now).await
    }

    /// The last leaf on the policy, where what was carried out can still take effect: it replaces what is in force, its number
    /// is free, and it is what a policy has to be as of then.
    pub(super) async fn may_take_effect(
        &self,
        order: &RotationPolicy,
        at: Time,
    ) -> Result<Option<i64>, Error> {
        let (types, last) = self.replaces_what_is_in_force(order).await?;
        let document = read(order)?;
        match self.may_be(&types, &document, at) {
            Ok(()) => Ok(last),
            Err(why) => Err(Error::Overtaken(format!(
                "the policy of {} may not be as it is any more: {why}",
                document.key_type
            ))),
        }
    }

    /// The key types and the last leaf on the policy, where what was carried out replaces what is in force and its number is
    /// free.
    pub(super) async fn replaces_what_is_in_force(
        &self,
        order: &RotationPolicy,
    ) -> Result<(KeyTypes, Option<i64>), Error> {
        let of = read(order)?.key_type;
        let types = key_types(&self.store).await?;
        let Some(key_type) = types.get(of.as_str()) else {
            return Err(Error::Overtaken(format!("no key type has the name {of}")));
        };
        let in_force = policy_in_force(&self.store, &self.pin, &of).await?;
        let replaced = in_force.document(key_type);
        if canonical(&replaced)? != order.replaces {
            return Err(Error::Overtaken(format!(
                "the policy of {of} has version {} by now, and this one was to replace another",
                replaced.version
            )));
        }
        let newest = self.store.newest_policy_version(&of).await?;
        if newest >= order.version.into() {
            return Err(Error::Overtaken(format!(
                "version {} of the policy of {of} stands in the database, and no ceremony decided it: propose a higher one",
                order.version
            )));
        }
        Ok((types, in_force.last))
    }

    /// Nobody is asked to accept a policy that never takes effect.
    pub(super) async fn still_takes_effect(
        &self,
        facts: &CeremonyFacts,
        at: Time,
    ) -> Result<(), Error> {
        match Request::decode(&facts.row.request)?.operation {
            Operation::RotationPolicy(order) => self.may_take_effect(&order, at).await.map(drop),
            _ => Ok(()),
        }
    }

    /// The policy with its transcript and its leaf, in one transaction. Of two that replace the same one, the second has no
    /// effect.
    pub(super) async fn close_policy(
        &self,
        facts: &CeremonyFacts,
        (request, order): (&Request, &RotationPolicy),
        (transcript, core): (Vec<u8>, Sha256Digest),
        at: Time,
    ) -> Result<(), Error> {
        let proposer = request.proposer.as_ref().map(Name::as_str);
        let policy = PolicyRow {
            document: read(order)?,
            reason: request.reason.clone(),
            changed_by: trust::actor::Actor::Member(proposer.unwrap_or_default()).to_string(),
            changed_at: at,
            index: 0,
        };
        let asset = policy_asset(order.key_type.as_str());
        let event = Event {
            asset: Some(&asset),
            digest: Some(core),
            kind: ActKind::Ceremony,
            previous_version: order.replaced().map(u64::from),
            reason: Some(&request.reason),
            time: at,
            version: Some(order.version.into()),
            ..self.about(facts, "accepted")
        };
        let mut attempts = 0;
        loop {
            let last = self.may_take_effect(order, at).await?;
            let change = InventoryChange::DecidePolicy {
                ceremony: facts.id.clone(),
                policy: Box::new(policy.clone()),
                last,
                transcript: transcript.clone(),
                at: at.millis(),
            };
            let change = Change::Inventory(Box::new(change));
            attempts += 1;
            match self.log.commit(&change, &event).await {
                // Another took effect, or a row came, since it was looked.
                Err(store::Error::Conflict {
                    what: store::Subject::Policy,
                    ..
                }) if attempts < ATTEMPTS => {}
                done => {
                    done?;
                    return Ok(());
                }
            }
        }
    }
}

/// The number after that in force and that of the newest row, whoever wrote it.
fn next_version(in_force: u32, newest: i64) -> Option<u32> {
    u32::try_from(newest.max(in_force.into()).saturating_add(1)).ok()
}

/// What is known of the policy that a request says it replaces, without believing the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// What the quorum decided last, or what the key type begins with.
    Known,
    /// Another one.
    Differs,
    /// Nothing here tells: of a key type of the installation nobody decided yet, or the ceremony before has no transcript.
    Unknown,
}

/// By the request before it on this policy, whose transcript verifies; none of a request that changes no policy.
pub fn replaced(request: &Request, before: Option<&Request>) -> Option<Replaced> {
    let Operation::RotationPolicy(order) = &request.operation else {
        return None;
    };
    let is_first = request.lines.first().is_some_and(|line| line.sequence == 1);
    let known = match before.map(|before| &before.operation) {
        Some(Operation::RotationPolicy(before)) => Some(before.document.clone()),
        None if is_first => KeyTypes::standard()
            .get(order.key_type.as_str())
            .and_then(|key_type| canonical(&PolicyDocument::standard(key_type)).ok()),
        _ => None,
    };
    Some(match known {
        Some(known) if known == order.replaces => Replaced::Known,
        Some(_) => Replaced::Differs,
        None => Replaced::Unknown,
    })
}

/// The policy as its canonical JSON says it.
pub(super) fn read(order: &RotationPolicy) -> Result<PolicyDocument, Error> {
    Ok(trust::json::require_canonical(order.document.as_bytes())?)
}

/// What is signed of a policy.
pub fn canonical(document: &PolicyDocument) -> Result<String, Error> {
    let bytes = trust::json::canonical(document)?;
    String::from_utf8(bytes).map_err(|_| Error::Unfit("a document is not UTF-8".to_owned()))
}
