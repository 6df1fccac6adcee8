//! Custodians at their own machines: nothing but their key, the address of the service and the genesis that was read aloud.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::ceremony_database::Case;
use crate::ceremony_votes::Agent;
use crate::support::custodian::Custodian;
use crate::support::installation::{Installation, Service, member, text};
use crate::support::past::{check, codes};
use crate::support::process::{Said, done, run, until};

const RING: &str = "integrity";

/// A machine that has neither configuration nor database.
struct Elsewhere<'a> {
    installation: &'a Installation,
    url: String,
    genesis: String,
    directory: tempfile::TempDir,
    /// The socket of an agent.
    agent: Option<PathBuf>,
}

impl<'a> Elsewhere<'a> {
    fn new(installation: &'a Installation, service: &Service) -> Self {
        Self {
            installation,
            url: format!("http://{}", service.api),
            genesis: installation.genesis.clone(),
            directory: tempfile::tempdir().expect("a directory"),
            agent: None,
        }
    }

    fn with_genesis(&self, words: &[&str], genesis: &str) -> Said {
        self.call("ceremony", words, genesis)
    }

    fn call(&self, command: &str, words: &[&str], genesis: &str) -> Said {
        let mut chancery = Command::new(env!("CARGO_BIN_EXE_chancery"));
        chancery
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.directory.path())
            .args(["--output", "json", command])
            .args(words)
            .args(["--url", &self.url, "--genesis", genesis]);
        if let Some(socket) = &self.agent {
            chancery.env("SSH_AUTH_SOCK", socket);
        }
        run(&mut chancery, b"")
    }

    fn ring(&self, words: &[&str]) -> Value {
        let said = self.call("ring", words, &self.genesis);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        said.json()
    }

    /// What the service and its machine do is the executor's; all else is done from here.
    fn hold(&self, id: &str) -> String {
        let [berta, carl] = [1, 2].map(|n| &self.installation.custodians[n]);
        for who in [berta, carl] {
            self.does(&["approve", id, "--key", key(who)]);
        }
        self.installation.chancery(["ceremony", "execute", id]);
        let kid = self.installation.only_kid(id);
        for who in [berta, carl] {
            self.does(&["accept", id, "--key", key(who), "--kid", &kid]);
        }
        kid
    }

    fn ask(&self, words: &[&str]) -> Said {
        self.with_genesis(words, &self.genesis)
    }

    fn does(&self, words: &[&str]) -> Said {
        let said = self.ask(words);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        said
    }

    fn proposed(&self, name: &str) -> String {
        let ada = &self.installation.custodians[0];
        let file = self.installation.file(name);
        let words = [
            "ceremony",
            "new",
            "generate",
            "--ring",
            RING,
            "--proposer",
            "ada",
        ];
        let more = ["--reason", "over HTTP", "--out", text(&file)];
        self.installation.chancery(words.into_iter().chain(more));
        let said = self.does(&["propose", text(&file), "--key", key(ada)]);
        member(&said.json(), "ceremony")
    }
}

fn key(custodian: &Custodian) -> &str {
    text(custodian.key_file())
}

