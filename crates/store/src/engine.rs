//! The little that both engines have in common: statements with values in, rows out, and a
//! transaction that is thrown away with its connection unless it was ended in so many words.

use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::time::Duration;

use crate::error::{Error, Subject};
use crate::fence::Head;

/// A parameter. The schema knows integers, text and bytes only, on either engine.
#[derive(Debug, Clone, Copy, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Value<'a> {
    Int(i64),
    Text(&'a str),
    Blob(&'a [u8]),
    MaybeInt(Option<i64>),
    MaybeText(Option<&'a str>),
}

/// A row, read by position.
pub(crate) trait Columns: Send {
    fn int(&self, column: usize) -> Result<i64, Error>;
    fn text(&self, column: usize) -> Result<String, Error>;
    fn blob(&self, column: usize) -> Result<Vec<u8>, Error>;
    fn maybe_int(&self, column: usize) -> Result<Option<i64>, Error>;
    fn maybe_text(&self, column: usize) -> Result<Option<String>, Error>;
    fn maybe_blob(&self, column: usize) -> Result<Option<Vec<u8>>, Error>;
}

/// Every call ends within the time limit of its engine. A call that is dropped half way takes its
/// connection with it.
pub(crate) trait Connection: Send {
    type Row: Columns;

    /// The number of rows it touched.
    fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    fn fetch(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, Error>> + Send;

    fn fetch_optional(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Option<Self::Row>, Error>> + Send {
        async move { Ok(self.fetch(sql, values).await?.into_iter().next()) }
    }
}

/// The statements that each engine writes in its own way. What is asked for is a JSON array.
pub(crate) struct Dialect {
    /// Of [principal, key]; answers with the place in the array first.
    pub known_answers: &'static str,
    /// Of hashes, by the index: in each of these parts of it (the second array).
    pub occurrences: &'static str,
    /// Of hashes, in the leaves from an index (the second parameter) to another; in order.
    pub occurrences_in: &'static str,
    /// Of places in the log; in order.
    pub occurrences_at: &'static str,
    /// Of ceremonies that have one, with their ids.
    pub transcripts: &'static str,
    /// Puts signatures into the index: the first bytes of their hashes, eight for each, and an array of their places.
    /// Signatures of ceremonies; those of each in order.
    pub signatures_of: &'static str,
    pub fill_index: &'static str,
    /// Of a key, from an index on; in order.
    pub leaves_of_kid: &'static str,
    /// Of a standing order, from an index on; in order.
    pub leaves_of_order: &'static str,
    /// Leaves by which rings are kept from signing, or go on; in order.
    pub emergency_leaves: &'static str,
    /// The index of the last of them, or -1.
    pub last_emergency: &'static str,
    /// Of a ceremony, from an index on; in order.
    pub leaves_of_ceremony: &'static str,
    /// Of an asset, before an index; the newest first.
    pub decisions: &'static str,
    /// At places in the log; in order.
    pub leaves_at: &'static str,
    /// Ceremonies of ids.
    pub ceremonies_of: &'static str,
    /// Keys of kids.
    pub keys_of: &'static str,
    /// Objects of ids.
    pub objects: &'static str,
    /// Acts of subjects; those of each in order.
    pub acts_of: &'static str,
    /// Which of these kids the index has accepted.
    pub accepted_of: &'static str,
    /// Puts [subject, index, word] into the index of acts.
    pub insert_acts: &'static str,
    /// Puts [place, index, kid] into the index of acceptances.
    pub insert_accepted: &'static str,
    /// Deletes answers of before an instant, at most so many, the oldest first.
    pub forget_answers: &'static str,
    pub emergency: EmergencyStatements,
    pub has_migrations: &'static str,
    /// Of a name and a holder, for so many milliseconds.
    pub take_lease: &'static str,
    pub executions: ExecutionStatements,
    pub rotations: RotationStatements,
    pub assets: AssetStatements,
}

/// About many assets of the inventory at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AssetStatements {
    /// Of names.
    pub of: &'static str,
    /// Puts in [id, key_type, purpose, owner, storage, labels, registered_at, registered_by, retired_at].
    pub insert: &'static str,
    /// Puts in [asset, number, rotated_at, expires_at, reported_at, reported_by], each as the primary.
    pub insert_versions: &'static str,
}

/// About who runs a rotation or a job: each engine has its own clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RotationStatements {
    /// The database's time, in milliseconds.
    pub now: &'static str,
    /// For `$3` milliseconds, if nobody has it; answers with the epoch of the lease.
    pub take_event: &'static str,
    /// For `$3` milliseconds from now, as long as nobody else took it.
    pub hold_event: &'static str,
    /// Open ones that are to be looked at by an instant (`$1`), that nobody has and, but for emergencies, nobody looked at since
    /// another (`$2`). Emergencies first, then by the priorities of key types (`$4`), then by when they are due. Sorts as many
    /// as are to be looked at.
    pub due_events: &'static str,
    /// Of a slot, if no other run of the job is open.
    pub begin_run: &'static str,
    /// One whose owner's time has run out; answers with the epoch of the lease.
    pub take_run: &'static str,
    /// For `$4` milliseconds from now, as long as nobody else took it.
    pub hold_run: &'static str,
}

/// About leaves, in the words of their indexes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EmergencyStatements {
    /// Rings that were ever stopped, and the empty text.
    pub stop_lines: &'static str,
    /// Rings that were ever rotated in an emergency, and the empty text.
    pub rotation_lines: &'static str,
    /// The newest stops of a ring before an index.
    pub stops_before: &'static str,
    /// The newest rotations of a ring before an index.
    pub rotations_before: &'static str,
    /// What ended stops and rotations of a ring, behind an index; in order.
    pub ends_after: &'static str,
    /// The last leaf of all these before an index.
    pub last_before: &'static str,
}

/// About who carries a ceremony out: each engine has its own clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExecutionStatements {
    /// For `$3` milliseconds, if nobody has it; one whose time has run out is not taken.
    pub take: &'static str,
    /// For `$3` milliseconds from now, as long as it is still held.
    pub renew: &'static str,
    /// One whose time has run out belongs to nobody from now on.
    pub settle: &'static str,
    /// All that are held, and how many milliseconds are left of each.
    pub held: &'static str,
}

