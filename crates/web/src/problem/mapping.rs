//! Which code each error of the layers below becomes.

use std::time::Duration;

use trust::JsonError;

use crate::problem::Problem;
use crate::problem::code::Code;
use keyring::{ceremony, signing, verification};
use token::RetryHint;

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        let (code, path, what) = match error {
            JsonError::Syntax { path, what, offset } => {
                (Code::BadJson, path, format!("{what} at byte {offset}"))
            }
            JsonError::Duplicate { path } => {
                (Code::BadJson, path, "the member occurs twice".to_owned())
            }
            JsonError::Float { path } => {
                (Code::BadJson, path, "only integers are allowed".to_owned())
            }
            JsonError::Integer { path } => (
                Code::BadJson,
                path,
                "the integer is beyond 2^53-1".to_owned(),
            ),
            JsonError::Depth { path } => (Code::BadJson, path, "nested too deeply".to_owned()),
            JsonError::Content { path, what } => (Code::BadMember, path, what),
            other => (Code::BadJson, String::new(), other.to_string()),
        };
        let problem = Self::new(code, what);
        // The whole is no member of itself.
        if path.is_empty() || path == trust::json::ROOT {
            problem
        } else {
            problem.about(path)
        }
    }
}

impl From<signing::Error> for Problem {
    fn from(error: signing::Error) -> Self {
        use signing::Error as E;
        let text = error.to_string();
        match error {
            E::UnknownRing(_) => Self::new(Code::UnknownRing, text),
            E::NotAllowed { .. } | E::Reserved(_) => Self::new(Code::Forbidden, text),
            E::NoActiveKey(_) => Self::new(Code::NoActiveKey, text),
            E::WrongUsage { .. } => Self::new(Code::WrongUsage, text).about("format"),
            E::WrongAlgorithm { .. } => Self::new(Code::WrongAlgorithm, text).about("alg"),
            E::BadInput(why) => Self::new(Code::BadMember, why),
            E::IdempotencyMismatch => {
                Self::new(Code::IdempotencyMismatch, text).about("Idempotency-Key")
            }
            E::Stopped { .. } => Self::caused_by(Code::SigningStopped, &error),
            E::KeyMayNotSign(_) => Self::new(Code::KeyMayNotSign, text),
            E::Token(ref cause) => from_token(cause, &error),
            E::Log(log::Error::Store(ref cause)) => Self::caused_by(of_store(cause), &error),
            E::Log(log::Error::Halted(_)) => Self::caused_by(Code::LogUnavailable, &error),
            E::UnreadableRing(_) | E::Randomness(_) | E::Broken(_) => {
                Self::caused_by(Code::Internal, &error)
            }
        }
    }
}

impl From<ceremony::Error> for Problem {
    fn from(error: ceremony::Error) -> Self {
        use ceremony::Error as E;
        use trust::tally::Standing;
        let text = error.to_string();
        match error {
            E::Unknown(_) => Self::new(Code::UnknownCeremony, text).about("ceremony"),
            E::State { .. } | E::Claimed | E::ClaimLost | E::CarriedOutBefore => {
                Self::new(Code::CeremonyState, text)
            }
            E::UnknownOrder(_) => Self::new(Code::UnknownOrder, text).about("order"),
            E::NotApproved(Standing::Expired { .. }) => Self::new(Code::CeremonyExpired, text),
            E::NotApproved(_)
            | E::Unfit(_)
            | E::NoApprovers(_)
            | E::NoStandby { .. }
            | E::NoEffect(_)
            | E::Overtaken(_)
            | E::Use(_)
            | E::Plan(_)
            | E::Suspension(_) => Self::new(Code::RequestRefused, text),
            // A document that cannot follow the chain says why.
            E::Chain(ref cause) => Self::new(Code::RequestRefused, cause.to_string()),
            E::NoGenesis => Self::new(Code::RequestRefused, "no genesis is installed"),
            E::DoesNotCount(why) => Self::new(Code::SignatureNotCounted, why).about("signature"),
            E::Quota { .. } | E::Proposals { .. } => {
                Self::new(Code::QuotaExceeded, text).about("request.proposer")
            }
            E::Notes(_) | E::NotesOfMember(_) => Self::new(Code::QuotaExceeded, text).about("note"),
            E::Attestations(_) => Self::new(Code::QuotaExceeded, text).about("body"),
            E::Text(_) => Self::member("note", text),
            E::Exception(_) => Self::member("body", text),
            E::Reason => Self::member("reason", text),
            E::Store(ref cause) if cause.is_conflict() => Self::new(
                Code::CeremonyState,
                "the ceremony was changed at the same time; read it again",
            ),
            E::Store(ref cause) => Self::caused_by(of_store(cause), &error),
            E::Acceptance(_)
            | E::Transcript(_)
            | E::Roster(_)
            | E::Statement { .. }
            | E::Suspensions(_)
            | E::Policies(_)
            | E::NoExecutor
            | E::NoResultSigner
            | E::OtherExecutor(_)
            | E::Paused { .. }
            | E::ResultSigner(_)
            | E::Json(_)
            | E::Token(_)
            | E::Keys(_)
            | E::Randomness(_) => Self::caused_by(Code::Internal, &error),
        }
    }
}

