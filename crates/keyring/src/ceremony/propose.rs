//! A request with everything resolved: what is approved is what is done. It is made in one step
//! and filed, signed by its proposer, in another: nobody proposes in another's name.

use std::time::Duration;

use calendar::PolicyDocument;
use trust::actor::Actor;
use trust::approval::Approval;
use trust::chain::Trusted;
use trust::format::V1;
use trust::life::Revocation;
use trust::place::{Pkcs11Place, Place};
use trust::request::{CkaId, ClockCorrection, Ended, NewOrigin, Nonce, RevocationReason};
use trust::tally::{Obstacle, Standing, roles_without_member};
use trust::{
    Ceremony, Destroy, DestroyKey, EmergencyRotation, Generate, History, KeyPurpose, KeyState, Kid,
    Name, Operation, Purpose, Request, Resume, Revoke, Sha256Digest, Template, Time,
};

use super::emergency::ratification;
use super::error::Error;
use super::key_of_ring::{find, primary};
use super::rotation_policy;
use super::service::{CeremonyService, SigningPayload};
use super::standing_order::OrderInput;
use super::vote::{encoded, normalized};
use crate::keys::{Ring, Snapshot};
use log::{Event, suspended, suspensions};
use store::{CeremonyRow, CeremonySignatureRow, CeremonyState, Change, LineRow};

/// Proposals that a member may have open over the network.
pub const OPEN_PROPOSALS: usize = 20;

/// Proposals of a member within a day over the network, withdrawn ones as well: each is a row and leaves that stay.
pub const PROPOSALS_A_DAY: usize = 100;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// What somebody wants to be done.
pub struct ProposalInput {
    /// Of operations on one ring.
    pub ring: Option<Name>,
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
    /// Leaves that a wrong clock wrote.
    CorrectClock(ClockCorrection),
    /// A log that lost leaves for good.
    NewOrigin(Box<NewOrigin>),
    /// Keys of a ring in advance.
    Order(Box<OrderInput>),
    /// Signing goes on: of the ring, or of all where none is named.
    Resume {
        ends: Ended,
    },
    /// The primary is revoked as compromised, and a standby key signs at once.
    EmergencyRotation {
        /// By default the one that would take over if the primary were revoked.
        standby: Option<Kid>,
        compromised_since: Time,
        ratify_within: Duration,
    },
    Ratification {
        /// By default the ring's last emergency rotation.
        rotation: Option<Sha256Digest>,
    },
    /// The next version of the policy of a critical key type.
    RotationPolicy(Box<PolicyDocument>),
}

impl Draft {
    /// The wish that a request came from, to be resolved anew: of a ceremony that is void since the roster changed.
    pub fn again(operation: &Operation, created_at: Time) -> Result<Self, Error> {
        match operation {
            Operation::Generate(order) => {
                let Place::Pkcs11(place) = &order.place else {
                    return Err(Error::Unfit("key vaults are not supported".to_owned()));
                };
                Ok(Self::Generate {
                    token_serial: place.token_serial.clone(),
                    token_label: place.token_label.clone(),
                    activate_in: order.activate_at.since(created_at),
                    lifetime: order.retire_at.since(order.activate_at),
                })
            }
            Operation::Destroy(order) => match order.keys.as_slice() {
                [key] => Ok(Self::Destroy {
                    kid: key.kid.clone(),
                }),
                _ => Err(Error::Unfit("it destroys several keys".to_owned())),
            },
            Operation::Revoke(order) => Ok(Self::Revoke {
                kid: order.kid.clone(),
                reason: order.reason,
                compromised_since: order.compromised_since,
            }),
            Operation::ClockCorrection(order) => Ok(Self::CorrectClock(order.clone())),
            Operation::Resume(order) => Ok(Self::Resume {
                ends: order.ends.clone(),
            }),
            Operation::EmergencyRotation(order) => Ok(Self::EmergencyRotation {
                standby: Some(order.standby.clone()),
                compromised_since: order.compromised_since,
                ratify_within: Duration::from_secs(order.ratify_within_seconds),
            }),
            Operation::Ratification(order) => Ok(Self::Ratification {
                rotation: Some(order.rotation),
            }),
            Operation::RotationPolicy(order) => {
                let document = rotation_policy::read(order)?;
                Ok(Self::RotationPolicy(Box::new(document)))
            }
            Operation::NewOrigin(_) => {
                Err(Error::Unfit("a new origin is held on files".to_owned()))
            }
            Operation::Order(_) => Err(Error::Unfit(
                "its instants are its own: propose it anew by `chancery ceremony new order`"
                    .to_owned(),
            )),
        }
    }
}

