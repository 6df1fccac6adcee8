//! The inventory: one list over all that rotates. Rings belong to `keyring`, later kinds to their own crates; assets whose
//! values somebody else keeps are registered here, described, reported on and retired, each with its leaf.

mod cbom;
mod document;
mod export;
mod import;
mod in_use;
mod list;
mod oldest;
mod service;
mod sheet;
#[cfg(test)]
mod tests;
mod version;
mod version_change;

pub use cbom::{Bom, BomVersion, cbom};
pub use document::{AssetDocument, StateWord};
pub use export::{AssetsFile, documents};
pub use import::{ImportReport, ImportRow, RowVerdict, Verdict, read_csv, read_json, rows_of};
pub use list::{AssetList, AssetView, Filter, PAGE_MAX};
pub use oldest::Rotated;
pub use service::{AssetChange, InventoryService, Reported};
pub use sheet::{MOST_ASSETS, MOST_BYTES, sheet};
pub use version::VersionView;
pub use version_change::VersionChange;
