//! Files of the log, several at a time. Not through the service's cache: what is checked is what
//! stands there now.

use std::collections::HashMap;

use tokio::task::JoinSet;
use trust::tlog::tile::Resource;

use crate::storage::{Error as StorageError, Storage};

/// Files under way at once.
const AT_ONCE: usize = 16;

/// By what was asked for; a partial one may have come as the full one that took its place.
pub type Files = HashMap<Resource, Option<Vec<u8>>>;

pub async fn fetch(storage: &Storage, asked: Vec<Resource>) -> Result<Files, StorageError> {
    let mut files = Files::with_capacity(asked.len());
    let mut under_way = JoinSet::new();
    for resource in asked {
        if under_way.len() == AT_ONCE {
            take(under_way.join_next().await, &mut files)?;
        }
        let storage = storage.clone();
        under_way.spawn(async move { Ok((resource, one(&storage, resource).await?)) });
    }
    while !under_way.is_empty() {
        take(under_way.join_next().await, &mut files)?;
    }
    Ok(files)
}

/// A partial file is removed only when the full one is there, so in this order one is found.
async fn one(storage: &Storage, resource: Resource) -> Result<Option<Vec<u8>>, StorageError> {
    if let Some(bytes) = storage.get(&resource.path()).await? {
        return Ok(Some(bytes));
    }
    let full = resource.full();
    match full == resource {
        true => Ok(None),
        false => storage.get(&full.path()).await,
    }
}

type Fetched = Result<(Resource, Option<Vec<u8>>), StorageError>;

fn take(
    done: Option<Result<Fetched, tokio::task::JoinError>>,
    files: &mut Files,
) -> Result<(), StorageError> {
    // A task that panicked leaves its file out, which is told as missing.
    if let Some(Ok(fetched)) = done {
        let (resource, bytes) = fetched?;
        files.insert(resource, bytes);
    }
    Ok(())
}
