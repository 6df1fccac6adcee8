//! What the integrator asks of the database, and nothing else of it. Its tests put one in between
//! that fails on command.

use std::future::Future;
use std::time::Duration;

use store::{CheckpointRow, Error, LeafBody, Store, TreeRow};

/// The lease of whoever integrates.
pub const INTEGRATOR: &str = "integrator";

pub trait TreeStore: Send + Sync {
    /// How many leaves there are.
    fn size(&self) -> impl Future<Output = Result<i64, Error>> + Send;
    fn leaves(
        &self,
        from: i64,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<LeafBody>, Error>> + Send;
    /// What the database is known by; empty where its engine has no such word.
    fn database(&self) -> impl Future<Output = Result<String, Error>> + Send;
    fn tree(&self) -> impl Future<Output = Result<TreeRow, Error>> + Send;
    fn lease(
        &self,
        holder: &str,
        time: Duration,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
    fn swap(
        &self,
        old: &TreeRow,
        new: &TreeRow,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
    fn last_checkpoint(&self) -> impl Future<Output = Result<Option<CheckpointRow>, Error>> + Send;
    fn add_checkpoint(
        &self,
        row: &CheckpointRow,
    ) -> impl Future<Output = Result<CheckpointRow, Error>> + Send;
}

impl TreeStore for Store {
    async fn size(&self) -> Result<i64, Error> {
        self.log_size().await
    }

    async fn leaves(&self, from: i64, limit: i64) -> Result<Vec<LeafBody>, Error> {
        self.leaf_bodies(from, limit).await
    }

    async fn database(&self) -> Result<String, Error> {
        Ok(self.look().await?.1)
    }

    async fn tree(&self) -> Result<TreeRow, Error> {
        Store::tree(self).await
    }

    async fn lease(&self, holder: &str, time: Duration) -> Result<bool, Error> {
        Store::lease(self, INTEGRATOR, holder, time).await
    }

    async fn swap(&self, old: &TreeRow, new: &TreeRow) -> Result<bool, Error> {
        self.swap_tree(old, new).await
    }

    async fn last_checkpoint(&self) -> Result<Option<CheckpointRow>, Error> {
        Store::last_checkpoint(self).await
    }

    async fn add_checkpoint(&self, row: &CheckpointRow) -> Result<CheckpointRow, Error> {
        Store::add_checkpoint(self, row).await
    }
}