impl CeremonyService {
    /// Resolves the proposal against what is. Nothing is kept: the proposer signs it first.
    pub async fn draft_request(
        &self,
        input: ProposalInput,
        snapshot: &Snapshot,
    ) -> Result<Request, Error> {
        let (_, trusted) = self.trusted().await?;
        let member = trusted.roster().member(&input.proposer);
        if !member.is_some_and(|member| member.active) {
            return Err(Error::Unfit(format!(
                "the proposer {} is not an active member of the roster",
                input.proposer
            )));
        }
        let ring = || {
            let name = input.ring.as_ref();
            let name = name.ok_or_else(|| Error::Unfit("a ring is needed".to_owned()))?;
            let ring = snapshot.rings.get(name.as_str());
            let ring = ring.ok_or_else(|| Error::Unfit(format!("unknown ring {name}")))?;
            Ok::<_, Error>((name, ring))
        };
        let now = self.env.now();
        let mut nonce = None;
        let operation = match input.draft {
            Draft::Generate {
                token_serial,
                token_label,
                activate_in,
                lifetime,
            } => {
                let (name, ring) = ring()?;
                let number = self.next_number(ring).await?;
                let activate_at = now + activate_in;
                Operation::Generate(Generate {
                    ring: name.clone(),
                    number,
                    purpose: KeyPurpose::Sign {
                        algorithm: ring.algorithm,
                        key_spec: ring.key_spec,
                    },
                    usage: ring.usage,
                    place: Place::Pkcs11(Pkcs11Place {
                        cka_id: CkaId(self.env.random()?),
                        label: format!(
                            "{}/{}/{}/{number}",
                            trusted.service(),
                            trusted.environment(),
                            ring.name
                        ),
                        template: Template::signing_key(),
                        token_label,
                        token_serial,
                    }),
                    publish_at: now,
                    activate_at,
                    retire_at: activate_at + lifetime,
                    predecessor: ring.keys.last().map(|key| key.kid.clone()),
                })
            }
            Draft::Destroy { kid } => {
                let (name, ring) = ring()?;
                destroy(name, ring, kid)?
            }
            Draft::CorrectClock(order) => Operation::ClockCorrection(order),
            Draft::Resume { ends } => {
                let ring = input.ring.clone();
                Operation::Resume(Resume { ends, ring })
            }
            Draft::EmergencyRotation {
                standby,
                compromised_since,
                ratify_within,
            } => {
                let (name, ring) = ring()?;
                let proposer = Some(&input.proposer);
                self.somebody_approves(proposer, &trusted).await?;
                let standby = self.standby(ring, standby, now)?;
                let primary = primary(ring)?;
                Operation::EmergencyRotation(Box::new(EmergencyRotation {
                    compromised_since,
                    kid: primary.kid.clone(),
                    number: primary.number,
                    ratify_within_seconds: ratify_within.as_secs(),
                    ring: name.clone(),
                    standby: standby.kid.clone(),
                    standby_number: standby.number,
                }))
            }
            Draft::Ratification { rotation } => {
                let (name, _) = ring()?;
                Operation::Ratification(ratification(name, rotation, snapshot)?)
            }
            Draft::NewOrigin(order) => Operation::NewOrigin(*order),
            Draft::RotationPolicy(document) => {
                let order = self.policy_change(&document).await?;
                Operation::RotationPolicy(Box::new(order))
            }
            Draft::Order(order) => {
                let id = *nonce.insert(Nonce(self.env.random()?));
                let safety = self.safety.publish_safety();
                let (name, ring) = ring()?;
                let order = order.resolved(id, (name, ring), &trusted, safety)?;
                Operation::Order(Box::new(order))
            }
            Draft::Revoke {
                kid,
                reason,
                compromised_since,
            } => {
                let (name, ring) = ring()?;
                let key = find(ring, &kid)?;
                let revocation = Revocation {
                    reason,
                    revoked_at: now,
                    compromised_since,
                };
                if let KeyState::Revoked {
                    revocation: before, ..
                } = &key.state
                    && !revocation.is_more_severe_than(before)
                {
                    return Err(Error::Unfit(format!(
                        "key {kid} is already revoked as {}; only a more severe revocation is allowed",
                        before.reason
                    )));
                }
                Operation::Revoke(Revoke {
                    ring: name.clone(),
                    number: key.number,
                    kid,
                    reason,
                    compromised_since,
                })
            }
        };
        let mut lines = Vec::new();
        for subject in operation.subjects() {
            lines.push(self.next_line(subject).await?);
        }
        let request = Request {
            v: V1,
            service: trusted.service().clone(),
            environment: trusted.environment().clone(),
            lines,
            roster: trusted.roster_ref(),
            policy: trusted.policy_ref(),
            operation,
            order: None,
            proposer: Some(input.proposer),
            reason: input.reason,
            ticket: input.ticket,
            created_at: now,
            approve_by: input.approve_by,
            execute_by: input.execute_by,
            nonce: match nonce {
                Some(nonce) => nonce,
                None => Nonce(self.env.random()?),
            },
        };
        // What no quorum could approve is not even proposed.
        request.check().map_err(|e| Error::Unfit(e.to_string()))?;
        Ok(request)
    }