impl From<rotation::engine::error::Error> for Problem {
    fn from(error: rotation::engine::error::Error) -> Self {
        use calendar::admission::Refusal as R;
        use calendar::alerts::machine::Refusal as AlertRefusal;
        use rotation::engine::error::Error as E;
        let text = error.to_string();
        match error {
            E::UnknownEvent(_) => Self::new(Code::UnknownRotation, text).about("event"),
            E::UnknownAlert(_) => Self::new(Code::UnknownAlert, text).about("alert"),
            E::AlertState {
                why: AlertRefusal::Until,
                ..
            } => Self::member("until", text),
            E::AlertState { .. } => Self::new(Code::AlertState, text),
            E::AlertReason => Self::member("reason", text),
            E::AlertPlace => Self::new(Code::BadQuery, text).about("after"),
            E::UnknownKey(_) => Self::new(Code::UnknownKey, text).about("kid"),
            E::UnknownReport(_) => Self::new(Code::UnknownReport, text).about("report"),
            E::ReportText { what, .. } => Self::member(what, text),
            E::NoticeIncident => Self::member("incident", text),
            E::ReportSince => Self::member("compromised_since", text),
            E::ReportOther(_)
            | E::ReportDecided { .. }
            | E::ReportKey { .. }
            | E::NoticeDecided { .. } => Self::new(Code::ReportState, text),
            E::ReportQuota => Self::new(Code::QuotaExceeded, text),
            E::UnknownJob(_) => Self::member("job", text),
            E::UnknownStep(_) => Self::member("step", text),
            E::Evidence => Self::member("evidence", text),
            E::Refused(R::UnknownType(_)) => Self::member("key_type", text),
            E::Refused(R::UnknownAsset) => Self::member("asset", text),
            E::TooMany { .. } => Self::member("asset", text),
            E::Refused(R::ForceWithoutRight) | E::TestsNotAllowed { .. } => {
                Self::new(Code::Forbidden, text)
            }
            E::Refused(R::AlreadyRotates { .. } | R::NotDue { .. } | R::NoVersion(_))
            | E::LeftOut { .. }
            | E::NotNow { .. }
            | E::NotWaitedFor { .. }
            | E::Runs(_)
            | E::JobUnchanged(_) => Self::new(Code::RotationState, text),
            E::Simulation(_) => Self::new(Code::BadMember, text),
            E::Store(ref cause) if cause.is_conflict() => Self::new(
                Code::RotationState,
                "the rotation was changed at the same time; read it again",
            ),
            E::Store(ref cause) => Self::caused_by(of_store(cause), &error),
            E::Inventory(rotation::error::Error::Orders(error)) => error.into(),
            E::Inventory(_) | E::Word { .. } | E::Policies(_) | E::Randomness(_) => {
                Self::caused_by(Code::Internal, &error)
            }
        }
    }
}

impl From<rotation::error::Error> for Problem {
    fn from(error: rotation::error::Error) -> Self {
        use rotation::error::Error as E;
        let text = error.to_string();
        match error {
            E::UnknownAsset => Self::new(Code::UnknownAsset, text).about("asset"),
            E::UnknownKeyType(_) => Self::new(Code::UnknownKeyType, text).about("key_type"),
            E::Refused(_) => Self::new(Code::BadMember, text),
            E::Import(rotation::error::ImportError::Json(error)) => error.into(),
            E::Import(_) => Self::member("csv", text),
            E::State(_) => Self::new(Code::AssetState, text),
            E::Policy(_) => Self::new(Code::PolicyRefused, text).about("document"),
            E::PolicyVersion { .. } => {
                Self::new(Code::PolicyVersion, text).about("document.version")
            }
            E::CeremonyRequired(_) | E::StaysCritical { .. } => {
                Self::new(Code::CeremonyRequired, text).about("key_type")
            }
            E::Store(ref cause) if cause.is_conflict() => Self::new(
                Code::AssetState,
                "it was changed at the same time; read it again",
            ),
            E::BrokenOff { ref source, .. } if source.is_conflict() => {
                Self::new(Code::AssetState, text)
            }
            E::Store(ref cause)
            | E::BrokenOff {
                source: ref cause, ..
            } => Self::caused_by(of_store(cause), &error),
            E::Orders(error) => error.into(),
            E::Json(_) | E::Policies(_) => Self::caused_by(Code::Internal, &error),
        }
    }
}

