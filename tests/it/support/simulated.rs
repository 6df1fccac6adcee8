//! An installation of the environment `simulation`: all its processes go by a clock that the test moves. Its ring signs with its
//! first key, and a standing order permits the next ones.

use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testkit::installation::{self as made, Plan};

use super::installation::{Installation, free_port, member, must};
use super::process::{Running, Said, run, until};

pub const RING: &str = "integrity";
pub const ASSET: &str = "signing/integrity";
const ROBOT: &str = "robot";
pub const DAY: Duration = Duration::from_secs(86_400);

pub struct Simulated {
    pub installation: Installation,
    pub order: String,
    /// In seconds.
    ahead: AtomicU64,
}

impl Simulated {
    /// With the database at `url`, and an order of so many uses.
    pub fn new(directory: TempDir, url: &str, uses: &str) -> Self {
        let mut made = must(made::Installation::with_token(Plan {
            program: env!("CARGO_BIN_EXE_chancery").into(),
            directory: directory.path().to_owned(),
            token: directory.path().join("token"),
            token_label: "simulated".to_owned(),
            environment: "simulation".to_owned(),
            store: url.to_owned(),
            api: free_port(),
            operations: free_port(),
            publish_safety: DAY,
            settings: vec![
                ("simulation", "clock_file = \"clock\"".to_owned()),
                ("rotation", "every = \"200ms\"".to_owned()),
            ],
            narrate: None,
        }));
        for custodian in ["ada", "berta", "carl"] {
            must(made.add_custodian(custodian, "ed25519"));
        }
        must(made.add_executor(ROBOT));
        made.routine_rings = vec![RING.to_owned()];
        must(made.found());
        must(made.install());
        fs::copy(made.token_file("pin"), made.file("executor-pin")).expect("a copy");
        let installation = Installation {
            made,
            directory,
            opened: Mutex::default(),
        };
        let mut new = Self {
            installation,
            order: String::new(),
            ahead: AtomicU64::new(0),
        };
        new.order = new.ordered(uses);
        new
    }

    /// A ring that signs, by a ceremony of custodians, which an executor would take for itself.
    pub fn opened(&self, ring: &str, algorithm: &str) {
        let installation = &self.installation;
        installation.chancery(["ring", "create", ring, "--algorithm", algorithm, "--apply"]);
        let key = ["ceremony", "new", "generate", "--ring", ring];
        let words = [&key[..], &["--lifetime", "400d"]].concat();
        must(installation.made.hold(&words, "ada", "a test"));
        self.passes(DAY);
        installation.chancery(["ring", "rotate", ring, "--apply"]);
    }

    fn ordered(&self, uses: &str) -> String {
        let installation = &self.installation;
        self.opened(RING, "ES256");
        let order = ["ceremony", "new", "order", "--ring", RING];
        let of = ["--executor", ROBOT, "--uses", uses, "--lifetime", "400d"];
        let words = [&order[..], &of, &["--activate-after", "24h"]].concat();
        must(installation.made.hold(&words, "ada", "a test"));
        let orders = installation.chancery(["order", "list"]).json();
        member(&orders[0], "order")
    }

    /// The clock of all processes goes on.
    pub fn passes(&self, time: Duration) {
        let seconds = time.as_secs();
        let ahead = self.ahead.fetch_add(seconds, Ordering::Relaxed) + seconds;
        // Whole or not at all: it is read all the time.
        let new = self.installation.file("clock.new");
        fs::write(&new, ahead.to_string()).expect("written");
        fs::rename(new, self.installation.file("clock")).expect("renamed");
    }

    /// A rotation of the ring that begins now.
    pub fn scheduled(&self) -> String {
        let schedule = ["rotation", "schedule", "signing", "--asset", ASSET];
        let words = [&schedule[..], &["--force", "--reason", "a test"]].concat();
        member(&self.installation.chancery(words).json()[0], "id")
    }

    /// What is known of a rotation.
    pub fn rotation(&self, id: &str) -> Value {
        self.installation.chancery(["rotation", "show", id]).json()
    }

    /// A rotation looks half a minute after it asked the executor whether that has done it: as soon as it has the time goes on.
    pub fn until(&self, what: &str, id: &str, is_so: impl Fn(&Value) -> bool) {
        until(what, || {
            let event = self.rotation(id);
            let ceremony = event["ceremony"].as_str();
            if let Some(ceremony) = ceremony.filter(|_| event["waits"] == "executor") {
                let show = ["ceremony", "show", ceremony];
                if self.installation.chancery(show).json()["state"] == "closed" {
                    self.passes(Duration::from_secs(31));
                }
            }
            is_so(&event)
        });
    }

    /// A look at a rotation by a process of its own, which dies where that is said.
    pub fn execute(&self, id: &str, dies_at: &str) -> Said {
        let mut command = self.installation.command();
        command.args(["--output", "json", "rotation", "execute", id]);
        if !dies_at.is_empty() {
            command.env("DIES_AT_STEP", dies_at);
        }
        run(&mut command, b"")
    }

    /// With what only the executor's machine has.
    fn executor(&self) -> Command {
        let installation = &self.installation;
        let uri = installation.token_uri(&installation.module);
        let (before, _) = uri.split_once("pin-source=").expect("a source");
        let own = installation.file("executor-pin").display().to_string();
        let mut command = installation.command();
        command
            .env(
                "CHANCERY_EXECUTOR__URI",
                format!("{before}pin-source=file:{own}"),
            )
            .env("CHANCERY_EXECUTOR__POLL", "200ms")
            .env("CHANCERY_EXECUTOR__LISTEN", free_port())
            .env("CHANCERY_ORDERS__RESULT_KEY", installation.file(ROBOT));
        command
    }

    /// What the executor does in one round.
    pub fn executor_once(&self) -> Value {
        let mut command = self.executor();
        command.args(["--output", "json", "executor", "--once"]);
        let said = run(&mut command, b"");
        assert_eq!(said.code, Some(0), "{said:?}");
        said.json()
    }

    /// The executor as a process, killed when it is let go of.
    pub fn executor_runs(&self) -> Running {
        let mut command = self.executor();
        let log = fs::File::create(self.installation.file("executor.log")).expect("a file");
        command
            .arg("executor")
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        Running::new(command.spawn().expect("it starts"))
    }
}
