//! What the listeners serve from; built by `main`.

use std::sync::Arc;
use std::time::Duration;

use access::oidc::Oidc;
use base::Env;
use base::trace::SetParent;
use keyring::ceremony::CeremonyService;
use keyring::keys::Keys;
use keyring::signing::Signing;
use keyring::verification::{EvidenceBuilder, Verification};
use log::{Log, Proofs};
use metrics_exporter_prometheus::PrometheusHandle;
use rotation::inventory::InventoryService;
use rotation::jobs::Scheduler;
use store::Store;
use token::Pool;
use tokio::runtime::Handle;

/// Clones share everything.
#[derive(Clone)]
pub struct Services {
    pub keys: Arc<Keys>,
    pub signing: Signing,
    pub verification: Verification,
    pub evidence: EvidenceBuilder,
    /// For custodians, of whom nothing is known but what they sign.
    pub ceremonies: CeremonyService,
    /// What rotates, and by which policies.
    pub inventory: InventoryService,
    pub transparency_log: Proofs,
    pub store: Store,
    /// Takes refusals.
    pub log: Log,
    pub token: Pool,
    pub env: Env,
    /// Whose bearer tokens are believed.
    pub oidc: Arc<Oidc>,
    /// Does the work of callers without credentials.
    pub strangers: Handle,
    /// What rotates, and when.
    pub rotation: Scheduler,
    /// Renders what the recorder of metrics has counted.
    pub metrics: PrometheusHandle,
    /// Lets the span of a request go on with its caller's trace.
    pub set_parent: SetParent,
    /// How long an approved ceremony may wait: then there is no executor.
    pub executor_late: Duration,
    /// Names this process in the request ids that it makes; different for every start.
    pub instance: String,
}