impl From<log::ProofError> for Problem {
    fn from(error: log::ProofError) -> Self {
        match &error {
            log::ProofError::Store(cause) => Self::caused_by(of_store(cause), &error),
            log::ProofError::Pruned(_) => pruned(&error),
            log::ProofError::Tiles(cause) if !cause.is_fatal() => {
                Self::caused_by(Code::LogUnavailable, &error)
            }
            _ => Self::caused_by(Code::Internal, &error),
        }
    }
}

fn from_token(cause: &token::Error, error: &signing::Error) -> Problem {
    match cause.retry_hint() {
        RetryHint::RetryAfter(millis) => Problem::caused_by(Code::TokenUnavailable, error)
            .retry_after(Duration::from_millis(millis)),
        RetryHint::Overloaded => Problem::caused_by(Code::Overloaded, error),
        RetryHint::TimedOut => Problem::caused_by(Code::DeadlineExceeded, error),
        // A lost worker: signing may be repeated, nothing was released.
        RetryHint::Alert if cause.is_outcome_unknown() => {
            Problem::caused_by(Code::TokenUnavailable, error)
        }
        // A person has to look; a caller can only come back later.
        RetryHint::Alert => {
            Problem::caused_by(Code::TokenUnavailable, error).retry_after(Duration::from_secs(30))
        }
    }
}

impl From<verification::Error> for Problem {
    fn from(error: verification::Error) -> Self {
        match error {
            verification::Error::Malformed { member, problem } => Self::member(member, problem),
            verification::Error::Unfinished(_) => Self::caused_by(Code::Internal, &error),
            verification::Error::Key(error) => error.into(),
            verification::Error::Log(ref cause) => Self::caused_by(of_store(cause), &error),
            verification::Error::Tree(ref cause) => match **cause {
                log::ProofError::Store(ref cause) => Self::caused_by(of_store(cause), &error),
                log::ProofError::Pruned(_) => pruned(cause),
                _ => Self::caused_by(Code::LogUnavailable, &error),
            },
            verification::Error::Incomplete => Self::new(Code::LogUnavailable, error.to_string())
                .retry_after(Duration::from_secs(30)),
        }
    }
}

impl From<verification::NoEvidence> for Problem {
    fn from(error: verification::NoEvidence) -> Self {
        use verification::NoEvidence as E;
        match error {
            E::Verification(error) => error.into(),
            E::Store(error) => error.into(),
            E::NotFound | E::NotASignature(_) => {
                Self::new(Code::NotFound, error.to_string()).about("index")
            }
            E::Backdated(_) => Self::new(Code::LogUnavailable, error.to_string()),
            E::NotInLog => Self::new(Code::NotInLog, error.to_string()),
            E::BadSignature(ref why) => Self::new(Code::BadSignature, why.clone()),
            E::Broken(_) => Self::caused_by(Code::Internal, &error),
        }
    }
}

/// A key that is refused is none; which one, the service log and the metrics say.
impl From<keyring::keys::NoKey> for Problem {
    fn from(error: keyring::keys::NoKey) -> Self {
        use keyring::keys::NoKey as E;
        match &error {
            E::Unknown | E::Refused(_) => Self::new(Code::UnknownKey, "no key has this kid"),
            E::Store(cause) => Self::caused_by(of_store(cause), &error),
            E::Unfinished(_) => Self::caused_by(Code::Internal, &error),
            E::Older => {
                Self::caused_by(Code::LogUnavailable, &error).retry_after(Duration::from_secs(30))
            }
        }
    }
}

impl From<keyring::keys::Error> for Problem {
    fn from(error: keyring::keys::Error) -> Self {
        match error {
            keyring::keys::Error::Archive(error) => error.into(),
            keyring::keys::Error::Store(error) => error.into(),
            error => Self::caused_by(Code::Internal, &error),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        Self::caused_by(of_store(&error), &error)
    }
}

fn pruned(error: &log::ProofError) -> Problem {
    Problem::new(Code::Pruned, error.to_string()).about("index")
}

/// What the database's failure means to a caller: whether to come back, and whether to look first.
fn of_store(error: &store::Error) -> Code {
    match error {
        // What is held back was written, and nobody may be told.
        store::Error::OutcomeUnknown { .. } | store::Error::HeldBack => Code::OutcomeUnknown,
        store::Error::OtherDatabase
        | store::Error::LeavesMissing(_)
        | store::Error::Rewound { .. }
        | store::Error::ClockAhead { .. } => Code::LogUnavailable,
        store::Error::Full { .. } => Code::DatabaseUnavailable,
        error if error.is_transient() => Code::DatabaseUnavailable,
        _ => Code::Internal,
    }
}
