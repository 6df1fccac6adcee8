//! What people report of steps and of rotations that happen elsewhere, as acts on the log: what waits for it goes on at once.

use trust::Time;

use crate::engine::{Connection, Value, guarded};
use crate::error::{Error, Subject};
use crate::rotation_steps::RotationReport;
use crate::statements::statements;

statements! {
    /// Of a step that has begun and not ended, or of a roll-back that somebody wants.
    REPORT_OPEN_STEP = "INSERT INTO rotation_report (event, step, reported_at, reported_by, evidence)
        SELECT id, $2, $3, $4, $5 FROM rotation_event
        WHERE id = $1 AND ended_at IS NULL AND (($2 = 'roll-back' AND roll_back = 1)
            OR EXISTS (SELECT 1 FROM rotation_step WHERE event = $1 AND step = $2 AND outcome IS NULL))
        ON CONFLICT DO NOTHING";
    LOOK_AT_EVENT = "UPDATE rotation_event SET look_at = $2 WHERE id = $1 AND ended_at IS NULL AND look_at > $2";
    LOOK_AT_ASSET = "UPDATE rotation_event SET look_at = $2 WHERE asset = $1 AND ended_at IS NULL AND look_at > $2";
}

/// A conflict where the step is not waited for, and where it was reported before.
pub(crate) async fn report<C: Connection>(
    tx: &mut C,
    event: &str,
    step: &str,
    report: &RotationReport,
) -> Result<(), Error> {
    let values = [
        Value::Text(event),
        Value::Text(step),
        Value::Int(report.at.millis()),
        Value::Text(&report.by),
        Value::Text(&report.evidence),
    ];
    guarded(tx, REPORT_OPEN_STEP, &values, Subject::Rotation).await?;
    let at = [values[0], values[2]];
    tx.execute(LOOK_AT_EVENT, &at).await.map(drop)
}

/// A rotation of this asset was reported as a whole.
pub(crate) async fn reported<C: Connection>(
    tx: &mut C,
    asset: &str,
    at: Time,
) -> Result<(), Error> {
    let values = [Value::Text(asset), Value::Int(at.millis())];
    tx.execute(LOOK_AT_ASSET, &values).await.map(drop)
}
