//! One PostgreSQL for the whole test process.

pub use testkit::postgres::Server;

use std::sync::OnceLock;

use std::sync::atomic::{AtomicU32, Ordering};

static SERVER: OnceLock<Server> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

fn server() -> &'static Server {
    SERVER.get_or_init(|| Server::start().unwrap())
}

/// The URL of a database of its own.
pub async fn fresh_database() -> String {
    let name = format!("chancery_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    tokio::task::spawn_blocking(move || server().create_database(&name).unwrap())
        .await
        .unwrap()
}

/// A server that a test may stop.
pub async fn own() -> Server {
    tokio::task::spawn_blocking(|| Server::start().unwrap())
        .await
        .unwrap()
}
