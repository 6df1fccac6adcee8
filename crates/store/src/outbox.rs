//! What others are to be told, until they acknowledged it (ADR 53). It tells of acts that the log has; nothing rests on it.

use crate::database::{Store, on};
use crate::decode::Decode as _;
use crate::engine::{Columns, Connection, Engine, Value, write};
use crate::error::Error;
use crate::reads::{self, FromColumns, Word};
use crate::statements::statements;
use trust::Time;

statements! {
    TOLD = "SELECT size FROM outbox_told WHERE id = 1";
    MOVE_TOLD = "UPDATE outbox_told SET size = $2 WHERE id = 1 AND size = $1";
    INSERT_MESSAGE = "INSERT INTO outbox_message (id, dedup, kind, subject, data, created_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    IS_TOLD = "SELECT COUNT(*) FROM outbox_message WHERE dedup = $1";
    /// Of one message, whose recipients are bounded.
    STATES = "SELECT state FROM outbox_delivery WHERE message = (SELECT id FROM outbox_message WHERE dedup = $1)";
    INSERT_DELIVERY = "INSERT INTO outbox_delivery
        (message, receiver, recipient, state, attempts, since, next_at)
        VALUES ($1, $2, $3, 'waiting', 0, $4, $5) ON CONFLICT DO NOTHING";
    /// In the words of the index of what is due. At most as many as may wait.
    WAITING_FOR = "SELECT COUNT(*) FROM outbox_delivery WHERE receiver = $1 AND state = 'waiting'";
    COUNT_DROPPED = "INSERT INTO outbox_receiver (name, dropped, dropped_at) VALUES ($1, $2, $3)
        ON CONFLICT (name) DO UPDATE SET dropped = outbox_receiver.dropped + excluded.dropped,
            dropped_at = excluded.dropped_at";
    /// One row for each receiver that ever dropped something.
    DROPPED = "SELECT name, dropped, dropped_at FROM outbox_receiver ORDER BY name";
    DUE = "SELECT d.message, d.receiver, d.recipient, d.state, d.attempts, d.since, d.next_at, d.finished_at,
            d.error, m.kind, m.subject, m.data, m.created_at
        FROM outbox_delivery AS d JOIN outbox_message AS m ON m.id = d.message
        WHERE d.receiver = $1 AND d.state = 'waiting' AND d.next_at <= $2
        ORDER BY d.next_at, d.message, d.recipient LIMIT $3";
    LATEST_DELIVERIES = "SELECT d.message, d.receiver, d.recipient, d.state, d.attempts, d.since, d.next_at,
            d.finished_at, d.error, m.kind, m.subject, m.data, m.created_at
        FROM outbox_delivery AS d JOIN outbox_message AS m ON m.id = d.message
        WHERE d.state = $1 ORDER BY d.since DESC, d.message DESC LIMIT $2";
    ACKNOWLEDGED = "UPDATE outbox_delivery
        SET state = 'delivered', attempts = attempts + 1, finished_at = $4, error = NULL
        WHERE message = $1 AND receiver = $2 AND recipient = $3 AND state = 'waiting'";
    PUT_OFF = "UPDATE outbox_delivery SET attempts = attempts + 1, next_at = $4, error = $5
        WHERE message = $1 AND receiver = $2 AND recipient = $3 AND state = 'waiting'";
    GIVEN_UP = "UPDATE outbox_delivery SET state = 'dead', attempts = attempts + 1, finished_at = $4, error = $5
        WHERE message = $1 AND receiver = $2 AND recipient = $3 AND state = 'waiting'";
    RETRY = "UPDATE outbox_delivery
        SET state = 'waiting', attempts = 0, since = $2, next_at = $2, finished_at = NULL
        WHERE message = $1 AND state = 'dead'";
    OLDEST_WAITING = "SELECT since FROM outbox_delivery WHERE state = 'waiting' ORDER BY since LIMIT 1";
    /// As many as are looked at.
    HOW_MANY = "SELECT COUNT(*) FROM (SELECT since FROM outbox_delivery WHERE state = $1 LIMIT $2) AS counted";
    /// A page of messages that are old, but for what began to wait later. Counted for each of them: a planner that joins
    /// would read all deliveries.
    OLD_MESSAGES = "SELECT m.id FROM outbox_message AS m
        WHERE m.created_at < $1 AND (SELECT COUNT(*) FROM outbox_delivery AS d
            WHERE d.message = m.id AND d.state = 'waiting' AND d.since + 0 >= $1) = 0
        ORDER BY m.created_at LIMIT $2";
    /// With its deliveries.
    FORGET_MESSAGE = "DELETE FROM outbox_message WHERE id = $1";
}

