//! Logs whose clock was wrong, or that began anew, as a stranger sees them.

mod origins;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use trust::request::{LostLeaves, NewOrigin, Operation};
use trust::tlog::merkle::leaf_hash;
use trust::tlog::tile::{Builder, encode_bundle};

use super::*;
use testkit::custodians::{Custodians, Done, correction, minute, signed};

const OLD: &str = "old.example/log";
const NEW: &str = "new.example/log";

/// What a service shows: its files by their paths.
#[derive(Clone, Default)]
struct Shown(Arc<BTreeMap<String, Vec<u8>>>);

impl Source for Shown {
    async fn find(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.get(path).cloned())
    }
}

/// A log of few leaves, and the ceremonies that are shown of it.
#[derive(Clone)]
struct Log {
    origin: String,
    leaves: Vec<Vec<u8>>,
    transcripts: BTreeMap<String, Vec<u8>>,
}

impl Log {
    /// A leaf in each of these minutes.
    fn of(minutes: &[i64]) -> Self {
        let mut log = Self {
            origin: OLD.to_owned(),
            leaves: Vec::new(),
            transcripts: BTreeMap::new(),
        };
        for at in minutes {
            log.silent(*at);
        }
        log
    }

    fn put(&mut self, leaf: &Value) -> &mut Self {
        self.leaves.push(trust::json::canonical(leaf).unwrap());
        self
    }

    fn silent(&mut self, at: i64) -> &mut Self {
        self.put(&json!({
            "action": "heartbeat", "actor": "test", "kind": "admin", "time": minute(at), "v": 1,
        }))
    }

    fn append(&mut self, done: &Done) -> &mut Self {
        let path = format!("/v1/ceremonies/{}/transcript", done.request);
        self.transcripts.insert(path, done.transcript.clone());
        self.put(&done.leaf)
    }

    /// Of the first leaves.
    fn checkpoint(&self, size: usize) -> Checkpoint {
        let mut tree = Builder::new();
        for leaf in &self.leaves[..size] {
            tree.push(leaf_hash(leaf));
        }
        Checkpoint {
            origin: self.origin.clone(),
            size: tree.size(),
            root: tree.root(),
        }
    }

    fn root(&self, size: usize) -> Sha256Digest {
        self.checkpoint(size).root
    }

    fn shown(&self) -> Shown {
        let mut files = self.transcripts.clone();
        let mut tree = Builder::new();
        for leaf in &self.leaves {
            tree.push(leaf_hash(leaf));
        }
        for (tile, bytes) in tree.take_tiles() {
            files.insert(format!("/log/{}", Resource::Tile(tile).path()), bytes);
        }
        for (index, leaves) in (0..).zip(self.leaves.chunks(usize::from(WIDTH))) {
            let width = leaves.len() as u16;
            let bytes = encode_bundle(leaves.iter().map(Vec::as_slice)).unwrap();
            let path = Resource::Entries { index, width }.path();
            files.insert(format!("/log/{path}"), bytes);
        }
        Shown(Arc::new(files))
    }
}

fn custodians() -> Custodians {
    Custodians::new("production")
}

/// What was found, and what is remembered then.
struct Look {
    told: Vec<(&'static str, Option<i64>, String)>,
    state: Option<State>,
    clock_is_behind: Vec<i64>,
}

impl Look {
    fn codes(&self) -> Vec<&'static str> {
        self.told.iter().map(|(code, ..)| *code).collect()
    }
}

/// A look at a log, after what was seen of it before.
fn look(log: &Log, before: Option<&State>) -> Look {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let genesis = custodians().pin().genesis;
        let follower = Follower::new(log.shown(), genesis, None);
        let round = Round {
            watch: LogReader::resume(genesis, before.cloned()).unwrap(),
            witnessed: None,
            checkpoint: None,
            state: None,
            findings: Findings::default(),
        };
        let now = log.checkpoint(log.leaves.len());
        let Ok((round, whole)) = follower.read(&now, round, |_, _| ()).await else {
            panic!("nothing fails here");
        };
        let state = whole.then(|| round.watch.state(&now, &signed(&now)));
        // It comes back from a file as it was.
        let state = state.map(|state| {
            let read = State::decode(&state.encode().unwrap(), genesis).unwrap();
            assert_eq!(read, state);
            read
        });
        let size = before.map_or(0, State::size) as usize;
        let again = size > log.leaves.len() || before.map(State::root) != Some(log.root(size));
        let new = log.leaves.len() - if again { 0 } else { size };
        assert!(!whole || round.watch.read() == new as u64);
        let stale = |at: &i64| {
            let mut found = Findings::default();
            let age = std::time::Duration::from_secs(60);
            round.watch.fresh(None, age, minute(*at), &mut found);
            found.has("stale")
        };
        let clock_is_behind = (0..100).filter(stale).collect();
        let (told, _) = round.findings.into_parts();
        Look {
            told: (told.into_iter())
                .map(|finding| (finding.code, finding.index, finding.what))
                .collect(),
            state,
            clock_is_behind,
        }
    })
}

