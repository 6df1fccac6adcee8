//! Where the log tells of each key. Written behind the leaves like the index of signatures, so that nobody reads the
//! acts of all keys for those of one. It points and proves nothing: whoever rests on an act asks for its receipt.

use std::collections::HashSet;

use trust::history::History;
use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::log_acts::LogAct;

use crate::database::{Store, on};
use crate::engine::{Columns, Connection, Engine, Value, json};
use crate::error::Error;
use crate::leaves::{LEAVES_OF_KEYS, LeafRow};
use crate::reads::{self, FromColumns, MAX_PAGE};
use crate::statements::statements;

statements! {
    ACTED = "SELECT log_acted.size, log_acted.accepted, log_head.size FROM log_acted CROSS JOIN log_head";
    MOVE_ACTED = "UPDATE log_acted SET size = $2, accepted = $4 WHERE id = 1 AND size = $1 AND accepted = $3";
    ACTS_OF = "SELECT subject, idx, act FROM log_key_act WHERE subject = $1 ORDER BY idx";
    ACCEPTED_FROM = "SELECT place, idx, kid FROM log_key_accepted WHERE place >= $1 ORDER BY place LIMIT $2";
    PLACE_AT = "SELECT place, idx, kid FROM log_key_accepted WHERE idx >= $1 ORDER BY idx LIMIT 1";
}

/// The subject of what was done to the log itself.
pub const LOG: &str = "log";

/// What an act was to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActWord {
    Accepted,
    Revoked,
    Other,
}

impl ActWord {
    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Revoked => "revoked",
            Self::Other => "",
        }
    }

    /// What a leaf of an act did to each key that it concerns.
    pub fn of(act: &ActLeaf) -> impl Iterator<Item = (&trust::Kid, Self)> {
        let kids = [&act.kid, &act.previous_kid].into_iter().flatten();
        kids.filter(|kid| History::concerns(act, kid)).map(|kid| {
            let revoked = act.action == "revoke" && act.previous_kid.as_ref() == Some(kid);
            let word = match (act.kind, revoked) {
                (ActKind::Ceremony, _) => Self::Accepted,
                (_, true) => Self::Revoked,
                _ => Self::Other,
            };
            (kid, word)
        })
    }
}

/// Where the log tells of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActRow {
    pub subject: String,
    pub index: i64,
    pub word: ActWord,
}

impl FromColumns for ActRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            subject: row.text(0)?,
            index: row.int(1)?,
            word: match row.text(2)?.as_str() {
                "accepted" => ActWord::Accepted,
                "revoked" => ActWord::Revoked,
                _ => ActWord::Other,
            },
        })
    }
}

/// A key by its place among all that the log accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedRow {
    pub place: i64,
    pub index: i64,
    pub kid: String,
}

impl FromColumns for AcceptedRow {
    fn read(row: &impl Columns) -> Result<Self, Error> {
        Ok(Self {
            place: row.int(0)?,
            index: row.int(1)?,
            kid: row.text(2)?,
        })
    }
}

/// How far the index of acts and the log go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acted {
    /// Acts below this index are in it.
    pub size: i64,
    /// How many acceptances they are.
    pub accepted: i64,
    pub head: i64,
}

async fn acted<E: Engine>(engine: &E) -> Result<Acted, Error> {
    match engine.reader().await?.fetch_optional(ACTED, &[]).await? {
        Some(row) => Ok(Acted {
            size: row.int(0)?,
            accepted: row.int(1)?,
            head: row.int(2)?,
        }),
        None => Err(Error::Corrupt {
            what: "no index of acts",
            source: None,
        }),
    }
}

/// What a page of leaves adds to the index.
#[derive(Default)]
struct Page {
    acts: Vec<(String, i64, &'static str)>,
    accepted: Vec<(i64, String)>,
}

impl Page {
    fn of(rows: &[LeafRow]) -> Self {
        let mut page = Self::default();
        for row in rows {
            // What cannot be read is told by the check of the log.
            let Ok(Leaf::Act(act)) = Leaf::parse(row.body.as_bytes()) else {
                continue;
            };
            if LogAct::is_meant(&act) {
                page.acts.push((LOG.to_owned(), row.index, ""));
            }
            for (kid, word) in ActWord::of(&act) {
                let kid = kid.as_str().to_owned();
                if word == ActWord::Accepted {
                    page.accepted.push((row.index, kid.clone()));
                }
                page.acts.push((kid, row.index, word.as_str()));
            }
        }
        page
    }

