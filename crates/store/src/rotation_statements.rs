//! Statements about leases of rotations and of runs of jobs, and the database's clock, which each engine writes in its own
//! way.

/// By the clock `now`; `priority` finds that of a rotation's key type in the object `$4`.
macro_rules! rotation_statements {
    ($now:literal, $priority:literal) => {
        $crate::engine::RotationStatements {
            now: concat!("SELECT ", $now),
            take_event: concat!(
                "UPDATE rotation_event SET lease_owner = $2, lease_epoch = lease_epoch + 1, lease_until = ",
                $now,
                " + $3 WHERE id = $1 AND ended_at IS NULL AND lease_until <= ",
                $now,
                " RETURNING lease_epoch"
            ),
            hold_event: concat!(
                "UPDATE rotation_event SET lease_until = ",
                $now,
                " + $3 WHERE id = $1 AND lease_epoch = $2 AND lease_owner <> '' AND ended_at IS NULL"
            ),
            due_events: concat!(
                "SELECT id FROM rotation_event
                WHERE ended_at IS NULL AND look_at <= $1 AND (updated_at <= $2 OR cause = 'event') AND lease_until <= ",
                $now,
                " ORDER BY CASE cause WHEN 'event' THEN 0 ELSE 1 END, COALESCE(",
                $priority,
                ", 9), due, id LIMIT $3"
            ),
            begin_run: concat!(
                "INSERT INTO job_run
                (job, slot, state, missed, lease_owner, lease_epoch, lease_until, started_at)
                VALUES ($1, $2, 'running', $3, $4, 1, ",
                $now,
                " + $5, $6) ON CONFLICT DO NOTHING"
            ),
            take_run: concat!(
                "UPDATE job_run SET lease_owner = $3, lease_epoch = lease_epoch + 1, lease_until = ",
                $now,
                " + $4 WHERE job = $1 AND slot = $2 AND ended_at IS NULL AND lease_until <= ",
                $now,
                " RETURNING lease_epoch"
            ),
            hold_run: concat!(
                "UPDATE job_run SET lease_until = ",
                $now,
                " + $4 WHERE job = $1 AND slot = $2 AND lease_epoch = $3 AND ended_at IS NULL"
            ),
        }
    };
}
pub(crate) use rotation_statements;
