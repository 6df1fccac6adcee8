//! Standing orders: what is left of each, who withdrew it, and the keys made under it. What an order permits is in its
//! transcript; these rows limit and find.

use trust::bytes16::Nonce;
use trust::{Kid, Name, Sha256Digest, Time};

use crate::ceremonies::{CeremonyState, close, expect};
use crate::database::{Store, on};
use crate::decode::Decode;
use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::{Error, Subject};
use crate::leaves::LeafRow;
use crate::order_fence::{PERMITTED, WITHDRAWN_ORDER};
use crate::reads::{self, FromColumns, MAX_PAGE, Word};
use crate::rows::{self, Keyed, Page, PageStart};
use crate::statements::statements;

macro_rules! order_columns {
    () => {
        "id, ceremony, ring, uses, not_before, not_after, accepted_at, withdrawn_at, withdrawal, signature, idx"
    };
}

statements! {
    ORDER = concat!("SELECT ", order_columns!(), " FROM standing_order WHERE id = $1");
    ORDERS_BEFORE = concat!("SELECT ", order_columns!(), " FROM standing_order
        WHERE (accepted_at, id) < ($1, $2) ORDER BY accepted_at DESC, id DESC LIMIT $3");
    ALL_ORDERS = concat!("SELECT ", order_columns!(), " FROM standing_order
        WHERE id >= $1 ORDER BY id LIMIT $2 OFFSET $3");
    /// In the words of the index of those that hold.
    ORDERS_UNTIL = concat!("SELECT ", order_columns!(), " FROM standing_order
        WHERE withdrawn_at IS NULL AND (not_after, id) > ($1, $2) ORDER BY not_after, id LIMIT $3");
    /// Each looked for by its id: a join would read all ceremonies for those of one order.
    USES = "SELECT use_number, ceremony,
            (SELECT state FROM ceremony WHERE id = order_use.ceremony),
            (SELECT created_at FROM ceremony WHERE id = order_use.ceremony),
            (SELECT kid FROM key_object WHERE ceremony = order_use.ceremony)
        FROM order_use WHERE order_id = $1 ORDER BY use_number";
    LAST_USE = "SELECT COALESCE(MAX(use_number), 0) FROM order_use WHERE order_id = $1";
    ORDER_OF = "SELECT order_id, use_number FROM order_use WHERE ceremony = $1";
    INSERT_ORDER = "INSERT INTO standing_order
        (id, ceremony, ring, uses, not_before, not_after, accepted_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    WITHDRAW = "UPDATE standing_order
        SET withdrawn_at = $2, withdrawal = $3, signature = $4, idx = $5
        WHERE id = $1 AND withdrawn_at IS NULL";
    /// In the words of the index of what is under way.
    VOID_USES = "UPDATE ceremony SET state = 'cancelled', updated_at = $2
        WHERE state IN ('proposed', 'approved', 'executing', 'executed')
        AND state IN ('proposed', 'approved')
        AND id IN (SELECT ceremony FROM order_use WHERE order_id = $1)";
}

/// An order that custodians accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    pub id: Nonce,
    /// The ceremony that asked for it.
    pub ceremony: Sha256Digest,
    pub ring: Name,
    pub uses: u32,
    pub not_before: Time,
    pub not_after: Time,
    pub accepted_at: Time,
    pub withdrawal: Option<OrderWithdrawalRow>,
}

/// What a custodian signed to withdraw an order; verified whenever it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderWithdrawalRow {
    pub at: Time,
    /// [`trust::withdrawal::WithdrawalBody`], the exact bytes.
    pub body: Vec<u8>,
    /// [`trust::MemberSignature`] as canonical JSON.
    pub signature: String,
    /// The leaf that tells of it.
    pub index: i64,
}

/// A use that was taken, and how far its ceremony is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseRow {
    pub number: u32,
    pub ceremony: Sha256Digest,
    pub state: CeremonyState,
    pub created_at: Time,
    /// Once the key was made.
    pub kid: Option<Kid>,
}

impl Keyed for OrderRow {
    const TABLE: &'static str = "standing_order";
}

impl FromColumns for OrderRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        let at = row.maybe_time(7, "standing_order.withdrawn_at")?;
        let parts = (row.maybe_blob(8)?, row.maybe_text(9)?, row.maybe_int(10)?);
        let withdrawal = match (at, parts) {
            (Some(at), (Some(body), Some(signature), Some(index))) => Some(OrderWithdrawalRow {
                at,
                body,
                signature,
                index,
            }),
            _ => None,
        };
        Ok(Self {
            id: row.parsed(0, "standing_order.id")?,
            ceremony: row.parsed(1, "standing_order.ceremony")?,
            ring: row.parsed(2, "standing_order.ring")?,
            uses: row.number(3, "standing_order.uses")?,
            not_before: row.time(4, "standing_order.not_before")?,
            not_after: row.time(5, "standing_order.not_after")?,
            accepted_at: row.time(6, "standing_order.accepted_at")?,
            withdrawal,
        })
    }
}

impl FromColumns for UseRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            number: row.number(0, "order_use.use_number")?,
            ceremony: row.parsed(1, "order_use.ceremony")?,
            state: CeremonyState::read_word(row, 2)?,
            created_at: row.time(3, "ceremony.created_at")?,
            kid: row.maybe_parsed(4, "key_object.kid")?,
        })
    }
}

