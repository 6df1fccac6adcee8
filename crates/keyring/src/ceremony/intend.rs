//! The intent: written before a token is touched, so that whatever happens then is found by it.

use super::error::Error;
use super::key_of_ring::numbered;
use super::service::{CeremonyFacts, CeremonyService};
use crate::keys::Snapshot;
use log::Event;
use store::{Change, KeyObjectRow, ObjectState};
use trust::place::Pkcs11Location;
use trust::{DestroyKey, Generate, Location, Time};

/// Keys that may be destroyed, as they are now.
pub(super) struct Ending {
    /// Not before what happened to any of them last.
    pub(super) intended_at: Time,
    /// Their objects, where these are, and their public keys (DER), in the order of the request.
    pub(super) objects: Vec<String>,
    pub(super) at: Vec<Pkcs11Location>,
    pub(super) spkis: Vec<Vec<u8>>,
}

impl CeremonyService {
    /// If we die after it the token may have the key or not: reconciliation looks.
    pub(super) async fn intend_generation(
        &self,
        facts: &CeremonyFacts,
        order: &Generate,
        at: Time,
    ) -> Result<(), Error> {
        let unfit = |e: trust::word::NotAWord| Error::Unfit(e.to_string());
        let object = KeyObjectRow {
            id: order.place.object(),
            kind: order.place.kind().parse().map_err(unfit)?,
            device: order.place.device(),
            label: order.place.label().to_owned(),
            place: order.place.clone(),
            location: None,
            ring: order.ring.clone(),
            number: order.number,
            ceremony: facts.row.id,
            state: ObjectState::Intended,
            kid: None,
            destruction: None,
            created_at: at,
            updated_at: at,
        };
        let change = Change::IntendGeneration {
            ceremony: facts.id.clone(),
            object: Box::new(object),
            at: at.millis(),
        };
        // A standing order permits it at this instant.
        let event = Event {
            time: at,
            ..self.about(facts, "intend-generation")
        };
        self.log.commit(&change, &event).await?;
        Ok(())
    }

    /// All keys are checked before any is touched.
    pub(super) fn checked_for_destruction(
        &self,
        keys: &[DestroyKey],
        snapshot: &Snapshot,
    ) -> Result<Ending, Error> {
        let mut ending = Ending {
            intended_at: self.env.now(),
            objects: Vec::with_capacity(keys.len()),
            at: Vec::with_capacity(keys.len()),
            spkis: Vec::with_capacity(keys.len()),
        };
        for order in keys {
            let ring = snapshot
                .rings
                .get(order.ring.as_str())
                .ok_or_else(|| Error::Unfit(format!("unknown ring {}", order.ring)))?;
            let key = numbered(ring, &order.kid, order.number)?;
            trust::plan::plan_archive(&ring.plan_keys(), &order.kid)?;
            let location = sole_location(order)?;
            let Location::Pkcs11(at) = location else {
                return Err(Error::Unfit("key vaults are not supported".to_owned()));
            };
            if key.location != *location {
                return Err(Error::Unfit(format!(
                    "key {} is not at the location in the request",
                    order.kid
                )));
            }
            ending.objects.push(location.object());
            ending.at.push(at.clone());
            ending.intended_at = ending.intended_at.max(key.last_change());
            ending.spkis.push(key.spki.clone());
        }
        Ok(ending)
    }

    /// The same for an end as for a birth.
    pub(super) async fn intend_destruction(
        &self,
        facts: &CeremonyFacts,
        ending: &Ending,
    ) -> Result<(), Error> {
        let change = Change::IntendDestruction {
            ceremony: facts.id.clone(),
            objects: ending.objects.clone(),
            at: ending.intended_at.millis(),
        };
        let event = self.about(facts, "intend-destruction");
        self.log.commit(&change, &event).await?;
        Ok(())
    }
}

/// Where a key is. This version makes no second copy, so it destroys none.
pub(super) fn sole_location(order: &DestroyKey) -> Result<&Location, Error> {
    match order.locations.as_slice() {
        [location] => Ok(location),
        _ => Err(Error::Unfit(format!(
            "key {} has several locations; only one per key is supported",
            order.kid
        ))),
    }
}
