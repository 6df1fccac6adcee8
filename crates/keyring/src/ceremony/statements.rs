//! What members sign about whom to trust: the next roster, the next policy, and suspensions. The document is the
//! request: one kind of signature, no execution and no acceptance. When there are enough it takes effect.

mod asks;
mod judged;
mod recovery;
mod report;
mod settle;

use trust::approval::ObjectionBody;
use trust::format::V1;
use trust::leaf::ActKind;
use trust::text::is_plain;
use trust::{MemberId, MemberSignature, Purpose, Role, Sha256Digest, Time};

use super::clones::Refused;
use super::error::Error;
use super::passkeys::{attested, counter};
use super::service::CeremonyService;
use super::vote::{encoded, normalized};
use judged::Judged;
use log::{Event, suspended};
use store::{CeremonySignatureRow, Change, StatementKind, StatementRow, StatementState};

pub use asks::{Ask, Asked};
pub use report::{StatementReport, StatementSummary};
#[cfg(test)]
pub(crate) use settle::Decision;

/// Statements that a member may have open.
pub const OPEN_STATEMENTS: usize = 5;

/// How long a statement may be signed, in milliseconds: 14 days.
const LIFE: i64 = 14 * 24 * 60 * 60 * 1_000;

/// Open statements that are looked at.
const MOST: i64 = 1_000;

/// Most characters of a reason.
const REASON_MAX: usize = 1_000;

/// A statement with its signatures, unverified.
pub(super) struct Stored {
    row: StatementRow,
    agreed: Vec<MemberSignature>,
    objections: Vec<CeremonySignatureRow>,
    vetoes: Vec<CeremonySignatureRow>,
}

impl CeremonyService {
    /// Files a statement with the first signature over it, by an active member.
    pub async fn open_statement(
        &self,
        kind: StatementKind,
        body: Vec<u8>,
        signature: &str,
    ) -> Result<StatementReport, Error> {
        let signature = normalized(signature)?;
        let id = Sha256Digest::of(&body);
        if self.store.statement(&id.to_string()).await?.is_some() {
            return self.sign_stored(id, signature, None).await;
        }
        let (_, trusted) = self.trusted().await?;
        let suspended = suspended(&self.store, &trusted).await?;
        let judged = Judged::of(&trusted, kind, &body, vec![signature.clone()], &suspended)?;
        let opener = judged.require(0)?.clone();
        // A key that only the next roster has opens nothing: its holder is a stranger still.
        let entitled = match (kind, trusted.roster().member(&opener), trusted.recovery()) {
            (StatementKind::Recovery, _, Some(entitled)) => {
                entitled.members.iter().any(|member| member.id == opener)
            }
            (StatementKind::Recovery, ..) | (_, None, _) => false,
            (_, Some(member), _) => {
                let key = armored(&signature)?;
                let known = trust::sshsig::unverified_key(key).ok();
                let own = known.and_then(|key| trusted.roster().owner(&key));
                own.is_some_and(|own| own.id == opener)
                    && member.active
                    && (member.may_propose()
                        // A witness's own lost key.
                        || kind == StatementKind::Suspension
                            && !member.roles.contains(&Role::Executor))
            }
        };
        if !entitled {
            let why = "only an active member begins one, and a recovery who may recover";
            return Err(Error::DoesNotCount(why.to_owned()));
        }
        self.within_statement_quota(&opener).await?;
        let now = self.env.now();
        let follows = match kind {
            StatementKind::Suspension => trusted.roster_ref().digest,
            _ => trusted.head(),
        };
        let row = StatementRow {
            id,
            kind,
            state: StatementState::Open,
            follows,
            opened_by: opener.to_string(),
            body,
            created_at: now,
            closes_at: Time::from_millis(now.millis() + LIFE),
            updated_at: now,
            announced: None,
            effect: None,
        };
        let kept = kept(id, kind.purpose(), Vec::new(), &signature, now)?;
        let event = self.told(kind, "propose", signature.digest()?, now);
        let actor = trust::actor::Actor::Member(opener.as_str()).to_string();
        let change = Change::OpenStatement {
            row: Box::new(row),
            signature: kept,
        };
        let id = id.to_string();
        let event = Event {
            actor: &actor,
            reference: Some(&id),
            ..event
        };
        self.log.commit(&change, &event).await?;
        self.settle_statement(&id).await?;
        self.statement_report(&id).await
    }

