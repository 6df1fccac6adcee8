//! A request with everything resolved: what is approved is what is done.

use std::time::Duration;

use trust::format::V1;
use trust::request::{CkaId, Nonce, RevocationReason, Usage};
use trust::{
    Destroy, Generate, Kid, Name, Operation, Request, Revoke, Sha256Digest, Template, Time,
};

use super::{Error, Office};
use crate::keys::{self, Key, Ring, Snapshot};
use crate::log::Event;
use crate::store::{CeremonyRow, CeremonyState, Change};

/// Somebody's wish.
pub struct Proposal {
    pub ring: Name,
    pub proposer: Name,
    pub reason: String,
    pub ticket: Option<String>,
    pub approve_by: Time,
    pub execute_by: Time,
    pub draft: Draft,
}

pub enum Draft {
    Generate {
        token_serial: String,
        token_label: String,
        /// From now until it may become primary.
        activate_in: Duration,
        /// How long it is meant to sign.
        lifetime: Duration,
    },
    Destroy {
        kid: Kid,
    },
    Revoke {
        kid: Kid,
        reason: RevocationReason,
        compromised_since: Option<Time>,
    },
}

impl Office {
    /// Resolves the wish against what is, and proposes it. Returns the ceremony's id.
    pub async fn propose(&self, wish: Proposal, snapshot: &Snapshot) -> Result<String, Error> {
        let (_, trusted) = self.trusted().await?;
        let member = trusted.roster().member(&wish.proposer);
        if !member.is_some_and(|member| member.active) {
            return Err(Error::Unfit(format!(
                "the proposer {} is not an active member of the roster",
                wish.proposer
            )));
        }
        let history = self.history().await?;
        let ring = snapshot
            .rings
            .get(wish.ring.as_str())
            .ok_or_else(|| Error::Unfit(format!("there is no ring {}", wish.ring)))?;
        let now = self.ambient.now();
        let operation = match wish.draft {
            Draft::Generate {
                token_serial,
                token_label,
                activate_in,
                lifetime,
            } => {
                let number = self.next_number(ring).await?;
                let activate_at = now + activate_in;
                Operation::Generate(Generate {
                    ring: wish.ring.clone(),
                    algorithm: ring.algorithm,
                    key_spec: ring.key_spec,
                    number,
                    token_serial,
                    token_label,
                    cka_id: CkaId(self.ambient.random()?),
                    label: format!(
                        "{}/{}/{}/{number}",
                        trusted.service(),
                        trusted.environment(),
                        ring.name
                    ),
                    template: Template::signing_key(),
                    critical: ring.critical,
                    usage: match ring.usage {
                        keys::Usage::Structured => Usage::Structured,
                        keys::Usage::Raw => Usage::Raw,
                    },
                    publish_at: now,
                    activate_at,
                    retire_at: activate_at + lifetime,
                    predecessor: ring.keys.last().map(|key| key.kid.clone()),
                })
            }
            Draft::Destroy { kid } => destroy(&wish.ring, ring, kid)?,
            Draft::Revoke {
                kid,
                reason,
                compromised_since,
            } => {
                let key = find(ring, &kid)?;
                Operation::Revoke(Revoke {
                    ring: wish.ring.clone(),
                    number: key.number,
                    kid,
                    reason,
                    compromised_since,
                })
            }
        };
        let request = Request {
            v: V1,
            service: trusted.service().clone(),
            environment: trusted.environment().clone(),
            sequence: history.last_sequence + 1,
            previous_transcript: history.last_transcript,
            roster: trusted.roster_ref(),
            policy: trusted.policy_ref(),
            operation,
            proposer: wish.proposer,
            reason: wish.reason,
            ticket: wish.ticket,
            created_at: now,
            approve_by: wish.approve_by,
            execute_by: wish.execute_by,
            nonce: Nonce(self.ambient.random()?),
        };
        // What no quorum could approve is not even proposed.
        request.check().map_err(|e| Error::Unfit(e.to_string()))?;
        self.file(&request).await
    }

    async fn file(&self, request: &Request) -> Result<String, Error> {
        let bytes = request.encode()?;
        let id = Sha256Digest::of(&bytes).to_string();
        let row = CeremonyRow {
            id: id.clone(),
            seq: i64::try_from(request.sequence)
                .map_err(|_| Error::Unfit("the sequence number is too large".to_owned()))?,
            operation: request.operation.word().to_owned(),
            ring: request.operation.ring().to_string(),
            state: CeremonyState::Proposed,
            request: bytes,
            execution: None,
            transcript: None,
            created_at: request.created_at.millis(),
            updated_at: request.created_at.millis(),
        };
        let event = Event {
            action: "propose",
            digest: Some(Sha256Digest::of(&row.request)),
            reference: Some(&id),
            ring: Some(request.operation.ring().as_str()),
            reason: Some(&request.reason),
            ..self.event()
        };
        self.log
            .commit(&Change::ProposeCeremony(row), &event)
            .await?;
        Ok(id)
    }

    /// One more than any key of the ring has, or was ever meant to have: a number is used once,
    /// also when the birth failed.
    async fn next_number(&self, ring: &Ring) -> Result<u32, Error> {
        let intended = self.store.token_objects().await?;
        let highest = intended
            .iter()
            .filter(|object| object.ring == *ring.name)
            .filter_map(|object| u32::try_from(object.number).ok())
            .chain(ring.keys.iter().map(|key| key.number))
            .max();
        Ok(highest.unwrap_or(0) + 1)
    }
}

fn destroy(name: &Name, ring: &Ring, kid: Kid) -> Result<Operation, Error> {
    let key = find(ring, &kid)?;
    trust::plan::plan_archive(&ring.plan_keys(), &kid)?;
    Ok(Operation::Destroy(Destroy {
        ring: name.clone(),
        number: key.number,
        cka_id: CkaId(key.cka_id),
        token_serial: key.token_serial.clone(),
        token_label: key.token_label.clone(),
        kid,
    }))
}

pub(super) fn find<'a>(ring: &'a Ring, kid: &Kid) -> Result<&'a Key, Error> {
    ring.keys
        .iter()
        .find(|key| key.kid == *kid)
        .map(AsRef::as_ref)
        .ok_or_else(|| Error::Unfit(format!("ring {} has no key {kid}", ring.name)))
}
