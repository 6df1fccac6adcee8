//! Rotations as they run: one row for each, and who has it. The words in the rows are those of the crate `calendar`, which
//! this crate does not know. Each write of a run names the epoch of its lease, so that an owner who was overtaken fails.

use std::collections::BTreeMap;
use std::time::Duration;

use trust::Time;

use crate::database::{Store, on};
use crate::decode::Decode as _;
use crate::engine::{Columns, Connection, Engine, Value, guarded, json, write};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns, MAX_PAGE};
use crate::rotation_lease::{RotationLease, millis, shortened, taken};
use crate::rotation_steps::{self, StepEnd};
use crate::statements::statements;

macro_rules! event_columns {
    () => {
        "id, asset, key_type, version, previous_version, cause, state, slot, due, consent, order_id, ceremony, made,
        published_at, promoted_at, retired_at, requested_by, reason, held, cancel, roll_back, waits, detail, created_at,
        updated_at, ended_at, look_at, lease_epoch, declared_at, retries"
    };
}
pub(crate) use event_columns;

statements! {
    INSERT_EVENT = "INSERT INTO rotation_event (id, asset, key_type, version, previous_version, cause, state, slot, due,
            consent, order_id, requested_by, reason, created_at, updated_at, look_at)
        VALUES ($1, $2, $3, $4, $5, $6, 'scheduled', $7, $8, $9, $10, $11, $12, $13, $13, $14) ON CONFLICT DO NOTHING";
    EVENT = concat!("SELECT ", event_columns!(), " FROM rotation_event WHERE id = $1");
    /// Those that are open, which are as many as assets that rotate.
    OPEN_EVENTS = concat!("SELECT ", event_columns!(), " FROM rotation_event
        WHERE ended_at IS NULL AND (asset, version) > ($1, $2) ORDER BY asset, version LIMIT $3");
    OPEN_OF_ASSET = concat!("SELECT ", event_columns!(), " FROM rotation_event
        WHERE ended_at IS NULL AND asset = $1 ORDER BY version");
    IS_OPEN = "SELECT COUNT(*) FROM rotation_event WHERE ended_at IS NULL AND asset = $1";
    EVENTS_BEFORE = concat!("SELECT ", event_columns!(), " FROM rotation_event
        WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3");
    EVENTS_OF_ASSET = concat!("SELECT ", event_columns!(), " FROM rotation_event
        WHERE asset = $1 AND (created_at, id) < ($2, $3) ORDER BY created_at DESC, id DESC LIMIT $4");
    ENDED_SINCE = concat!("SELECT ", event_columns!(), " FROM rotation_event
        WHERE ended_at IS NOT NULL AND (ended_at, id) > ($1, $2) ORDER BY ended_at, id LIMIT $3");
    WRITE_EVENT = "UPDATE rotation_event SET state = $3, waits = $4, detail = $5, look_at = $6,
            published_at = COALESCE($7, published_at), promoted_at = COALESCE($8, promoted_at),
            retired_at = COALESCE($9, retired_at), made = COALESCE($10, made), version = COALESCE($11, version),
            previous_version = COALESCE($12, previous_version), order_id = COALESCE($13, order_id),
            ceremony = COALESCE($14, ceremony), ended_at = $15, updated_at = $16
        WHERE id = $1 AND lease_epoch = $2 AND lease_owner <> '' AND ended_at IS NULL";
    /// What somebody marked meanwhile is looked at soon.
    GIVE_BACK_EVENT = "UPDATE rotation_event SET lease_owner = '', lease_until = 0,
            look_at = CASE WHEN look_at > updated_at + 30000 AND (cancel = 1 AND promoted_at IS NULL
                OR roll_back = 1 AND promoted_at IS NOT NULL AND retired_at IS NULL) AND state <> 'failed'
                THEN updated_at + 30000 ELSE look_at END
        WHERE id = $1 AND lease_epoch = $2 AND ended_at IS NULL";
    CANCEL_EVENT = "UPDATE rotation_event SET cancel = 1, state = CASE state WHEN 'failed' THEN 'waiting' ELSE state END,
            look_at = $2, updated_at = $2
        WHERE id = $1 AND ended_at IS NULL AND promoted_at IS NULL";
    ROLL_BACK_EVENT = "UPDATE rotation_event SET roll_back = 1, state = CASE state WHEN 'failed' THEN 'waiting' ELSE state END,
            look_at = $2, updated_at = $2
        WHERE id = $1 AND ended_at IS NULL AND promoted_at IS NOT NULL AND retired_at IS NULL";
    /// A roll-back that cannot be is wanted no more.
    RETRY_EVENT = "UPDATE rotation_event SET state = 'waiting', waits = NULL, detail = NULL, retries = retries + 1,
            roll_back = CASE state WHEN 'failed' THEN 0 ELSE roll_back END, look_at = $2, updated_at = $2
        WHERE id = $1 AND ended_at IS NULL";
    /// Whoever has its lease wrote by what it was before, and writes no more: the next one has it after the lease.
    DECLARE_EVENT = "UPDATE rotation_event SET cause = 'event', requested_by = $3, reason = $4, declared_at = $2, held = 0,
            state = CASE WHEN state = 'failed' THEN 'waiting' ELSE state END, waits = NULL, detail = NULL,
            retries = CASE WHEN state = 'failed' THEN retries + 1 ELSE retries END,
            slot = CASE WHEN slot > $2 THEN $2 ELSE slot END, due = CASE WHEN due > $5 THEN $5 ELSE due END,
            lease_epoch = lease_epoch + 1, look_at = $2, updated_at = $2
        WHERE id = $1 AND ended_at IS NULL AND promoted_at IS NULL AND cause <> 'event' AND cancel = 0";
    HOLD_EVENT = "UPDATE rotation_event SET held = 1, look_at = $2, updated_at = $2
        WHERE id = $1 AND ended_at IS NULL AND held = 0";
    RELEASE_EVENT = "UPDATE rotation_event SET held = 0, look_at = $2, updated_at = $2
        WHERE id = $1 AND ended_at IS NULL AND held = 1";
    PAUSE = "SELECT paused_at, paused_by, reason FROM rotation_pause WHERE id = 1";
    SET_PAUSE = "UPDATE rotation_pause SET paused_at = $1, paused_by = $2, reason = $3 WHERE id = 1";
}

/// A rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationEventRow {
    /// `kr_` and a UUID of version 7.
    pub id: String,
    /// `kind/name[/scope]`.
    pub asset: String,
    pub key_type: String,
    /// The number of the new version.
    pub version: u32,
    /// The number of the one that it replaces.
    pub previous_version: Option<u32>,
    /// What made it: a trigger.
    pub cause: String,
    pub state: String,
    /// The hour that it was given.
    pub slot: Time,
    /// When the new version has to be the primary.
    pub due: Time,
    /// `automatic`, `order` or `ceremony`.
    pub consent: String,
    pub order: Option<String>,
    pub ceremony: Option<String>,
    /// What names the new version among verifiers: a kid.
    pub made: Option<String>,
    pub published_at: Option<Time>,
    pub promoted_at: Option<Time>,
    /// When the old version could do nothing new any more.
    pub retired_at: Option<Time>,
    pub requested_by: String,
    pub reason: Option<String>,
    pub held: bool,
    pub cancel: bool,
    pub roll_back: bool,
    /// The reason why it waits.
    pub waits: Option<String>,
    /// The same in words.
    pub detail: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
    pub ended_at: Option<Time>,
    /// When it is looked at next.
    pub look_at: Time,
    pub lease_epoch: i64,
    /// When it was declared an emergency, if it was there already.
    pub declared_at: Option<Time>,
    /// How often a person let a step be tried again.
    pub retries: u32,
}

impl FromColumns for RotationEventRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            id: row.text(0)?,
            asset: row.text(1)?,
            key_type: row.text(2)?,
            version: row.number(3, "rotation_event.version")?,
            previous_version: match row.maybe_int(4)? {
                Some(_) => Some(row.number(4, "rotation_event.previous_version")?),
                None => None,
            },
            cause: row.text(5)?,
            state: row.text(6)?,
            slot: row.time(7, "rotation_event.slot")?,
            due: row.time(8, "rotation_event.due")?,
            consent: row.text(9)?,
            order: row.maybe_text(10)?,
            ceremony: row.maybe_text(11)?,
            made: row.maybe_text(12)?,
            published_at: row.maybe_time(13, "rotation_event.published_at")?,
            promoted_at: row.maybe_time(14, "rotation_event.promoted_at")?,
            retired_at: row.maybe_time(15, "rotation_event.retired_at")?,
            requested_by: row.text(16)?,
            reason: row.maybe_text(17)?,
            held: row.int(18)? == 1,
            cancel: row.int(19)? == 1,
            roll_back: row.int(20)? == 1,
            waits: row.maybe_text(21)?,
            detail: row.maybe_text(22)?,
            created_at: row.time(23, "rotation_event.created_at")?,
            updated_at: row.time(24, "rotation_event.updated_at")?,
            ended_at: row.maybe_time(25, "rotation_event.ended_at")?,
            look_at: row.time(26, "rotation_event.look_at")?,
            lease_epoch: row.int(27)?,
            declared_at: row.maybe_time(28, "rotation_event.declared_at")?,
            retries: row.number(29, "rotation_event.retries")?,
        })
    }
}

