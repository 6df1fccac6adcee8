//! Ceremonies, as far as they are compared with the log. Their documents are read in pages, hashed and tallied on all cores,
//! and not kept: memory grows with what is known of a ceremony, and not with what was signed in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::task::JoinSet;
use trust::chain::Recovered;
use trust::tally::{Finished, KnownOrders};
use trust::word::Word;
use trust::{Kid, Pin, Sha256Digest, StandingOrder, Time, Transcript, Trusted};

use super::Error;
use super::notes::{self, Noted};
use crate::rows::{Certified, verify_transcript};
use store::{
    CeremonyMark, CeremonyRow, CeremonyState, KeyRow, PageStart, Rows, Store, UnreadableRow,
};

/// Ceremonies whose documents are read together. There are as many of them in memory as cores, and once more.
pub const PAGE: usize = 128;

/// Ceremonies that are asked for together without their documents.
const MARKS: i64 = 2_000;

/// What is kept of a ceremony.
pub struct Ceremony {
    pub id: Sha256Digest,
    /// Of a [`trust::Operation`]; an open vocabulary.
    pub operation: Word,
    pub state: CeremonyState,
    updated_at: Time,
    /// Of its documents.
    pub request: Sha256Digest,
    pub execution: Option<Sha256Digest>,
    pub transcript: Option<Sha256Digest>,
    /// In the record, once it was carried out.
    pub notes: Option<Vec<Noted>>,
    /// Of a standing order with a transcript: what it orders.
    pub ordered: Option<Result<Box<StandingOrder>, String>>,
    /// Of a new origin whose transcript can be decoded.
    pub repeats: Option<Repeats>,
    /// Of the keys whose rows name this ceremony, in the order of those.
    tallies: Vec<Tally>,
}

/// Whether request and execution are those that the transcript contains.
#[derive(Debug, Clone, Copy)]
pub struct Repeats {
    pub request: bool,
    pub execution: bool,
}

/// What a transcript says of a key, or why it says nothing.
struct Tally {
    kid: Kid,
    certified: Result<Certified, String>,
}

/// What transcripts are tallied from.
pub struct Chain {
    pub pin: Pin,
    pub trusted: Option<Trusted>,
    /// Standing orders that were verified so far.
    pub orders: KnownOrders,
}

/// All of them, and the rows that cannot be read.
#[derive(Default)]
pub struct Ceremonies {
    known: BTreeMap<Sha256Digest, Ceremony>,
    pub unreadable: Vec<UnreadableRow>,
}

type Page = Vec<(CeremonyRow, Vec<KeyRow>)>;

impl Ceremonies {
    /// As the database has them now, with what their transcripts say of these keys. Documents are written only with a
    /// change of the ceremony's state, so those of one whose state did not change are not read again. `page` is for how
    /// many of them are read together.
    pub async fn refresh(
        &mut self,
        store: &Store,
        keys: &[KeyRow],
        chain: &Arc<Chain>,
        page: usize,
    ) -> Result<(), Error> {
        let mut of_ceremony: HashMap<Sha256Digest, Vec<&KeyRow>> = HashMap::new();
        for key in keys {
            of_ceremony.entry(key.ceremony).or_default().push(key);
        }
        let mut before = std::mem::take(&mut self.known);
        self.unreadable.clear();
        let mut reading = Reading {
            store,
            keys: &of_ceremony,
            chain,
            cores: available_parallelism().map_or(1, usize::from),
            tallies: JoinSet::new(),
        };
        let mut wanted = Vec::with_capacity(page);
        let mut next = Some(PageStart::default());
        while let Some(start) = next {
            let marks = store.ceremony_marks(&start, MARKS).await?;
            next = marks.next;
            self.unreadable.extend(marks.rows.unreadable);
            for mark in marks.rows.read {
                let known = before.remove(&mark.id);
                match known.filter(|known| known.is_still(&mark, reading.keys_of(&mark.id))) {
                    Some(known) => drop(self.known.insert(mark.id, known)),
                    None => wanted.push(mark.id),
                }
                if wanted.len() >= page {
                    reading.documents(self, &mut wanted).await?;
                }
            }
        }
        reading.documents(self, &mut wanted).await?;
        reading.finish(self, 0).await
    }

