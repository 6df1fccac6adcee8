//! What can go wrong, sorted by what the caller does about it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use trust::Time;

/// Each keeps its source; Display does not repeat it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else was first, or the change was planned on something untrue. Nothing was
    /// written. Plan again from fresh rows; repeating the same change will not help.
    #[error("{what} has changed since the operation was planned")]
    Conflict {
        what: Subject,
        #[source]
        source: Option<sqlx::Error>,
    },
    #[error("{what} does not exist")]
    NotFound { what: Subject },
    /// It is what the change would make it, or what forbids it. Nothing was written.
    #[error("{what} {why}")]
    Already { what: Subject, why: &'static str },
    /// Locked, or every connection in use. Nothing was written; try again.
    #[error("the database is busy ({operation})")]
    Busy {
        operation: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// The connection is lost or cannot be made. Nothing was written; try again.
    #[error("the database is unavailable ({operation})")]
    Unavailable {
        operation: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// Of the embedded database. Nothing was made in its place.
    #[error(
        "there is no database at {}: mount its volume or correct store.url; for a new installation run `chancery migrate`",
        .0.display()
    )]
    NoFile(Arc<Path>),
    /// Wrong account, password, database name or privilege: the configuration is wrong.
    #[error("the database denied access to this account ({operation})")]
    Refused {
        operation: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// The database is older than the one that we wrote to: it gave out an index that it gave out before. Nothing
    /// was written.
    #[error(
        "the database was replaced by an older one: it gives out index {index}, and {committed} leaves were committed; run `chancery log recover`"
    )]
    Rewound { index: i64, committed: i64 },
    /// After a fail-over or a restore. Nothing was written.
    #[error(
        "the database is a different one from before (a fail-over or a restore): leaves may be missing; run `chancery log recover`"
    )]
    OtherDatabase,
    /// By what is published. Nothing was written.
    #[error("{0}")]
    LeavesMissing(Arc<str>),
    /// Committed while this process is halted because leaves are missing. Nobody is told that it was, because what is
    /// told has to be in the file of kept leaves.
    #[error(
        "the log is halted because leaves are missing from the database: what was committed meanwhile is not answered"
    )]
    HeldBack,
    /// Of this process and of the database (milliseconds). Nothing was written.
    #[error("the clock of this machine and the database's clock differ by {} s: set both by NTP", ((ours - database).abs() + 500) / 1_000)]
    ClockOff { ours: i64, database: i64 },
    /// The log's latest leaf lies ahead of both clocks. Nothing was written.
    #[error("the log's latest leaf tells {}, which is ahead of the clock: a wrong clock wrote it; correct it by `chancery ceremony new clock-correction`", Time::from_millis(*leaf))]
    ClockAhead { leaf: i64, now: i64 },
    /// Reading so many leaves one by one would cost too much. Whoever integrates counts them; try again.
    #[error("the last {leaves} leaves of the log are not counted yet; try again in a minute")]
    Uncounted { leaves: i64 },
    /// The server does not tell its replacement from itself. Nothing was written.
    #[error(
        "the database server does not say which one it is (pg_control_system, pg_current_wal_lsn), so a fail-over would not be noticed: grant EXECUTE on these functions to the account, or accept that with store.identity = \"index-only\""
    )]
    NoIdentity {
        #[source]
        source: sqlx::Error,
    },
    /// The connection was lost during COMMIT: written whole or not at all, and only a later
    /// read can tell which.
    #[error("the outcome of a commit is unknown")]
    OutcomeUnknown {
        #[source]
        source: sqlx::Error,
    },
    /// Nothing was written, and nothing will be until an operator makes room.
    #[error("the disk of the database is full ({operation})")]
    Full {
        operation: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// The database is of another version than this program.
    #[error(
        "the database has schema {applied} and this program expects {expected}: {}",
        migrate_or_upgrade(*applied, *expected)
    )]
    Schema { applied: i64, expected: i64 },
    #[error("the migrations failed")]
    Migration {
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A row, or the whole file, that this program cannot have written.
    #[error("the database is corrupt: {what}")]
    Corrupt {
        what: &'static str,
        #[source]
        source: Option<sqlx::Error>,
    },
    /// A value that this program cannot have written. `column` is `table.column`.
    #[error("the database is corrupt: {column} is {value:?}")]
    UnreadableValue { column: &'static str, value: String },
    #[error("the database is corrupt: {0}")]
    UnreadableRow(UnreadableRow),
    /// The caller handed in what can never be written; a defect of this program.
    #[error("invalid input to the store: {what}")]
    Malformed { what: &'static str },
    /// The database refused the statement itself; a defect of this program or of the schema.
    #[error("the database rejected a statement ({operation})")]
    Statement {
        operation: &'static str,
        #[source]
        source: sqlx::Error,
    },
}

impl Error {
    /// Whether the same call may succeed in a moment. An unknown outcome is not transient: the
    /// caller has to look first.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Unavailable { .. }
                | Self::ClockOff { .. }
                | Self::Uncounted { .. }
        )
    }

    /// Whether time, the database's operator or `chancery migrate` can mend it while a service waits.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::NoFile(_)
            | Self::NoIdentity { .. }
            | Self::Full { .. } => true,
            Self::Schema { applied, expected } => applied < expected,
            other => other.is_transient(),
        }
    }

    /// The database holds what this program cannot have written.
    pub fn is_corrupt(&self) -> bool {
        matches!(
            self,
            Self::Corrupt { .. } | Self::UnreadableValue { .. } | Self::UnreadableRow(_)
        )
    }

    /// Whether it is about something that has ended already.
    pub fn is_already(&self) -> bool {
        matches!(self, Self::Already { .. })
    }

    /// A rule of the database said no, not its machine.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Conflict { .. } | Self::NotFound { .. } | Self::Already { .. }
        )
    }

    /// The writer is gone because the service is stopping; nothing was written.
    pub fn closed() -> Self {
        Self::Unavailable {
            operation: "stopping",
            source: sqlx::Error::PoolClosed,
        }
    }

    /// The commit may have happened: look before the same is tried again.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }

    /// What a lost connection at COMMIT looks like.
    #[cfg(any(test, feature = "testing"))]
    pub fn unknown() -> Self {
        Self::OutcomeUnknown {
            source: sqlx::Error::PoolClosed,
        }
    }

    pub fn conflict(what: Subject) -> Self {
        Self::Conflict { what, source: None }
    }

    /// The same conflict, named by what was changed: of a constraint that spoke.
    pub(crate) fn about(self, what: Subject) -> Self {
        match self {
            Self::Conflict { source, .. } => Self::Conflict { what, source },
            other => other,
        }
    }

    /// The same failure seen while committing: whoever did not hear the answer does not know it.
    pub(crate) fn at_commit(self) -> Self {
        match self {
            Self::Unavailable { source, .. } => Self::OutcomeUnknown { source },
            other => other,
        }
    }
}

