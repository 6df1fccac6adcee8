//! Leaves with the files that they stand in, read ahead: while one page is held against the tree, the next is read and its
//! bodies are hashed and decoded on another core.

use tokio::sync::mpsc;
use trust::Sha256Digest;
use trust::tlog::merkle::leaf_hash;

use super::Error;
use super::files::{Files, fetch};
use super::leaves::Read;
use super::tree::Block;
use crate::storage::Storage;
use store::{LeafRow, Store};

/// Pages that are ready and not looked at.
const AHEAD: usize = 2;

pub struct Page {
    pub from: i64,
    pub to: i64,
    pub rows: Vec<Leafed>,
    pub blocks: Vec<Block>,
    pub files: Files,
}

/// A row, and what its body is if it has one.
pub struct Leafed {
    pub row: LeafRow,
    pub hash: Sha256Digest,
    pub read: Option<Read>,
}

/// Which leaves, in a tree of how many.
#[derive(Clone, Copy)]
pub struct Span {
    pub from: i64,
    pub head: i64,
    pub tree: i64,
    pub page: i64,
}

/// The last page is the one that could not be read, or that has no rows.
pub fn pages(store: Store, storage: Storage, span: Span) -> mpsc::Receiver<Result<Page, Error>> {
    let (send, receive) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut from = span.from;
        while from < span.head {
            let to = (from + span.page).min(span.head);
            let page = page(&store, &storage, (from, to), span.tree).await;
            let more = page.as_ref().is_ok_and(|page| !page.rows.is_empty());
            // Nobody listens any more: the check has ended.
            if send.send(page).await.is_err() || !more {
                return;
            }
            from = to;
        }
    });
    receive
}

async fn page(
    store: &Store,
    storage: &Storage,
    (from, to): (i64, i64),
    tree: i64,
) -> Result<Page, Error> {
    let blocks: Vec<Block> = Block::between(from, to, tree).collect();
    let wanted = blocks
        .iter()
        .flat_map(|block| [block.tile(), block.entries()]);
    let (rows, files) = tokio::join!(
        store.leaves(from, to - from),
        fetch(storage, wanted.collect())
    );
    let (rows, files) = (rows?, files?);
    let read = tokio::task::spawn_blocking(move || rows.into_iter().map(leafed).collect());
    Ok(Page {
        from,
        to,
        rows: read.await.map_err(|_| Error::Stopped)?,
        blocks,
        files,
    })
}

fn leafed(row: LeafRow) -> Leafed {
    let body = row.body.as_bytes();
    Leafed {
        hash: leaf_hash(body),
        // A body that is gone after retention is looked for in its file.
        read: (!body.is_empty()).then(|| Read::new(&row, body)),
        row,
    }
}
