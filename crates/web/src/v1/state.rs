//! What handlers share.

use std::sync::{Arc, Mutex};

use crate::middleware::layer::RequestLayer;
use crate::middleware::routes::Route;
use crate::services::Services;
use crate::settings::Settings;
use crate::v1::history_pages::HistoryPages;
use crate::v1::jwks_cache;

pub struct ServerState {
    pub services: Services,
    pub settings: Settings,
    pub layer: Arc<RequestLayer>,
    pub jwks: jwks_cache::Cache,
    pub history: HistoryPages,
    /// The read model's version whose keys were counted last.
    pub counted: Mutex<Option<i64>>,
}

pub type SharedState = Arc<ServerState>;

impl ServerState {
    /// `routes` are counted by name; requests to others together.
    pub fn new(
        services: Services,
        settings: Settings,
        routes: impl Iterator<Item = Route>,
    ) -> SharedState {
        Arc::new(Self {
            layer: Arc::new(RequestLayer::new(&services, &settings, routes)),
            jwks: jwks_cache::Cache::default(),
            history: HistoryPages::new(services.clone(), settings.issuer.clone()),
            counted: Mutex::default(),
            services,
            settings,
        })
    }
}
