//! Alerts with their state: one row for a rule and a subject. Each write names the version that it was planned on, so that of
//! two replicas that look at once one writes, and a person and a look never undo each other.

use std::collections::BTreeMap;

use calendar::alerts::AlertName;
use calendar::alerts::escalation::Escalation;
use calendar::alerts::machine::{AGAIN, Acknowledged, Alert, News, Phase, Silence};
use trust::Time;

use crate::database::{Store, on};
use crate::decode::{Decode as _, unreadable};
use crate::engine::{Columns, Connection, Engine, Value};
use crate::error::{Error, Subject};
use crate::reads::{self, FromColumns, MAX_PAGE};
use crate::statements::statements;

macro_rules! alert_columns {
    () => {
        "id, name, subject, level, detail, phase, since, clear_since, resolved_at, acknowledged_at, acknowledged_by,
        silenced_until, silenced_by, episode, together, news, news_number, changed_at, version,
        escalates_since, escalated, escalated_told"
    };
}

statements! {
    /// One that has been over for long begins anew; one that is not is another replica's.
    INSERT_ALERT = "INSERT INTO alert (id, name, subject, level, detail, phase, since, clear_since, resolved_at,
            acknowledged_at, acknowledged_by, silenced_until, silenced_by, episode, together, news, news_number,
            changed_at, version, escalates_since, escalated)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 1, $20, $21)
        ON CONFLICT (id) DO UPDATE SET level = excluded.level, detail = excluded.detail, phase = excluded.phase,
            since = excluded.since, clear_since = excluded.clear_since, resolved_at = excluded.resolved_at,
            acknowledged_at = excluded.acknowledged_at, acknowledged_by = excluded.acknowledged_by,
            silenced_until = excluded.silenced_until, silenced_by = excluded.silenced_by, episode = excluded.episode,
            together = excluded.together, news = excluded.news, news_number = alert.news_number + excluded.news_number,
            changed_at = excluded.changed_at, version = alert.version + 1,
            escalates_since = excluded.escalates_since, escalated = excluded.escalated, escalated_told = 0
        WHERE alert.resolved_at <= $19";
    /// Which levels were told is whoever tells them's; it begins anew with the alert. Of what began and ended before anybody
    /// was told of it nothing is told: only the row says whether somebody was told meanwhile. News of a silence that ended are
    /// not of the beginning, which was told.
    UPDATE_ALERT = "UPDATE alert SET level = $4, detail = $5, phase = $6, since = $7, clear_since = $8, resolved_at = $9,
            acknowledged_at = $10, acknowledged_by = $11, silenced_until = $12, silenced_by = $13, episode = $14,
            together = $15,
            news = CASE WHEN $16 = 'resolved' AND news = 'firing' AND since = escalates_since AND escalated_told = 0
                THEN NULL ELSE $16 END,
            news_number = $17, changed_at = $18, version = version + 1,
            escalates_since = $20, escalated = $21,
            escalated_told = CASE WHEN since = $7 THEN escalated_told ELSE 0 END
        WHERE id = $1 AND name = $2 AND subject = $3 AND version = $19";
    /// Only one that never fired.
    DROP_ALERT = "DELETE FROM alert WHERE id = $1 AND version = $2 AND phase = 'pending' AND news_number = 0";
    ALERT = concat!("SELECT ", alert_columns!(), " FROM alert WHERE id = $1");
    OPEN_ALERTS = concat!("SELECT ", alert_columns!(), " FROM alert
        WHERE resolved_at IS NULL AND id > $1 ORDER BY id LIMIT $2");
    RESOLVED_ALERTS = concat!("SELECT ", alert_columns!(), " FROM alert
        WHERE resolved_at IS NOT NULL AND (resolved_at, id) > ($1, $2) ORDER BY resolved_at, id LIMIT $3");
    ALERTS_BEFORE = concat!("SELECT ", alert_columns!(), " FROM alert
        WHERE (since, id) < ($1, $2) ORDER BY since DESC, id DESC LIMIT $3");
    /// Of rules and levels, each as `,name:level,`, and of a state; of any where the text is empty. It walks what is open, which is
    /// bounded for each rule.
    OPEN_ALERTS_OF = concat!("SELECT ", alert_columns!(), " FROM alert
        WHERE resolved_at IS NULL AND (since, id) < ($1, $2) AND $3 LIKE '%,' || name || ':' || level || ',%'
            AND ($4 = '' OR $4 = CASE WHEN phase = 'firing' AND acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE phase END)
        ORDER BY since DESC, id DESC LIMIT $5");
    UNTOLD_ALERTS = concat!("SELECT ", alert_columns!(), " FROM alert WHERE news IS NOT NULL ORDER BY id LIMIT $1");
    /// Of those that ended among many, which are bounded for each rule.
    UNTOLD_ENDED = "SELECT name, COUNT(*) FROM alert
        WHERE news IS NOT NULL AND news = 'resolved' AND together = 1 GROUP BY name";
    TELL_ALERT = "UPDATE alert SET news = NULL WHERE id = $1 AND news_number = $2";
    /// In the words of the index. Whoever looks after one meanwhile spares the next level.
    UNTOLD_ESCALATIONS = concat!("SELECT ", alert_columns!(), " FROM alert
        WHERE escalated > escalated_told AND phase = 'firing' AND acknowledged_at IS NULL
            AND (silenced_until IS NULL OR silenced_until <= $1) ORDER BY id LIMIT $2");
    TELL_ESCALATION = "UPDATE alert SET escalated_told = $3 WHERE id = $1 AND since = $2 AND escalated_told < $3";
    ALERTS_ALONE = concat!("SELECT ", alert_columns!(), " FROM alert
        WHERE phase = 'firing' AND together = 0 ORDER BY name, id LIMIT $1");
    /// Of what fires and is not silenced, which is bounded for each rule.
    ALERTS_TOGETHER = "SELECT name, COUNT(*), MIN(since), MAX(level), MIN(subject) FROM alert
        WHERE phase = 'firing' AND together = 1 AND (silenced_until IS NULL OR silenced_until <= $1) GROUP BY name";
    SILENCED_ALERTS = concat!("SELECT ", alert_columns!(), " FROM alert
        WHERE silenced_until IS NOT NULL AND silenced_until > $1 LIMIT $2");
    OLD_ALERTS = "SELECT id FROM alert WHERE resolved_at IS NOT NULL AND resolved_at < $1 ORDER BY resolved_at, id LIMIT $2";
    FORGET_ALERT = "DELETE FROM alert WHERE id = $1 AND resolved_at < $2";
}

/// An alert as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRecord {
    /// `al_…`, by its rule and subject.
    pub id: String,
    pub alert: Alert,
    /// What is to be told of it and has no message yet.
    pub news: Option<News>,
    /// Which news of this row that is, or the last one was.
    pub news_number: u32,
    pub changed_at: Time,
    /// What it was read as, or is planned on; 0 of one that is not there.
    pub version: i64,
    /// How many levels were told since it fires. Only read here: see [`Store::told_escalations`].
    pub levels_told: u8,
}

/// What becomes of an alert by a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertWrite {
    Put(AlertRecord),
    /// It never fired, and goes.
    Drop {
        id: String,
        version: i64,
    },
}

/// Alerts of one rule that are told together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertCrowd {
    pub name: AlertName,
    pub count: u64,
    /// Since when the oldest fires.
    pub since: Time,
    /// The highest level of them.
    pub level: u8,
    /// One of them.
    pub subject: String,
}

fn name(row: &impl Columns, at: usize) -> Result<AlertName, Error> {
    let text = row.text(at)?;
    AlertName::of(&text).ok_or_else(|| unreadable("alert.name", &text))
}

fn instant(millis: i64) -> calendar::Time {
    calendar::Time::from_millis(millis)
}

impl FromColumns for AlertRecord {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        let since = instant(row.int(6)?);
        let clear_since = row.maybe_int(7)?.map(instant);
        let word = row.text(5)?;
        let phase = match (word.as_str(), row.maybe_int(8)?) {
            ("pending", _) => Phase::Pending { since },
            ("firing", _) => Phase::Firing { since, clear_since },
            ("resolved", Some(at)) => Phase::Resolved {
                since,
                at: instant(at),
            },
            _ => return Err(unreadable("alert.phase", &word)),
        };
        let acknowledged = row.maybe_int(9)?.zip(row.maybe_text(10)?);
        let silence = row.maybe_int(11)?.zip(row.maybe_text(12)?);
        let news = row.maybe_text(15)?;
        let news = news.map(|text| {
            let known = News::ALL.iter().copied();
            let mut known = known.filter(|news| news.as_str() == text);
            known.next().ok_or_else(|| unreadable("alert.news", &text))
        });
        Ok(Self {
            id: row.text(0)?,
            alert: Alert {
                name: name(row, 1)?,
                subject: row.text(2)?,
                level: row.number(3, "alert.level")?,
                detail: row.text(4)?,
                phase,
                acknowledged: acknowledged.map(|(at, by)| Acknowledged {
                    by,
                    at: instant(at),
                }),
                silence: silence.map(|(until, by)| Silence {
                    by,
                    until: instant(until),
                }),
                episode: row.number(13, "alert.episode")?,
                together: row.int(14)? == 1,
                escalation: Escalation {
                    since: instant(row.int(19)?),
                    reached: row.number(20, "alert.escalated")?,
                },
            },
            news: news.transpose()?,
            news_number: row.number(16, "alert.news_number")?,
            changed_at: row.time(17, "alert.changed_at")?,
            version: row.int(18)?,
            levels_told: row.number(21, "alert.escalated_told")?,
        })
    }
}

impl FromColumns for AlertCrowd {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            name: name(row, 0)?,
            count: row.number(1, "alerts that are told together")?,
            since: row.time(2, "alert.since")?,
            level: row.number(3, "alert.level")?,
            subject: row.text(4)?,
        })
    }
}