    /// Takes a member's signature. When nothing is missing any more, the statement takes effect.
    pub async fn sign_statement(
        &self,
        id: &str,
        signature: &str,
    ) -> Result<StatementReport, Error> {
        let id = id.parse().map_err(|_| Error::Unknown(id.to_owned()))?;
        self.sign_stored(id, normalized(signature)?, None).await
    }

    /// The same by a passkey that is new on the next roster, with the attestation object of its registration, which is
    /// kept.
    pub async fn sign_statement_by_passkey(
        &self,
        id: &str,
        signature: &str,
        attestation: Vec<u8>,
    ) -> Result<StatementReport, Error> {
        let id = id.parse().map_err(|_| Error::Unknown(id.to_owned()))?;
        let signature = normalized(signature)?;
        self.sign_stored(id, signature, Some(attestation)).await
    }

    async fn sign_stored(
        &self,
        id: Sha256Digest,
        signature: MemberSignature,
        attestation: Option<Vec<u8>>,
    ) -> Result<StatementReport, Error> {
        let digest = id;
        let id = id.to_string();
        let Stored {
            row, mut agreed, ..
        } = self.open_for_signing(&id).await?;
        let (_, trusted) = self.trusted().await?;
        let suspended = suspended(&self.store, &trusted).await?;
        agreed.push(signature.clone());
        let last = agreed.len() - 1;
        let judged = Judged::of(&trusted, row.kind, &row.body, agreed, &suspended)?;
        let member = judged.require(last)?;
        let now = self.env.now();
        let kept = kept(digest, row.kind.purpose(), Vec::new(), &signature, now)?;
        let actor = trust::actor::Actor::Member(member.as_str()).to_string();
        let event = Event {
            actor: &actor,
            reference: Some(&id),
            ..self.told(row.kind, "sign", signature.digest()?, now)
        };
        let change = match attested(&row, &signature, attestation)? {
            None => Change::SignStatement(kept),
            Some(attestation) => Change::SignStatementByPasskey {
                signature: kept,
                attestation,
            },
        };
        let done = self.log.commit(&change, &event).await.map_err(counter);
        if let Err(Error::DoesNotCount(why)) = &done {
            let refused = Refused {
                reference: id.clone(),
                ring: None,
                why: format!("{}: {why}", row.kind.purpose().word()),
            };
            self.note_clone(&actor, refused).await;
        }
        done?;
        self.settle_statement(&id).await?;
        self.statement_report(&id).await
    }

    /// Takes a custodian's rejection; one ends a document. A suspended member rejects nothing: whoever stole a key must
    /// not be able to keep the roster as it is.
    pub async fn reject_statement(
        &self,
        id: &str,
        reason: &str,
        signature: &str,
    ) -> Result<StatementReport, Error> {
        if !is_plain(reason, REASON_MAX) {
            return Err(Error::Reason);
        }
        let signature = normalized(signature)?;
        let Stored { row, .. } = self.open_for_signing(id).await?;
        if matches!(
            row.kind,
            StatementKind::Suspension | StatementKind::Recovery
        ) {
            let why = "a suspension is not rejected, and a recovery is vetoed";
            return Err(Error::Unfit(why.to_owned()));
        }
        let (_, trusted) = self.trusted().await?;
        let suspended = suspended(&self.store, &trusted).await?;
        let body = rejection(row.id, reason)?;
        let by =
            trust::tally::objector(&trusted, &body, &signature, &suspended).ok_or_else(|| {
                let why = "not the signature of an active custodian who is not suspended";
                Error::DoesNotCount(why.to_owned())
            })?;
        let now = self.env.now();
        let kept = kept(row.id, Purpose::Reject, body, &signature, now)?;
        let actor = trust::actor::Actor::Custodian(by.as_str()).to_string();
        let event = Event {
            actor: &actor,
            reference: Some(id),
            reason: Some(reason),
            ..self.told(row.kind, "reject", signature.digest()?, now)
        };
        self.log
            .commit(&Change::SignStatement(kept), &event)
            .await?;
        self.end_statement(&row, StatementState::Rejected, "rejected")
            .await?;
        self.statement_report(id).await
    }

