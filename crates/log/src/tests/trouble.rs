//! A tree store and an object store that fail on command: before they did what was asked, or after.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use crate::tree_store::{INTEGRATOR, TreeStore};
use store::{CheckpointRow, Error, LeafBody, Store, TreeRow};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It failed and nothing happened.
    Before,
    /// It happened, and the caller is told that it failed.
    After,
}

/// Counts the calls that write; the ones that are named fail.
#[derive(Debug, Default)]
pub struct Trouble {
    calls: AtomicUsize,
    faults: Mutex<Vec<(usize, Fault)>>,
    removals: AtomicUsize,
    removal: Option<(usize, Fault)>,
    /// What the database is known by.
    pub word: Mutex<String>,
    /// Whether leases last.
    pub lasting: AtomicBool,
    /// What the next read of the tree gives: as if the process was stopped right after it.
    pub old_tree: Mutex<Option<TreeRow>>,
}

impl Trouble {
    pub fn at(faults: &[(usize, Fault)]) -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            faults: Mutex::new(faults.to_vec()),
            ..Self::default()
        })
    }

    /// One of the calls that remove something.
    pub fn at_removal(at: usize, fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            removal: Some((at, fault)),
            ..Self::default()
        })
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn next(&self) -> Option<Fault> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let faults = self.faults.lock().unwrap();
        let fault = faults.iter().find(|(at, _)| *at == call);
        fault.map(|(_, fault)| *fault)
    }
}

/// The database, with trouble on the way.
#[derive(Clone)]
pub struct Troubled {
    pub store: Store,
    pub trouble: Arc<Trouble>,
}

impl Troubled {
    async fn write<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match self.trouble.next() {
            Some(Fault::Before) => Err(Error::closed()),
            Some(Fault::After) => {
                work.await?;
                Err(Error::unknown())
            }
            None => work.await,
        }
    }
}

impl TreeStore for Troubled {
    async fn size(&self) -> Result<i64, Error> {
        self.store.log_size().await
    }

    async fn leaves(&self, from: i64, limit: i64) -> Result<Vec<LeafBody>, Error> {
        self.store.leaf_bodies(from, limit).await
    }

    async fn database(&self) -> Result<String, Error> {
        let word = self.trouble.word.lock().unwrap().clone();
        Ok(self.store.look().await?.1 + &word)
    }

    async fn tree(&self) -> Result<TreeRow, Error> {
        if let Some(old) = self.trouble.old_tree.lock().unwrap().take() {
            return Ok(old);
        }
        self.store.tree().await
    }

    /// It has run out when it is had, unless somebody wants to see others wait for it.
    async fn lease(&self, holder: &str, time: Duration) -> Result<bool, Error> {
        let time = match self.trouble.lasting.load(Ordering::Relaxed) {
            true => time * 1_000,
            false => Duration::ZERO,
        };
        self.write(self.store.lease(INTEGRATOR, holder, time)).await
    }

    async fn swap(&self, old: &TreeRow, new: &TreeRow) -> Result<bool, Error> {
        self.write(self.store.swap_tree(old, new)).await
    }

    async fn last_checkpoint(&self) -> Result<Option<CheckpointRow>, Error> {
        self.store.last_checkpoint().await
    }

    async fn add_checkpoint(&self, row: &CheckpointRow) -> Result<CheckpointRow, Error> {
        self.write(self.store.add_checkpoint(row)).await
    }
}

/// Objects in memory, with trouble on the way.
#[derive(Debug)]
pub struct Objects {
    pub held: Arc<InMemory>,
    pub trouble: Arc<Trouble>,
}

impl std::fmt::Display for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("troubled objects")
    }
}

fn broken() -> object_store::Error {
    object_store::Error::Generic {
        store: "trouble",
        source: "as commanded".into(),
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        match self.trouble.next() {
            Some(Fault::Before) => Err(broken()),
            Some(Fault::After) => {
                self.held.put_opts(location, payload, options).await?;
                Err(broken())
            }
            None => self.held.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(broken())
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.held.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let call = self.trouble.removals.fetch_add(1, Ordering::Relaxed);
        let fault = self.trouble.removal.filter(|(at, _)| *at == call);
        match fault.map(|(_, fault)| fault) {
            None => self.held.delete_stream(locations),
            Some(Fault::Before) => futures_util::stream::iter([Err(broken())]).boxed(),
            Some(Fault::After) => {
                let gone = self.held.delete_stream(locations);
                gone.map(|_| Err(broken())).boxed()
            }
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.held.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.held.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.held.copy_opts(from, to, options).await
    }
}
