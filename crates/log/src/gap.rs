//! Leaves that are published and missing from the database: of a database that was restored from a
//! backup, or a standby that lacked the last seconds.
//!
//! Bundles are read as they stand. Who writes them back holds them against the signed root; who only
//! withholds a key because of them may believe them.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _};
use trust::Kid;
use trust::leaf::{ActKind, Leaf};
use trust::tlog::merkle::leaf_hash;
use trust::tlog::note::Note;
use trust::tlog::tile::{self, Resource, TileId, decode_bundle};

use super::tiles::{self, Tiles};
use store::Store;

/// Bodies of published leaves from `from` (an index) to `to`, in order; `size` leaves are published.
pub async fn published(
    tiles: &Tiles,
    from: u64,
    to: u64,
    size: u64,
) -> Result<Vec<Vec<u8>>, tiles::Error> {
    let width = u64::from(tile::WIDTH);
    let mut bodies = Vec::new();
    let mut at = from;
    while at < to {
        let (index, skipped) = (at / width, at % width);
        let end = to.min((index + 1) * width);
        let bundle = bundle(tiles, index, width.min(size - index * width)).await?;
        let leaves = decode_bundle(&bundle).map_err(|e| tiles::Error::Garbled(e.to_string()))?;
        let wanted = leaves.into_iter().take((end - index * width) as usize);
        bodies.extend(wanted.skip(skipped as usize).map(<[u8]>::to_vec));
        if bodies.len() as u64 != end - from {
            let what = format!("the bundle at leaf {} is too short", index * width);
            return Err(tiles::Error::Garbled(what));
        }
        at = end;
    }
    Ok(bodies)
}

/// As it was at this width, or wider.
async fn bundle(tiles: &Tiles, index: u64, width: u64) -> Result<Vec<u8>, tiles::Error> {
    let full = Resource::Entries {
        index,
        width: tile::WIDTH,
    };
    let exact = u16::try_from(width).unwrap_or(tile::WIDTH);
    let exact = Resource::Entries {
        index,
        width: exact,
    };
    for resource in [exact, full] {
        if let Some(bytes) = tiles.get(resource).await? {
            return Ok(bytes.to_vec());
        }
    }
    Err(tiles::Error::Missing(exact.path()))
}

/// What missing leaves say of keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    pub kids: BTreeSet<Kid>,
    /// Leaves that could not be read, first and last: revocations may be among them.
    pub unread: Vec<(u64, u64)>,
}

/// Bundles that are read at once.
const AT_ONCE: usize = 32;

/// After so many bundles in a row that are not there, none is looked for: the size is that of a note which is not verified.
const HOPELESS: u64 = 1_024;

/// Keys that the leaves from `from` (an index) up to `size` revoke, bundle by bundle.
pub async fn revoked(tiles: &Tiles, from: u64, size: u64) -> Revoked {
    let width = u64::from(tile::WIDTH);
    let mut found = Revoked::default();
    let bundles = from / width..size.div_ceil(width);
    let mut read = stream::iter(bundles)
        .map(|index| async move {
            let (first, to) = (from.max(index * width), size.min((index + 1) * width));
            (first, to, published(tiles, first, to, size).await)
        })
        .buffered(AT_ONCE);
    while let Some((first, to, bodies)) = read.next().await {
        match bodies {
            Ok(bodies) => found
                .kids
                .extend(bodies.iter().filter_map(|body| revokes(body))),
            Err(error) => {
                match found.unread.last_mut() {
                    Some((_, last)) if *last + 1 == first => *last = to - 1,
                    _ => {
                        let error = trust::error_chain(&error);
                        tracing::error!(leaf = first, error, "missing leaves cannot be read");
                        found.unread.push((first, to - 1));
                    }
                }
                if let Some((first, last)) = found.unread.last_mut()
                    && *last - *first >= HOPELESS * width
                {
                    *last = size - 1;
                    break;
                }
            }
        }
    }
    for (first, last) in &found.unread {
        tracing::error!(
            first,
            last,
            "a revocation may be among missing leaves that cannot be read"
        );
    }
    found
}

/// Those that are published and not in the database; the note is not verified. What cannot be read is left out: nothing
/// is signed or said about signatures meanwhile, and this only takes a stolen key out of the key set.
pub async fn revoked_since(store: &Store, tiles: &Tiles) -> BTreeSet<Kid> {
    match range(store, tiles).await {
        Some((from, size)) => revoked(tiles, from, size).await.kids,
        None => BTreeSet::new(),
    }
}

async fn range(store: &Store, tiles: &Tiles) -> Option<(u64, u64)> {
    let note = tiles.storage().checkpoint().await.ok()??;
    let note = Note::parse(&note.bytes).ok()?;
    let size = note.text.lines().nth(1)?.parse().ok()?;
    let head = store.log_size().await.ok()?.unsigned_abs();
    Some((head, size))
}

fn revokes(body: &[u8]) -> Option<Kid> {
    // Nearly all are signatures; parsing each would take longer than reading it.
    let word = b"revoke";
    if !body.windows(word.len()).any(|part| part == word) {
        return None;
    }
    match Leaf::parse(body) {
        Ok(Leaf::Act(act)) if act.kind == ActKind::Key && act.action == "revoke" => {
            act.previous_kid
        }
        _ => None,
    }
}

/// Leaves that were written to the storage and not under a published checkpoint any more: of an integrator that died in
/// between. Each with its index; only what its tile confirms.
pub async fn beyond(tiles: &Tiles, size: u64) -> Result<Vec<(u64, Vec<u8>)>, tiles::Error> {
    let width = u64::from(tile::WIDTH);
    let mut found = Vec::new();
    let mut index = size / width;
    loop {
        let full = Resource::Entries {
            index,
            width: tile::WIDTH,
        };
        let names = tiles.storage().names(&format!("{}.p", full.path())).await?;
        let partial = names.iter().filter_map(|name| name.parse::<u16>().ok());
        let mut widths: Vec<u16> = partial.collect();
        widths.push(tile::WIDTH);
        widths.sort_unstable();
        let mut widest = 0;
        for width in widths.into_iter().rev() {
            let (bundle, hashes) = (
                tiles.get(Resource::Entries { index, width }).await?,
                tiles
                    .get(Resource::Tile(TileId {
                        level: 0,
                        index,
                        width,
                    }))
                    .await?,
            );
            let (Some(bundle), Some(hashes)) = (bundle, hashes) else {
                continue;
            };
            let bodies = decode_bundle(&bundle);
            let bodies = bodies.map_err(|e| tiles::Error::Garbled(e.to_string()))?;
            let fit = bodies.iter().flat_map(|body| *leaf_hash(body).as_bytes());
            if !fit.eq(hashes.iter().copied()) {
                let what = format!("the bundle at leaf {} is not of its tile", index * 256);
                return Err(tiles::Error::Garbled(what));
            }
            let of = (index * u64::from(tile::WIDTH)..).zip(bodies);
            let new = of.filter(|(at, _)| *at >= size);
            found.extend(new.map(|(at, body)| (at, body.to_vec())));
            widest = width;
            break;
        }
        if widest < tile::WIDTH {
            return Ok(found);
        }
        index += 1;
    }
}
