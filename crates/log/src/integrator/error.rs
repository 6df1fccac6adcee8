//! Why a step of the integrator did not come to its end.

use crate::signer::CheckpointNotSigned;
use crate::{storage, tiles};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the log's tree cannot be read or written")]
    Store(#[from] store::Error),
    #[error(transparent)]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    CheckpointSigner(#[from] CheckpointNotSigned),
    #[error(transparent)]
    Tiles(#[from] tiles::Error),
    /// A database that was restored from a backup, or lost its tail.
    #[error(
        "the published checkpoint has {published} leaves, the database has {known}: the database \
         is older than the log, and continuing would fork the log; run `chancery log recover`"
    )]
    Behind { published: u64, known: u64 },
    /// Found beside the checkpoint.
    #[error(
        "the database is not the one that the log was written with (a fail-over or a restore): leaves may be missing; run `chancery log recover`"
    )]
    OtherDatabase,
    /// Two histories.
    #[error("the tree of {size} leaves and {with} have different roots")]
    Forked { size: u64, with: &'static str },
    #[error("leaf {0} is missing from the database")]
    Gap(i64),
    /// They cannot be written again: the leaves that they are made of have no bodies.
    #[error(
        "{missing} missing from the log's storage, and the leaves below {below} are pruned: restore these objects, or a copy of `log.tiles` that was made after the prune"
    )]
    Pruned { missing: String, below: i64 },
    #[error("the published checkpoint is not signed by this log: {0}")]
    NotOurs(String),
    #[error(
        "the log's origin is {ours:?}, the configuration says {configured:?}: log.origin changes only by a ceremony, and together with log.tiles (docs/RECOVERY.md)"
    )]
    Origin { ours: String, configured: String },
    /// Where another origin of this log stands, or another log.
    #[error(
        "log.tiles holds the log {there:?}, but the log's origin is {ours:?}: log.tiles changes together with log.origin (docs/RECOVERY.md)"
    )]
    OtherPlace { ours: String, there: String },
    #[error("the log's key cannot sign checkpoints: {0}")]
    Key(String),
}

impl Error {
    /// Whether a row of the tree and what is stored differ.
    pub(super) fn is_contradiction(&self) -> bool {
        matches!(
            self,
            Self::Behind { .. } | Self::Forked { .. } | Self::Tiles(_)
        )
    }

    /// Whether a person has to look; everything else passes by itself.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Store(error) => error.is_corrupt(),
            Self::Storage(error) => matches!(error, storage::Error::Differs { .. }),
            Self::Tiles(error) => error.is_fatal(),
            Self::CheckpointSigner(_) => false,
            Self::Behind { .. }
            | Self::OtherDatabase
            | Self::Forked { .. }
            | Self::Gap(_)
            | Self::Pruned { .. }
            | Self::NotOurs(_)
            | Self::Origin { .. }
            | Self::OtherPlace { .. }
            | Self::Key(_) => true,
        }
    }
}

impl Error {
    /// Whether the database lacks leaves that were published or answered.
    pub fn is_incomplete(&self) -> bool {
        matches!(self, Self::Behind { .. } | Self::OtherDatabase)
    }
}
