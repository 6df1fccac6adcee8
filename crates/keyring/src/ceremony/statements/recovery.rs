//! A recovery: announced when it has its signatures, vetoed by any member, and in effect after its delay, with what the log
//! says of it. Each step is a leaf; if we die between two, the next look at it goes on.

use trust::chain::{Change as Step, Recovery};
use trust::format::V1;
use trust::leaf::ActKind;
use trust::recovery::{ANNOUNCE, RECOVER, VETO, VetoBody, recovery_ready, verify_veto};
use trust::text::is_plain;
use trust::{MemberSignature, Purpose, Sha256Digest, Time};

use super::settle::Installation;
use super::{REASON_MAX, StatementReport, Stored, judged::Judged, kept};
use crate::ceremony::error::Error;
use crate::ceremony::service::CeremonyService;
use crate::ceremony::vote::normalized;
use crate::verification::{EvidenceBuilder, NoEvidence};
use log::{Event, suspended};
use store::{Change, DocumentKind, StatementKind, StatementRow, StatementState};

impl CeremonyService {
    /// Takes a member's veto, which ends a recovery before it takes effect.
    pub async fn veto_statement(
        &self,
        id: &str,
        reason: &str,
        signature: &str,
    ) -> Result<StatementReport, Error> {
        if !is_plain(reason, REASON_MAX) {
            return Err(Error::Reason);
        }
        let signature = normalized(signature)?;
        let Stored { row, .. } = self.stored_statement(id).await?;
        if row.kind != StatementKind::Recovery {
            return Err(Error::Unfit("only a recovery is vetoed".to_owned()));
        }
        if !matches!(row.state, StatementState::Open | StatementState::Announced) {
            return Err(Error::State {
                found: row.state.as_str().to_owned(),
                needed: "open or announced",
            });
        }
        let (_, trusted) = self.trusted().await?;
        let body = VetoBody {
            document_digest: row.id,
            reason: reason.to_owned(),
            roster: trusted.roster_ref(),
            v: V1,
        };
        let body = body.encode()?;
        let member = verify_veto(&trusted, row.id, &body, &signature)
            .map_err(|error| Error::DoesNotCount(error.to_string()))?;
        let actor = trust::actor::Actor::Member(member.as_str()).to_string();
        let event = Event {
            kind: ActKind::Roster,
            action: VETO,
            actor: &actor,
            digest: Some(Sha256Digest::of(&body)),
            reference: Some(id),
            reason: Some(reason),
            ..self.event()
        };
        let row_of_it = kept(row.id, Purpose::Veto, body, &signature, event.time)?;
        self.log
            .commit(&Change::SignStatement(row_of_it), &event)
            .await?;
        self.end_statement(&row, StatementState::Rejected, "vetoed")
            .await?;
        self.statement_report(id).await
    }

    /// The leaf from which the delay counts.
    pub(super) async fn announce(&self, row: &StatementRow) -> Result<(), Error> {
        let now = self.env.now();
        let id = row.id.to_string();
        let change = Change::AnnounceRecovery {
            id: id.clone(),
            at: now.millis(),
        };
        let event = Event {
            kind: ActKind::Roster,
            action: ANNOUNCE,
            digest: Some(row.id),
            reference: Some(&id),
            time: now,
            ..self.event()
        };
        self.unless_ended(&id, self.log.commit(&change, &event).await.map(drop))
            .await
    }

    /// Goes on with a recovery that was announced, as far as it is ready.
    pub(super) async fn advance_recovery(
        &self,
        row: &StatementRow,
        evidence: &EvidenceBuilder,
    ) -> Result<(), Error> {
        let id = row.id.to_string();
        let decided = self.store.decided_by().await?;
        let stored = self.stored_statement(&id).await?;
        let (chains, trusted) = self.trusted().await?;
        for veto in &stored.vetoes {
            let signature = MemberSignature::decode(veto.signature.as_bytes())?;
            if verify_veto(&trusted, row.id, &veto.body, &signature).is_ok() {
                return self
                    .end_statement(row, StatementState::Rejected, "vetoed")
                    .await;
            }
        }
        let entitled = trusted.recovery();
        let (Some(entitled), Some(announced)) = (entitled, row.announced) else {
            return Ok(());
        };
        let Some(effect) = row.effect else {
            let leaf = self.store.leaf(announced).await?;
            let leaf =
                leaf.ok_or_else(|| Error::Unfit("its announcement is missing".to_owned()))?;
            let now = self.env.now();
            if !recovery_ready(Time::from_millis(leaf.time), entitled.delay(), now) {
                return Ok(());
            }
            let change = Change::EffectRecovery {
                id: id.clone(),
                at: now.millis(),
            };
            let event = Event {
                kind: ActKind::Roster,
                action: RECOVER,
                digest: Some(row.id),
                reference: Some(&id),
                time: now,
                ..self.event()
            };
            let done = self.log.commit(&change, &event).await.map(drop);
            return self.unless_ended(&id, done).await;
        };
        let suspended = suspended(&self.store, &trusted).await?;
        let judged = Judged::of(&trusted, row.kind, &row.body, stored.agreed, &suspended)?;
        let Some(document) = judged.document().filter(|_| judged.is_complete()) else {
            return Ok(());
        };
        // Not before a checkpoint covers them.
        let logged = match evidence.logged(&[announced, effect]).await {
            Ok(logged) => logged,
            Err(NoEvidence::NotFound) => return Ok(()),
            Err(error) => return Err(Error::Unfit(error.to_string())),
        };
        let Some((leaves, log_keys)) = logged else {
            return Ok(());
        };
        let Ok([announcement, effect]) = <[_; 2]>::try_from(leaves) else {
            return Ok(());
        };
        let recovery = Recovery {
            announcement,
            document,
            effect,
            log_keys,
            vetoes: Vec::new(),
        };
        let body = trust::json::canonical(&recovery)?;
        let version = trusted.roster().version + 1;
        self.install(Installation {
            id,
            chains,
            step: Step::Recovery(Box::new(recovery)),
            kind: DocumentKind::Recovery,
            version,
            body,
            decided,
        })
        .await
    }
}