    /// By their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Ceremony> {
        self.known.values()
    }

    pub fn get(&self, id: &Sha256Digest) -> Option<&Ceremony> {
        self.known.get(id)
    }

    /// Whether there is a row with this id that cannot be read.
    pub fn is_unreadable(&self, id: &str) -> bool {
        self.unreadable.iter().any(|row| row.key == id)
    }

    /// What the transcript that the row of a key names says of it.
    pub fn certified(&self, key: &KeyRow) -> Result<&Certified, &str> {
        let ceremony = self.get(&key.ceremony).ok_or(NO_TRANSCRIPT)?;
        let mut tallies = ceremony.tallies.iter();
        let tally = tallies.find(|tally| tally.kid == key.kid);
        let certified = tally.map(|tally| &tally.certified);
        match certified.ok_or("its transcript was not tallied")? {
            Ok(certified) => Ok(certified),
            Err(why) => Err(why),
        }
    }
}

const NO_TRANSCRIPT: &str = "it has no transcript";

impl Chain {
    /// What the transcript of a standing order says, under a chain of which this one is a continuation.
    fn ordered(&self, bytes: &[u8]) -> Result<Box<StandingOrder>, String> {
        let verified = trust::verify_transcript(bytes, &self.pin);
        let verified = verified.map_err(|error| trust::error_chain(&error))?;
        let trusted = self.trusted.as_ref();
        if !trusted.is_some_and(|trusted| trusted.extends(verified.trusted())) {
            return Err("it was approved under a different chain of rosters".to_owned());
        }
        match verified.finished() {
            Finished::Ordered(order) => Ok(order.clone()),
            _ => Err("its ceremony has a different operation".to_owned()),
        }
    }

    /// Oldest first.
    pub fn recoveries(&self) -> Vec<Recovered> {
        let trusted = self.trusted.as_ref();
        trusted.map_or_else(Vec::new, |trusted| trusted.recoveries().to_vec())
    }
}

/// One way through the documents.
struct Reading<'a> {
    store: &'a Store,
    keys: &'a HashMap<Sha256Digest, Vec<&'a KeyRow>>,
    chain: &'a Arc<Chain>,
    cores: usize,
    tallies: JoinSet<Vec<Ceremony>>,
}

impl Reading<'_> {
    fn keys_of(&self, id: &Sha256Digest) -> &[&KeyRow] {
        self.keys.get(id).map_or(&[], Vec::as_slice)
    }

    /// While these are tallied, the next ones are read.
    async fn documents(
        &mut self,
        into: &mut Ceremonies,
        wanted: &mut Vec<Sha256Digest>,
    ) -> Result<(), Error> {
        if wanted.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = wanted.drain(..).map(|id| id.to_string()).collect();
        let Rows { read, unreadable } = self.store.ceremonies_of(&ids).await?;
        into.unreadable.extend(unreadable);
        let with_keys = |row: CeremonyRow| {
            let keys = self.keys_of(&row.id).iter();
            let keys = keys.map(|key| (*key).clone()).collect();
            (row, keys)
        };
        let page: Page = read.into_iter().map(with_keys).collect();
        self.finish(into, self.cores - 1).await?;
        let chain = self.chain.clone();
        self.tallies.spawn_blocking(move || {
            let each = page.into_iter();
            each.map(|(row, keys)| Ceremony::new(row, keys, &chain))
                .collect()
        });
        Ok(())
    }

    /// Waits until no more than so many pages are still being tallied.
    async fn finish(&mut self, into: &mut Ceremonies, running: usize) -> Result<(), Error> {
        while self.tallies.len() > running {
            let Some(done) = self.tallies.join_next().await else {
                return Ok(());
            };
            for ceremony in done.map_err(|_| Error::Unfinished)? {
                into.known.insert(ceremony.id, ceremony);
            }
        }
        Ok(())
    }
}

