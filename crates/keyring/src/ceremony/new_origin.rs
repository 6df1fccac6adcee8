//! A new origin takes effect: by its leaf, the first one of the new origin.

use trust::leaf::ActKind;
use trust::request::NewOrigin;
use trust::{Approved, ApprovedOperation, Request, Transcript};

use super::bundle::Bundle;
use super::error::Error;
use super::propose::filed;
use super::service::CeremonyService;
use log::{Event, Retained};
use store::{BeginOrigin, CeremonyState, Change};

/// A bundle whose ceremony may take effect in this database.
#[must_use = "a permitted ceremony has no effect by itself"]
pub struct PermittedOrigin {
    transcript: Transcript,
    digest: trust::Sha256Digest,
    executed_at: trust::Time,
    approved: Approved<NewOrigin>,
}

impl CeremonyService {
    /// Verifies the bundle, and counts it once more against the roster, the policy and the lines of this database.
    pub async fn permit_origin(&self, bundle: &Bundle) -> Result<PermittedOrigin, Error> {
        let (transcript, verified) = bundle.finished(&self.pin)?;
        let (chains, trusted) = self.trusted().await?;
        if *chains != transcript.record.chains {
            return Err(Error::Unfit(
                "the bundle has another roster or policy than the database".to_owned(),
            ));
        }
        let ceremony = bundle.record().ceremony();
        let request = Request::decode(&ceremony.request)?;
        // Carried out twice on two restored databases it would make two logs of one name.
        if self.env.now() > request.execute_by {
            return Err(Error::Unfit(format!(
                "the ceremony was to be carried out by {}: hold another one",
                request.execute_by
            )));
        }
        let history = self.history(&request, &bundle.id()).await?;
        let executed_at = verified.statement().executed_at;
        let tally = trust::tally(&trusted, &ceremony, &history, executed_at);
        match tally.into_approved() {
            Ok(ApprovedOperation::NewOrigin(approved)) => Ok(PermittedOrigin {
                transcript,
                digest: verified.core_digest(),
                executed_at,
                approved,
            }),
            Ok(_) => Err(Error::Unfit("the bundle is of no new origin".to_owned())),
            Err(refused) => Err(Error::NotApproved(refused.standing)),
        }
    }

    /// Whether the ceremony of this bundle took effect.
    pub async fn has_begun(&self, bundle: &Bundle) -> Result<bool, Error> {
        let row = self.store.ceremony(&bundle.id()).await?;
        Ok(row.is_some_and(|row| row.state == CeremonyState::Closed))
    }

    /// One transaction: the ceremony, the leaf, and the log's origin. The tiles of what is retained are at their new place.
    /// If we die before it, nothing has happened. The index of the leaf.
    pub async fn begin_origin(
        &self,
        permitted: &PermittedOrigin,
        retained: &Retained,
    ) -> Result<i64, Error> {
        let order = permitted.approved.order();
        let request = permitted.transcript.record.request.clone().into_bytes();
        let (mut row, lines) = filed(permitted.approved.request(), request)?;
        let id = row.id.to_string();
        let mut execution = permitted.transcript.clone();
        execution.acceptance.signatures.clear();
        row.execution = Some(execution.encode()?);
        row.transcript = Some(permitted.transcript.encode()?);
        row.state = CeremonyState::Closed;
        let at = self.env.now().max(permitted.executed_at);
        let before = order.lost.map_or(order.size, |lost| lost.last + 1);
        let change = Change::BeginOrigin(Box::new(BeginOrigin {
            row,
            lines,
            previous_origin: order.previous_origin.clone(),
            origin: order.origin.clone(),
            size: order.size.cast_signed(),
            root: retained.root,
            clock: retained.clock,
            at: at.millis(),
        }));
        let event = Event {
            kind: ActKind::Log,
            action: "new-origin",
            digest: Some(permitted.digest),
            leaves: Some((order.size, before)),
            origin: Some(&order.origin),
            reference: Some(&id),
            time: at,
            ..self.event()
        };
        Ok(self.log.commit(&change, &event).await?)
    }
}