/// A clock that is ahead at leaf 2, and right again.
fn ahead() -> Log {
    Log::of(&[0, 1, 5_000, 2, 3])
}

fn corrected(at: i64) -> Done {
    custodians().done(at, correction(OLD, 2, 2, 2))
}

#[test]
fn a_corrected_clock_alarms_nobody_who_reads_the_correction() {
    let mut log = ahead();
    let uncorrected = look(&log, None);
    assert_eq!(uncorrected.codes(), ["backdated", "backdated"]);
    assert_eq!(uncorrected.clock_is_behind, Vec::<i64>::new());

    log.append(&corrected(4)).silent(15);
    let whole = look(&log, None);
    assert_eq!(whole.told, [], "the acts of the ceremony neither");
    // The newest leaf is of minute 15: `stale` from 17 on.
    assert_eq!(whole.clock_is_behind.first(), Some(&17));

    // What was told before the correction was read stays told, and nothing after it.
    let next = look(&log, uncorrected.state.as_ref());
    assert_eq!(next.told, []);
    assert_eq!(next.clock_is_behind.first(), Some(&17));

    // Who knows the correction goes on with it; what is backdated then, is told.
    for state in [whole.state, next.state] {
        let mut log = log.clone();
        log.silent(16).silent(10);
        assert_eq!(look(&log, state.as_ref()).codes(), ["backdated"]);
    }
}

#[test]
fn a_correction_of_other_leaves_or_too_late_a_bound_helps_nobody() {
    for (first, last, bound) in [(3, 4, 2), (0, 1, 2), (2, 2, 4_999)] {
        let mut log = ahead();
        log.append(&custodians().done(5_000, correction(OLD, first, last, bound)));
        let told = look(&log, None);
        assert_eq!(told.codes(), ["backdated"; 2], "{first} to {last}, {bound}");
    }
    // A bound before what was true makes its own leaf backdated.
    let mut log = Log::of(&[20, 21, 5_000]);
    log.append(&custodians().done(22, correction(OLD, 2, 2, 10)));
    assert_eq!(look(&log, None).codes(), ["backdated"]);
}