/// Whether it was written: whoever planned on another version looks again.
async fn put<C: Connection>(tx: &mut C, record: &AlertRecord) -> Result<bool, Error> {
    let alert = &record.alert;
    let int = |time: calendar::Time| Value::Int(time.millis());
    let (since, clear_since, resolved_at) = match alert.phase {
        Phase::Pending { since } => (since, None, None),
        Phase::Firing { since, clear_since } => (since, clear_since, None),
        Phase::Resolved { since, at } => (since, None, Some(at)),
    };
    let maybe = |time: Option<calendar::Time>| Value::MaybeInt(time.map(calendar::Time::millis));
    let acknowledged = alert.acknowledged.as_ref();
    let silence = alert.silence.as_ref();
    let last = match record.version {
        0 => int(instant(record.changed_at.millis()) - AGAIN),
        version => Value::Int(version),
    };
    let values = [
        Value::Text(&record.id),
        Value::Text(alert.name.as_str()),
        Value::Text(&alert.subject),
        Value::Int(alert.level.into()),
        Value::Text(&alert.detail),
        Value::Text(alert.phase.word()),
        int(since),
        maybe(clear_since),
        maybe(resolved_at),
        maybe(acknowledged.map(|one| one.at)),
        Value::MaybeText(acknowledged.map(|one| one.by.as_str())),
        maybe(silence.map(|one| one.until)),
        Value::MaybeText(silence.map(|one| one.by.as_str())),
        Value::Int(alert.episode.into()),
        Value::Int(alert.together.into()),
        Value::MaybeText(record.news.map(News::as_str)),
        Value::Int(record.news_number.into()),
        Value::Int(record.changed_at.millis()),
        last,
        int(alert.escalation.since),
        Value::Int(alert.escalation.reached.into()),
    ];
    let sql = match record.version {
        0 => INSERT_ALERT,
        _ => UPDATE_ALERT,
    };
    Ok(tx.execute(sql, &values).await? == 1)
}

