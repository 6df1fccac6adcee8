//! Where tiles and the checkpoint stand: a directory or an object store.
//!
//! The store is neither trusted nor asked to order anything. A tile never changes: what is there
//! already has to be the same byte for byte, or somebody wrote another history and we stop. That
//! also makes every write safe to repeat, whether the one before it failed or only seemed to.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion,
};

use crate::settings::Settings;

/// One read or write. Beyond it the outcome is unknown, and the next step finds out.
const LIMIT: Duration = Duration::from_secs(15);

/// Objects that change.
const CHECKPOINT: &str = "checkpoint";
/// Hash of what the database is known by.
const DATABASE: &str = "database";

/// Name of the object that shows that there can be objects.
const PROBE: &str = "doctor";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("log.tiles: {0}")]
    Settings(String),
    /// Unknown whether a write happened.
    #[error("the log's storage failed to {operation} {object}")]
    Unavailable {
        operation: &'static str,
        object: String,
        #[source]
        source: Option<object_store::Error>,
    },
    /// Two histories.
    #[error("{object} already exists in the log's storage with different content")]
    Differs { object: String },
}

impl Error {
    /// Of work whose task ended without a word.
    pub fn unfinished(operation: &'static str) -> Self {
        unavailable(operation, "an object", None)
    }
}

/// Clones share their connections.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// An object with what is needed to replace exactly it.
pub struct Present {
    pub bytes: Vec<u8>,
    version: UpdateVersion,
}

impl Storage {
    /// `variable` looks a variable of the environment up, for secrets.
    pub fn open(log: &Settings, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut options = Vec::new();
        for (name, secret) in &log.storage {
            use secrecy::ExposeSecret as _;
            let value = secret
                .read(&variable)
                .map_err(|problem| Error::Settings(format!("{name}: {problem}")))?;
            options.push((name.as_str(), value.expose_secret().to_owned()));
        }
        let built = |error: object_store::Error| Error::Settings(error.to_string());
        let (scheme, rest) = log.tiles.split_once("://").unwrap_or(("file", &log.tiles));
        let bucketed = || rest.split_once('/').map_or("", |(_, prefix)| prefix);
        let (store, prefix): (Arc<dyn ObjectStore>, &str) = match scheme {
            "s3" => {
                let mut builder = AmazonS3Builder::new().with_url(&log.tiles);
                for (key, value) in configured::<AmazonS3ConfigKey>(options)? {
                    builder = builder.with_config(key, value);
                }
                (Arc::new(builder.build().map_err(built)?), bucketed())
            }
            "az" => {
                let mut builder = MicrosoftAzureBuilder::new().with_url(&log.tiles);
                for (key, value) in configured::<AzureConfigKey>(options)? {
                    builder = builder.with_config(key, value);
                }
                (Arc::new(builder.build().map_err(built)?), bucketed())
            }
            "gs" => {
                let mut builder = GoogleCloudStorageBuilder::new().with_url(&log.tiles);
                for (key, value) in configured::<GoogleConfigKey>(options)? {
                    builder = builder.with_config(key, value);
                }
                (Arc::new(builder.build().map_err(built)?), bucketed())
            }
            _ => {
                if let Some((name, _)) = options.first() {
                    let why =
                        format!("log.storage.{name} applies to object stores, not to a directory");
                    return Err(Error::Settings(why));
                }
                std::fs::create_dir_all(rest)
                    .map_err(|error| Error::Settings(format!("{rest}: {error}")))?;
                let local = LocalFileSystem::new_with_prefix(rest).map_err(built)?;
                // A tile has to survive a power cut before the database says that it is there.
                (Arc::new(local.with_fsync(true)), "")
            }
        };
        Self::new(store, prefix)
    }

    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self, Error> {
        let prefix = Path::parse(prefix).map_err(|error| Error::Settings(error.to_string()))?;
        Ok(Self { store, prefix })
    }

    fn at(&self, object: &str) -> Path {
        object
            .split('/')
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }

