//! What handlers share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::middleware::layer::RequestLayer;
use crate::middleware::routes::Route;
use crate::services::Services;
use crate::settings::Settings;
use crate::v1::closed_answers::ClosedAnswers;
use crate::v1::history_pages::HistoryPages;
use crate::v1::jwks_cache;
use crate::v1::scraped::Scraped;
use crate::v1::streams::Streams;
use crate::v1::used_reads::UsedReads;
use keyring::ceremony::Waitings;

pub struct ServerState {
    pub services: Services,
    pub settings: Settings,
    pub layer: Arc<RequestLayer>,
    pub jwks: jwks_cache::Cache,
    pub history: HistoryPages,
    /// Read signatures of members that were used.
    pub reads: UsedReads,
    /// Answers about closed ceremonies.
    pub closed: ClosedAnswers,
    /// Pages for paper, by what they were made of.
    pub printed: ClosedAnswers,
    /// Open ceremonies and statements, and for whom they wait.
    pub waiting: Waitings,
    pub streams: Streams,
    pub scraped: Scraped,
}

pub type SharedState = Arc<ServerState>;

impl ServerState {
    /// Whether the service is about to stop: what lasts ends.
    pub fn is_stopping(&self) -> bool {
        self.layer.stopping.load(Ordering::Relaxed)
    }

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
            reads: UsedReads::default(),
            closed: ClosedAnswers::default(),
            printed: ClosedAnswers::default(),
            waiting: Waitings::new(services.ceremonies.clone()),
            streams: Streams::new(settings.max_in_flight),
            scraped: Scraped::default(),
            services,
            settings,
        })
    }
}
