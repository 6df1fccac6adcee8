//! Why a ceremony does not go on.

use trust::tally::{Findings, Standing};
use trust::{Kid, Role, Time};

/// Why a ceremony does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("unknown ceremony {0}")]
    Unknown(String),
    #[error("the ceremony is {found}, expected {needed}")]
    State { found: String, needed: &'static str },
    /// The tally said no; nothing was done.
    #[error("not approved by the quorum: {}", describe_standing(.0))]
    NotApproved(Standing),
    /// This signature would not count, so it was not kept.
    #[error("this signature does not count: {0}")]
    DoesNotCount(String),
    #[error("the result cannot be accepted")]
    Acceptance(#[from] trust::tally::AcceptanceError),
    #[error("the transcript does not verify; nothing was changed")]
    Transcript(#[from] trust::TranscriptError),
    #[error("the roster and policy are invalid")]
    Roster(#[source] log::ChainRowError),
    #[error("no genesis is installed: hold the first ceremony (`chancery ceremony genesis`)")]
    NoGenesis,
    #[error("the chain of rosters and policies is invalid")]
    Chain(#[from] trust::ChainError),
    #[error("the suspensions in the database cannot be read")]
    Suspensions(#[source] log::SuspensionsError),
    /// A suspension that has no effect, whoever signs it.
    #[error("{0}")]
    Suspension(#[from] trust::tally::SuspensionError),
    /// One of several, which do not wait for it.
    #[error("statement {id} cannot be settled or ended")]
    Statement {
        id: String,
        #[source]
        source: Box<Error>,
    },
    #[error("{0}")]
    Plan(#[from] trust::plan::Blocked),
    #[error("generation and destruction need the executor's token access ([executor])")]
    NoExecutor,
    #[error(
        "the token has an object of this request, or lacks one of them: it was carried out before, by this file or another; --read-back tells what the token has"
    )]
    CarriedOutBefore,
    #[error("another executor is carrying it out")]
    Claimed,
    /// Nothing more was done.
    #[error("the time of this executor's lease ran out; run `chancery ceremony reconcile`")]
    ClaimLost,
    /// What every replica would say of the key.
    #[error("the key cannot be accepted under its standing order: {0}")]
    Use(#[from] trust::order_log::UseFault),
    #[error("unknown standing order {0}")]
    UnknownOrder(String),
    /// Made under a standing order by a program that is not its executor.
    #[error("a key under a standing order needs the executor's own key (orders.result_key)")]
    NoResultSigner,
    /// Nothing was asked for and nothing made.
    #[error("the standing order is for the executor {0} with another key than orders.result_key")]
    OtherExecutor(trust::MemberId),
    /// Nothing was asked for: it would fare no better so soon.
    #[error("uses that came to nothing in a row: {lost}; the next one is taken from {until} on")]
    Paused { lost: u32, until: Time },
    #[error("the executor's key did not sign the result: {0}")]
    ResultSigner(String),
    /// A member has more proposals open than anybody may.
    #[error("{member} has {most} open proposals already")]
    Quota {
        member: trust::MemberId,
        most: usize,
    },
    /// A member has proposed as often as anybody may within a day.
    #[error("{member} has proposed {most} times within a day")]
    Proposals {
        member: trust::MemberId,
        most: usize,
    },
    /// A ceremony has as many notes as it may.
    #[error("the ceremony has {0} notes already")]
    Notes(usize),
    /// A member has as many notes in it as one may.
    #[error("the member has {0} notes in this ceremony already")]
    NotesOfMember(usize),
    /// What is said of an exception cannot be.
    #[error("{0}")]
    Exception(trust::note::NoteError),
    /// A ceremony has as many attestations as it may.
    #[error("the ceremony has {0} attestations already")]
    Attestations(usize),
    /// Of a rejection or a cancellation.
    #[error("a reason has 1 to 1000 characters, none of which hides something")]
    Reason,
    /// A member's text is not for the record.
    #[error("{0}")]
    Text(trust::note::NoteError),
    /// What was asked for contradicts what is.
    #[error("{0}")]
    Unfit(String),
    /// Of an emergency rotation: no key has been published for long enough.
    #[error(
        "the ring {ring} has no standby key that every verifier has had long enough: {}; to stop its signing until then: \
        `chancery emergency stop --ring {ring}`",
        next_standby(ring, next.as_ref())
    )]
    NoStandby {
        ring: String,
        /// The first that will be one, and from when.
        next: Option<(Time, Kid)>,
    },
    /// Of an emergency rotation, besides its proposer and whoever is suspended. Nothing was filed.
    #[error(
        "nobody could complete an emergency rotation: a security-lead, an on-call-manager and a custodian approve it, three \
        members beside the proposer, two of them by keys that are no passkeys; a member is missing who is {}: \
        `chancery trust new-roster --roles MEMBER=ROLE,…`",
        roles(.0)
    )]
    NoApprovers(Vec<Role>),
    /// What was carried out comes too late to be accepted, or too few of those who decided it count by the log, which would
    /// tell of it in vain.
    #[error("{0}")]
    NoEffect(String),
    /// What was carried out can never take effect, because another took its place.
    #[error("{0}")]
    Overtaken(String),
    #[error("a document cannot be parsed or serialised")]
    Json(#[from] trust::JsonError),
    #[error("database error")]
    Store(#[from] store::Error),
    #[error("the token failed; run `chancery ceremony reconcile` before retrying")]
    Token(#[from] token::Error),
    #[error("the keys cannot be read")]
    Keys(#[from] crate::keys::Error),
    #[error("the policies cannot be read")]
    Policies(#[source] log::PolicyError),
    #[error("the ceremony cannot be prepared")]
    Randomness(#[from] base::NoRandomness),
}

impl From<log::SuspensionsError> for Error {
    fn from(error: log::SuspensionsError) -> Self {
        match error {
            log::SuspensionsError::Store(error) => Self::Store(error),
            error => Self::Suspensions(error),
        }
    }
}

impl From<log::PolicyError> for Error {
    fn from(error: log::PolicyError) -> Self {
        match error {
            log::PolicyError::Store(error) => Self::Store(error),
            log::PolicyError::Suspensions(error) => error.into(),
            error => Self::Policies(error),
        }
    }
}

/// What kind of no it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A rule.
    Refused,
    /// Token or database.
    Unavailable,
    /// Something broke.
    Failed,
}

impl Error {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) if !error.is_conflict() => Kind::Unavailable,
            Self::Token(error) => match error.retry_hint() {
                token::RetryHint::Alert => Kind::Failed,
                _ => Kind::Unavailable,
            },
            Self::Statement { source, .. } => source.kind(),
            Self::Keys(crate::keys::Error::Store(error)) if !error.is_conflict() => {
                Kind::Unavailable
            }
            Self::Json(_) | Self::Randomness(_) | Self::Suspensions(_) | Self::Policies(_) => {
                Kind::Failed
            }
            _ => Kind::Refused,
        }
    }
}

/// What is found of a ceremony, in words: of an emergency rotation that waits also whose approval it waits for.
pub(super) fn describe(findings: &Findings) -> String {
    let standing = describe_standing(&findings.standing);
    match findings.wanting.is_empty() {
        true => standing,
        false => format!("{standing}, of {}", roles(&findings.wanting)),
    }
}

fn next_standby(ring: &str, next: Option<&(Time, Kid)>) -> String {
    match next {
        Some((ready_at, kid)) => format!("key {kid} is one at {ready_at}"),
        None => format!("make one, `chancery ceremony new generate --ring {ring}`"),
    }
}

/// As they are written in a roster.
pub(super) fn roles(roles: &[Role]) -> String {
    let words: Vec<String> = roles.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// In words.
pub(super) fn describe_standing(standing: &Standing) -> String {
    match standing {
        Standing::Approved => "approved".to_owned(),
        Standing::Waiting { missing } => format!("waiting for {missing} more approval(s)"),
        Standing::Rejected { by, reason } => format!("rejected by {by}: {reason}"),
        Standing::Cancelled { by, reason } => format!("cancelled by {by}: {reason}"),
        Standing::Expired { deadline, at } => format!("{deadline} was {at}"),
        Standing::Refused(obstacles) => obstacles
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; "),
    }
}