#[test]
fn custodians_hold_a_ceremony_from_their_own_machines() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let service = installation.serve();
    let home = Elsewhere::new(&installation, &service);
    let [ada, berta, carl] = [0, 1, 2].map(|n| &installation.custodians[n]);
    let id = home.proposed("proposal");

    // What waits, and for whom.
    let waits = |who: &Custodian| home.does(&["list", "--waiting", "--key", key(who)]).json();
    until("it waits for Berta", || {
        waits(berta)[0]["ceremony"] == json!(id)
    });
    assert_eq!(waits(ada), json!([]));
    let open = home
        .does(&["list", "--state", "open", "--key", key(carl)])
        .json();
    assert_eq!(open[0]["state"], "proposed");

    // The same review as at the service's machine, and of the same bytes.
    let file = installation.file("request");
    installation.chancery(["ceremony", "request", &id, "--out", text(&file)]);
    let local = installation
        .chancery(["ceremony", "review", text(&file)])
        .json();
    let review = home.does(&["review", &id, "--key", key(berta)]).json();
    assert_eq!(review, local);
    assert_eq!(review["digest"], json!(id));

    home.does(&["note", &id, "--key", key(carl), "--text", "by telephone"]);
    home.does(&["approve", &id, "--key", key(berta)]);
    // By the agent's or a hardware key's public half, or by a signature made elsewhere.
    let said = installation.chancery([
        "ceremony",
        "request",
        &id,
        "--out",
        text(&installation.file("for-carl")),
    ]);
    let made = carl.sign(
        &installation.file("for-carl"),
        &member(&said.json(), "namespace"),
    );
    let made = made.expect("a signature");
    home.does(&["approve", &id, "--signature", text(&made)]);
    let shown = home.does(&["show", &id, "--key", key(berta)]).json();
    assert_eq!(shown["standing"], "approved");
    assert_eq!(shown["notes"][0]["note"], "by telephone");

    installation.chancery(["ceremony", "execute", &id]);
    let kid = installation.only_kid(&id);
    let done = home.does(&["review", &id, "--result", "--key", key(berta)]);
    assert!(done.json().to_string().contains(&kid));
    let wrong = home.ask(&["accept", &id, "--key", key(berta), "--kid", &"A".repeat(43)]);
    assert_eq!(wrong.code, Some(3), "{wrong:?}");
    for who in [berta, carl] {
        home.does(&["accept", &id, "--key", key(who), "--kid", &kid]);
    }
    until("the key is published", || {
        String::from_utf8_lossy(&service.get("/.well-known/jwks.json").body).contains(&kid)
    });
    // The next one says what it changes against the verified one before it.
    let next = home.proposed("next");
    let review = home.does(&["review", &next, "--key", key(berta)]).json();
    let changes = review["changes"].to_string();
    assert!(changes.contains("number: 1 -> 2"), "{changes}");
    home.does(&["reject", &next, "--key", key(carl), "--reason", "too early"]);
    let last = home.proposed("last");
    home.does(&["cancel", &last, "--key", key(ada), "--reason", "a mistake"]);
    let past = home
        .does(&["list", "--state", "past", "--key", key(ada)])
        .json();
    let states: Vec<_> = past
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["state"])
        .collect();
    assert_eq!(states, ["closed", "rejected", "cancelled"]);
}

#[test]
fn threat_a_service_with_another_genesis_gets_no_signature() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let service = installation.serve();
    let home = Elsewhere::new(&installation, &service);
    let id = home.proposed("proposal");
    let berta = key(&installation.custodians[1]);
    let other = "0".repeat(64);
    for words in [
        vec!["approve", &id, "--key", berta],
        vec!["review", &id, "--key", berta],
        vec!["reject", &id, "--key", berta, "--reason", "no"],
        vec!["list", "--key", berta],
    ] {
        let said = home.with_genesis(&words, &other);
        assert_eq!(said.code, Some(3), "{words:?}: {said:?}");
    }
    // A stranger's key reads nothing and approves nothing.
    let stranger = installation.file("mallory");
    done(
        "ssh-keygen",
        ["-q", "-t", "ed25519", "-N", "", "-f", text(&stranger)],
    );
    for words in [
        vec!["list", "--key", text(&stranger)],
        vec!["approve", &id, "--key", text(&stranger)],
        vec!["reject", &id, "--key", text(&stranger), "--reason", "no"],
    ] {
        let said = home.ask(&words);
        assert_eq!(said.code, Some(3), "{words:?}: {said:?}");
    }
    assert_eq!(installation.ceremony_state(&id), "proposed");
}

