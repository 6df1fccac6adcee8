//! What can go wrong beside a step.

use calendar::admission::Refusal;
use calendar::alerts::machine::Refusal as AlertRefusal;

use crate::policies::LONGEST_REASON;

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database's.
    #[error("database error")]
    Store(#[from] store::Error),
    /// Of the inventory, of policies or of standing orders.
    #[error("what there is cannot be read")]
    Inventory(#[source] crate::error::Error),
    /// There is no such rotation.
    #[error("unknown rotation {0}")]
    UnknownEvent(String),
    /// There is no such job.
    #[error("unknown job {0}")]
    UnknownJob(String),
    /// There is no such step.
    #[error("unknown step {0}")]
    UnknownStep(String),
    /// What somebody says for a step is empty, or too long.
    #[error("evidence: expected 1 to 1000 characters")]
    Evidence,
    /// Nothing that was asked for becomes a rotation.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A test of rotation where none is allowed.
    #[error(
        "rotations are not tested here: environment {environment}, and tests need rotation.tests = true in the configuration of an installation that is not production"
    )]
    TestsNotAllowed {
        /// As the installation names it.
        environment: String,
    },
    /// More than one declaration makes; nothing was declared.
    #[error(
        "{count} assets of {key_type} would rotate, more than the 10000 of one declaration: declare it by asset"
    )]
    TooMany {
        /// Of which key type.
        key_type: String,
        /// How many.
        count: usize,
    },
    /// An emergency is declared, and not for all that is meant.
    #[error(
        "{asset}{} got no emergency rotation ({why}); declared for {declared} others",
        others(*.more)
    )]
    LeftOut {
        /// The first of them.
        asset: String,
        /// How many more there are.
        more: usize,
        /// How many rotations were declared.
        declared: usize,
        /// Why the first has none.
        why: String,
    },
    /// It is too late, or too early, for this.
    #[error("rotation {event} cannot be {what}: it is {state}")]
    NotNow {
        /// Which.
        event: String,
        /// Cancelled, rolled back, tried again, reported.
        what: &'static str,
        /// How far it is.
        state: String,
    },
    /// A report of a step that has not begun, or has ended.
    #[error("rotation {event}: the step {step} is not waited for; the step that has begun: {open}")]
    NotWaitedFor {
        /// Of which rotation.
        event: String,
        /// Which step.
        step: String,
        /// The one that has begun, or `none`.
        open: String,
    },
    /// Another run of the job is open.
    #[error("the job {0} runs already")]
    Runs(String),
    /// A job that is what it should become.
    #[error("the job {0} is so already")]
    JobUnchanged(String),
    /// There is no such alert.
    #[error("unknown alert {0}")]
    UnknownAlert(String),
    /// The alert is not as it would have to be.
    #[error("alert {alert}: {why}")]
    AlertState {
        /// Which.
        alert: String,
        /// Why not.
        why: AlertRefusal,
    },
    /// Why somebody does something to an alert is no text.
    #[error("reason: expected 1 to {LONGEST_REASON} characters of plain text")]
    AlertReason,
    /// No page of alerts ends there.
    #[error("after: expected `next` of a page")]
    AlertPlace,
    /// No key has this kid.
    #[error("no key has the kid {0}")]
    UnknownKey(String),
    /// There is no such report of a compromise.
    #[error("unknown report {0}")]
    UnknownReport(String),
    /// What somebody reports is no text that is kept.
    #[error("{what}: expected 1 to {most} characters of plain text")]
    ReportText {
        /// Which text.
        what: &'static str,
        /// Its characters.
        most: usize,
    },
    /// It will be compromised.
    #[error("compromised_since: expected an instant that is not in the future")]
    ReportSince,
    /// The name is taken for something else.
    #[error("{0} has this name and says something else: give another one to this report")]
    ReportOther(String),
    /// As many as a principal files in a day, or has open.
    #[error(
        "100 reports of this principal are filed today, or 500 wait for a decision: what is beyond is not kept"
    )]
    ReportQuota,
    /// Somebody decided it already.
    #[error("report {report} is decided{}", by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default())]
    ReportDecided {
        /// Which.
        report: String,
        /// By whom.
        by: Option<String>,
    },
    /// A rotation would not touch the key that is reported.
    #[error(
        "the reported key is {state}, and not the primary of its ring: members of the roster revoke it first with `{command}`"
    )]
    ReportKey {
        /// How far the key is.
        state: &'static str,
        /// What they type.
        command: String,
    },
    /// What is decided about an audience is decided.
    #[error("{incident}: it is decided already whether {audience} are told{}", delivery.map(|state| format!(", and the message is {state}")).unwrap_or_default())]
    NoticeDecided {
        /// Of which incident.
        incident: String,
        /// About whom.
        audience: String,
        /// How far its message is, where it is the same.
        delivery: Option<&'static str>,
    },
    /// What an incident is called is one word.
    #[error("incident: expected a name without white space")]
    NoticeIncident,
    /// A word that this program cannot have written.
    #[error("the database is corrupt: rotation_event.{column} is {value:?}")]
    Word {
        /// Which column.
        column: &'static str,
        /// What is there.
        value: String,
    },
    /// Policies that cannot be kept.
    #[error("the policies of {0} are refused")]
    Policies(String),
    /// A simulation that cannot begin.
    #[error("{0}")]
    Simulation(String),
    /// No id could be made.
    #[error("a rotation cannot be given an id")]
    Randomness(#[from] base::NoRandomness),
}

fn others(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

impl From<crate::error::Error> for Error {
    fn from(error: crate::error::Error) -> Self {
        match error {
            crate::error::Error::Store(error) => Self::Store(error),
            error => Self::Inventory(error),
        }
    }
}

impl Error {
    /// A rule said no, not the machine.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::UnknownEvent(_)
                | Self::UnknownJob(_)
                | Self::UnknownStep(_)
                | Self::Evidence
                | Self::Refused(_)
                | Self::TestsNotAllowed { .. }
                | Self::TooMany { .. }
                | Self::LeftOut { .. }
                | Self::NotNow { .. }
                | Self::NotWaitedFor { .. }
                | Self::Runs(_)
                | Self::JobUnchanged(_)
                | Self::Simulation(_)
                | Self::UnknownAlert(_)
                | Self::AlertState { .. }
                | Self::AlertReason
                | Self::AlertPlace
                | Self::UnknownKey(_)
                | Self::UnknownReport(_)
                | Self::ReportText { .. }
                | Self::ReportSince
                | Self::ReportOther(_)
                | Self::ReportQuota
                | Self::ReportDecided { .. }
                | Self::ReportKey { .. }
                | Self::NoticeDecided { .. }
                | Self::NoticeIncident
        )
    }
}