/// How far a rotation is by now. What is `None` stays as it is, but for `waits` and `detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationWrite {
    pub at: Time,
    pub state: &'static str,
    pub waits: Option<&'static str>,
    pub detail: Option<String>,
    pub look_at: Time,
    pub published_at: Option<Time>,
    pub promoted_at: Option<Time>,
    pub retired_at: Option<Time>,
    pub made: Option<String>,
    pub version: Option<u32>,
    pub previous_version: Option<u32>,
    pub order: Option<String>,
    pub ceremony: Option<String>,
    /// Nothing happens any more.
    pub ends: bool,
    /// The step that ended with it.
    pub step: Option<StepEnd>,
}

impl RotationWrite {
    /// It runs, or waits until somebody looks again.
    pub fn new(at: Time, state: &'static str) -> Self {
        Self {
            at,
            state,
            waits: None,
            detail: None,
            look_at: at,
            published_at: None,
            promoted_at: None,
            retired_at: None,
            made: None,
            version: None,
            previous_version: None,
            order: None,
            ceremony: None,
            ends: false,
            step: None,
        }
    }
}

/// By whom a rotation that is open becomes an emergency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    pub by: String,
    pub reason: String,
    /// When the new version has to be the primary at the latest.
    pub due: Time,
}

/// What a person wants of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationMark {
    /// It becomes an emergency, before its promotion and unless it is being cancelled; what failed is tried again.
    Declare(Declaration),
    /// It shall end before its promotion.
    Cancel,
    /// The old version shall be the primary again.
    RollBack,
    /// A step that failed for good is tried again.
    Retry,
    /// No step of it begins any more.
    Hold,
    /// It goes on.
    Release,
}