type Change = (&'static str, fn(&mut Done));

#[test]
fn a_correction_that_does_not_rest_on_a_ceremony_is_told_and_has_no_effect() {
    let changes: &[Change] = &[
        ("not the range", |done| done.leaf["first"] = 1.into()),
        ("not the range", |done| done.leaf["last"] = 3.into()),
        ("not the origin", |done| done.leaf["origin"] = NEW.into()),
        ("another origin", |done| {
            *done = custodians().done(4, correction(NEW, 2, 2, 2));
        }),
        ("not the bound", |done| {
            done.leaf["bound"] = json!(minute(1))
        }),
        ("no bound", |done| {
            done.leaf.as_object_mut().unwrap().remove("bound");
        }),
        ("another digest", |done| {
            done.leaf["digest"] = json!(Sha256Digest::of(b""));
        }),
        ("no digest", |done| {
            done.leaf.as_object_mut().unwrap().remove("digest");
        }),
        ("no ceremony", |done| {
            done.leaf.as_object_mut().unwrap().remove("ref");
        }),
        ("a path", |done| done.leaf["ref"] = "../x".into()),
        ("a ceremony that is not shown", |done| {
            done.request = Sha256Digest::of(b"");
        }),
        ("another request", |done| {
            done.request = Sha256Digest::of(b"");
            done.leaf["ref"] = json!(done.request);
        }),
        ("no transcript", |done| done.transcript = b"{}".to_vec()),
        ("custodians of another genesis", |done| {
            let other = Custodians::new("another").done(4, correction(OLD, 2, 2, 2));
            *done = other;
        }),
        ("another ceremony", |done| {
            let (_, transcript) = custodians().close(4, correction(OLD, 2, 2, 3));
            done.leaf["digest"] = json!(Sha256Digest::of(&transcript));
            done.transcript = transcript;
        }),
        ("another operation", |done| {
            *done = custodians().done(4, new_origin(&ahead(), 5, NEW));
            done.leaf["action"] = "clock-correction".into();
        }),
        ("its own leaf", |done| {
            *done = custodians().done(4, correction(OLD, 2, 5, 2))
        }),
    ];
    for (what, change) in changes {
        let mut done = corrected(4);
        change(&mut done);
        let mut log = ahead();
        log.append(&done);
        let told = look(&log, None);
        assert_eq!(
            told.codes(),
            ["backdated", "backdated", "backdated", "correction"],
            "{what}"
        );
        assert_eq!(told.told[3].1, Some(5), "{what}");
        // It is told as long as it lasts.
        log.silent(15);
        let next = look(&log, told.state.as_ref());
        assert_eq!(next.codes(), ["backdated", "correction"], "{what}");
    }
}

#[test]
fn a_ceremony_that_is_shown_later_counts_from_then_on() {
    let mut log = ahead();
    log.append(&corrected(4));
    let shown = std::mem::take(&mut log.transcripts);
    let told = look(&log, None);
    assert_eq!(told.codes().last(), Some(&"correction"));
    log.transcripts = shown;
    let next = look(&log, told.state.as_ref());
    assert_eq!(next.told, []);
    assert_eq!(next.clock_is_behind.first(), Some(&16));
    log.silent(16);
    assert_eq!(look(&log, next.state.as_ref()).told, []);
}

#[test]
fn the_state_does_not_grow_with_leaves() {
    let size = |log: &Log| {
        let state = look(log, None).state.unwrap();
        state.encode().unwrap().len()
    };
    let few: Vec<i64> = (0..15).collect();
    let many: Vec<i64> = (0..1_023).collect();
    // Ten leaves more in the right edge of the tree at most.
    assert!(size(&Log::of(&many)) < size(&Log::of(&few)) + 10 * 80);
}

/// The old log begins anew with its first `size` leaves.
fn new_origin(old: &Log, size: usize, origin: &str) -> Operation {
    let before = old.leaves.len();
    let lost = (size < before).then(|| LostLeaves {
        first: size as u64,
        last: before as u64 - 1,
    });
    Operation::NewOrigin(NewOrigin {
        lost,
        origin: origin.to_owned(),
        previous_checkpoint: signed(&old.checkpoint(before)),
        previous_origin: old.origin.clone(),
        root: old.root(size),
        size: size as u64,
    })
}

#[test]
fn acts_on_a_key_are_judged_at_the_times_that_were_corrected() {
    let genesis = custodians().pin().genesis;
    let mut log = Log::of(&[0]);
    let kid = "A".repeat(43);
    let act = |action: &str, kind: &str, at: i64| {
        json!({
            "action": action, "actor": "test", "kid": kid, "kind": kind, "ring": "atp",
            "time": minute(at), "v": 1,
        })
    };
    log.put(&act("accepted", "ceremony", 5_000));
    log.put(&act("rotate", "key", 2));
    let history = |log: &Log| {
        let state = look(log, None).state;
        let watch = LogReader::resume(genesis, state).unwrap();
        let kid: Kid = kid.parse().unwrap();
        let certificate = Certificate {
            public: ed25519(),
            ring: "atp".to_owned(),
            prepared_at: minute(4_999),
            digest: Sha256Digest::of(b""),
            used: None,
        };
        let published = [Published {
            kid: &kid,
            certificate: Ok(&certificate),
        }];
        let mut found = Findings::default();
        watch.published(&published, &mut found);
        let (told, _) = found.into_parts();
        let codes: Vec<&str> = told.iter().map(|finding| finding.code).collect();
        codes.join(" ")
    };
    assert_eq!(history(&log), "history");
    log.append(&custodians().done(4, correction(OLD, 1, 1, 2)));
    assert_eq!(history(&log), "");
}

/// The base point, as good a public key as any.
fn ed25519() -> PublicKey {
    let mut point = [0x66; 32];
    point[0] = 0x58;
    PublicKey::ed25519(&point).unwrap()
}

#[test]
fn what_nobody_can_hear_does_not_fill_the_state() {
    let mut log = Log::of(&[0]);
    for _ in 0..1_200 {
        let mut done = json!({
            "action": "clock-correction", "actor": "test", "kind": "log", "time": minute(1), "v": 1,
        });
        done["ref"] = json!(Sha256Digest::of(b""));
        log.put(&done);
    }
    let told = look(&log, None);
    let first = told.told.iter().find(|(code, ..)| *code == "correction");
    let what = &first.expect("it is told").2;
    assert_eq!(what, "200 log acts were not checked");
    let state = told.state.unwrap().encode().unwrap();
    assert!(state.len() < 100 * 600 + 4_096, "{}", state.len());
}