    async fn within_statement_quota(&self, member: &MemberId) -> Result<(), Error> {
        let open = self.store.open_statements(MOST).await?.read;
        let own = open.iter().filter(|row| row.opened_by == member.as_str());
        if own.count() >= OPEN_STATEMENTS {
            return Err(Error::Quota {
                member: member.clone(),
                most: OPEN_STATEMENTS,
            });
        }
        Ok(())
    }

    pub(super) async fn stored_statement(&self, id: &str) -> Result<Stored, Error> {
        let row = self.store.statement(id).await?;
        let row = row.ok_or_else(|| Error::Unknown(id.to_owned()))?;
        if Sha256Digest::of(&row.body) != row.id {
            return Err(Error::Unfit(format!(
                "the statement stored under {id} was changed after it was filed"
            )));
        }
        let mut agreed = Vec::new();
        let (mut objections, mut vetoes) = (Vec::new(), Vec::new());
        for signature in self.store.statement_signatures(id).await? {
            match signature.purpose {
                Purpose::Reject => objections.push(signature),
                Purpose::Veto => vetoes.push(signature),
                _ => agreed.push(MemberSignature::decode(signature.signature.as_bytes())?),
            }
        }
        Ok(Stored {
            row,
            agreed,
            objections,
            vetoes,
        })
    }

    async fn open_for_signing(&self, id: &str) -> Result<Stored, Error> {
        let stored = self.stored_statement(id).await?;
        match stored.row.state {
            StatementState::Open if self.env.now() <= stored.row.closes_at => Ok(stored),
            StatementState::Open => Err(Error::State {
                found: StatementState::Expired.as_str().to_owned(),
                needed: "open",
            }),
            other => Err(Error::State {
                found: other.as_str().to_owned(),
                needed: "open",
            }),
        }
    }

    fn told<'a>(
        &'a self,
        kind: StatementKind,
        action: &'a str,
        digest: Sha256Digest,
        time: Time,
    ) -> Event<'a> {
        Event {
            kind: match kind {
                StatementKind::Roster | StatementKind::RecoveryRoster | StatementKind::Recovery => {
                    ActKind::Roster
                }
                StatementKind::Policy => ActKind::Policy,
                StatementKind::Suspension => ActKind::Suspension,
            },
            action,
            digest: Some(digest),
            time,
            ..self.event()
        }
    }
}

fn rejection(id: Sha256Digest, reason: &str) -> Result<Vec<u8>, Error> {
    let body = ObjectionBody {
        v: V1,
        request_digest: id,
        reason: reason.to_owned(),
    };
    Ok(body.encode()?)
}

fn kept(
    statement: Sha256Digest,
    purpose: Purpose,
    body: Vec<u8>,
    signature: &MemberSignature,
    received_at: Time,
) -> Result<CeremonySignatureRow, Error> {
    Ok(CeremonySignatureRow {
        ceremony: statement,
        purpose,
        body,
        signature: encoded(signature)?,
        received_at,
    })
}

fn armored(signature: &MemberSignature) -> Result<&str, Error> {
    match signature {
        MemberSignature::Ssh { signature } => Ok(signature),
        MemberSignature::Webauthn { .. } => {
            Err(Error::DoesNotCount(trust::tally::WhyNot::Kind.to_string()))
        }
    }
}