/// Whether the scheduler is paused, since when, by whom and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RotationPause {
    pub since: Option<Time>,
    pub by: Option<String>,
    pub reason: Option<String>,
}

impl FromColumns for RotationPause {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            since: row.maybe_time(0, "rotation_pause.paused_at")?,
            by: row.maybe_text(1)?,
            reason: row.maybe_text(2)?,
        })
    }
}

/// Which rotations are to be looked at, and in which order.
#[derive(Debug, Clone, Copy)]
pub struct DueRotations<'a> {
    /// Those whose time has come by then.
    pub now: Time,
    /// Of these, but for emergencies, those of which nothing was written since then.
    pub untouched_since: Time,
    /// How important each key type is, from 0; others come after them.
    pub priorities: &'a BTreeMap<String, u8>,
}

/// A rotation begins. Of two who saw that it is due one writes it.
pub(crate) async fn begin<C: Connection>(tx: &mut C, row: &RotationEventRow) -> Result<(), Error> {
    let values = [
        Value::Text(&row.id),
        Value::Text(&row.asset),
        Value::Text(&row.key_type),
        Value::Int(row.version.into()),
        Value::MaybeInt(row.previous_version.map(Into::into)),
        Value::Text(&row.cause),
        Value::Int(row.slot.millis()),
        Value::Int(row.due.millis()),
        Value::Text(&row.consent),
        Value::MaybeText(row.order.as_deref()),
        Value::Text(&row.requested_by),
        Value::MaybeText(row.reason.as_deref()),
        Value::Int(row.created_at.millis()),
        Value::Int(row.look_at.millis()),
    ];
    guarded(tx, INSERT_EVENT, &values, Subject::Rotation).await
}

