//! Leases: a piece of work that one process does at a time. A name says which.

use crate::statements::statements;

statements! {
    /// A lease that is a minute ahead of what anybody asks for is of a clock that ran ahead.
    TAKE_LEASE = "INSERT INTO lease (name, holder, until) VALUES ($1, $2, $4)
        ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
        WHERE lease.holder = excluded.holder OR lease.until <= $3
            OR lease.until > excluded.until + 60000";
    RETURN_LEASE = "UPDATE lease SET until = 0 WHERE name = $1 AND holder = $2 AND until > 0";
}