    /// An emergency rotation that no members of this roster could approve: whoever approves it learns that too late.
    async fn somebody_approves(
        &self,
        proposer: Option<&Name>,
        trusted: &Trusted,
    ) -> Result<(), Error> {
        let suspended = suspended(&self.store, trusted).await?;
        let nobody = roles_without_member(trusted.roster(), proposer, &suspended);
        match nobody.is_empty() {
            true => Ok(()),
            false => Err(Error::NoApprovers(nobody)),
        }
    }

    /// The bytes that the proposer signs.
    pub fn proposal_payload(request: &Request) -> Result<SigningPayload, Error> {
        let bytes = request.encode()?;
        Ok(SigningPayload {
            namespace: request.namespace(Purpose::Propose).to_string(),
            bytes: request.message(Purpose::Propose, &bytes),
        })
    }

    /// Files a request that its proposer signed. Returns the ceremony's id.
    pub async fn propose(&self, bytes: Vec<u8>, signature: &str) -> Result<String, Error> {
        let request = Request::decode(&bytes)?;
        if let Operation::NewOrigin(_) = request.operation {
            return Err(Error::Unfit(
                "a new origin is held on files: add the signature by `chancery ceremony bundle add`".to_owned(),
            ));
        }
        let digest = Sha256Digest::of(&bytes);
        let id = digest.to_string();
        let signature = normalized(signature)?;
        let now = self.env.now();
        let (_, trusted) = self.trusted().await?;
        let ceremony = Ceremony {
            request: bytes.clone(),
            proposal: Some(Approval {
                signature: signature.clone(),
                received_at: now,
            }),
            approvals: Vec::new(),
            rejections: Vec::new(),
            cancellations: Vec::new(),
            suspensions: suspensions(&self.store, &trusted).await?,
            order: None,
        };
        // The tally refuses what does not fit together; nobody has as many lines looked up as fit into a body.
        let history = match request.check() {
            Ok(()) => self.history(&request, &id).await?,
            Err(_) => History::default(),
        };
        let tally = trust::tally(&trusted, &ceremony, &history, now);
        if let Standing::Refused(obstacles) = &tally.standing {
            // Somebody signed in another's name, or nobody did: that is written down.
            if obstacles.iter().any(|o| matches!(o, Obstacle::Proposal(_))) {
                let ring = request.operation.ring().map(Name::as_str);
                let why = "the proposal is not signed by the proposer";
                self.refused("propose", ring, why).await?;
            }
        }
        if let Standing::Refused(_) | Standing::Expired { .. } = &tally.standing {
            return Err(Error::NotApproved(tally.into_standing()));
        }
        if let Operation::EmergencyRotation(_) = &request.operation {
            let proposer = request.proposer.as_ref();
            self.somebody_approves(proposer, &trusted).await?;
        }
        self.within_quota(&request).await?;
        // What nobody could carry out is not put before anybody.
        if let Operation::RotationPolicy(order) = &request.operation {
            self.policy_is_next(order).await?;
        }
        let (row, lines) = filed(&request, bytes)?;
        let proposal = CeremonySignatureRow {
            ceremony: digest,
            purpose: Purpose::Propose,
            body: Vec::new(),
            signature: encoded(&signature)?,
            received_at: now,
        };
        let proposer = request
            .proposer
            .as_ref()
            .map(|id| Actor::Member(id.as_str()).to_string());
        let event = Event {
            action: "propose",
            actor: proposer.as_deref().unwrap_or(&self.actor),
            digest: Some(signature.digest()?),
            reference: Some(&id),
            ring: request.operation.ring().map(Name::as_str),
            reason: Some(&request.reason),
            ..self.event()
        };
        let change = Change::ProposeCeremony {
            row: Box::new(row),
            lines,
            proposal: Some(proposal),
            order: None,
        };
        self.log.commit(&change, &event).await?;
        Ok(id)
    }