/// Written, signed and proposed from home: the service resolves what only it knows.
#[test]
fn a_custodian_proposes_with_nothing_but_a_key() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let service = installation.serve();
    let home = Elsewhere::new(&installation, &service);
    let ada = key(&installation.custodians[0]);
    let file = installation.file("written");
    let new = ["new", "generate", "--ring", RING, "--proposer", "ada"];
    let why = ["--reason", "at home & away: 100 %", "--key", ada];
    let words: Vec<&str> = new.into_iter().chain(why).collect();
    let with_out: Vec<&str> = words
        .iter()
        .copied()
        .chain(["--out", text(&file)])
        .collect();
    let id = member(&home.does(&with_out).json(), "ceremony");
    // The very bytes that were signed.
    let review = installation
        .chancery(["ceremony", "review", text(&file)])
        .json();
    assert_eq!(review["digest"], json!(id));
    let first = home.hold(&id);
    // The next one is held against the transcript of the first.
    let id = member(&home.does(&words).json(), "ceremony");
    let berta = key(&installation.custodians[1]);
    let review = home.does(&["review", &id, "--key", berta]).json();
    let changes = review["changes"].to_string();
    assert!(changes.contains("number: 1 -> 2"), "{changes}");
    home.hold(&id);

    // A revocation is shown first, and nothing is proposed.
    let revoke = ["revoke", RING, "--kid", &first, "--because", "superseded"];
    let who = ["--proposer", "ada", "--reason", "a new one", "--key", ada];
    let words: Vec<&str> = revoke.into_iter().chain(who).collect();
    let plan = home.ring(&words);
    assert_eq!(plan["applied"], false);
    assert!(plan["lines"].to_string().contains(&first), "{plan}");
    let open = || {
        home.does(&["list", "--state", "open", "--key", berta])
            .json()
    };
    assert_eq!(open(), json!([]));
    let apply: Vec<&str> = words.iter().copied().chain(["--apply"]).collect();
    let id = member(&home.ring(&apply), "ceremony");
    assert_eq!(open()[0]["ceremony"], json!(id));
    home.hold(&id);
    // Its private half is destroyed; of one that is not known nothing is drafted.
    let archive = ["archive", RING, "--kid", &first, "--apply"];
    let words: Vec<&str> = archive.into_iter().chain(who).collect();
    let id = member(&home.ring(&words), "ceremony");
    home.hold(&id);
    let none = "A".repeat(43);
    let archive = ["archive", RING, "--kid", &none, "--apply"];
    let words: Vec<&str> = archive.into_iter().chain(who).collect();
    assert_eq!(home.call("ring", &words, &home.genesis).code, Some(3));
    // Who reads signs the request.
    let said = home.ask(&new.into_iter().chain(["--reason", "a"]).collect::<Vec<_>>());
    assert_eq!(said.code, Some(2), "{said:?}");
}

/// The private half is where only the agent reads it, for reading as for signing.
#[test]
fn a_key_in_an_agent_does_everything_over_http() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let service = installation.serve();
    let mut home = Elsewhere::new(&installation, &service);
    let agent = Agent::start(&installation);
    home.agent = Some(agent.socket.clone());
    for custodian in &installation.custodians {
        let mut add = Command::new("ssh-add");
        add.arg("-q")
            .arg(custodian.key_file())
            .env("SSH_AUTH_SOCK", &agent.socket);
        assert_eq!(run(&mut add, b"").code, Some(0));
        std::fs::remove_file(custodian.key_file()).expect("removed");
    }
    let public = [0, 1, 2].map(|n| installation.custodians[n].public_key_file());
    let [ada, berta, carl] = public.each_ref().map(|file| text(file));
    let new = ["new", "generate", "--ring", RING, "--proposer", "ada"];
    let why = ["--reason", "by an agent", "--key", ada];
    let words: Vec<&str> = new.into_iter().chain(why).collect();
    let id = member(&home.does(&words).json(), "ceremony");
    home.does(&["note", &id, "--key", carl, "--text", "seen"]);
    for who in [berta, carl] {
        home.does(&["approve", &id, "--key", who]);
    }
    installation.chancery(["ceremony", "execute", &id]);
    let kid = installation.only_kid(&id);
    for who in [berta, carl] {
        home.does(&["review", &id, "--result", "--key", who]);
        home.does(&["accept", &id, "--key", who, "--kid", &kid]);
    }
    assert_eq!(installation.ceremony_state(&id), "closed");
}

/// The row says something else than its member signed and the record has.
#[test]
fn threat_a_note_is_rewritten_in_the_database() {
    let mut case = Case::sqlite();
    let id = case.installation.propose(RING);
    let ada = key(&case.installation.custodians[0]).to_owned();
    let note = [
        "ceremony",
        "note",
        &id,
        "--key",
        &ada,
        "--text",
        "all was well",
    ];
    case.installation.chancery(note);
    case.installation.vote_all("approve", &id);
    case.installation.chancery(["ceremony", "execute", &id]);
    let none: [&str; 0] = [];
    assert_eq!(codes(&check(&case.installation)), none);
    let rewritten = |case: &mut Case, from: &str, to: &str| {
        let of = format!("FROM ceremony_signature WHERE ceremony = '{id}' AND purpose = 'note'");
        let body = case.database.read_bytes("body", &of);
        let body = String::from_utf8(body).expect("text").replace(from, to);
        let body = case.database.bytes(body.as_bytes());
        case.database.run(&format!(
            "UPDATE ceremony_signature SET body = {body} WHERE ceremony = '{id}' AND purpose = 'note'"
        ));
    };
    case.database.disarm(&["ceremony_signature"]);
    rewritten(&mut case, "all was well", "all was not well");
    assert_eq!(codes(&check(&case.installation)), ["note"]);
    rewritten(&mut case, "all was not well", "all was well");
    assert_eq!(codes(&check(&case.installation)), none);
}
