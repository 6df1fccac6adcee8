//! That one executor carries a ceremony out: a leased row, by the database's clock.
//!
//! It permits nothing: the tally does, and the change from `approved` to `executing` is made once whoever holds what. The
//! lease keeps a second executor from looking at what the first one is doing, and tells of one that died: a lease that ran
//! out belongs to nobody before database and token were compared.

use std::time::Duration;

use trust::hex;

use super::error::Error;
use super::service::CeremonyService;
use store::{CeremonyRow, CeremonyState, Store};

/// How holders begin of what is carried out elsewhere and comes back on a file; the rest is the exporter's own. Nobody
/// settles it before its time has run out, whoever says that no other executor is running.
const ON_A_FILE: &str = "file";

pub(super) fn is_on_a_file(holder: &str) -> bool {
    let rest = holder.strip_prefix(ON_A_FILE);
    // Those of before had one name for all.
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Of one executor, for one ceremony.
pub(super) struct Claim {
    store: Store,
    ceremony: String,
    holder: String,
    lease: Duration,
}

impl CeremonyService {
    /// The same, with leases of another length.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Takes an approved ceremony, or refuses because another executor has it.
    pub(super) async fn claim(&self, id: &str) -> Result<Claim, Error> {
        let holder: [u8; 16] = self.env.random()?;
        self.claim_as(id, hex::encode(&holder)).await
    }

    /// The same for whoever puts it on a file.
    pub(super) async fn claim_for_a_file(&self, id: &str) -> Result<Claim, Error> {
        let holder: [u8; 16] = self.env.random()?;
        let holder = format!("{ON_A_FILE}/{}", hex::encode(&holder));
        self.claim_as(id, holder).await
    }

    async fn claim_as(&self, id: &str, holder: String) -> Result<Claim, Error> {
        let row = self.approved_row(id).await?;
        let claim = self.claim_of(row.id.to_string(), holder);
        match claim.take().await? {
            true => Ok(claim),
            false => Err(Error::Claimed),
        }
    }

    /// That of whoever put it on a file, if somebody did.
    pub(super) async fn claim_on_a_file(&self, id: &str) -> Result<Option<Claim>, Error> {
        let held = self.store.held_executions().await?;
        let mut held = held.into_iter();
        let held = held.find(|held| is_on_a_file(&held.holder) && held.ceremony.to_string() == id);
        Ok(held.map(|held| self.claim_of(id.to_owned(), held.holder)))
    }

    fn claim_of(&self, ceremony: String, holder: String) -> Claim {
        Claim {
            store: self.store.clone(),
            ceremony,
            holder,
            lease: self.lease,
        }
    }

    /// The row of a ceremony of which no token has anything yet: what whoever died left of it is nothing.
    pub(super) async fn approved_row(&self, id: &str) -> Result<CeremonyRow, Error> {
        let row = self.row(id).await?;
        let (CeremonyState::Proposed | CeremonyState::Approved) = row.state else {
            return Err(Error::State {
                found: row.state.to_string(),
                needed: "approved",
            });
        };
        self.store.settle_execution(&row.id.to_string()).await?;
        Ok(row)
    }
}

impl Claim {
    async fn take(&self) -> Result<bool, Error> {
        let taken = self
            .store
            .take_execution(&self.ceremony, &self.holder, self.lease);
        Ok(taken.await?)
    }

    /// Asked immediately before each step after which nobody else must have come in: from here on as long as any such step
    /// takes.
    pub(super) async fn hold(&self) -> Result<(), Error> {
        self.hold_for(self.lease).await
    }

    /// For so long from here on.
    pub(super) async fn hold_for(&self, time: Duration) -> Result<(), Error> {
        let renewed = self
            .store
            .renew_execution(&self.ceremony, &self.holder, time);
        match renewed.await? {
            true => Ok(()),
            false => Err(Error::ClaimLost),
        }
    }

    /// What came of it is written down, or nobody knows and reconciliation looks. Where it cannot be given back, its time
    /// runs out.
    pub(super) async fn give_back(self) {
        let given = self
            .store
            .give_back_execution(&self.ceremony, &self.holder)
            .await;
        if let Err(error) = given {
            let error = trust::error_chain(&error);
            tracing::warn!(
                ceremony = self.ceremony,
                error,
                "a lease was not given back"
            );
        }
    }
}