    /// The revocation and the destruction of a key are accepted too, later; the log tells of these by themselves.
    fn leave_out(&mut self, known: HashSet<String>) {
        let mut known = known;
        let mut later = HashSet::new();
        self.accepted.retain(|(index, kid)| {
            let first = known.insert(kid.clone());
            if !first {
                later.insert((*index, kid.clone()));
            }
            first
        });
        self.acts
            .retain(|(kid, index, _)| !later.contains(&(*index, kid.clone())));
    }
}

/// Puts the next acts into the index; whether there are more. If we die before COMMIT none of them is in it, and the
/// next call does the same again.
pub(crate) async fn index<E: Engine>(engine: &E, at_most: i64) -> Result<bool, Error> {
    let from = acted(engine).await?;
    if from.size >= from.head {
        return Ok(false);
    }
    let at_most = at_most.clamp(1, MAX_PAGE);
    let values = [Value::Int(from.size), Value::Int(at_most)];
    let rows: Vec<LeafRow> = reads::all(engine, LEAVES_OF_KEYS, &values).await?;
    let full = rows.len() as i64 == at_most;
    let to = match rows.last() {
        Some(last) if full => last.index + 1,
        // Signatures and refusals, which are many; and what was added since the head was read.
        last => last.map_or(from.head, |last| from.head.max(last.index + 1)),
    };
    let mut page = Page::of(&rows);
    let mut tx = engine.begin().await?;
    match fill::<E>(&mut tx, from, to, &mut page).await {
        Ok(true) => engine.commit(tx).await.map(|()| full),
        Ok(false) => {
            engine.rollback(tx).await;
            Ok(full)
        }
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn fill<E: Engine>(
    tx: &mut E::Transaction,
    from: Acted,
    to: i64,
    page: &mut Page,
) -> Result<bool, Error> {
    let kids: Vec<&str> = page.accepted.iter().map(|(_, kid)| kid.as_str()).collect();
    let asked = json(&kids)?;
    let known = tx
        .fetch(E::DIALECT.accepted_of, &[Value::Text(&asked)])
        .await?;
    let known: Result<HashSet<String>, Error> = known.iter().map(|row| row.text(0)).collect();
    page.leave_out(known?);
    let count = i64::try_from(page.accepted.len()).unwrap_or(i64::MAX);
    let values = [from.size, to, from.accepted, from.accepted + count].map(Value::Int);
    if tx.execute(MOVE_ACTED, &values).await? == 0 {
        return Ok(false);
    }
    let acts = json(&page.acts)?;
    tx.execute(E::DIALECT.insert_acts, &[Value::Text(&acts)])
        .await?;
    let placed = page.accepted.iter().zip(from.accepted..);
    let placed: Vec<_> = placed
        .map(|((index, kid), place)| (place, index, kid))
        .collect();
    let placed = json(&placed)?;
    tx.execute(E::DIALECT.insert_accepted, &[Value::Text(&placed)])
        .await?;
    Ok(true)
}

async fn acts_of_several<E: Engine>(engine: &E, asked: &str) -> Result<Vec<ActRow>, Error> {
    reads::all(engine, E::DIALECT.acts_of, &[Value::Text(asked)]).await
}

impl Store {
    pub async fn acted(&self) -> Result<Acted, Error> {
        on!(self, engine => acted(engine))
    }

    /// Of a kid or of [`LOG`], oldest first, as far as the index goes.
    pub async fn acts_of(&self, subject: &str) -> Result<Vec<ActRow>, Error> {
        on!(self, engine => reads::all(engine, ACTS_OF, &[Value::Text(subject)]))
    }

    /// Of several kids, those of each oldest first, as far as the index goes.
    pub async fn acts_of_several(&self, subjects: &[String]) -> Result<Vec<ActRow>, Error> {
        let asked = json(&subjects)?;
        on!(self, engine => acts_of_several(engine, &asked))
    }

    /// The keys from a place on, at most [`MAX_PAGE`].
    pub async fn accepted_from(&self, place: i64, limit: i64) -> Result<Vec<AcceptedRow>, Error> {
        let values = [Value::Int(place), Value::Int(limit.clamp(0, MAX_PAGE))];
        on!(self, engine => reads::all(engine, ACCEPTED_FROM, &values))
    }

    /// The first key that was accepted at an index of the log or later, as far as the index goes.
    pub async fn first_accepted(&self, index: i64) -> Result<Option<AcceptedRow>, Error> {
        on!(self, engine => reads::one(engine, PLACE_AT, &[Value::Int(index)]))
    }
}