/// What a person does to an alert; a conflict where it is not any more as they saw it.
pub(crate) async fn mark<C: Connection>(tx: &mut C, record: &AlertRecord) -> Result<(), Error> {
    match record.version > 0 && put(tx, record).await? {
        true => Ok(()),
        false => Err(Error::conflict(Subject::Alert)),
    }
}

async fn write_each<C: Connection>(tx: &mut C, writes: &[AlertWrite]) -> Result<usize, Error> {
    let mut written = 0;
    for write in writes {
        let done = match write {
            AlertWrite::Put(record) => put(tx, record).await?,
            AlertWrite::Drop { id, version } => {
                let values = [Value::Text(id), Value::Int(*version)];
                tx.execute(DROP_ALERT, &values).await? == 1
            }
        };
        written += usize::from(done);
    }
    Ok(written)
}

async fn write<E: Engine>(engine: &E, writes: &[AlertWrite]) -> Result<usize, Error> {
    let mut tx = engine.begin().await?;
    match write_each(&mut tx, writes).await {
        Ok(written) => engine.commit(tx).await.map(|()| written),
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn ended<E: Engine>(engine: &E) -> Result<BTreeMap<AlertName, u64>, Error> {
    let mut reader = engine.reader().await?;
    let mut counted = BTreeMap::new();
    for row in &reader.fetch(UNTOLD_ENDED, &[]).await? {
        counted.insert(name(row, 0)?, row.number(1, "alerts that ended")?);
    }
    Ok(counted)
}

async fn tell<E: Engine>(engine: &E, told: &[AlertRecord]) -> Result<(), Error> {
    let mut tx = engine.begin().await?;
    for record in told {
        let number = Value::Int(record.news_number.into());
        if let Err(error) = tx
            .execute(TELL_ALERT, &[Value::Text(&record.id), number])
            .await
        {
            engine.rollback(tx).await;
            return Err(error);
        }
    }
    engine.commit(tx).await
}

async fn tell_levels<E: Engine>(engine: &E, told: &[AlertRecord]) -> Result<(), Error> {
    let mut tx = engine.begin().await?;
    for record in told {
        let Phase::Firing { since, .. } = record.alert.phase else {
            continue;
        };
        let levels = Value::Int(record.alert.escalation.reached.into());
        let values = [Value::Text(&record.id), Value::Int(since.millis()), levels];
        if let Err(error) = tx.execute(TELL_ESCALATION, &values).await {
            engine.rollback(tx).await;
            return Err(error);
        }
    }
    engine.commit(tx).await
}

async fn forget<E: Engine>(engine: &E, before: Time, limit: i64) -> Result<u64, Error> {
    let before = Value::Int(before.millis());
    let mut tx = engine.begin().await?;
    let forgotten = async {
        let rows = tx.fetch(OLD_ALERTS, &[before, Value::Int(limit)]).await?;
        let mut gone = 0;
        for row in &rows {
            let id = row.text(0)?;
            gone += tx
                .execute(FORGET_ALERT, &[Value::Text(&id), before])
                .await?;
        }
        Ok(gone)
    };
    match forgotten.await {
        Ok(gone) => engine.commit(tx).await.map(|()| gone),
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

impl Store {
    /// What a look comes to, in one transaction. How many were written; of the others somebody else was faster, and the next
    /// look sees what they wrote.
    pub async fn write_alerts(&self, writes: &[AlertWrite]) -> Result<usize, Error> {
        on!(self, engine => write(engine, writes))
    }

    pub async fn alert(&self, id: &str) -> Result<Option<AlertRecord>, Error> {
        on!(self, engine => reads::one(engine, ALERT, &[Value::Text(id)]))
    }

    /// Those that are not resolved, behind an id; at most [`MAX_PAGE`].
    pub async fn open_alerts(&self, after: &str, limit: i64) -> Result<Vec<AlertRecord>, Error> {
        let values = [Value::Text(after), Value::Int(limit.clamp(1, MAX_PAGE))];
        on!(self, engine => reads::all(engine, OPEN_ALERTS, &values))
    }

    /// Those that resolved after an instant and id, oldest first; at most [`MAX_PAGE`].
    pub async fn resolved_alerts(
        &self,
        (at, id): (i64, &str),
        limit: i64,
    ) -> Result<Vec<AlertRecord>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Int(at), Value::Text(id), limit];
        on!(self, engine => reads::all(engine, RESOLVED_ALERTS, &values))
    }

    /// Before an instant and id, those that began last first.
    pub async fn alerts_before(
        &self,
        (since, id): (i64, &str),
        limit: i64,
    ) -> Result<Vec<AlertRecord>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Int(since), Value::Text(id), limit];
        on!(self, engine => reads::all(engine, ALERTS_BEFORE, &values))
    }

    /// Before an instant and id, those of these rules and levels that are not resolved, and in a state if one is given; those that
    /// began last first.
    pub async fn open_alerts_of(
        &self,
        rules: &[(AlertName, u8)],
        state: Option<&str>,
        (since, id): (i64, &str),
        limit: i64,
    ) -> Result<Vec<AlertRecord>, Error> {
        let rules = rules.iter().map(|(name, level)| format!("{name}:{level},"));
        let rules = format!(",{}", rules.collect::<String>());
        let values = [
            Value::Int(since),
            Value::Text(id),
            Value::Text(&rules),
            Value::Text(state.unwrap_or_default()),
            Value::Int(limit.clamp(1, MAX_PAGE)),
        ];
        on!(self, engine => reads::all(engine, OPEN_ALERTS_OF, &values))
    }

    /// Those of which something is to be told.
    pub async fn untold_alerts(&self, limit: i64) -> Result<Vec<AlertRecord>, Error> {
        let values = [Value::Int(limit.clamp(1, MAX_PAGE))];
        on!(self, engine => reads::all(engine, UNTOLD_ALERTS, &values))
    }

    /// How many of each rule ended among many, and nobody was told of it yet.
    pub async fn untold_ended(&self) -> Result<BTreeMap<AlertName, u64>, Error> {
        on!(self, engine => ended(engine))
    }

    /// These have their messages. What there is to tell since stays.
    pub async fn told_alerts(&self, told: &[AlertRecord]) -> Result<(), Error> {
        on!(self, engine => tell(engine, told))
    }

    /// Those that fire, of which a level is to know that does not yet, and that nobody looks after or silenced.
    pub async fn untold_escalations(
        &self,
        now: Time,
        limit: i64,
    ) -> Result<Vec<AlertRecord>, Error> {
        let limit = Value::Int(limit.clamp(1, MAX_PAGE));
        let values = [Value::Int(now.millis()), limit];
        on!(self, engine => reads::all(engine, UNTOLD_ESCALATIONS, &values))
    }

    /// The levels that these have reached have their messages.
    pub async fn told_escalations(&self, told: &[AlertRecord]) -> Result<(), Error> {
        on!(self, engine => tell_levels(engine, told))
    }

    /// Those that fire and are told each for itself.
    pub async fn alerts_alone(&self, limit: i64) -> Result<Vec<AlertRecord>, Error> {
        let values = [Value::Int(limit.clamp(1, MAX_PAGE))];
        on!(self, engine => reads::all(engine, ALERTS_ALONE, &values))
    }

    /// Those that fire, are not silenced at this instant and are told together, by their rules.
    pub async fn alerts_together(&self, now: Time) -> Result<Vec<AlertCrowd>, Error> {
        on!(self, engine => reads::all(engine, ALERTS_TOGETHER, &[Value::Int(now.millis())]))
    }

    /// Those that are silenced at this instant.
    pub async fn silenced_alerts(&self, now: Time, limit: i64) -> Result<Vec<AlertRecord>, Error> {
        let values = [
            Value::Int(now.millis()),
            Value::Int(limit.clamp(1, MAX_PAGE)),
        ];
        on!(self, engine => reads::all(engine, SILENCED_ALERTS, &values))
    }

    /// Forgets those that resolved before an instant, at most so many; how many they were.
    pub async fn forget_alerts(&self, before: Time, limit: i64) -> Result<u64, Error> {
        on!(self, engine => forget(engine, before, limit.clamp(1, MAX_PAGE)))
    }
}
