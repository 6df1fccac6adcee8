//! One PostgreSQL for the whole test process.

#[path = "../../../tests/support/postgres.rs"]
mod postgres;

pub use postgres::Server;

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