fn migrate_or_upgrade(applied: i64, expected: i64) -> &'static str {
    if applied < expected {
        "run `chancery migrate`"
    } else {
        "it was migrated by a newer version of this program, so run that version"
    }
}

/// A row that this program cannot have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    pub table: &'static str,
    /// What the row is known by: a name, a kid, an id.
    pub key: String,
    /// Names the column and its value.
    pub why: String,
}

impl fmt::Display for UnreadableRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, key, why } = self;
        write!(f, "row {key:?} of table {table} is unreadable: {why}")
    }
}

/// What a change was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Ring,
    RingVersion,
    Primary,
    Key,
    KeyState,
    Ceremony,
    CeremonyState,
    CeremonySequence,
    /// Another one is being carried out, or was interrupted.
    OtherCeremony,
    CeremonySignature,
    /// What members said for the record of a ceremony, or attested of it.
    CeremonyRecord,
    /// Of a standing order.
    OrderUse,
    Order,
    KeyObject,
    KeyObjectState,
    Document,
    /// Of members about whom to trust.
    Statement,
    Credential,
    /// Of a passkey, as its authenticator counts.
    PasskeyCounter,
    /// Another one has it, or it has ended.
    Rotation,
    /// Of a job: another one has it, or it has ended.
    JobRun,
    /// It is not as whoever changes it saw it.
    Alert,
    /// It is there already, or decided.
    Compromise,
    /// It is decided already.
    Notice,
    /// Of the inventory.
    Asset,
    AssetVersion,
    KeyType,
    /// The version of a rotation policy.
    Policy,
    /// How far the Merkle tree goes.
    Tree,
    /// How many leaves there are.
    LogSize,
    /// A constraint or trigger of the schema spoke; the source says which.
    Constraint,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ring => "the ring",
            Self::RingVersion => "the version of the ring",
            Self::Primary => "the primary of the ring",
            Self::Key => "the key",
            Self::KeyState => "the state of the key",
            Self::Ceremony => "the ceremony",
            Self::CeremonyState => "the state of the ceremony",
            Self::CeremonySequence => "the sequence number of the ceremony",
            Self::OtherCeremony => {
                "another ceremony, in execution or interrupted (run `chancery ceremony reconcile`),"
            }
            Self::CeremonySignature => "the member's signature",
            Self::CeremonyRecord => "what members said of the ceremony",
            Self::OrderUse => "the use of the standing order",
            Self::Order => "the standing order",
            Self::KeyObject => "the key object",
            Self::KeyObjectState => "the state of the key object",
            Self::Document => "the version of the document",
            Self::Statement => "the statement about roster or policy",
            Self::Credential => "the credential",
            Self::PasskeyCounter => "the passkey's signature counter",
            Self::Rotation => "the rotation",
            Self::JobRun => "the run of the job",
            Self::Alert => "the alert",
            Self::Compromise => "the report of a compromise",
            Self::Notice => "the notice to the outside",
            Self::Asset => "the asset",
            Self::AssetVersion => "the version of the asset",
            Self::KeyType => "the key type",
            Self::Policy => "the version of the rotation policy",
            Self::Tree => "the log's tree",
            Self::LogSize => "the number of leaves in the log",
            Self::Constraint => "a constraint of the schema",
        })
    }
}

/// Sorts what is the same on both engines; the engine sorts its own codes first.
pub(crate) fn classify(operation: &'static str, source: sqlx::Error) -> Error {
    match source {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::PoolClosed => Error::Unavailable { operation, source },
        sqlx::Error::PoolTimedOut => Error::Busy { operation, source },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Error::Corrupt {
            what: "a value of the wrong type",
            source: Some(source),
        },
        source => Error::Statement { operation, source },
    }
}