    pub async fn get(&self, object: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.present(object).await?.map(|present| present.bytes))
    }

    async fn present(&self, object: &str) -> Result<Option<Present>, Error> {
        let path = self.at(object);
        let read = async {
            let found = self.store.get(&path).await?;
            let version = UpdateVersion {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            };
            let bytes = found.bytes().await?.to_vec();
            Ok(Present { bytes, version })
        };
        match limited("read", object, read).await {
            Ok(present) => Ok(Some(present)),
            Err(Error::Unavailable {
                source: Some(object_store::Error::NotFound { .. }),
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of all files below a directory, as they come.
    pub fn files(&self, directory: &str) -> BoxStream<'static, Result<String, Error>> {
        use futures_util::TryStreamExt as _;
        let below = self.prefix.clone();
        let listed = self.store.list(Some(&self.at(directory)));
        let named = listed.try_filter_map(move |meta| {
            let parts = meta.location.prefix_match(&below);
            let name = parts.map(|parts| {
                let parts: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
                parts.join("/")
            });
            std::future::ready(Ok(name))
        });
        named
            .map_err(|source| unavailable("list", "tile", Some(source)))
            .boxed()
    }

    /// The last parts of the names below a directory.
    pub async fn names(&self, directory: &str) -> Result<Vec<String>, Error> {
        use futures_util::TryStreamExt as _;
        let listed = self.store.list(Some(&self.at(directory)));
        let found: Vec<_> = limited("list", directory, listed.try_collect()).await?;
        let names = found
            .iter()
            .filter_map(|meta: &object_store::ObjectMeta| meta.location.filename());
        Ok(names.map(str::to_owned).collect())
    }

    /// Writes what never changes. There already with the same bytes is as good as written.
    pub async fn put_immutable(&self, object: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.at(object);
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from(bytes.to_vec());
        let written = self.store.put_opts(&path, payload, options);
        match limited("write", object, written).await {
            Ok(_) => Ok(()),
            Err(Error::Unavailable {
                source: Some(object_store::Error::AlreadyExists { .. }),
                ..
            }) => match self.get(object).await? {
                Some(there) if there == bytes => Ok(()),
                Some(_) => Err(Error::Differs {
                    object: object.to_owned(),
                }),
                // It went away in between: the next step writes it.
                None => Err(unavailable("write", object, None)),
            },
            Err(error) => Err(error),
        }
    }

    pub async fn checkpoint(&self) -> Result<Option<Present>, Error> {
        self.present(CHECKPOINT).await
    }

    /// Replaces the checkpoint that was read before, and no other where the store can tell.
    pub async fn put_checkpoint(&self, old: Option<Present>, note: &str) -> Result<(), Error> {
        self.replace(CHECKPOINT, old, note).await
    }

    /// Which database this log is written with.
    pub async fn database(&self) -> Result<Option<Present>, Error> {
        self.present(DATABASE).await
    }

    pub async fn put_database(&self, old: Option<Present>, hash: &str) -> Result<(), Error> {
        self.replace(DATABASE, old, hash).await
    }

    async fn replace(
        &self,
        object: &'static str,
        old: Option<Present>,
        text: &str,
    ) -> Result<(), Error> {
        let path = self.at(object);
        let mode = match old {
            Some(old) => PutMode::Update(old.version),
            None => PutMode::Create,
        };
        let payload = PutPayload::from(text.as_bytes().to_vec());
        let put = self
            .store
            .put_opts(&path, payload.clone(), PutOptions::from(mode));
        match limited("write", object, put).await {
            // A directory cannot compare; its integrator holds the lease.
            Err(Error::Unavailable {
                source: Some(object_store::Error::NotImplemented { .. }),
                ..
            }) => {
                let put = self.store.put_opts(&path, payload, PutOptions::default());
                limited("write", object, put).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Whether an object can be written and replaced, as the checkpoint is. It stays; nobody reads it.
    pub async fn probe(&self) -> Result<(), Error> {
        let (path, payload) = (self.at(PROBE), PutPayload::from(&b"doctor\n"[..]));
        let put = self.store.put_opts(&path, payload, PutOptions::default());
        limited("write", PROBE, put).await.map(drop)
    }

    /// Removes what retention lets go. Gone already is as good as removed.
    pub async fn delete(&self, object: &str) -> Result<(), Error> {
        let path = self.at(object);
        match limited("remove", object, self.store.delete(&path)).await {
            Err(Error::Unavailable {
                source: Some(object_store::Error::NotFound { .. }),
                ..
            }) => Ok(()),
            other => other,
        }
    }

    /// What stands right below a name.
    pub async fn list(&self, below: &str) -> Result<Vec<String>, Error> {
        let path = self.at(below);
        let listed = self.store.list_with_delimiter(Some(&path));
        let found = limited("list", below, listed).await?.objects.into_iter();
        let names = found.filter_map(|object| {
            let name = object.location.filename()?;
            Some(format!("{below}/{name}"))
        });
        Ok(names.collect())
    }

    /// Partial tiles may go once the full one is there. One that stays does no harm.
    pub async fn remove(&self, object: &str) {
        let path = self.at(object);
        if let Err(error) = limited("remove", object, self.store.delete(&path)).await {
            tracing::debug!(object, error = %error, "a partial tile was not removed");
        }
    }
}

fn configured<K: FromStr>(options: Vec<(&str, String)>) -> Result<Vec<(K, String)>, Error> {
    options
        .into_iter()
        .map(|(name, value)| match name.parse() {
            Ok(key) => Ok((key, value)),
            Err(_) => Err(Error::Settings(format!(
                "log.storage.{name} is not a setting of this object store"
            ))),
        })
        .collect()
}

fn unavailable(
    operation: &'static str,
    object: &str,
    source: Option<object_store::Error>,
) -> Error {
    Error::Unavailable {
        operation,
        object: object.to_owned(),
        source,
    }
}

async fn limited<T>(
    operation: &'static str,
    object: &str,
    work: impl Future<Output = Result<T, object_store::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(done) => done.map_err(|source| unavailable(operation, object, Some(source))),
        Err(_) => Err(unavailable(operation, object, None)),
    }
}
