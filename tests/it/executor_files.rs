//! An executor without a network: a request goes there on a file, what was done comes back on another.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support::executor::on_token;
use crate::support::installation::{Installation, directory, member, text};
use crate::support::process::{Said, run};

const RING: &str = "integrity";

/// The machine of the executor: the program, the way to the token, and files that somebody carries.
struct Elsewhere {
    directory: TempDir,
    genesis: String,
}

impl Elsewhere {
    fn of(installation: &Installation, environment: &str) -> Self {
        let directory = directory();
        let toml = fs::read_to_string(installation.file("chancery.toml")).expect("settings");
        let table: toml::Table = toml.parse().expect("TOML");
        let executor = toml::to_string(&table["executor"]).expect("TOML");
        // Nothing of the database, of the listeners and of the log.
        let (first, tables) = executor.split_once("\n\n").unwrap_or((&executor, ""));
        let tables = tables.replace("[environment]", "[executor.environment]");
        let config = format!(
            "profile = \"demonstration\"\n[service]\nname = \"chancery\"\nenvironment = \"{environment}\"\n\
             [executor]\n{first}\n\n{tables}"
        );
        fs::write(directory.path().join("chancery.toml"), config).expect("written");
        Self {
            directory,
            genesis: installation.genesis.clone(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn carry_out(&self, request: &[u8], out: &str, more: &[&str]) -> Said {
        fs::write(self.file("request"), request).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        command
            .current_dir(self.directory.path())
            .args([
                "--output", "json", "executor", "--bundle", "request", "--out", out,
            ])
            .args(["--genesis", &self.genesis])
            .args(more);
        run(&mut command, b"")
    }
}

fn exported(installation: &Installation, name: &str) -> (String, Vec<u8>) {
    let file = installation.file(name);
    let said = installation.chancery(["executor", "export", "--out", text(&file)]);
    (
        member(&said.json(), "ceremony"),
        fs::read(file).expect("a file"),
    )
}

fn import(installation: &Installation, elsewhere: &Elsewhere, result: &str) -> Said {
    installation.try_chancery(["executor", "import", text(&elsewhere.file(result))])
}

#[test]
fn a_key_is_generated_on_a_machine_without_database_and_network() {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    let id = installation.propose(RING);
    let nothing = installation.try_chancery(["executor", "export", "--out", "nothing"]);
    assert_eq!(nothing.code, Some(3), "it is only proposed: {nothing:?}");
    installation.vote_all("approve", &id);
    let (exported_id, request) = exported(&installation, "request");
    assert_eq!(exported_id, id);
    let elsewhere = Elsewhere::of(&installation, "test");

    let mut changed = request.clone();
    changed[request.len() / 2] ^= 1;
    let refused = elsewhere.carry_out(&changed, "changed", &[]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let other = Elsewhere::of(&installation, "staging");
    let refused = other.carry_out(&request, "other", &[]);
    assert_eq!(refused.code, Some(3), "another environment: {refused:?}");
    let other = Elsewhere {
        genesis: "00".repeat(32),
        ..Elsewhere::of(&installation, "test")
    };
    let refused = other.carry_out(&request, "other", &[]);
    assert_eq!(refused.code, Some(3), "another genesis: {refused:?}");
    assert!(on_token(&installation).is_empty());

    let done = elsewhere.carry_out(&request, "result", &[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let kid = done.json()["kids"][0].as_str().expect("a kid").to_owned();
    let twice = elsewhere.carry_out(&request, "twice", &[]);
    assert_eq!(twice.code, Some(3), "{twice:?}");
    let again = elsewhere.carry_out(&request, "again", &["--read-back"]);
    assert_eq!(
        again.json()["kids"][0],
        kid,
        "its result was lost: {again:?}"
    );
    assert_eq!(on_token(&installation).len(), 1);
    // Nobody here takes what is there for a key of nobody.
    let found = installation.chancery(["ceremony", "reconcile", "--alone"]);
    assert!(
        found.json()[0]["finding"]
            .to_string()
            .contains("comes on a file"),
        "{found:?}"
    );

    let mut damaged = fs::read(elsewhere.file("result")).expect("a file");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(elsewhere.file("damaged"), damaged).expect("written");
    assert_eq!(import(&installation, &elsewhere, "damaged").code, Some(3));
    let imported = import(&installation, &elsewhere, "result");
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert_eq!(
        import(&installation, &elsewhere, "again").code,
        Some(3),
        "it came twice"
    );
    assert_eq!(installation.only_kid(&id), kid);
    installation.vote_all("accept", &id);
    assert_eq!(installation.ceremony_state(&id), "closed");
    let file = installation.file("transcript");
    installation.chancery(["ceremony", "transcript", &id, "--out", text(&file)]);
    installation.chancery([
        "ceremony",
        "verify",
        text(&file),
        "--genesis",
        &installation.genesis,
    ]);
    let found = installation
        .chancery(["ceremony", "reconcile", "--alone"])
        .json();
    assert_eq!(found.as_array().map(Vec::len), Some(0), "{found}");
}
