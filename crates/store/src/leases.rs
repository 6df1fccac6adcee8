//! Leases: a piece of work that one process does at a time. A name says which. They run by the database's clock, so
//! that it does not matter whose clock is wrong.

use crate::statements::statements;

statements! {
    RETURN_LEASE = "UPDATE lease SET until = 0 WHERE name = $1 AND holder = $2 AND until > 0";
}

/// For `$3` milliseconds of the clock `now`. A lease that is a minute ahead of what anybody asks for is of a clock that
/// ran ahead, the database's or, before there was this statement, a holder's.
macro_rules! take_lease {
    ($now:literal) => {
        concat!(
            "INSERT INTO lease (name, holder, until) VALUES ($1, $2, ",
            $now,
            " + $3)
            ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
            WHERE lease.holder = excluded.holder OR lease.until <= ",
            $now,
            " OR lease.until > excluded.until + 60000"
        )
    };
}
pub(crate) use take_lease;
