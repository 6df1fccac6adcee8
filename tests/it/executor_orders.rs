//! Standing orders by `chancery executor` as a process of its own, with its own PIN file and its own key for results: keys are
//! made when they are due, by nobody's word, whenever the process dies.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::support::custodian::{Custodian, with_key};
use crate::support::database::Database;
use crate::support::executor::on_token;
use crate::support::installation::{Installation, directory, free_port, member, text};
use crate::support::process::{Running, Said, run, until};

const RING: &str = "integrity";
const ROBOT: &str = "robot";

/// An installation whose roster has an executor, and whose policy calls the ring routine.
struct Ordered {
    installation: Installation,
    order: String,
}

impl Ordered {
    /// The ring signs with its first key, and there is an order whose keys end as soon as they begin: the next one is due at
    /// once.
    fn new() -> Self {
        let directory = directory();
        let url = format!("sqlite:{}", directory.path().join("chancery.db").display());
        let custodians: Vec<Custodian> = ["ada", "berta", "carl"]
            .map(|id| with_key(directory.path(), id, "ed25519"))
            .into();
        let executor = with_key(directory.path(), ROBOT, "ed25519");
        let installation = Installation::founded_with(
            directory,
            &url,
            (custodians, vec![executor]),
            vec![RING.to_owned()],
        );
        let pin = installation.file("executor-pin");
        fs::copy(installation.token_file("pin"), &pin).expect("a copy");
        installation.create_ring(RING, &[]);
        let id = installation.propose_words(&[
            "ceremony",
            "new",
            "generate",
            "--ring",
            RING,
            "--lifetime",
            "1s",
        ]);
        installation.vote_all("approve", &id);
        installation.chancery(["ceremony", "execute", &id]);
        installation.vote_all("accept", &id);
        installation.rotate_when_safe(RING);
        let words = ["ceremony", "new", "order", "--ring", RING];
        let of = ["--executor", ROBOT, "--uses", "50", "--lifetime", "1s"];
        let id = installation.propose_words(&[&words[..], &of].concat());
        installation.vote_all("approve", &id);
        installation.chancery(["ceremony", "execute", &id]);
        for custodian in installation.signers() {
            let said = installation.try_vote("accept", &id, custodian);
            assert_eq!(said.code, Some(0), "{said:?}");
        }
        let orders = installation.chancery(["order", "list"]).json();
        let order = member(&orders[0], "order");
        Self {
            installation,
            order,
        }
    }

    /// With what only the executor's machine has.
    fn executor(&self) -> std::process::Command {
        let installation = &self.installation;
        let uri = installation.token_uri(&installation.module);
        let (before, _) = uri.split_once("pin-source=").expect("a source");
        let own = text(&installation.file("executor-pin")).to_owned();
        let mut command = installation.command();
        command
            .env(
                "CHANCERY_EXECUTOR__URI",
                format!("{before}pin-source=file:{own}"),
            )
            .env("CHANCERY_EXECUTOR__LEASE", "1s")
            .env("CHANCERY_EXECUTOR__POLL", "200ms")
            .env("CHANCERY_EXECUTOR__LISTEN", free_port())
            .env("CHANCERY_ORDERS__RESULT_KEY", installation.file(ROBOT));
        command
    }

    fn once(&self, dies_at: &str) -> Said {
        let mut command = self.executor();
        command.args(["--output", "json", "executor", "--once"]);
        if !dies_at.is_empty() {
            command.env("DIES_AT_STEP", dies_at);
        }
        run(&mut command, b"")
    }

    fn report(&self) -> Value {
        let show = ["order", "show", &self.order];
        self.installation.chancery(show).json()
    }

    fn made(&self) -> usize {
        let report = self.report();
        let used = report["used"].as_array().into_iter().flatten();
        used.filter(|used| used["state"] == "closed").count()
    }

    /// Database and token agree, and so many uses were lost.
    fn is_settled(&self, database: &mut Database, lost: usize) {
        // What a run begins to close the next one closes, and what one that died holds is settled when its lease has ended.
        until("nothing is left to be settled", || {
            let found = self.once("").json();
            let held = "SELECT CAST(COUNT(*) AS TEXT) FROM execution WHERE holder <> ''";
            found["findings"].as_array().is_some_and(Vec::is_empty) && database.one(held) == "0"
        });
        let objects = on_token(&self.installation);
        assert!(objects.values().all(|pair| *pair == (1, 1)), "{objects:?}");
        let keys = database.one("SELECT CAST(COUNT(*) AS TEXT) FROM signing_key");
        assert_eq!(objects.len().to_string(), keys);
        let report = self.report();
        let used = report["used"].as_array().cloned().unwrap_or_default();
        let failed = used.iter().filter(|used| used["state"] != "closed");
        assert_eq!(failed.count(), lost, "{report}");
    }
}

/// Each is where something was just written, or is about to be.
const STEPS: [&str; 8] = [
    "filed",
    "claimed",
    "approved",
    "generated",
    "signed",
    "recorded",
    "closed",
    // After the first key of the order, and between it and the next one.
    "rotated",
];

#[test]
fn an_executor_that_dies_at_any_step_of_an_order_makes_each_key_once() {
    let ordered = Ordered::new();
    let mut database = Database::open(&ordered.installation.sqlite_url());
    for step in STEPS {
        let before = ordered.made();
        until(&format!("it dies at {step}"), || {
            // Nothing may be due yet.
            ordered.once(step).code.is_none()
        });
        until(&format!("it goes on after {step}"), || {
            let said = ordered.once("");
            assert_eq!(said.code, Some(0), "{step}: {said:?}");
            ordered.made() > before
        });
        ordered.is_settled(&mut database, 0);
    }
    // The token was not asked: the use is lost, and the next one is not taken at once.
    until("it dies at intended", || {
        ordered.once("intended").code.is_none()
    });
    until("it is settled", || {
        let said = ordered.once("");
        assert_eq!(said.code, Some(0), "{said:?}");
        let report = ordered.report();
        let used = report["used"].as_array().and_then(|used| used.last());
        used.is_some_and(|used| used["state"] == "failed")
    });
    ordered.is_settled(&mut database, 1);
}

#[test]
fn a_ring_rotates_by_an_executor_apart_and_nobody_else() {
    let ordered = Ordered::new();
    let log = fs::File::create(ordered.installation.file("executor.log")).expect("a file");
    let mut command = ordered.executor();
    command
        .arg("executor")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log);
    let executor = Running::new(command.spawn().expect("it starts"));
    until("its second key signs", || {
        let ring = ordered.installation.chancery(["ring", "show", RING]).json();
        let keys = ring["keys"].as_array().cloned().unwrap_or_default();
        keys.iter()
            .any(|key| key["state"] == "primary" && key["number"].as_u64() > Some(1))
    });
    until("it has said so", || {
        let log = fs::read_to_string(ordered.installation.file("executor.log"));
        log.is_ok_and(|log| log.contains("a key became primary under its standing order"))
    });
    drop(executor);
    // A replica has no such key: it says so, and takes no use.
    let before = ordered.report()["left"].clone();
    let said = ordered
        .installation
        .try_chancery(["order", "use", &ordered.order]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert_eq!(ordered.report()["left"], before);
}
