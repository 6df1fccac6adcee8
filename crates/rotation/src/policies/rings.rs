//! By which key type a ring is planned. A row says it, which one `INSERT` changes; what the quorum decided for critical keys
//! would hold for nobody then. So the row is followed only as far as the signed policy allows.

use std::collections::BTreeMap;

use calendar::{AssetName, Word};
use log::unverified_chains;
use store::RingRow;
use trust::chain::walk;
use trust::{Name, Usage};

use super::PolicyService;
use crate::error::Error;

/// What the names of rings begin with among assets.
const RINGS: &str = "signing/";

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

/// The key type by which a ring is planned that the quorum does not call routine, if another one is told of it. A critical one
/// is no better: which types of an installation are, and by which figures they begin, one person says.
fn held(usage: Usage, told: &Word) -> Option<Word> {
    let own = own(usage);
    match told.as_str() == own {
        true => None,
        false => own.parse().ok(),
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

    /// The key type that an asset is planned by whatever else is told of it; none of what is no ring, of one that custodians
    /// call routine, and where just that is told.
    pub(crate) async fn held(&self, asset: &str, told: &Word) -> Result<Option<Word>, Error> {
        let Some(name) = asset.strip_prefix(RINGS) else {
            return Ok(None);
        };
        let rings = self.store.rings().await?.all()?;
        let Some(ring) = rings.iter().find(|row| row.name.as_str() == name) else {
            return Ok(None);
        };
        match held(ring.usage, told) {
            Some(_) if self.routine().await?.calls(&ring.name, ring.usage) => Ok(None),
            held => Ok(held),
        }
    }

    /// The rings whose rows say a key type that is not for them and that no quorum allowed. The chain of documents is walked
    /// once, and only where there may be one.
    pub(crate) async fn reassigned(&self) -> Result<Vec<Reassigned>, Error> {
        let rings = self.store.rings().await?.all()?;
        let rings: BTreeMap<String, &RingRow> = rings
            .iter()
            .map(|row| (format!("{RINGS}{}", row.name), row))
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
            if let Some(held) = held(ring.usage, &row.key_type) {
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
    fn a_ring_keeps_to_the_critical_key_type_of_its_usage() {
        let held =
            |usage, told: &str| held(usage, &told.parse().unwrap()).map(|held| held.to_string());
        assert_eq!(held(Usage::Structured, "signing"), None);
        for told in [
            "jwt_signing",
            "master_encryption",
            "api_key",
            "own_critical",
        ] {
            let held = held(Usage::Structured, told);
            assert_eq!(held.as_deref(), Some("signing"), "{told}");
        }
        assert_eq!(held(Usage::Wrap, "master_encryption"), None);
        let wraps = held(Usage::Wrap, "signing");
        assert_eq!(wraps.as_deref(), Some("master_encryption"));
    }
}
