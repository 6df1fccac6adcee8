//! Which database a log is written with: kept beside its checkpoint, so that a replica that starts after a fail-over or
//! a restore finds out, and not only those that were running (case L1).

use trust::Sha256Digest;
use trust::tlog::note::Note;

use super::settings::Settings;
use super::storage::{self, Storage};
use store::Store;

/// Whether the log was written with this database, as far as somebody has said so. `word` is what the database is known
/// by, empty where its engine has no such word.
pub async fn is_the_same(storage: &Storage, word: &str) -> Result<bool, storage::Error> {
    if word.is_empty() {
        return Ok(true);
    }
    let hash = Sha256Digest::of(word.as_bytes()).to_string();
    let there = storage.database().await?;
    Ok(there.is_none_or(|present| present.bytes == hash.as_bytes()))
}

/// The same; the first that writes the log says which database it is.
pub async fn stays_the_same(storage: &Storage, word: &str) -> Result<bool, storage::Error> {
    if word.is_empty() {
        return Ok(true);
    }
    if storage.database().await?.is_none() {
        adopt(storage, word).await?;
    }
    is_the_same(storage, word).await
}

/// From now on the log is written with this database.
pub async fn adopt(storage: &Storage, word: &str) -> Result<(), storage::Error> {
    if word.is_empty() {
        return Ok(());
    }
    let hash = Sha256Digest::of(word.as_bytes()).to_string();
    let old = storage.database().await?;
    storage.put_database(old, &hash).await
}

/// For programs that write besides the service: on another database they commit nothing. A storage that does not
/// answer stops nobody here; a revocation must not wait for it.
pub async fn confirm(
    settings: &Settings,
    variable: impl Fn(&str) -> Option<String>,
    store: &Store,
) -> Result<(), store::Error> {
    let (_, word) = store.look().await?;
    let found = async {
        let storage = Storage::open(settings, variable)?;
        // Not verified: whoever forges it stops commands, and could delete it as well.
        let note = storage.checkpoint().await?;
        let note = note.and_then(|note| Note::parse(&note.bytes).ok());
        let published = note.and_then(|note| note.text.lines().nth(1)?.parse::<i64>().ok());
        let same = is_the_same(&storage, &word).await?;
        Ok::<_, storage::Error>((published, same))
    };
    match found.await {
        Ok((published, same)) => {
            // After what is published was read: a replica goes on committing and publishing meanwhile.
            let size = store.log_size().await?;
            if !same || published.is_some_and(|published| published > size) {
                store.was_replaced();
            }
        }
        Err(error) => tracing::warn!(
            error = trust::error_chain(&error),
            "whether the log was written with this database is not known"
        ),
    }
    Ok(())
}
