//! What becomes of a statement: in effect when nothing is missing, ended when somebody objected or nobody may sign any more.
//! It is decided by what was read, and carried out unless something came meanwhile by which it would be decided otherwise.

use std::sync::Arc;

use trust::chain::Change as Step;
use trust::leaf::ActKind;
use trust::{Chains, MemberSignature, Sha256Digest, json};

use super::MOST;
use super::judged::Judged;
use crate::ceremony::error::Error;
use crate::ceremony::service::CeremonyService;
use crate::verification::EvidenceBuilder;
use log::{Event, suspended};
use store::{
    Change, DecidedBy, DocumentKind, DocumentRow, StatementKind, StatementRow, StatementState,
};

/// How often a statement is looked at again whose installation was overtaken.
const ATTEMPTS: usize = 5;

/// What becomes of a statement, by what was read of it.
pub(crate) enum Decision {
    End {
        row: Box<StatementRow>,
        to: StatementState,
        action: &'static str,
    },
    Announce(Box<StatementRow>),
    Install(Box<Installation>),
}

/// The next document of the chain, and what this was decided by.
pub(crate) struct Installation {
    pub(super) id: String,
    pub(super) chains: Arc<Chains>,
    pub(super) step: Step,
    pub(super) kind: DocumentKind,
    pub(super) version: u64,
    pub(super) body: Vec<u8>,
    pub(super) decided: DecidedBy,
}

impl CeremonyService {
    /// Lets a statement take effect of which nothing is missing. If we die before, the next signature does, or
    /// whoever looks after deadlines.
    pub(super) async fn settle_statement(&self, id: &str) -> Result<(), Error> {
        let mut attempts = 1..ATTEMPTS;
        loop {
            let Some(decision) = self.decide_statement(id).await? else {
                return Ok(());
            };
            match self.put_into_effect(decision).await {
                // It is still open: somebody objected, or was suspended, since it was decided.
                Err(Error::Store(error)) if error.is_conflict() && attempts.next().is_some() => {}
                done => return done,
            }
        }
    }

    /// What becomes of it now; nothing while something is missing.
    pub(crate) async fn decide_statement(&self, id: &str) -> Result<Option<Decision>, Error> {
        let decided = self.store.decided_by().await?;
        let stored = self.stored_statement(id).await?;
        let row = Box::new(stored.row);
        if row.state != StatementState::Open {
            return Ok(None);
        }
        let (chains, trusted) = self.trusted().await?;
        let suspended = suspended(&self.store, &trusted).await?;
        // Whoever took a rejection may have died before the end.
        for objection in &stored.objections {
            let signature = MemberSignature::decode(objection.signature.as_bytes())?;
            let by = trust::tally::objector(&trusted, &objection.body, &signature, &suspended);
            if by.is_some() {
                let (to, action) = (StatementState::Rejected, "rejected");
                return Ok(Some(Decision::End { row, to, action }));
            }
        }
        let judged = Judged::of(&trusted, row.kind, &row.body, stored.agreed, &suspended)?;
        if !judged.is_complete() {
            return Ok(None);
        }
        let Some(document) = judged.document() else {
            let (to, action) = (StatementState::Effective, "suspend");
            return Ok(Some(Decision::End { row, to, action }));
        };
        let (kind, version) = match row.kind {
            StatementKind::Recovery => return Ok(Some(Decision::Announce(row))),
            StatementKind::Policy => (DocumentKind::Policy, trusted.policy().version + 1),
            StatementKind::RecoveryRoster => {
                let before = trusted.recovery().map_or(0, |before| before.version);
                (DocumentKind::RecoveryRoster, before + 1)
            }
            StatementKind::Roster | StatementKind::Suspension => {
                (DocumentKind::Roster, trusted.roster().version + 1)
            }
        };
        let body = json::canonical(&document)?;
        let step = match kind {
            DocumentKind::Policy => Step::Policy(document),
            DocumentKind::RecoveryRoster => Step::RecoveryRoster(document),
            _ => Step::Roster(document),
        };
        Ok(Some(Decision::Install(Box::new(Installation {
            id: id.to_owned(),
            chains,
            step,
            kind,
            version,
            body,
            decided,
        }))))
    }

