//! A database with leaves in it, objects, and the key of a log.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use object_store::memory::InMemory;
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::{Frontier, leaf_hash, verify_consistency};
use trust::tlog::note::{Note, VerifierKey};
use trust::{Kid, PublicKey, Time};

use super::trouble::{Objects, Trouble, Troubled};
use crate::integrator::{Error, Integrator, Settings, Step};
use crate::signer::{CheckpointNotSigned, CheckpointSignature, CheckpointSigner, Later};
use crate::storage::Storage;
use crate::tiles::Tiles;
use base::Env;
use store::testing::place::Place;
use store::testing::world::{NOW, signature};
use store::{Database, Store};

pub const ORIGIN: &str = "log.example/log";

/// Signs as a token would.
pub struct Key {
    pair: Ed25519KeyPair,
    kid: Kid,
}

impl Key {
    pub fn public(&self) -> PublicKey {
        PublicKey::ed25519(self.pair.public_key().as_ref()).unwrap()
    }
}

impl CheckpointSigner for Key {
    fn keys(&self) -> Vec<PublicKey> {
        vec![self.public()]
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn sign(
        &self,
        text: String,
        _: Instant,
    ) -> Later<Result<CheckpointSignature, CheckpointNotSigned>> {
        let signed = CheckpointSignature {
            kid: self.kid.clone(),
            public: self.public(),
            signature: self.pair.sign(text.as_bytes()).as_ref().to_vec(),
        };
        Box::pin(async move { Ok(signed) })
    }
}

pub struct World {
    pub store: Store,
    pub database: Database,
    pub objects: Arc<InMemory>,
    pub key: Arc<Key>,
    /// Signs records.
    pub signer: String,
    count: std::cell::Cell<usize>,
    /// Whether its integrators leave partial tiles alone.
    pub keeps_partial: std::cell::Cell<bool>,
    _directory: tempfile::TempDir,
}

impl World {
    /// A fresh copy of a database with an open log and a ring.
    pub async fn new() -> Self {
        let template = template();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chancery.db");
        std::fs::write(&path, &template.bytes).unwrap();
        let database = Database::Sqlite { path };
        let pair = Ed25519KeyPair::generate().unwrap();
        Self {
            store: Store::connect(&database).await.unwrap(),
            database,
            objects: Arc::new(InMemory::new()),
            key: Arc::new(Key {
                pair,
                kid: template.log_key.parse().unwrap(),
            }),
            signer: template.signer.clone(),
            count: std::cell::Cell::new(0),
            keeps_partial: std::cell::Cell::new(false),
            _directory: directory,
        }
    }

    pub fn storage(&self, trouble: &Arc<Trouble>) -> Storage {
        let objects = Objects {
            held: self.objects.clone(),
            trouble: trouble.clone(),
        };
        Storage::new(Arc::new(objects), "prefix").unwrap()
    }

    pub fn integrator(&self, holder: &str, trouble: &Arc<Trouble>) -> Integrator<Troubled> {
        let tree_store = Troubled {
            store: self.store.clone(),
            trouble: trouble.clone(),
        };
        // Each look a minute later.
        let clock = std::sync::atomic::AtomicI64::new(NOW);
        let tick = move || clock.fetch_add(60_000, std::sync::atomic::Ordering::Relaxed);
        let env = Env::new(move || Time::from_millis(tick()), |_| Ok(()));
        let settings = Settings {
            origin: ORIGIN.to_owned(),
            holder: holder.to_owned(),
            remove_partial: !self.keeps_partial.get(),
        };
        let tiles = Tiles::new(self.storage(trouble));
        Integrator::new(tree_store, tiles, self.key.clone(), env, settings)
    }

    /// Signatures into the database.
    pub async fn sign(&self, count: usize) {
        let first = self.count.get();
        self.count.set(first + count);
        let names: Vec<String> = (first..first + count).map(|n| format!("s{n}")).collect();
        for part in names.chunks(256) {
            let batch: Vec<_> = part
                .iter()
                .map(|name| signature(&self.signer, "atp", name))
                .collect();
            self.store.commit_signatures(&batch).await.unwrap();
        }
    }

    /// The same number of other signatures.
    pub async fn sign_others(&self, count: usize) {
        self.count.set(self.count.get() + 1_000_000);
        self.sign(count).await;
    }

