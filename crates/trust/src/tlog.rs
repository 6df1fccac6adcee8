//! The transparency log: what is hashed, stored, signed and proved.
//!
//! The forms are those of C2SP (c2sp.org): `tlog-tiles`, `signed-note`, `tlog-checkpoint`,
//! `tlog-cosignature`, `tlog-proof`, `tlog-policy` and `tlog-witness`, so that clients, monitors and
//! witnesses of other people work with it. The hashing is that of RFC 6962 section 2.1.
//!
//! Reading order: [`merkle`] is the tree and its proofs, [`tile`] how it is stored, [`note`] a text
//! with signatures, [`checkpoint`] the note that states a tree, [`cosignature`] a witness's statement
//! about it, [`policy`] how many of those are enough, [`proof`] the receipt of one leaf and
//! [`witness`] what a witness decides.

pub mod checkpoint;
pub mod cosignature;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod proof;
mod spelling;
#[cfg(test)]
mod tests;
pub mod tile;
pub mod witness;
