//! Statements about leases of executions, which each engine writes with its own clock.

/// By the clock `now`.
macro_rules! execution_statements {
    ($now:literal) => {
        $crate::engine::ExecutionStatements {
            take: concat!(
                "INSERT INTO execution (ceremony, holder, until) VALUES ($1, $2, ",
                $now,
                " + $3)
                ON CONFLICT (ceremony) DO UPDATE SET holder = excluded.holder, until = excluded.until
                WHERE execution.holder = ''"
            ),
            renew: concat!(
                "UPDATE execution SET until = ",
                $now,
                " + $3 WHERE ceremony = $1 AND holder = $2 AND until > ",
                $now
            ),
            settle: concat!(
                "UPDATE execution SET holder = '', until = 0
                WHERE ceremony = $1 AND holder <> '' AND until <= ",
                $now
            ),
            held: concat!(
                "SELECT ceremony, holder, until - ",
                $now,
                " FROM execution WHERE holder <> '' ORDER BY ceremony"
            ),
        }
    };
}
pub(crate) use execution_statements;