/// Longest text of an error that is kept, in characters.
const MAX_ERROR: usize = 200;

/// What people decided one by one is kept however many others wait.
const DECIDED: &str = "notice";

/// Dead and delivered ones are counted up to here.
pub const MOST_COUNTED: i64 = 10_000;

/// Something that happened, and whom it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The same on every attempt.
    pub id: String,
    /// Names what happened.
    pub dedup: String,
    pub kind: String,
    pub subject: String,
    /// JSON without secrets.
    pub data: String,
    pub created_at: Time,
    pub to: Vec<Addressee>,
}

/// A receiver, and of a mail the member; else nobody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addressee {
    pub receiver: String,
    pub recipient: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    Waiting,
    Delivered,
    Dead,
}

impl Word for DeliveryState {
    const COLUMN: &'static str = "outbox_delivery.state";
    const ALL: &'static [Self] = &[Self::Waiting, Self::Delivered, Self::Dead];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl DeliveryState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The state of this word.
    pub fn of(word: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|state| state.as_str() == word)
    }
}

/// A delivery with its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    pub message: String,
    pub to: Addressee,
    pub state: DeliveryState,
    /// That failed, and the last one of a delivered one.
    pub attempts: i64,
    /// When it began to wait.
    pub since: Time,
    pub next_at: Time,
    pub finished_at: Option<Time>,
    pub error: Option<String>,
    pub kind: String,
    pub subject: String,
    pub data: String,
    pub created_at: Time,
}

impl FromColumns for DeliveryRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            message: row.text(0)?,
            to: Addressee {
                receiver: row.text(1)?,
                recipient: row.text(2)?,
            },
            state: DeliveryState::read_word(row, 3)?,
            attempts: row.int(4)?,
            since: row.time(5, "outbox_delivery.since")?,
            next_at: row.time(6, "outbox_delivery.next_at")?,
            finished_at: row.maybe_time(7, "outbox_delivery.finished_at")?,
            error: row.maybe_text(8)?,
            kind: row.text(9)?,
            subject: row.text(10)?,
            data: row.text(11)?,
            created_at: row.time(12, "outbox_message.created_at")?,
        })
    }
}

/// What a receiver never got because too much waited for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedRow {
    pub receiver: String,
    pub dropped: i64,
    pub dropped_at: Time,
}

impl FromColumns for DroppedRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            receiver: row.text(0)?,
            dropped: row.int(1)?,
            dropped_at: row.time(2, "outbox_receiver.dropped_at")?,
        })
    }
}

/// What became of a page of acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Announced {
    /// Whether it was this call that wrote the page; another replica did otherwise.
    pub first: bool,
    pub messages: u64,
    /// Deliveries that were not kept.
    pub dropped: u64,
}