    pub(crate) async fn put_into_effect(&self, decision: Decision) -> Result<(), Error> {
        match decision {
            Decision::End { row, to, action } => self.end_statement(&row, to, action).await,
            Decision::Announce(row) => self.announce(&row).await,
            Decision::Install(installation) => self.install(*installation).await,
        }
    }

    /// The next document of the chain. What every replica and every verifier will ask is asked here: nothing is installed
    /// that they would refuse.
    pub(super) async fn install(&self, installation: Installation) -> Result<(), Error> {
        let Installation {
            id,
            chains,
            step,
            kind,
            version,
            body,
            decided,
        } = installation;
        let mut chains = chains.as_ref().clone();
        chains.changes.push(step);
        trust::chain::walk(&chains, &self.pin)?;
        let now = self.env.now();
        let digest = Sha256Digest::of(&body);
        let change = Change::InstallDocument {
            statement: id.clone(),
            document: DocumentRow {
                place: chains.changes.len() as i64,
                kind,
                version: version.cast_signed(),
                body,
                index: None,
            },
            decided,
            at: now.millis(),
        };
        let action = format!("install-{kind}");
        let event = Event {
            kind: ActKind::Roster,
            action: &action,
            digest: Some(digest),
            reference: Some(&id),
            ..self.event()
        };
        self.unless_ended(&id, self.log.commit(&change, &event).await.map(drop))
            .await
    }

    pub(super) async fn end_statement(
        &self,
        row: &StatementRow,
        to: StatementState,
        action: &str,
    ) -> Result<(), Error> {
        let now = self.env.now();
        let id = row.id.to_string();
        let change = Change::EndStatement {
            id: id.clone(),
            to,
            at: now.millis(),
        };
        let event = Event {
            reference: Some(&id),
            ..self.told(row.kind, action, row.id, now)
        };
        self.unless_ended(&id, self.log.commit(&change, &event).await.map(drop))
            .await
    }

    /// Somebody else may have ended it at the same time, which is as good.
    pub(super) async fn unless_ended(
        &self,
        id: &str,
        done: Result<(), store::Error>,
    ) -> Result<(), Error> {
        match done {
            Err(error) if error.is_conflict() => match self.stored_statement(id).await?.row.state {
                StatementState::Open => Err(error.into()),
                _ => Ok(()),
            },
            done => Ok(done?),
        }
    }

    /// Ends what nobody may sign any more, and settles what was complete when somebody died.
    pub(in crate::ceremony) async fn keep_statements(
        &self,
        evidence: &EvidenceBuilder,
    ) -> Result<(), Error> {
        let rows = self.store.open_statements(MOST).await?;
        let mut failed = rows.unreadable.first().map(|row| Error::Statement {
            id: row.key.clone(),
            source: Box::new(Error::Unfit(row.to_string())),
        });
        for row in rows.read {
            match self.keep_statement(&row, evidence).await {
                Ok(()) => {}
                // Nobody can be asked about the others either.
                Err(Error::Store(error)) if !error.is_corrupt() && !error.is_conflict() => {
                    return Err(Error::Store(error));
                }
                // Of this one alone; the others are not to wait for somebody who mends it.
                Err(error) => {
                    let id = row.id.to_string();
                    let source = Box::new(error);
                    failed = failed.or(Some(Error::Statement { id, source }));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn keep_statement(
        &self,
        row: &StatementRow,
        evidence: &EvidenceBuilder,
    ) -> Result<(), Error> {
        if row.state == StatementState::Announced {
            return self.advance_recovery(row, evidence).await;
        }
        if self.env.now() > row.closes_at {
            let to = StatementState::Expired;
            return self.end_statement(row, to, "expired").await;
        }
        match self.settle_statement(&row.id.to_string()).await {
            // What cannot follow any more waits for its end.
            Err(Error::Chain(_) | Error::Suspension(_) | Error::Json(_)) => Ok(()),
            done => done,
        }
    }
}
