//! The one connection that writes. It stays here between two transactions: a pool asks every connection that comes back
//! whether it is alive, in a task of its own, and whoever writes next waits for that way to SQLite's thread and back.

use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::{Pool, Sqlite};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::ACQUIRE;
use crate::engine::Home;

/// Clones share the connection.
#[derive(Clone)]
pub(crate) struct Writer {
    /// Opens it, and opens it again when a transaction was left unfinished on it.
    pool: Pool<Sqlite>,
    idle: Arc<Mutex<Option<PoolConnection<Sqlite>>>>,
}

/// The turn of whoever writes, to which the connection comes back. Without that the next one opens another.
pub(crate) struct Turn {
    idle: OwnedMutexGuard<Option<PoolConnection<Sqlite>>>,
    pool: Pool<Sqlite>,
}

impl Writer {
    pub fn new(pool: Pool<Sqlite>) -> Self {
        Self {
            pool,
            idle: Arc::default(),
        }
    }

    /// In the order in which they asked.
    pub async fn acquire(&self) -> Result<(PoolConnection<Sqlite>, Turn), sqlx::Error> {
        let idle = Arc::clone(&self.idle);
        let mut idle = match Arc::clone(&idle).try_lock_owned() {
            Ok(idle) => idle,
            Err(_) => timeout(ACQUIRE, idle.lock_owned())
                .await
                .map_err(|_| sqlx::Error::PoolTimedOut)?,
        };
        let connection = match idle.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        let pool = self.pool.clone();
        Ok((connection, Turn { idle, pool }))
    }

    /// Waits for whoever writes and refuses everybody after that.
    pub async fn close(&self) {
        let closed = self.pool.close();
        drop(self.idle.lock().await.take());
        closed.await;
    }

    pub fn pool(&self) -> &Pool<Sqlite> {
        &self.pool
    }

    /// Whether the connection waits for somebody who writes.
    pub fn is_idle(&self) -> bool {
        self.idle.try_lock().is_ok_and(|idle| idle.is_some())
    }
}

impl Home<PoolConnection<Sqlite>> for Turn {
    fn put_back(mut self, connection: PoolConnection<Sqlite>) {
        if !self.pool.is_closed() {
            *self.idle = Some(connection);
        }
    }
}
