//! Entry bundles: leaves, each after its length in two bytes, big-endian.

use super::WIDTH;

/// Bytes that are no bundle, or entries that do not fit into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The length of an entry has two bytes.
    #[error("entry {0} of the bundle is longer than 65535 bytes")]
    EntryTooLong(usize),
    /// An empty bundle does not exist, nor one of more than 256 entries.
    #[error("a bundle has 1 to 256 entries, not {0}")]
    Count(usize),
    /// The bytes end within an entry or its length.
    #[error("the bundle ends within entry {0}")]
    Truncated(usize),
}

/// Writes 1 to 256 entries of at most 65535 bytes each.
pub fn encode_bundle<'a>(
    entries: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    let mut count = 0;
    for (at, entry) in entries.into_iter().enumerate() {
        let length = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLong(at))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
        count = at + 1;
    }
    in_range(count)?;
    Ok(bytes)
}

/// Reads a bundle to its last byte. It does not know how many entries there should be: compare with
/// the width in the bundle's name, of which the caller may have read a wider one.
pub fn decode_bundle(mut bytes: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let truncated = BundleError::Truncated(entries.len());
        let (length, rest) = bytes.split_first_chunk::<2>().ok_or(truncated)?;
        let (entry, rest) = rest
            .split_at_checked(usize::from(u16::from_be_bytes(*length)))
            .ok_or(truncated)?;
        entries.push(entry);
        in_range(entries.len())?;
        bytes = rest;
    }
    in_range(entries.len())?;
    Ok(entries)
}

fn in_range(count: usize) -> Result<(), BundleError> {
    if (1..=usize::from(WIDTH)).contains(&count) {
        Ok(())
    } else {
        Err(BundleError::Count(count))
    }
}
