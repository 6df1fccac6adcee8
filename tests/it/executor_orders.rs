//! Standing orders by `chancery executor` as a process of its own, with its own PIN file and its own key for results: keys are
//! made when they are due, by nobody's word, whenever the process dies.

use std::fs;

use serde_json::{Value, json};

use crate::support::custodian::{Custodian, with_key};
use crate::support::database::Database;
use crate::support::executor::on_token;
use crate::support::installation::{Installation, directory, free_port, member, text};
use crate::support::process::{Said, run, until};
use crate::support::receiver::{Receiver, configure};

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
        Self::founded().with_uses("50")
    }

    /// Without an order.
    fn founded() -> Self {
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
        Self {
            installation,
            order: String::new(),
        }
    }

    fn with_uses(self, uses: &str) -> Self {
        let installation = self.installation;
        let words = ["ceremony", "new", "order", "--ring", RING];
        let of = ["--executor", ROBOT, "--uses", uses, "--lifetime", "1s"];
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
    // Whoever settles it says so, and that the use is gone stands in the order and in the ceremony.
    let left = ordered.report()["left"].clone();
    let mut told = Vec::new();
    until("it is settled", || {
        let said = ordered.once("");
        assert_eq!(said.code, Some(0), "{said:?}");
        let findings = said.json()["findings"].clone();
        told.extend(findings.as_array().cloned().unwrap_or_default());
        let report = ordered.report();
        let mut used = report["used"].as_array().into_iter().flatten();
        used.any(|used| used["state"] == "failed")
    });
    let why = "planned but never generated";
    assert!(told.iter().any(|one| one["finding"] == why), "{told:?}");
    let report = ordered.report();
    let mut used = report["used"].as_array().into_iter().flatten();
    let lost = used.find(|used| used["state"] == "failed");
    let lost = lost.unwrap_or_else(|| panic!("{report}"));
    assert!(lost["kid"].is_null(), "{lost}");
    let now = report["left"].as_u64().expect("a number");
    assert!(now <= left.as_u64().expect("a number"), "{report}");
    let id = member(lost, "ceremony");
    let leaf = format!(
        "SELECT COALESCE(MAX(body), '') FROM log_leaf WHERE kind = 'ceremony' AND body LIKE '%\"failed\"%' AND body LIKE '%{id}%'"
    );
    let leaf = database.one(&leaf);
    assert!(leaf.contains(why), "{leaf}");
    ordered.is_settled(&mut database, 1);
}