/// What each engine writes in its own way: its clock, and the word that names the database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadStatements {
    /// Moves the head by `$1` leaves, of which `$3` is the latest time; `$2` is 1 where replicas have to look
    /// again. Answers with a [`Head`].
    pub take: &'static str,
    /// Answers with a [`Head`] and writes nothing.
    pub look: &'static str,
}

/// What is about to be written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    pub leaves: i64,
    pub is_news: bool,
    /// The latest time of the leaves.
    pub time: i64,
}

impl Taken {
    pub fn values(self) -> [Value<'static>; 3] {
        let news = i64::from(self.is_news);
        [self.leaves, news, self.time].map(Value::Int)
    }
}

/// A transaction that holds the log head.
pub(crate) struct Begun<T> {
    pub tx: T,
    /// After it was moved.
    pub head: Head,
    pub active: HashSet<String>,
    /// The last leaf by which a ring may have been kept from signing, or -1.
    pub emergency: i64,
    /// How many of the leaves were inserted already.
    pub written: u64,
}

/// A leaf on its way in: time, kind, ring, kid, sig_hash, body.
pub(crate) type LeafColumns<'a> = [Value<'a>; 6];

/// An answer on its way in: principal, key, request_hash, response, idx, time.
pub(crate) type AnswerColumns<'a> = [Value<'a>; 6];

pub(crate) trait Engine: Send + Sync {
    type Reader: Connection;
    type Transaction: Connection;
    const DIALECT: Dialect;

    fn reader(&self) -> impl Future<Output = Result<Self::Reader, Error>> + Send;

    /// Sees, statement by statement, what others have committed before it took the log head.
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction, Error>> + Send;

    fn head(&self) -> HeadStatements;

