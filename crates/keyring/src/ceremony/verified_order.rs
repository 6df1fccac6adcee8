//! Standing orders from their transcripts: what a row says of one is not believed.

use trust::MemberId;
use trust::request::StandingOrder;

use super::error::Error;
use super::service::CeremonyService;
use store::OrderRow;

/// An order whose transcript verifies.
pub(super) struct VerifiedOrder {
    pub order: StandingOrder,
    /// Its transcript, as a record under it has it.
    pub text: String,
    /// By its row, which the transaction asks again, and the log.
    pub withdrawn: bool,
    pub approved_by: Vec<MemberId>,
    /// Who of them signed by passkey.
    pub by_passkey: Vec<MemberId>,
}

impl CeremonyService {
    /// The order of this id, verified from its transcript.
    pub(super) async fn verified_order(&self, order: &str) -> Result<VerifiedOrder, Error> {
        let row = self.store.order(order).await?;
        let row = row.ok_or_else(|| Error::UnknownOrder(order.to_owned()))?;
        self.verified(row).await
    }

    pub(super) async fn verified(&self, row: OrderRow) -> Result<VerifiedOrder, Error> {
        let bytes = self.transcript(&row.ceremony.to_string()).await?;
        let known = self.known_orders.verified(&bytes, &self.pin).await?;
        let known = known.ok_or_else(|| Error::UnknownOrder(row.id.to_string()))?;
        let order = known.order.clone();
        if order.id != row.id || order.ring != row.ring {
            return Err(Error::Unfit(format!(
                "the row of the standing order {} differs from its transcript",
                row.id
            )));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::Unfit("a transcript is not UTF-8".to_owned()))?;
        Ok(VerifiedOrder {
            order,
            text,
            withdrawn: row.withdrawal.is_some(),
            approved_by: known.approved_by.clone(),
            by_passkey: known.by_passkey.clone(),
        })
    }
}
