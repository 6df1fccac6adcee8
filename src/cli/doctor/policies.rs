//! The rules by which critical keys rotate: what the quorum decided, and nothing else.

use keyring::keys::Keys;
use rotation::policies::{PolicyService, caches_of};
use store::Store;
use trust::error_chain;

use super::check::{CHECK, Check, bad, good};

pub async fn policies(store: &Store, keys: &Keys) -> Check {
    let what = "rotation policies";
    let caches = caches_of(keys.longest_cached());
    let service = PolicyService::new(store.clone(), caches, keys.pin().clone());
    match service.faults().await {
        Ok(faults) if faults.is_empty() => {
            good(what, "of critical key types as the quorum decided")
        }
        Ok(faults) => bad(what, faults.join("; "), CHECK),
        Err(error) => bad(what, error_chain(&error), "check the database server's log"),
    }
}
