//! What a replica serves from, over an installation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Tasks;
use log::{Group, Proofs, Published};
use store::Store;
use testkit::token::SoftwareToken;
use tokio::sync::watch;

use super::installation::Installation;
use crate::keys::Keys;
use crate::signing::{Error, Format, IdempotencyKey, LogKey, Serialised, Signed, Signing};
use crate::verification::{EvidenceBuilder, Rules, Verification};
use access::Principal;

#[derive(Clone)]
pub struct Serving {
    pub keys: Arc<Keys>,
    pub signing: Signing,
    pub published: watch::Sender<Published>,
    token: SoftwareToken,
    store: Store,
    before: u64,
    _tasks: Arc<Tasks>,
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

pub fn jws(payload: &str) -> Format {
    Format::Jws {
        payload: payload.as_bytes().to_vec(),
    }
}

/// Until so many signatures are waited for at the token, which is held.
pub async fn asked(all: &Installation, count: usize) {
    while all.token.waiting() < count {
        tokio::task::yield_now().await;
    }
}

impl Serving {
    pub async fn over(all: &Installation) -> Self {
        let (published, watched) = watch::channel(Published::default());
        let keys = all.keys().await;
        let (group, committer) = Group::new(all.store.clone(), watched);
        let mut tasks = Tasks::default();
        tasks.start_draining("group commit", committer, |committer| {
            Box::pin(committer.run())
        });
        let store = all.store.clone();
        let signing = Signing::new(
            keys.clone(),
            all.token.pool(),
            group,
            store.clone(),
            all.env.clone(),
        );
        Self {
            keys,
            signing,
            published,
            token: all.token.clone(),
            store,
            before: all.token.signatures(),
            _tasks: Arc::new(tasks),
        }
    }

    pub async fn sign(&self, ring: &str, payload: &str) -> Result<Signed, Error> {
        self.ask(ring, payload, None).await
    }

    pub async fn sign_as(&self, key: &str, ring: &str, payload: &str) -> Result<Signed, Error> {
        let key = IdempotencyKey(key.to_owned());
        self.ask(ring, payload, Some(key)).await
    }

    async fn ask(
        &self,
        ring: &str,
        payload: &str,
        key: Option<IdempotencyKey>,
    ) -> Result<Signed, Error> {
        let caller = Principal::signer("somebody", ring);
        let format = jws(payload);
        self.signing
            .sign(&caller, ring, format, None, key, soon())
            .await
    }

    /// A compact JWS.
    pub async fn jws(&self, ring: &str, payload: &str) -> (String, Signed) {
        let signed = self.sign(ring, payload).await.unwrap();
        match &signed.signature {
            Serialised::Jws(text) => (text.clone(), signed),
            other => panic!("{other:?}"),
        }
    }

    /// By the token, since this replica began.
    pub fn made(&self) -> u64 {
        self.token.signatures() - self.before
    }

    /// In the log, which are as many as the token made.
    pub async fn signatures(&self) -> u64 {
        let leaves = self.store.leaves(0, 1_000).await.unwrap();
        let signed = leaves.iter().filter(|leaf| leaf.kind == "sign").count() as u64;
        assert_eq!(signed, self.made());
        signed
    }
}

/// A log with its tree, and what verifies over it.
pub struct Verifying {
    pub serving: Serving,
    pub verification: Verification,
    pub evidence: EvidenceBuilder,
    pub proofs: Proofs,
    pub settings: log::Settings,
    _log: Tasks,
    pub tiles: tempfile::TempDir,
}

impl Verifying {
    /// The ring `log` has to be open.
    pub async fn over(all: &Installation) -> Self {
        Self::at(all, tempfile::tempdir().unwrap(), log::Settings::default()).await
    }

    /// With the log at this place.
    pub async fn at(all: &Installation, tiles: tempfile::TempDir, of: log::Settings) -> Self {
        let serving = Serving::over(all).await;
        let settings = log::Settings {
            tiles: tiles.path().display().to_string(),
            interval: Duration::from_millis(5),
            // Tests move the clock by years; a leaf of its own would come between theirs.
            heartbeat: Duration::from_secs(1_000 * 365 * 86_400),
            ..of
        };
        let key = Arc::new(LogKey::new(serving.keys.clone(), all.token.pool()));
        let (proofs, runner) = log::open(
            &settings,
            "https://chancery.example",
            |_| None,
            &all.store,
            key,
            &all.env,
            "test",
        )
        .await
        .unwrap();
        let mut log_tasks = Tasks::default();
        runner.start(&mut log_tasks);
        let verification = Verification::new(
            serving.keys.clone(),
            all.store.clone(),
            proofs.clone(),
            Rules::default(),
            all.env.clone(),
        );
        let pin = all.settings.pin.clone();
        let evidence =
            EvidenceBuilder::new(serving.keys.clone(), all.store.clone(), proofs.clone(), pin);
        Self {
            serving,
            verification,
            evidence,
            proofs,
            settings,
            _log: log_tasks,
            tiles,
        }
    }

    /// Stops the replica; where its log is.
    pub async fn stop(self) -> tempfile::TempDir {
        self._log.stop().await;
        self.serving
            .store
            .return_lease(log::INTEGRATOR, "test")
            .await
            .unwrap();
        self.tiles
    }

    /// A checkpoint over all that was written so far.
    pub async fn covered(&self) {
        let last = self.serving.store.log_size().await.unwrap() - 1;
        assert!(self.proofs.covered(last, soon()).await.is_ok());
    }
}
