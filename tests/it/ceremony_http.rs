//! Custodians at their own machines: nothing but their key, the address of the service and the genesis that was read aloud.

use std::process::Command;

use serde_json::json;

use crate::support::custodian::Custodian;
use crate::support::installation::{Installation, Service, member, text};
use crate::support::process::{Said, done, run, until};

const RING: &str = "integrity";

/// A machine that has neither configuration nor database.
struct Elsewhere<'a> {
    installation: &'a Installation,
    url: String,
    genesis: String,
    directory: tempfile::TempDir,
}

impl<'a> Elsewhere<'a> {
    fn new(installation: &'a Installation, service: &Service) -> Self {
        Self {
            installation,
            url: format!("http://{}", service.api),
            genesis: installation.genesis.clone(),
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    fn with_genesis(&self, words: &[&str], genesis: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.directory.path())
            .args(["--output", "json", "ceremony"])
            .args(words)
            .args(["--url", &self.url, "--genesis", genesis]);
        run(&mut command, b"")
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
