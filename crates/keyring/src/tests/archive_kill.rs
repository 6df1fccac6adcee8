//! kill -9 while keys of the archive are being loaded: the reader is a process of its own.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use store::{Database, Store};
use trust::{Kid, Pin};

use super::archive::{bare, load, with_a_past};
use super::installation::Installation;
use crate::keys::{Keys, PublicationSettings, Settings, Share};

/// The database of the child, and its genesis.
const DATABASE: &str = "CHANCERY_TEST_DATABASE";
const GENESIS: &str = "CHANCERY_TEST_GENESIS";

const NAME: &str = "tests::archive_kill::killed_at_any_moment_while_archived_keys_are_loaded_it_loses_and_damages_nothing";

/// Kills that fall into a reading, of so many before the test gives up.
const KILLS: usize = 8;
const MOST: u32 = 2_000;

fn said(line: &str) {
    let mut out = std::io::stderr().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Loads every key with an empty cache, again and again, and says so, until it is killed.
async fn read_for_ever(path: &str) {
    let genesis = std::env::var(GENESIS).unwrap();
    let [genesis, service, environment] = genesis.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{genesis}");
    };
    let pin = Pin {
        genesis: genesis.parse().unwrap(),
        service: service.parse().unwrap(),
        environment: environment.parse().unwrap(),
    };
    let settings = Settings {
        newest: 1,
        budget_bytes: 100,
        ..Settings::new(pin, &PublicationSettings::default()).unwrap()
    };
    let path = path.into();
    let store = Store::connect(&Database::Sqlite { path }).await.unwrap();
    let listed = Keys::load(store.clone(), settings.clone()).await.unwrap();
    let page = listed.page(None, 100, Share::Known).await.unwrap();
    let kids: Vec<Kid> = page.keys.iter().map(|key| key.kid.clone()).collect();
    loop {
        let keys = Keys::load(store.clone(), settings.clone()).await.unwrap();
        for kid in &kids {
            said("loading");
            keys.find(kid, Share::Stranger).await.unwrap();
            said("loaded");
        }
    }
}

/// The process that reads.
struct Reader {
    child: Child,
    says: Lines<BufReader<ChildStderr>>,
}

impl Reader {
    fn of(all: &Installation) -> Self {
        let Database::Sqlite { path } = &all.place.database else {
            panic!("a file");
        };
        let pin = all.custodians.pin();
        let genesis = format!("{} {} {}", pin.genesis, pin.service, pin.environment);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(DATABASE, path)
            .env(GENESIS, genesis)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, says }
    }

    /// Kills it so long after it began to load a key; whether it was loading then.
    fn killed_while_loading(mut self, after: Duration) -> bool {
        let begins = self.says.by_ref().map_while(Result::ok);
        let begun = begins.into_iter().any(|line| line == "loading");
        assert!(begun, "the reader ended by itself");
        // What is waited for is a moment, which differs from kill to kill; nothing is expected of it.
        std::thread::sleep(after);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let last = self.says.map_while(Result::ok).last();
        // Nothing more was said: it was the first key.
        last.is_none_or(|last| last == "loading")
    }
}

#[tokio::test]
async fn killed_at_any_moment_while_archived_keys_are_loaded_it_loses_and_damages_nothing() {
    if let Ok(path) = std::env::var(DATABASE) {
        return read_for_ever(&path).await;
    }
    let (all, kids) = with_a_past("records", 4).await;
    let before = all.state().await;
    let mut killed = 0;
    for number in 0..MOST {
        let after = Duration::from_micros(u64::from(number) * 370 % 20_000);
        killed += usize::from(Reader::of(&all).killed_while_loading(after));
        if killed == KILLS {
            break;
        }
    }
    assert_eq!(killed, KILLS, "no kill fell into a reading");
    assert_eq!(all.state().await, before);
    let fresh = load(&all, bare(&all)).await;
    for (kid, number) in kids.iter().zip(1..) {
        let found = fresh.find(kid, Share::Stranger).await.unwrap();
        assert_eq!(found.number, number);
    }
    assert!(fresh.refused().is_empty(), "{:?}", fresh.refused());
}