/// Custodians accepted it: keys may be made under it from now on.
pub(crate) async fn accept<C: Connection>(
    tx: &mut C,
    order: &OrderRow,
    transcript: &[u8],
    at: i64,
) -> Result<(), Error> {
    let ceremony = order.ceremony.to_string();
    let standing = expect(tx, &ceremony, "order", CeremonyState::Executed).await?;
    if standing.ring.as_deref() != Some(order.ring.as_str()) || order.withdrawal.is_some() {
        return Err(Error::conflict(Subject::Order));
    }
    close(tx, &ceremony, transcript, at).await?;
    let id = order.id.to_string();
    let values = [
        Value::Text(&id),
        Value::Text(&ceremony),
        Value::Text(order.ring.as_str()),
        Value::Int(order.uses.into()),
        Value::Int(order.not_before.millis()),
        Value::Int(order.not_after.millis()),
        Value::Int(order.accepted_at.millis()),
    ];
    match tx.execute(INSERT_ORDER, &values).await {
        Err(Error::Conflict { source, .. }) => Err(Error::Conflict {
            what: Subject::Order,
            source,
        }),
        other => other.map(drop),
    }
}

/// By this very leaf, once. What waits under the order is void.
pub(crate) async fn withdraw<C: Connection>(
    tx: &mut C,
    order: &str,
    (body, signature): (&[u8], &str),
    at: i64,
    index: i64,
) -> Result<(), Error> {
    let values = [
        Value::Text(order),
        Value::Int(at),
        Value::Blob(body),
        Value::Text(signature),
        Value::Int(index),
    ];
    if tx.execute(WITHDRAW, &values).await? != 1 {
        return match tx.fetch_optional(PERMITTED, &[Value::Text(order)]).await? {
            Some(_) => Err(WITHDRAWN_ORDER),
            None => Err(Error::NotFound {
                what: Subject::Order,
            }),
        };
    }
    let values = [Value::Text(order), Value::Int(at)];
    tx.execute(VOID_USES, &values).await.map(drop)
}

async fn last_use<E: Engine>(engine: &E, order: &str) -> Result<i64, Error> {
    let mut reader = engine.reader().await?;
    match reader
        .fetch_optional(LAST_USE, &[Value::Text(order)])
        .await?
    {
        Some(row) => row.int(0),
        None => Ok(0),
    }
}

async fn order_of<E: Engine>(engine: &E, ceremony: &str) -> Result<Option<(Nonce, u32)>, Error> {
    let mut reader = engine.reader().await?;
    let row = reader
        .fetch_optional(ORDER_OF, &[Value::Text(ceremony)])
        .await?;
    row.map(|row| {
        let id = row.parsed(0, "order_use.order_id")?;
        Ok((id, row.number(1, "order_use.use_number")?))
    })
    .transpose()
}

async fn leaves_of_order<E: Engine>(
    engine: &E,
    values: &[Value<'_>],
) -> Result<Vec<LeafRow>, Error> {
    reads::all(engine, E::DIALECT.leaves_of_order, values).await
}

impl Store {
    pub async fn order(&self, id: &str) -> Result<Option<OrderRow>, Error> {
        on!(self, engine => reads::one(engine, ORDER, &[Value::Text(id)]))
    }

    /// The newest that were accepted before this instant and id, from the newest on; at most [`MAX_PAGE`].
    pub async fn orders_before(
        &self,
        (accepted_at, id): (i64, &str),
        limit: i64,
    ) -> Result<Page<OrderRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = [Value::Int(accepted_at), Value::Text(id), Value::Int(limit)];
        let start = PageStart::default();
        on!(self, engine => rows::page(engine, ORDERS_BEFORE, &values, (&start, limit)))
    }

    /// Those that nobody withdrew and that end after this instant and id, the next to end first; at most [`MAX_PAGE`].
    pub async fn orders_until(
        &self,
        (not_after, id): (i64, &str),
        limit: i64,
    ) -> Result<Page<OrderRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = [Value::Int(not_after), Value::Text(id), Value::Int(limit)];
        let start = PageStart::default();
        on!(self, engine => rows::page(engine, ORDERS_UNTIL, &values, (&start, limit)))
    }

    /// The uses of an order that were taken, in their order; there are never more than an order has.
    pub async fn uses_of(&self, order: &str) -> Result<Vec<UseRow>, Error> {
        on!(self, engine => reads::all(engine, USES, &[Value::Text(order)]))
    }

    /// The highest use of an order that was taken; 0 if none was.
    pub async fn last_use(&self, order: &str) -> Result<i64, Error> {
        on!(self, engine => last_use(engine, order))
    }

    /// The order and the use of a ceremony under one.
    pub async fn order_of(&self, ceremony: &str) -> Result<Option<(Nonce, u32)>, Error> {
        on!(self, engine => order_of(engine, ceremony))
    }

    /// The next leaves that tell of an order from this index on, oldest first; at most [`MAX_PAGE`].
    pub async fn leaves_of_order(
        &self,
        order: &str,
        from: i64,
        limit: i64,
    ) -> Result<Vec<LeafRow>, Error> {
        let limit = Value::Int(limit.clamp(0, MAX_PAGE));
        let values = [Value::Text(order), Value::Int(from), limit];
        on!(self, engine => leaves_of_order(engine, &values))
    }

    /// A page of all orders by their ids.
    pub async fn all_orders(&self, start: &PageStart, limit: i64) -> Result<Page<OrderRow>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let values = [
            Value::Text(&start.key),
            Value::Int(limit),
            Value::Int(start.behind),
        ];
        on!(self, engine => rows::page(engine, ALL_ORDERS, &values, (start, limit)))
    }
}
