//! The service over HTTP: two listeners, one endpoint a file, [`problem`] the only mapping of
//! errors. Handlers authenticate, parse and write; what is decided is decided below.

mod app;
mod audit;
mod auth;
mod blast_radius;
mod body;
mod codes;
mod docs;
mod doors;
mod edge;
mod evidence;
mod figures;
mod front;
mod health;
mod history;
mod idempotency;
mod instant;
mod inventory;
mod jwks;
mod jwks_then;
mod key;
mod key_log;
mod key_material;
mod limits;
mod log_files;
mod object;
mod operations;
mod problem;
mod receipt;
mod respond;
mod rings;
mod router;
mod section;
mod server;
mod settings;
mod sign;
mod sign_batch;
mod sign_request;
mod state;
mod tls;
mod transcript;
mod verify;
mod verify_batch;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod testing;

use std::sync::Arc;

pub use app::App;
pub use doors::AuditedRefusals;
pub use section::{Http, Tls};
pub use server::serve;
pub use settings::Settings;

/// What handlers share.
struct Edge {
    app: App,
    settings: Settings,
    limits: limits::Limits,
    request_ids: edge::RequestIds,
    jwks: jwks::Cache,
    history: history::Cache,
    figures: figures::Figures,
}

type Shared = Arc<Edge>;

impl Edge {
    fn new(app: App, settings: Settings) -> Shared {
        Arc::new(Self {
            limits: limits::Limits::new(settings.max_in_flight, settings.requests_per_second),
            request_ids: edge::RequestIds::new(app.instance.clone()),
            jwks: jwks::Cache::default(),
            history: history::Cache::default(),
            figures: figures::Figures::new(router::paths()),
            app,
            settings,
        })
    }
}
