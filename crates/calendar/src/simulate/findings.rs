//! What a simulation fails by.

use serde::Serialize;

use crate::name::{AssetName, Word};
use crate::plan::Resource;
use crate::time::{Span, Time};
use crate::words::Reason;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// A verifier may have to check a signature with a document that does not have its key.
    CannotCheck {
        /// Which verifier.
        verifier: Word,
        /// Of which asset.
        asset: AssetName,
        /// By which version.
        version: u32,
        /// Since when.
        at: Time,
        /// When the document was published that it still has.
        document: Time,
    },
    /// A version became the primary, or did not, after it was due.
    Late {
        /// Of which asset.
        asset: AssetName,
        /// Which version.
        version: u32,
        /// When it was due.
        due: Time,
        /// By how much; up to the end of the simulation if it is not the primary yet.
        by: Span,
        /// What held it longest; `None` would be a fault of the calendar itself.
        reason: Option<Reason>,
    },
    /// More rotations began in one hour than a resource can do; of an owner: two of its assets of one kind collided.
    TooMany {
        /// The hour.
        hour: Time,
        /// Whose limit.
        resource: Resource,
        /// Of which kind of assets; none where all kinds share the limit.
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<Word>,
        /// How many began.
        rotations: u32,
        /// How many can.
        limit: u32,
    },
    /// An asset has no primary, or several.
    Primaries {
        /// The asset.
        asset: AssetName,
        /// How many.
        count: usize,
        /// When.
        at: Time,
    },
    /// A version became the primary before verifiers' caches can have it.
    PromotedEarly {
        /// Of which asset.
        asset: AssetName,
        /// Which version.
        version: u32,
        /// When.
        at: Time,
        /// By how much.
        by: Span,
    },
    /// A rotation that was not at its last step could not be rolled back.
    NoWayBack {
        /// Of which asset.
        asset: AssetName,
        /// The new version.
        version: u32,
        /// When.
        at: Time,
    },
    /// A version expired while it was the primary.
    Expired {
        /// Of which asset.
        asset: AssetName,
        /// Which version.
        version: u32,
        /// When.
        at: Time,
    },
    /// Two rotations for one version.
    Twice {
        /// Of which asset.
        asset: AssetName,
        /// Which version.
        version: u32,
    },
}
