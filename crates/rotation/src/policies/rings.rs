//! By which key type a ring is planned. A row says it, which one `INSERT` changes; what the quorum decided for critical keys
//! would hold for nobody then. So the row is followed only as far as the signed policy allows.

use std::collections::BTreeMap;

use calendar::key_type::KeyClass;
use calendar::{AssetName, KeyTypes, Word};
use log::unverified_chains;
use store::RingRow;
use trust::chain::walk;
use trust::{Name, Usage};

use super::{PolicyService, is_critical};
use crate::error::Error;

/// A ring whose row says another key type than it is planned by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reassigned {
    pub asset: AssetName,
    /// What the row says.
    pub told: Word,
    /// The critical key type that it is planned by.
    pub held: Word,
}

impl Reassigned {
    /// What doctor and the list of policies say of it.
    pub fn fault(&self) -> String {
        let Self { asset, told, held } = self;
        format!(
            "the database says that {asset} rotates by the policy of {told}, but the signed policy does not call the ring routine: it is planned by that of {held}"
        )
    }
}

/// The critical key type of the rings that nobody said anything of.
fn own(usage: Usage) -> &'static str {
    match usage {
        Usage::Wrap => "master_encryption",
        _ => "signing",
    }
}

/// The key type by which a ring is planned that the quorum does not call routine, if its row says another one that is not
/// for it.
fn held(types: &KeyTypes, usage: Usage, told: &Word) -> Option<Word> {
    let own = own(usage);
    let class = match usage {
        Usage::Wrap => KeyClass::KeyWrapping,
        _ => KeyClass::PrivateSignature,
    };
    let is_for_it = types
        .get(told.as_str())
        .is_some_and(|told| is_critical(told) && told.class == class);
    match is_for_it || told.as_str() == own {
        true => None,
        false => types.get(own).map(|own| own.name.clone()),
    }
}

/// Whether custodians call rings routine.
pub(crate) struct Routine(Option<trust::Policy>);

impl Routine {
    /// Without a chain of documents that holds, no ring is.
    pub fn calls(&self, ring: &Name, usage: Usage) -> bool {
        let policy = self.0.as_ref();
        policy.is_some_and(|policy| policy.is_routine(ring, usage))
    }
}

impl PolicyService {
    /// What the custodians' documents say of rings, as far as their chain holds.
    async fn routine(&self) -> Result<Routine, Error> {
        let documents = self.store.documents().await?;
        let chains = unverified_chains(&documents).ok().flatten();
        let trusted = chains.and_then(|chains| walk(&chains, &self.pin).ok());
        Ok(Routine(trusted.map(|trusted| trusted.policy().clone())))
    }

    /// Whether custodians call a ring routine.
    pub(crate) async fn is_routine(&self, ring: &str) -> Result<bool, Error> {
        let rings = self.store.rings().await?.all()?;
        let row = rings.iter().find(|row| row.name.as_str() == ring);
        let routine = self.routine().await?;
        Ok(row.is_some_and(|row| routine.calls(&row.name, row.usage)))
    }

    /// The rings whose rows say a key type that is not for them and that no quorum allowed. The chain of documents is walked
    /// once, and only where there may be one.
    pub(crate) async fn reassigned(&self, types: &KeyTypes) -> Result<Vec<Reassigned>, Error> {
        let rings = self.store.rings().await?.all()?;
        let rings: BTreeMap<String, &RingRow> = rings
            .iter()
            .map(|row| (format!("signing/{}", row.name), row))
            .collect();
        if rings.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = rings.keys().map(String::as_str).collect();
        let mut found = Vec::new();
        for row in self.store.assets_of(&names).await?.all()? {
            let Some(ring) = rings.get(row.asset.as_str()) else {
                continue;
            };
            if let Some(held) = held(types, ring.usage, &row.key_type) {
                let reassigned = Reassigned {
                    asset: row.asset,
                    told: row.key_type,
                    held,
                };
                found.push((*ring, reassigned));
            }
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let routine = self.routine().await?;
        found.retain(|(ring, _)| !routine.calls(&ring.name, ring.usage));
        Ok(found.into_iter().map(|(_, found)| found).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_to_critical_key_types_of_its_class() {
        let types = KeyTypes::standard();
        let held = |usage, told: &str| {
            held(&types, usage, &told.parse().unwrap()).map(|held| held.to_string())
        };
        assert_eq!(held(Usage::Structured, "signing"), None);
        for told in ["jwt_signing", "master_encryption", "api_key", "launch_code"] {
            let held = held(Usage::Structured, told);
            assert_eq!(held.as_deref(), Some("signing"), "{told}");
        }
        assert_eq!(held(Usage::Wrap, "master_encryption"), None);
        let wraps = held(Usage::Wrap, "signing");
        assert_eq!(wraps.as_deref(), Some("master_encryption"));
    }
}