/// A step that ended, and how far the rotation is by that.
pub(crate) async fn record<C: Connection>(
    tx: &mut C,
    lease: &RotationLease,
    done: &RotationWrite,
) -> Result<(), Error> {
    if let Some(step) = &done.step {
        rotation_steps::end(tx, &lease.event, step, done.at).await?;
    }
    let detail = done.detail.as_deref().map(shortened);
    let int = |time: Option<Time>| Value::MaybeInt(time.map(Time::millis));
    let number = |number: Option<u32>| Value::MaybeInt(number.map(Into::into));
    let values = [
        Value::Text(&lease.event),
        Value::Int(lease.epoch),
        Value::Text(done.state),
        Value::MaybeText(done.waits),
        Value::MaybeText(detail.as_deref()),
        Value::Int(done.look_at.millis()),
        int(done.published_at),
        int(done.promoted_at),
        int(done.retired_at),
        Value::MaybeText(done.made.as_deref()),
        number(done.version),
        number(done.previous_version),
        Value::MaybeText(done.order.as_deref()),
        Value::MaybeText(done.ceremony.as_deref()),
        int(done.ends.then_some(done.at)),
        Value::Int(done.at.millis()),
    ];
    guarded(tx, WRITE_EVENT, &values, Subject::Rotation).await
}

pub(crate) async fn mark<C: Connection>(
    tx: &mut C,
    id: &str,
    mark: &RotationMark,
    at: i64,
) -> Result<(), Error> {
    let sql = match mark {
        RotationMark::Declare(_) => DECLARE_EVENT,
        RotationMark::Cancel => CANCEL_EVENT,
        RotationMark::RollBack => ROLL_BACK_EVENT,
        RotationMark::Retry => RETRY_EVENT,
        RotationMark::Hold => HOLD_EVENT,
        RotationMark::Release => RELEASE_EVENT,
    };
    let mut values = vec![Value::Text(id), Value::Int(at)];
    if let RotationMark::Declare(declared) = mark {
        values.push(Value::Text(&declared.by));
        values.push(Value::Text(&declared.reason));
        values.push(Value::Int(declared.due.millis()));
    }
    guarded(tx, sql, &values, Subject::Rotation).await?;
    match mark {
        RotationMark::Declare(_) | RotationMark::Retry => rotation_steps::retry(tx, id).await,
        RotationMark::Cancel
        | RotationMark::RollBack
        | RotationMark::Hold
        | RotationMark::Release => Ok(()),
    }
}

pub(crate) async fn set_pause<C: Connection>(
    tx: &mut C,
    pause: &RotationPause,
) -> Result<(), Error> {
    let values = [
        Value::MaybeInt(pause.since.map(Time::millis)),
        Value::MaybeText(pause.by.as_deref()),
        Value::MaybeText(pause.reason.as_deref()),
    ];
    guarded(tx, SET_PAUSE, &values, Subject::Rotation).await
}