    /// Begins with the log head and reads then which of these keys may sign: nobody can change that until the end of
    /// the transaction. An engine may insert `leaves`, as the last ones, in the same call if all of the keys may sign and
    /// no leaf from `judged` on may keep a ring from signing: all of them or none.
    fn begin_signatures(
        &self,
        taken: Taken,
        kids: &BTreeSet<&str>,
        leaves: &[LeafColumns<'_>],
        judged: i64,
    ) -> impl Future<Output = Result<Begun<Self::Transaction>, Error>> + Send;

    /// All in one statement; the number of rows. At most [`MAX_BATCH`] of them.
    ///
    /// [`MAX_BATCH`]: crate::MAX_BATCH
    fn insert_leaves(
        tx: &mut Self::Transaction,
        first: i64,
        leaves: &[LeafColumns<'_>],
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    fn insert_answers(
        tx: &mut Self::Transaction,
        answers: &[AnswerColumns<'_>],
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Durable when it returns. If we die here the transaction is there whole or not at all.
    fn commit(&self, tx: Self::Transaction) -> impl Future<Output = Result<(), Error>> + Send;

    fn rollback(&self, tx: Self::Transaction) -> impl Future<Output = ()> + Send;
}

/// No answer within the limit counts as no connection: the caller gets an error, not a hang.
pub(crate) async fn within<T>(
    limit: Duration,
    operation: &'static str,
    work: impl Future<Output = Result<T, sqlx::Error>> + Send,
    classify: fn(&'static str, sqlx::Error) -> Error,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|source| classify(operation, source)),
        Err(_) => Err(Error::Unavailable {
            operation,
            source: sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
        }),
    }
}

/// Where a connection goes that is needed no more and has nothing unfinished on it.
pub(crate) trait Home<C>: Send {
    fn put_back(self, connection: C);
}

/// The pool that it came from.
pub(crate) struct ToPool;

impl<C> Home<C> for ToPool {
    fn put_back(self, connection: C) {
        drop(connection);
    }
}

/// Writes the connection of one engine: sqlx's traits do not allow one generic body in fewer
/// lines than its bounds would take.
macro_rules! connection {
    ($Db:ty, $Row:ty, $Home:ty, $classify:path) => {
        /// A connection out of the pool. It is closed instead of returned while a statement or a
        /// transaction is unfinished on it: whoever drops it there leaves nothing half done. So is one that was
        /// told that its server is not there for us, such as a primary that has become a standby.
        pub(crate) struct TxConnection {
            /// With where it goes; nothing when that has been decided.
            connection: Option<(sqlx::pool::PoolConnection<$Db>, $Home)>,
            limit: std::time::Duration,
            breaker: Option<std::sync::Arc<crate::breaker::Breaker>>,
            in_statement: bool,
            in_transaction: bool,
            unusable: bool,
        }

        impl TxConnection {
            async fn acquire(
                pool: &sqlx::Pool<$Db>,
                limit: std::time::Duration,
                breaker: Option<std::sync::Arc<crate::breaker::Breaker>>,
            ) -> Result<Self, Error> {
                match pool.acquire().await {
                    Ok(connection) => {
                        let home = $crate::engine::ToPool.into();
                        Ok(Self::over(connection, home, limit, breaker))
                    }
                    Err(source) => Err(not_acquired(pool, source)),
                }
            }

            fn over(
                connection: sqlx::pool::PoolConnection<$Db>,
                home: $Home,
                limit: std::time::Duration,
                breaker: Option<std::sync::Arc<crate::breaker::Breaker>>,
            ) -> Self {
                Self {
                    connection: Some((connection, home)),
                    limit,
                    breaker,
                    in_statement: false,
                    in_transaction: false,
                    unusable: false,
                }
            }

            fn connection(&mut self) -> Result<&mut <$Db as sqlx::Database>::Connection, Error> {
                let (connection, _) = self.connection.as_mut().ok_or_else(Error::closed)?;
                Ok(&mut **connection)
            }

            /// One that was told that its server is not there for us is not used again.
            fn note<T>(&mut self, done: &Result<T, Error>) {
                if let Err(error @ Error::Unavailable { source, .. }) = done {
                    self.unusable = true;
                    let silent = matches!(source, sqlx::Error::Io(error)
                        if error.kind() == std::io::ErrorKind::TimedOut);
                    if let Some(breaker) = self.breaker.as_ref().filter(|_| silent) {
                        breaker.failed(error);
                    }
                }
            }

            async fn begin(mut self, sql: &'static str) -> Result<Self, Error> {
                self.in_transaction = true;
                self.fetch(sql, &[]).await?;
                Ok(self)
            }

            async fn end(mut self, sql: &'static str) -> Result<(), Error> {
                self.execute(sql, &[]).await?;
                self.in_transaction = false;
                Ok(())
            }

            fn query<'q>(
                sql: &'static str,
                values: &[Value<'_>],
            ) -> sqlx::query::Query<'q, $Db, <$Db as sqlx::Database>::Arguments> {
                values
                    .iter()
                    .fold(sqlx::query(sql), |query, value| match *value {
                        Value::Int(value) => query.bind(value),
                        Value::Text(value) => query.bind(value.to_owned()),
                        Value::Blob(value) => query.bind(value.to_vec()),
                        Value::MaybeInt(value) => query.bind(value),
                        Value::MaybeText(value) => query.bind(value.map(str::to_owned)),
                    })
            }
        }

        impl Drop for TxConnection {
            fn drop(&mut self) {
                let Some((mut connection, home)) = self.connection.take() else {
                    return;
                };
                if self.in_statement || self.in_transaction || self.unusable {
                    connection.close_on_drop();
                    return;
                }
                $crate::engine::Home::put_back(home, connection);
            }
        }

        impl Connection for TxConnection {
            type Row = $Row;

            async fn execute(
                &mut self,
                sql: &'static str,
                values: &[Value<'_>],
            ) -> Result<u64, Error> {
                self.in_statement = true;
                let limit = self.limit;
                let work = Self::query(sql, values).execute(self.connection()?);
                let done = within(limit, "write", work, $classify).await;
                self.note(&done);
                let done = done?;
                self.in_statement = false;
                Ok(done.rows_affected())
            }

            async fn fetch(
                &mut self,
                sql: &'static str,
                values: &[Value<'_>],
            ) -> Result<Vec<$Row>, Error> {
                self.in_statement = true;
                let limit = self.limit;
                let work = Self::query(sql, values).fetch_all(self.connection()?);
                let rows = within(limit, "read", work, $classify).await;
                self.note(&rows);
                let rows = rows?;
                self.in_statement = false;
                Ok(rows)
            }
        }

        impl Columns for $Row {
            fn int(&self, column: usize) -> Result<i64, Error> {
                sqlx::Row::try_get(self, column).map_err(|source| $classify("read", source))
            }
            fn text(&self, column: usize) -> Result<String, Error> {
                sqlx::Row::try_get(self, column).map_err(|source| $classify("read", source))
            }
            fn blob(&self, column: usize) -> Result<Vec<u8>, Error> {
                sqlx::Row::try_get(self, column).map_err(|source| $classify("read", source))
            }
            fn maybe_int(&self, column: usize) -> Result<Option<i64>, Error> {
                sqlx::Row::try_get(self, column).map_err(|source| $classify("read", source))
            }
            fn maybe_text(&self, column: usize) -> Result<Option<String>, Error> {
                sqlx::Row::try_get(self, column).map_err(|source| $classify("read", source))
            }
            fn maybe_blob(&self, column: usize) -> Result<Option<Vec<u8>>, Error> {
                sqlx::Row::try_get(self, column).map_err(|source| $classify("read", source))
            }
        }
    };
}
pub(crate) use connection;

/// An update that names in its WHERE what it was planned on.
pub(crate) async fn guarded<C: Connection>(
    tx: &mut C,
    sql: &'static str,
    values: &[Value<'_>],
    what: Subject,
) -> Result<(), Error> {
    match tx.execute(sql, values).await? {
        1 => Ok(()),
        _ => Err(Error::conflict(what)),
    }
}

/// One statement in a transaction of its own; the number of rows it touched.
pub(crate) async fn write<E: Engine>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<u64, Error> {
    let mut tx = engine.begin().await?;
    match tx.execute(sql, values).await {
        Ok(rows) => engine.commit(tx).await.map(|()| rows),
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::Malformed {
        what: "text that is not JSON",
    })
}

pub(crate) fn expect_rows(written: u64, expected: usize) -> Result<(), Error> {
    if written == expected as u64 {
        return Ok(());
    }
    Err(Error::Corrupt {
        what: "the database wrote an unexpected number of rows",
        source: None,
    })
}