    /// A proposal stays until its end, and its row for ever; so each member has a limited number of open ones, and of any
    /// within a day. Two that are proposed at the same moment may both be the last.
    async fn within_quota(&self, request: &Request) -> Result<(), Error> {
        let Some(proposer) = request.proposer.as_ref().filter(|_| self.for_anybody) else {
            return Ok(());
        };
        let since = self.env.now().millis().saturating_sub(DAY_MILLIS);
        let proposed = self.store.proposals_of(proposer.as_str(), since).await?;
        if proposed.open >= OPEN_PROPOSALS {
            return Err(Error::Quota {
                member: proposer.clone(),
                most: OPEN_PROPOSALS,
            });
        }
        if proposed.filed >= PROPOSALS_A_DAY {
            return Err(Error::Proposals {
                member: proposer.clone(),
                most: PROPOSALS_A_DAY,
            });
        }
        Ok(())
    }

    /// One more than any key of the ring has, or was ever meant to have: a number is used once,
    /// also when the birth failed.
    pub(super) async fn next_number(&self, ring: &Ring) -> Result<u32, Error> {
        let intended = self.store.highest_number(&ring.name).await?;
        let accepted = ring.keys.iter().map(|key| key.number).max();
        Ok(intended.max(accepted.unwrap_or(0)) + 1)
    }
}

/// The rows of a request as it is proposed.
pub(super) fn filed(
    request: &Request,
    bytes: Vec<u8>,
) -> Result<(CeremonyRow, Vec<LineRow>), Error> {
    let lines = request.lines.iter().map(|line| {
        let seq = i64::try_from(line.sequence)
            .map_err(|_| Error::Unfit("the sequence number is too large".to_owned()))?;
        Ok(LineRow {
            subject: line.subject.to_string(),
            seq,
        })
    });
    let lines = lines.collect::<Result<_, Error>>()?;
    let unfit = |e: trust::word::NotAWord| Error::Unfit(e.to_string());
    let row = CeremonyRow {
        id: Sha256Digest::of(&bytes),
        operation: request.operation.word().parse().map_err(unfit)?,
        ring: request.operation.ring().cloned(),
        state: CeremonyState::Proposed,
        nonce: request.nonce,
        request: bytes,
        execution: None,
        transcript: None,
        created_at: request.created_at,
        updated_at: request.created_at,
    };
    Ok((row, lines))
}

fn destroy(name: &Name, ring: &Ring, kid: Kid) -> Result<Operation, Error> {
    let key = find(ring, &kid)?;
    trust::plan::plan_archive(&ring.plan_keys(), &kid)?;
    Ok(Operation::Destroy(Destroy {
        keys: vec![DestroyKey {
            locations: vec![key.location.clone()],
            number: key.number,
            ring: name.clone(),
            kid,
        }],
    }))
}