async fn keep<E: Engine>(
    engine: &E,
    lease: &RotationLease,
    done: &RotationWrite,
) -> Result<(), Error> {
    let mut tx = engine.begin().await?;
    match record(&mut tx, lease, done).await {
        Ok(()) => engine.commit(tx).await,
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn take<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<Option<i64>, Error> {
    taken(engine, E::DIALECT.rotations.take_event, values).await
}

async fn hold<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<u64, Error> {
    write(engine, E::DIALECT.rotations.hold_event, values).await
}

async fn due<E: Engine>(engine: &E, values: &[Value<'_>]) -> Result<Vec<String>, Error> {
    let mut reader = engine.reader().await?;
    let rows = reader
        .fetch(E::DIALECT.rotations.due_events, values)
        .await?;
    rows.iter().map(|row| row.text(0)).collect()
}

async fn now<E: Engine>(engine: &E) -> Result<Time, Error> {
    let mut reader = engine.reader().await?;
    let row = reader.fetch_optional(E::DIALECT.rotations.now, &[]).await?;
    let row = row.ok_or(Error::Corrupt {
        what: "no time",
        source: None,
    })?;
    row.time(0, "the database's time")
}

impl Store {
    /// By the database's clock.
    pub async fn database_time(&self) -> Result<Time, Error> {
        on!(self, engine => now(engine))
    }

    pub async fn rotation_event(&self, id: &str) -> Result<Option<RotationEventRow>, Error> {
        on!(self, engine => reads::one(engine, EVENT, &[Value::Text(id)]))
    }

    /// Those that are open behind this asset and version, at most [`MAX_PAGE`].
    pub async fn open_rotations(
        &self,
        (asset, version): (&str, u32),
        limit: i64,
    ) -> Result<Vec<RotationEventRow>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Text(asset), Value::Int(version.into()), limit];
        on!(self, engine => reads::all(engine, OPEN_EVENTS, &values))
    }

    /// Those of one asset that are open.
    pub async fn open_rotations_of(&self, asset: &str) -> Result<Vec<RotationEventRow>, Error> {
        on!(self, engine => reads::all(engine, OPEN_OF_ASSET, &[Value::Text(asset)]))
    }

    /// Whether a rotation of the asset is open.
    pub async fn is_rotating(&self, asset: &str) -> Result<bool, Error> {
        on!(self, engine => reads::any(engine, IS_OPEN, &[Value::Text(asset)]))
    }

    /// Before an instant and id, the newest first; of one asset, or of all.
    pub async fn rotations_before(
        &self,
        asset: Option<&str>,
        (created_at, id): (i64, &str),
        limit: i64,
    ) -> Result<Vec<RotationEventRow>, Error> {
        let place = [Value::Int(created_at), Value::Text(id)];
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        match asset {
            Some(asset) => {
                let values = [Value::Text(asset), place[0], place[1], limit];
                on!(self, engine => reads::all(engine, EVENTS_OF_ASSET, &values))
            }
            None => {
                let values = [place[0], place[1], limit];
                on!(self, engine => reads::all(engine, EVENTS_BEFORE, &values))
            }
        }
    }

    /// Those that ended after an instant and id, oldest first, at most [`MAX_PAGE`].
    pub async fn rotations_ended(
        &self,
        (ended_at, id): (i64, &str),
        limit: i64,
    ) -> Result<Vec<RotationEventRow>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Int(ended_at), Value::Text(id), limit];
        on!(self, engine => reads::all(engine, ENDED_SINCE, &values))
    }

    /// Ids of open ones that are to be looked at now and that nobody has: emergencies, then the important, then what is due
    /// first; at most [`MAX_PAGE`].
    pub async fn due_rotations(
        &self,
        which: &DueRotations<'_>,
        limit: i64,
    ) -> Result<Vec<String>, Error> {
        let priorities = json(which.priorities)?;
        let values = [
            Value::Int(which.now.millis()),
            Value::Int(which.untouched_since.millis()),
            Value::Int(limit.clamp(1, MAX_PAGE)),
            Value::Text(&priorities),
        ];
        on!(self, engine => due(engine, &values))
    }

    /// Makes `owner` the one who runs it for so long by the database's clock; none where another one has it, or it ended.
    pub async fn take_rotation(
        &self,
        id: &str,
        owner: &str,
        time: Duration,
    ) -> Result<Option<RotationLease>, Error> {
        let values = [
            Value::Text(id),
            Value::Text(owner),
            Value::Int(millis(time)),
        ];
        let epoch = on!(self, engine => take(engine, &values))?;
        Ok(epoch.map(|epoch| RotationLease {
            event: id.to_owned(),
            epoch,
        }))
    }

    /// From now on so long; a conflict where another one took it.
    pub async fn hold_rotation(&self, lease: &RotationLease, time: Duration) -> Result<(), Error> {
        let values = [
            Value::Text(&lease.event),
            Value::Int(lease.epoch),
            Value::Int(millis(time)),
        ];
        match on!(self, engine => hold(engine, &values))? {
            1 => Ok(()),
            _ => Err(Error::conflict(Subject::Rotation)),
        }
    }

    /// So that the next one need not wait.
    pub async fn return_rotation(&self, lease: &RotationLease) -> Result<bool, Error> {
        let values = [Value::Text(&lease.event), Value::Int(lease.epoch)];
        Ok(on!(self, engine => write(engine, GIVE_BACK_EVENT, &values))? == 1)
    }

    /// How far it is, where the log has nothing to tell.
    pub async fn keep_rotation(
        &self,
        lease: &RotationLease,
        done: &RotationWrite,
    ) -> Result<(), Error> {
        on!(self, engine => keep(engine, lease, done))
    }

    /// Whether the scheduler is paused.
    pub async fn rotation_pause(&self) -> Result<RotationPause, Error> {
        let found: Option<RotationPause> = on!(self, engine => reads::one(engine, PAUSE, &[]))?;
        found.ok_or(Error::Corrupt {
            what: "no row that says whether the scheduler is paused",
            source: None,
        })
    }
}