    pub fn log_kid(&self) -> Kid {
        self.key.kid.clone()
    }

    pub async fn revoke_log_key(&self) {
        let sql = "DROP TRIGGER signing_key_transition; UPDATE signing_key SET state = 'revoked', \
             role = NULL, revoked_at = 1, revocation_reason = 'compromised' WHERE ring = 'log'";
        self.place().raw(sql).await.unwrap();
        self.sign(1).await;
    }

    fn place(&self) -> Place {
        Place::of(self.store.clone(), self.database.clone())
    }

    /// The database's file as it is now.
    pub async fn backup(&mut self) -> Vec<u8> {
        self.store.close().await;
        let bytes = std::fs::read(self.path()).unwrap();
        self.store = Store::connect(&self.database).await.unwrap();
        bytes
    }

    pub async fn restore(&mut self, backup: &[u8]) {
        self.store.close().await;
        std::fs::write(self.path(), backup).unwrap();
        self.store = Store::connect(&self.database).await.unwrap();
    }

    fn path(&self) -> std::path::PathBuf {
        self.place().path()
    }

    /// What is published now.
    pub async fn published(&self) -> Option<Checkpoint> {
        let storage = self.storage(&Trouble::at(&[]));
        let present = storage.checkpoint().await.unwrap()?;
        let note = Note::parse(&present.bytes).unwrap();
        let key = VerifierKey::for_log(ORIGIN, &self.key.public()).unwrap();
        Some(checkpoint::open(&note, &[key]).unwrap())
    }

    /// Every leaf is in the tree exactly once and in order; the tree is consistent with every
    /// checkpoint that was ever signed; every leaf has its proof under the first that covers it.
    pub async fn holds(&self) {
        let leaves = self.store.leaves(0, 10_000).await.unwrap();
        let mut roots = vec![Frontier::new().root()];
        let mut frontier = Frontier::new();
        for leaf in &leaves {
            frontier.push(leaf_hash(leaf.body.as_bytes()));
            roots.push(frontier.root());
        }
        let tree = self.store.tree().await.unwrap();
        assert_eq!(tree.size as usize, leaves.len(), "all is integrated");
        assert_eq!(tree.root, frontier.root());
        let rows = self.store.checkpoints(0, 10_000).await.unwrap();
        let last = rows.last().expect("a checkpoint");
        assert_eq!(last.size, tree.size);
        let published = self.published().await.expect("a published checkpoint");
        assert_eq!(
            published.size, last.size as u64,
            "the last one is published"
        );
        let tiles = Tiles::new(self.storage(&Trouble::at(&[])));
        let now = tree.size as u64;
        for row in &rows {
            assert_eq!(row.root, roots[row.size as usize], "{}", row.size);
            let size = row.size as u64;
            let proof = tiles.consistency(size, now, now).await.unwrap();
            verify_consistency(size, now, roots[row.size as usize], published.root, &proof)
                .unwrap_or_else(|error| panic!("from {size}: {error}"));
        }
        for index in (0..now).step_by(97).chain([now - 1]) {
            let proof = tiles.inclusion(index, now, now).await.unwrap();
            let leaf = leaf_hash(leaves[index as usize].body.as_bytes());
            trust::tlog::merkle::verify_inclusion(index, now, leaf, &proof, published.root)
                .unwrap_or_else(|error| panic!("leaf {index}: {error}"));
        }
    }
}

/// Steps until there is nothing more to do.
pub async fn run(integrator: &mut Integrator<Troubled>) -> Result<(), Error> {
    for _ in 0..20 {
        match integrator.step().await? {
            Step::Done => return Ok(()),
            Step::More | Step::Elsewhere => {}
        }
    }
    panic!("it does not end")
}

struct Template {
    bytes: Vec<u8>,
    log_key: String,
    signer: String,
}

/// Made once: migrations and ceremonies take longer than the tests.
fn template() -> &'static Template {
    static MADE: OnceLock<Template> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let place = Place::sqlite().await;
                let log_key = place.open_ring("log").await;
                let signer = place.open_ring("atp").await;
                place.store.close().await;
                Template {
                    bytes: std::fs::read(place.path()).unwrap(),
                    log_key,
                    signer,
                }
            })
        });
        made.join().unwrap()
    })
}
