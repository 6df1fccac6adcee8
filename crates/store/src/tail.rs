//! What memory knows of the leaves behind the index of signatures.

use std::collections::HashMap;

/// The leaves that the index does not cover, by hash, so that each is read once and not by every
/// question. Kept by each process for itself, and filled when somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Its leaves begin here,
    pub from: i64,
    /// and end before this one.
    pub to: i64,
    /// The earliest leaf of each hash from `from` up to `to`.
    pub places: HashMap<Box<str>, i64>,
}
