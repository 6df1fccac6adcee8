//! What a ring's keys are used for.

use crate::spelled::spelled;

/// What a ring's keys are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// JWS and DSSE: the service builds what is signed.
    Structured,
    /// A digest that the caller made. Never together with structured formats, because a caller
    /// could then have any structure signed.
    Raw,
    /// Roots of batches.
    Sealed,
    /// Certificates and revocation lists.
    Certificates,
    /// Checkpoints of the log.
    Log,
    /// Other keys are wrapped.
    Wrap,
}

impl Usage {
    /// All, in a stable order.
    pub const ALL: [Self; 6] = [
        Self::Structured,
        Self::Raw,
        Self::Sealed,
        Self::Certificates,
        Self::Log,
        Self::Wrap,
    ];

    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Raw => "raw",
            Self::Sealed => "sealed",
            Self::Certificates => "certificates",
            Self::Log => "log",
            Self::Wrap => "wrap",
        }
    }
}

spelled!(Usage, "usage");
