//! What is said to whoever wanted something of a rotation: what was recorded, and what follows. The engine acts on it when it looks
//! at the rotation next, so what is shown of it is from before.

use ::rotation::engine::EventReport;
use ::rotation::engine::error::Error;
use ::rotation::jobs::Scheduler;
use verify::output::{Failure, Output};

use super::{failed, shown};

/// What people are told who cancel a rotation.
const AGAIN: &str = "While it is due, the next check makes this version again; what shall not rotate for now is held instead: \
    chancery rotation hold EVENT";

/// What somebody wanted.
#[derive(Debug, Clone, Copy)]
pub enum Word<'a> {
    Cancel,
    RollBack,
    Retry,
    Hold,
    Release,
    /// Of a step that is done elsewhere.
    Done(&'a str),
}

impl Word<'_> {
    fn recorded(self, report: &EventReport) -> String {
        let id = &report.id;
        let recorded = match self {
            Self::Cancel => format!("{id} is to be cancelled"),
            Self::RollBack => format!("{id} is to be rolled back"),
            Self::Retry => format!("the step of {id} that failed is to be tried again"),
            Self::Hold => format!("{id} is held"),
            Self::Release => format!("{id} is released"),
            Self::Done(step) => format!("the step {step} of {id} is done"),
        };
        let follows = match self {
            Self::Hold => "No further step of it begins until it is released.".to_owned(),
            Self::Cancel => format!("It ends {}", when(id)),
            Self::RollBack => format!("The old version is the primary again {}", when(id)),
            Self::Retry | Self::Release | Self::Done(_) => format!("It goes on {}", when(id)),
        };
        format!("Recorded: {recorded}. {follows}")
    }
}

fn when(id: &str) -> String {
    format!(
        "when the scheduler looks at it next; at once with: chancery rotation execute {id}\nUntil then it is shown as it was:"
    )
}

/// The rotation after somebody wanted something of it.
pub async fn told(
    scheduler: &Scheduler,
    event: &str,
    (done, word): (Result<(), Error>, Word<'_>),
    output: &Output,
) -> Result<(), Failure> {
    done.map_err(failed)?;
    let report = scheduler.engine().report(event).await.map_err(failed)?;
    output.result(&report, || said(&report, word));
    Ok(())
}

fn said(report: &EventReport, word: Word<'_>) -> String {
    let said = format!("{}\n\n{}", word.recorded(report), shown(report).trim_end());
    match word {
        Word::Cancel => {
            let mut said = format!("{said}\n\n{AGAIN}");
            if let Some(under_way) = under_way(report) {
                said.push_str(&format!("\n{under_way}"));
            }
            said
        }
        _ => said,
    }
}

/// What a cancellation does not call back: a key that a standing order permits, which its executor makes.
fn under_way(report: &EventReport) -> Option<String> {
    let order = report.order.as_ref()?;
    let ceremony = report.ceremony.as_ref()?;
    report.made.is_none().then(|| {
        format!(
            "The use of the standing order {order} is spent: its executor makes the key of ceremony {ceremony} nevertheless, \
             and it is a standby of the ring then."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An external rotation that waits for a person; as it was when somebody spoke.
    fn report() -> EventReport {
        let at = trust::Time::from_millis(1_764_000_000_000);
        EventReport {
            id: "kr_1".to_owned(),
            asset: "signing/records".to_owned(),
            key_type: "signing".to_owned(),
            version: 2,
            previous_version: Some(1),
            trigger: "time".to_owned(),
            state: "waiting".to_owned(),
            slot: at,
            due: at,
            consent: "order".to_owned(),
            order: Some("so_1".to_owned()),
            ceremony: Some("c1".to_owned()),
            made: None,
            published_at: None,
            promoted_at: None,
            retired_at: None,
            ended_at: None,
            requested_by: "scheduler".to_owned(),
            reason: None,
            held: false,
            waits: Some("executor".to_owned()),
            detail: None,
            look_at: Some(at),
            late: false,
            steps: Vec::new(),
        }
    }

    #[test]
    fn what_was_recorded_is_said_before_the_state_that_is_from_before() {
        for (word, recorded) in [
            (
                Word::Done("generate"),
                "Recorded: the step generate of kr_1 is done. It goes on when",
            ),
            (Word::Release, "Recorded: kr_1 is released. It goes on when"),
            (
                Word::Cancel,
                "Recorded: kr_1 is to be cancelled. It ends when",
            ),
            (Word::Hold, "Recorded: kr_1 is held. No further step"),
        ] {
            let said = said(&report(), word);
            assert!(said.starts_with(recorded), "{said}");
            assert!(said.contains("state      waiting"), "{said}");
        }
    }

    #[test]
    fn a_cancellation_names_the_key_that_the_executor_makes_nevertheless() {
        let cancelled = said(&report(), Word::Cancel);
        assert!(cancelled.contains("order so_1 is spent") && cancelled.contains("ceremony c1"));
        let made = EventReport {
            made: Some("kid".to_owned()),
            ..report()
        };
        assert!(!said(&made, Word::Cancel).contains("is spent"));
    }
}