/// If we die before COMMIT neither the mark nor a message is there, and the next call does the same again.
async fn announce<E: Engine>(
    engine: &E,
    (from, to): (i64, i64),
    messages: &[NewMessage],
    most_waiting: i64,
) -> Result<Announced, Error> {
    let mut tx = engine.begin().await?;
    match fill(&mut tx, (from, to), messages, most_waiting).await {
        Ok(announced) if announced.first => engine.commit(tx).await.map(|()| announced),
        Ok(announced) => {
            engine.rollback(tx).await;
            Ok(announced)
        }
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn fill<C: Connection>(
    tx: &mut C,
    (from, to): (i64, i64),
    messages: &[NewMessage],
    most_waiting: i64,
) -> Result<Announced, Error> {
    let mut announced = Announced::default();
    if tx.execute(MOVE_TOLD, &[from, to].map(Value::Int)).await? == 0 {
        return Ok(announced);
    }
    announced.first = true;
    let count = i64::try_from(messages.len()).unwrap_or(0);
    // What happened first is due first: a millisecond apart, and none later than now.
    for (message, behind) in messages.iter().zip((0..count).rev()) {
        let due = Value::Int(message.created_at.millis() - behind);
        let at = Value::Int(message.created_at.millis());
        let values = [
            Value::Text(&message.id),
            Value::Text(&message.dedup),
            Value::Text(&message.kind),
            Value::Text(&message.subject),
            Value::Text(&message.data),
            at,
        ];
        // It is told of already.
        if tx.execute(INSERT_MESSAGE, &values).await? == 0 {
            continue;
        }
        announced.messages += 1;
        for to in &message.to {
            let receiver = Value::Text(&to.receiver);
            let row = tx.fetch_optional(WAITING_FOR, &[receiver]).await?;
            let waiting = row.map_or(Ok(0), |row| row.int(0))?;
            if waiting >= most_waiting && message.kind != DECIDED {
                announced.dropped += 1;
                tx.execute(COUNT_DROPPED, &[receiver, Value::Int(1), at])
                    .await?;
                continue;
            }
            let values = [
                Value::Text(&message.id),
                receiver,
                Value::Text(&to.recipient),
                at,
                due,
            ];
            tx.execute(INSERT_DELIVERY, &values).await?;
        }
    }
    Ok(announced)
}

async fn delivery_of<E: Engine>(engine: &E, dedup: &str) -> Result<Option<DeliveryState>, Error> {
    let mut reader = engine.reader().await?;
    let rows = reader.fetch(STATES, &[Value::Text(dedup)]).await?;
    let states: Result<Vec<DeliveryState>, Error> = rows
        .iter()
        .map(|row| DeliveryState::read_word(row, 0))
        .collect();
    let states = states?;
    let has = |state| states.contains(&state).then_some(state);
    let found = has(DeliveryState::Dead).or(has(DeliveryState::Waiting));
    Ok(found.or(has(DeliveryState::Delivered)))
}

async fn number<E: Engine>(
    engine: &E,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Option<i64>, Error> {
    let mut reader = engine.reader().await?;
    let row = reader.fetch_optional(sql, values).await?;
    row.map(|row| row.int(0)).transpose()
}

async fn forget<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<u64, Error> {
    let mut tx = engine.begin().await?;
    match forget_page(&mut tx, values).await {
        Ok(gone) => engine.commit(tx).await.map(|()| gone),
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn forget_page<C: Connection>(tx: &mut C, values: &[Value<'_>]) -> Result<u64, Error> {
    let rows = tx.fetch(OLD_MESSAGES, values).await?;
    let ids: Result<Vec<String>, Error> = rows.iter().map(|row| row.text(0)).collect();
    let mut gone = 0;
    for id in ids? {
        gone += tx.execute(FORGET_MESSAGE, &[Value::Text(&id)]).await?;
    }
    Ok(gone)
}

fn shortened(error: &str) -> String {
    let plain = trust::text::spelled_out(error);
    plain.chars().take(MAX_ERROR).collect()
}

impl Store {
    /// Whether there is a message of this, kept as long as messages are.
    pub async fn is_told(&self, dedup: &str) -> Result<bool, Error> {
        on!(self, engine => reads::any(engine, IS_TOLD, &[Value::Text(dedup)]))
    }

    /// How far the message of this is: dead where it is for one recipient, delivered where it is for all. None where there is
    /// none, or none any more.
    pub async fn delivery_of(&self, dedup: &str) -> Result<Option<DeliveryState>, Error> {
        on!(self, engine => delivery_of(engine, dedup))
    }

    /// Acts of the log below this index have their messages.
    pub async fn told(&self) -> Result<i64, Error> {
        let found = on!(self, engine => number(engine, TOLD, &[]))?;
        found.ok_or(Error::Corrupt {
            what: "no mark of what was told",
            source: None,
        })
    }

    /// Keeps what the acts from an index to another have to tell, once, whoever else does the same at this moment; of
    /// each receiver no more than so many that wait. The two indexes may be the same.
    pub async fn announce(
        &self,
        from: i64,
        to: i64,
        messages: &[NewMessage],
        most_waiting: i64,
    ) -> Result<Announced, Error> {
        on!(self, engine => announce(engine, (from, to), messages, most_waiting))
    }

    /// What a receiver is to be sent at this instant, what is due longest first.
    pub async fn due(
        &self,
        receiver: &str,
        now: Time,
        limit: i64,
    ) -> Result<Vec<DeliveryRow>, Error> {
        let values = [
            Value::Text(receiver),
            Value::Int(now.millis()),
            Value::Int(limit),
        ];
        on!(self, engine => reads::all(engine, DUE, &values))
    }

    /// The latest deliveries of a state, the newest first.
    pub async fn deliveries(
        &self,
        state: DeliveryState,
        limit: i64,
    ) -> Result<Vec<DeliveryRow>, Error> {
        let limit = limit.clamp(0, reads::MAX_PAGE);
        let values = [Value::Text(state.as_str()), Value::Int(limit)];
        on!(self, engine => reads::all(engine, LATEST_DELIVERIES, &values))
    }

    /// It is not sent again. Whether it waited until now.
    pub async fn acknowledged(
        &self,
        message: &str,
        to: &Addressee,
        at: Time,
    ) -> Result<bool, Error> {
        let [message, receiver, recipient] = of(message, to);
        let values = [message, receiver, recipient, Value::Int(at.millis())];
        Ok(on!(self, engine => write(engine, ACKNOWLEDGED, &values))? == 1)
    }

    /// It failed, and is tried again at an instant.
    pub async fn put_off(
        &self,
        message: &str,
        to: &Addressee,
        next_at: Time,
        error: &str,
    ) -> Result<bool, Error> {
        self.failed(PUT_OFF, of(message, to), next_at, error).await
    }

    /// It failed for good.
    pub async fn given_up(
        &self,
        message: &str,
        to: &Addressee,
        at: Time,
        error: &str,
    ) -> Result<bool, Error> {
        self.failed(GIVEN_UP, of(message, to), at, error).await
    }

    async fn failed(
        &self,
        sql: &'static str,
        [message, receiver, recipient]: [Value<'_>; 3],
        at: Time,
        error: &str,
    ) -> Result<bool, Error> {
        let error = shortened(error);
        let values = [
            message,
            receiver,
            recipient,
            Value::Int(at.millis()),
            Value::Text(&error),
        ];
        Ok(on!(self, engine => write(engine, sql, &values))? == 1)
    }

    /// The dead deliveries of a message wait again; how many they were.
    pub async fn retry_message(&self, message: &str, at: Time) -> Result<u64, Error> {
        let values = [Value::Text(message), Value::Int(at.millis())];
        on!(self, engine => write(engine, RETRY, &values))
    }

    /// How many wait for a receiver; no more than may wait.
    pub async fn waiting_for(&self, receiver: &str) -> Result<i64, Error> {
        let values = [Value::Text(receiver)];
        Ok(on!(self, engine => number(engine, WAITING_FOR, &values))?.unwrap_or(0))
    }

    /// How many deliveries are in a state, counted up to [`MOST_COUNTED`].
    pub async fn count_deliveries(&self, state: DeliveryState) -> Result<i64, Error> {
        let values = [Value::Text(state.as_str()), Value::Int(MOST_COUNTED)];
        Ok(on!(self, engine => number(engine, HOW_MANY, &values))?.unwrap_or(0))
    }

    /// Since when the delivery waits that has waited longest.
    pub async fn oldest_waiting(&self) -> Result<Option<Time>, Error> {
        let since = on!(self, engine => number(engine, OLDEST_WAITING, &[]))?;
        Ok(since.map(Time::from_millis))
    }

    /// What was not kept, by receiver.
    pub async fn dropped(&self) -> Result<Vec<DroppedRow>, Error> {
        on!(self, engine => reads::all(engine, DROPPED, &[]))
    }

    /// Forgets messages of before an instant with their deliveries, at most so many; what began to wait since then stays.
    pub async fn forget_messages(&self, before: Time, limit: i64) -> Result<u64, Error> {
        let values = [Value::Int(before.millis()), Value::Int(limit)];
        on!(self, engine => forget(engine, &values))
    }
}

fn of<'a>(message: &'a str, to: &'a Addressee) -> [Value<'a>; 3] {
    [message, &to.receiver, &to.recipient].map(Value::Text)
}
