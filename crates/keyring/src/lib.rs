//! Rings and keys: one snapshot in memory, from which keys sign, are published and are verified; and the ceremonies that
//! bear and end them.

pub mod ceremony;
pub mod keys;
pub mod rotation;
pub mod signing;
pub mod usage;
pub mod verification;

#[cfg(test)]
mod tests;