impl Ceremony {
    fn new(row: CeremonyRow, keys: Vec<KeyRow>, chain: &Chain) -> Self {
        let transcript = row.transcript.as_deref();
        let tallies = keys.into_iter().map(|key| {
            let certified = match (transcript, &chain.trusted) {
                (None, _) => Err(NO_TRANSCRIPT.to_owned()),
                (_, None) => Err("no roster verifies".to_owned()),
                (Some(bytes), Some(trusted)) => {
                    verify_transcript(bytes, &chain.pin, trusted, &key, &chain.orders)
                }
            };
            Tally {
                kid: key.kid,
                certified,
            }
        });
        Self {
            id: row.id,
            state: row.state,
            updated_at: row.updated_at,
            request: Sha256Digest::of(&row.request),
            execution: row.execution.as_deref().map(Sha256Digest::of),
            notes: row.execution.as_deref().and_then(notes::of_record),
            transcript: transcript.map(Sha256Digest::of),
            ordered: match (row.operation.as_str(), transcript) {
                ("order", Some(bytes)) => Some(chain.ordered(bytes)),
                _ => None,
            },
            repeats: match row.operation.as_str() {
                "new-origin" => Repeats::of(&row),
                _ => None,
            },
            tallies: tallies.collect(),
            operation: row.operation,
        }
    }

    /// What its transcript says of each of its keys that it certifies.
    pub fn certified(&self) -> impl Iterator<Item = &Certified> {
        let tallies = self.tallies.iter();
        tallies.filter_map(|tally| tally.certified.as_ref().ok())
    }

    /// Whether the row is the one that was read, and the same keys rest on it.
    fn is_still(&self, mark: &CeremonyMark, keys: &[&KeyRow]) -> bool {
        let tallied = self.tallies.iter().map(|tally| &tally.kid);
        (self.state, self.updated_at) == (mark.state, mark.updated_at)
            && tallied.eq(keys.iter().map(|key| &key.kid))
    }
}

impl Repeats {
    fn of(row: &CeremonyRow) -> Option<Self> {
        let mut written = Transcript::decode(row.transcript.as_deref()?).ok()?;
        let request = written.record.request.as_bytes() == row.request;
        written.acceptance.signatures.clear();
        Some(Self {
            request,
            execution: written.encode().ok() == row.execution,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::testing::place::Place;
    use store::testing::world::{birth, digest};
    use testkit::custodians::Custodians;

    /// So a check of a service that has much to do comes to an end.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn documents_are_read_again_only_if_the_state_changed() {
        let place = Place::sqlite().await;
        place.ring("atp").await;
        for name in ["a", "b", "c", "d", "e"] {
            place.change(birth(name, 1, "atp")).await.unwrap();
        }
        let chain = Arc::new(Chain {
            pin: Custodians::new("production").pin().clone(),
            trusted: None,
            orders: KnownOrders::default(),
        });
        let mut ceremonies = Ceremonies::default();
        let mut requests = async |names: &[&str]| -> Vec<Sha256Digest> {
            let done = ceremonies.refresh(&place.store, &[], &chain, 2).await;
            done.unwrap();
            assert_eq!(ceremonies.iter().count(), 5);
            let ids = names.iter().map(|name| digest(name).parse().unwrap());
            ids.map(|id| ceremonies.get(&id).unwrap().request).collect()
        };
        let [a, e, other] = [b"a", b"e", b"z"].map(|bytes| Sha256Digest::of(bytes));
        assert_eq!(requests(&["a", "e"]).await, [a, e]);
        for sql in [
            "DROP TRIGGER ceremony_immutable",
            "UPDATE ceremony SET request = X'7a'",
        ] {
            place.raw(sql).await.unwrap();
        }
        assert_eq!(requests(&["a", "e"]).await, [a, e]);
        let (from, to) = (CeremonyState::Proposed, CeremonyState::Cancelled);
        place.move_ceremony("e", from, to).await.unwrap();
        assert_eq!(requests(&["a", "e"]).await, [a, other]);
    }
}