/// What a service gives out of a key under an order shows the use; without the leaves about the order it shows less.
#[test]
fn a_file_that_does_not_show_the_use_is_refused_where_it_is_required() {
    let ordered = Ordered::new();
    let installation = &ordered.installation;
    installation.open_log();
    let token = installation.grant("integrity-service", "signer:integrity");
    let service = installation.serve();
    let mut primary = Value::Null;
    until("a key of the order signs", || {
        ordered.once("");
        let ring = installation.chancery(["ring", "show", RING]).json();
        let keys = ring["keys"].as_array().into_iter().flatten();
        let mut keys = keys.filter(|key| key["state"] == "primary");
        primary = keys.next().cloned().unwrap_or_default();
        primary["number"].as_u64() > Some(1)
    });
    let kid = member(&primary, "kid");
    let body = json!({"format": "jws", "payload": "AQID"});
    let mut signed = Value::Null;
    until("it has signed", || {
        signed = service.sign(RING, &token, &body);
        member(&signed, "kid") == kid
    });
    // As soon as a checkpoint covers it.
    let whole = |path: &str, made: &dyn Fn() -> Vec<u8>| {
        let mut file = Value::Null;
        until(path, || {
            file = serde_json::from_slice(&made()).unwrap_or_default();
            let of_order =
                ["log_proofs", "order"].map(|name| file[name].as_array().map_or(0, Vec::len));
            of_order.iter().any(|count| *count >= 5)
        });
        file
    };
    let path = format!("/v1/keys/{kid}/transcript");
    let transcript = whole(&path, &|| service.get(&path).into_body());
    let asked = json!({"signature": {"jws": signed["jws"]}});
    let evidence = || service.post("/v1/evidence", None, &asked).into_body();
    let evidence = whole("/v1/evidence", &evidence);

    let verified = |words: &[&str], file: &Value, required: bool| {
        let path = installation.file("shown");
        fs::write(&path, trust::json::canonical(file).expect("JSON")).expect("written");
        let genesis = ["--genesis", &installation.genesis];
        let mut words = [words, &[text(&path)], &genesis].concat();
        if required {
            words.push("--require-order-use");
        }
        let said = installation.try_chancery(words);
        (said.code, said.json()["order_use"].clone())
    };
    for (words, whole, left_out) in [
        (&["ceremony", "verify"][..], transcript, "log_proofs"),
        (&["verify"], evidence, "order"),
    ] {
        let shown = (Some(0), json!("shown"));
        assert_eq!(verified(words, &whole, false), shown, "{words:?}");
        assert_eq!(verified(words, &whole, true), shown, "{words:?}");
        let mut silent = whole.clone();
        let members = silent.as_object_mut().expect("an object");
        members.remove(left_out);
        if left_out == "log_proofs" {
            members.insert("log_proofs".to_owned(), json!([]));
            members.insert("log_keys".to_owned(), json!([]));
        }
        let less = (Some(0), json!("not-shown"));
        assert_eq!(verified(words, &silent, false), less, "{words:?}");
        let (code, _) = verified(words, &silent, true);
        assert_eq!(code, Some(5), "{words:?}");
    }
}

/// What is told of an order in the order in which it happens, each once, whichever service does it.
#[test]
fn an_order_tells_that_it_holds_is_used_runs_out_and_was_withdrawn() {
    let founded = Ordered::founded();
    let secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    fs::write(founded.installation.file("one"), secret).expect("written");
    let hook = Receiver::webhook(&[secret]);
    let section = format!(
        "[notify.receivers.ops]\nkind = \"webhook\"\nurl = \"http://{}/hook\"\nallow_private = true\ntimeout = \"1s\"\nsecrets = [{{ file = \"one\" }}]\n",
        hook.address
    );
    configure(&founded.installation, &section);
    let service = founded.installation.serve();
    let ordered = founded.with_uses("2");
    let mut told = Vec::new();
    let mut next = |kind: &str| {
        loop {
            let got = hook.next();
            let what = got["body"]["type"].as_str().unwrap_or_default();
            if what.starts_with("order.") {
                told.push(what.to_owned());
            }
            if what == kind {
                return got["body"]["data"]["facts"].clone();
            }
        }
    };
    let facts = next("order.approved");
    let report = ordered.report();
    assert_eq!(facts["ceremony"], report["ceremony"], "{facts}");
    drop(service);
    until("a key is made under it", || {
        ordered.once("");
        ordered.made() == 1
    });
    let service = ordered.installation.serve();
    let facts = next("order.used");
    assert_eq!(facts["order"], ordered.order.as_str(), "{facts}");
    let facts = next("order.running-out");
    assert_eq!(facts["why"], "1 of 2 uses are left", "{facts}");
    let (installation, berta) = (&ordered.installation, &ordered.installation.custodians[1]);
    let key = text(berta.key_file()).to_owned();
    let words = ["order", "withdraw", &ordered.order, "--reason", "enough"];
    installation.chancery([&words[..], &["--key", &key]].concat());
    let facts = next("order.withdrawn");
    assert_eq!(facts["by"], "custodian:berta", "{facts}");
    let each_once = ["approved", "used", "running-out", "withdrawn"];
    assert_eq!(told, each_once.map(|name| format!("order.{name}")));
    drop(service);
}
