//! Where tiles and bundles lie below the log's prefix.

use std::fmt::Write as _;

use super::{MAX_LEVEL, TileId, WIDTH};
use crate::tlog::spelling::decimal;

/// A file of the log that never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Hashes: `tile/<level>/<index>[.p/<width>]`.
    Tile(TileId),
    /// Leaves: `tile/entries/<index>[.p/<width>]`.
    Entries {
        /// Number of the bundle, from 0.
        index: u64,
        /// Number of entries, 1 to 256; 256 is a full bundle.
        width: u16,
    },
}

/// The path names no tile and no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected tile/<level>/<index> or tile/entries/<index>, and .p/<width> if it is partial")]
pub struct NotAResource;

impl From<TileId> for Resource {
    fn from(tile: TileId) -> Self {
        Self::Tile(tile)
    }
}

impl Resource {
    /// The file that a partial one grows into.
    pub fn full(self) -> Self {
        match self {
            Self::Tile(tile) => Self::Tile(tile.full()),
            Self::Entries { index, .. } => Self::Entries {
                index,
                width: super::WIDTH,
            },
        }
    }

    /// The path below the log's prefix, for instance `tile/0/x001/234.p/5`.
    pub fn path(self) -> String {
        let (index, width) = match self {
            Self::Tile(tile) => (tile.index, tile.width),
            Self::Entries { index, width } => (index, width),
        };
        let mut path = match self {
            Self::Tile(tile) => format!("tile/{}", tile.level),
            Self::Entries { .. } => "tile/entries".to_owned(),
        };
        // Three digits are at most 999, so 7 elements spell any index.
        for place in (0..7).rev() {
            let rest = index / 1000_u64.pow(place);
            if rest > 0 || place == 0 {
                let x = if place > 0 { "x" } else { "" };
                // Writing to a String cannot fail.
                let _ = write!(path, "/{x}{:03}", rest % 1000);
            }
        }
        if width != WIDTH {
            let _ = write!(path, ".p/{width}");
        }
        path
    }

    /// Reads a path in its one spelling. Refuses levels and indexes beyond a tree of 2^64-1 leaves.
    pub fn parse(path: &str) -> Result<Self, NotAResource> {
        read(path).ok_or(NotAResource)
    }
}

fn read(path: &str) -> Option<Resource> {
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, partial_width(width)?),
        None => (rest, WIDTH),
    };
    let index = read_index(index)?;
    let level = match kind {
        "entries" => 0,
        level => u8::try_from(decimal(level)?).ok()?,
    };
    let last = u64::MAX
        .checked_shr(8 * (u32::from(level) + 1))
        .unwrap_or(0);
    if level > MAX_LEVEL || index > last {
        return None;
    }
    Some(match kind {
        "entries" => Resource::Entries { index, width },
        _ => Resource::Tile(TileId {
            level,
            index,
            width,
        }),
    })
}

fn partial_width(text: &str) -> Option<u16> {
    let width = u16::try_from(decimal(text)?).ok()?;
    (1..WIDTH).contains(&width).then_some(width)
}

/// `x001/x234/067` is 1234067; no element is superfluous.
fn read_index(text: &str) -> Option<u64> {
    let mut index: u64 = 0;
    let mut elements = text.split('/').peekable();
    while let Some(element) = elements.next() {
        let last = elements.peek().is_none();
        let digits = if last {
            element
        } else {
            element.strip_prefix('x')?
        };
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let value: u64 = digits.parse().ok()?;
        if index == 0 && value == 0 && !last {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(value)?;
    }
    Some(index)
}
