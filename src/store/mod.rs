//! The database: what is kept, and in which transactions.
//!
//! Every write is one named [`Change`] together with the [`Leaf`] that tells of it, in one
//! transaction ([`Store::commit`]); signatures go through [`Store::commit_signatures`], which
//! also fences keys that may not sign any more. There is no third way to write.
//!
//! The database orders and keeps; it is not believed. Whoever reads a key from here tallies its
//! transcript again before using it.

mod rows;

pub use rows::*;
