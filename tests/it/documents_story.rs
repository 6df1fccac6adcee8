//! The stories of README, docs/CEREMONY.md and docs/RECOVERY.md, run as they are printed, in their order. What a reader
//! fills in (KEY, ID, KID, FILE), and the places of an installation, are filled in here; nothing else is changed.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use testkit::http::send;
use testkit::passkey::SoftPasskey;

use crate::support::agreement::PYTHON;
use crate::support::installation::{directory, free_port, text};
use crate::support::process::{Running, Said, repository, run, until};

const PROGRAMS: [&str; 7] = [
    "chancery ",
    "curl ",
    "mv ",
    "python3 ",
    "softhsm/init-token ",
    "sqlite3 ",
    "ssh-keygen ",
];

/// The commands of one section, in their order. Each has to be taken.
pub struct Section {
    name: String,
    commands: VecDeque<String>,
}

/// Code between backticks, which may be broken over lines.
fn spans(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

impl Section {
    pub fn of(document: &str, heading: &str) -> Self {
        let name = format!("{document}, {heading}");
        let all = fs::read_to_string(repository(document)).expect("the document");
        let (_, rest) = all
            .split_once(&format!("\n## {heading}\n"))
            .unwrap_or_else(|| panic!("{name}"));
        let section = rest.split("\n## ").next().unwrap_or_default();
        Self::within(name, section)
    }

    /// Of a whole document.
    pub fn whole(document: &str) -> Self {
        let all = fs::read_to_string(repository(document)).expect("the document");
        Self::within(document.to_owned(), &all)
    }

    fn within(name: String, section: &str) -> Self {
        let joined = section.replace("\\\n", " ");
        let (mut code, mut prose) = (Vec::new(), String::new());
        for line in joined.lines() {
            if line.starts_with("    ") {
                code.extend(spans(&prose).map(str::to_owned));
                prose.clear();
                code.push(line.to_owned());
            } else {
                prose += line;
                prose.push('\n');
            }
        }
        code.extend(spans(&prose).map(str::to_owned));
        let words = |code: &String| code.split_whitespace().collect::<Vec<_>>().join(" ");
        let without_comment =
            |code: String| code.split(" # ").next().unwrap_or_default().to_owned();
        let commands = code.iter().map(words).map(without_comment);
        let is_command = |code: &String| PROGRAMS.iter().any(|program| code.starts_with(program));
        let commands = commands.filter(is_command).collect();
        Self { name, commands }
    }

    pub fn next(&mut self, begins: &str) -> String {
        let command = self.commands.pop_front().unwrap_or_default();
        assert!(command.starts_with(begins), "{}: {command:?}", self.name);
        command
    }

    pub fn end(self) {
        assert!(
            self.commands.is_empty(),
            "{}: {:?}",
            self.name,
            self.commands
        );
    }
}

/// Words of letters and digits, one by one.
fn filled(command: &str, values: &[(&str, &str)]) -> String {
    let (mut out, mut word) = (String::new(), String::new());
    for letter in command.chars().chain(['\n']) {
        if letter.is_ascii_alphanumeric() {
            word.push(letter);
            continue;
        }
        let value = values.iter().find(|(name, _)| *name == word);
        out += value.map_or(word.as_str(), |(_, value)| value);
        out.push(letter);
        word.clear();
    }
    out.truncate(out.len() - 1);
    out
}

pub struct Reader {
    at: TempDir,
    pub api: String,
    operations: String,
}

impl Reader {
    pub fn new() -> Self {
        let new = Self {
            at: directory(),
            api: free_port(),
            operations: free_port(),
        };
        fs::create_dir(new.at.path().join("bin")).expect("a directory");
        let program = env!("CARGO_BIN_EXE_chancery");
        symlink(program, new.at.path().join("bin/chancery")).expect("a link");
        for part in ["deploy", "softhsm"] {
            symlink(repository(part), new.at.path().join(part)).expect("a link");
        }
        new
    }

    pub fn file(&self, name: &str) -> String {
        text(&self.at.path().join(name)).to_owned()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).expect(name)
    }

    /// The command in a shell, and how it is seen.
    fn shell(&self, command: &str, values: &[(&str, &str)]) -> (String, Command) {
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
        let (api, operations) = (port(&self.api), port(&self.operations));
        let places = [("8080", api.as_str()), ("9090", operations.as_str())];
        let command = filled(command, &[values, &places].concat())
            .replace("/var/lib/chancery", text(self.at.path()))
            .replace("python3 ", &format!("{PYTHON} "));
        let mut shell = Command::new("sh");
        let path = std::env::var("PATH").unwrap_or_default();
        shell
            .args(["-ec", &command])
            .env("PATH", format!("{}:{path}", self.file("bin")))
            .current_dir(self.at.path());
        (command, shell)
    }

    pub fn tries(&self, command: &str, values: &[(&str, &str)]) -> Said {
        run(&mut self.shell(command, values).1, b"")
    }

    /// It has to succeed; what it printed.
    pub fn runs(&self, command: &str, values: &[(&str, &str)]) -> String {
        let (seen, mut shell) = self.shell(command, values);
        let said = run(&mut shell, b"");
        assert_eq!(said.code, Some(0), "{seen}\n{said:?}");
        said.text().trim().to_owned()
    }

    /// What has to wait for something, tried until it succeeds.
    pub fn runs_when_due(&self, command: &str, values: &[(&str, &str)]) {
        until(command, || self.tries(command, values).code == Some(0));
    }

    pub fn serves(&self, command: &str) -> Running {
        let (_, mut shell) = self.shell(&format!("exec {command}"), &[]);
        let log = fs::File::create(self.file("serve.log")).expect("a file");
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let service = Running::new(shell.spawn().expect("the service"));
        let alive = || send(&self.operations, "GET", "/health/live", &[], b"");
        until("the service answers", || alive().is_ok());
        service
    }

    pub fn edits(&self, from: &str, to: &str) {
        let settings = self.read("chancery.toml");
        assert!(settings.contains(from), "{from}: {settings}");
        fs::write(self.file("chancery.toml"), settings.replacen(from, to, 1)).expect("written");
    }

    pub fn takes_away(&self, name: &str) {
        drop(fs::remove_file(self.file(name)));
    }

    /// For a token that was initialised with this module.
    pub fn is_configured(&self, module: &str) {
        let settings = fs::read_to_string(repository("deploy/config/embedded.toml"));
        let settings = settings
            .expect("settings")
            .replace("/var/lib/chancery", text(self.at.path()))
            .replace("/usr/lib/softhsm/libsofthsm2.so", module)
            .replace("127.0.0.1:8080", &self.api)
            .replace("127.0.0.1:9090", &self.operations);
        fs::write(self.file("chancery.toml"), settings).expect("written");
        // Nobody waits for a day here.
        self.edits("profile = \"production\"", "profile = \"demonstration\"");
        self.edits("publish_safety = \"24h\"", "publish_safety = \"4s\"");
    }

    /// The namespace in a printed command of `ssh-keygen`.
    fn namespace(printed: &str) -> String {
        let (_, rest) = printed.split_once(" -n ").expect("a namespace");
        rest.split(' ').next().unwrap_or_default().to_owned()
    }

    fn found(&self) -> String {
        let mut section = Section::of("docs/CEREMONY.md", "The custodian's key");
        // Needs a hardware key.
        section.next("ssh-keygen -t ed25519-sk -C you");
        let new = section.next("ssh-keygen -t ed25519 -C you");
        for who in ["ada", "berta", "carl", "dave"] {
            // What it would ask for.
            self.runs(&format!("{new} -f {who} -N ''"), &[("you", who)]);
        }
        section.end();

        let mut section = Section::of("docs/CEREMONY.md", "Once: the genesis");
        self.runs(&section.next("chancery ceremony genesis new"), &[]);
        let sign = section.next("ssh-keygen -Y sign");
        let hand_over = section.next("mv genesis.draft.sig ada.sig");
        for who in ["ada", "berta", "carl"] {
            self.runs(&sign, &[("KEY", who)]);
            self.runs(&hand_over, &[("ada", who)]);
        }
        let pinned = self.runs(&section.next("chancery ceremony genesis assemble"), &[]);
        let other = section.next("chancery ceremony genesis new");
        self.runs(&other, &[("draft", "other")]);
        section.next("chancery ceremony genesis assemble");
        section.next("chancery ceremony genesis install genesis.json");
        section.end();
        let (_, digest) = pinned.split_once("genesis = \"").expect("the digest");
        digest.trim_end_matches('"').to_owned()
    }

    /// The proposal of the README goes on to its key, whose kid this returns; the others end here.
    fn holds_ceremonies(&self, id: &str, genesis: &str) -> String {
        let mut section = Section::of("docs/CEREMONY.md", "Every key");
        let ada = ("KEY", "ada");
        let rejected = self.runs(&section.next("chancery ceremony new generate"), &[ada]);
        let draft = section.next("chancery ceremony new generate");
        self.runs(&draft, &[]);
        self.runs(&section.next("ssh-keygen -Y sign"), &[ada]);
        self.runs(&section.next("chancery ceremony propose proposal"), &[]);
        self.takes_away("proposal");
        self.runs(&draft, &[]);
        let one_step = section.next("chancery ceremony propose proposal --key");
        let cancelled = self.runs(&one_step, &[ada]);

        let printed = self.runs(&section.next("chancery ceremony request"), &[("ID", id)]);
        let seen = self.runs(&section.next("chancery ceremony review request"), &[]);
        assert!(seen.contains(id), "{seen}");
        let sign = section.next("ssh-keygen -Y sign");
        let namespace = Self::namespace(&printed);
        self.runs(&sign, &[("NAMESPACE", &namespace), ("KEY", "berta")]);
        self.runs(&section.next("chancery ceremony approve"), &[("ID", id)]);
        let approve = section.next("chancery ceremony approve ID --key");
        self.runs(&approve, &[("ID", id), ("KEY", "carl")]);
        let reject = section.next("chancery ceremony reject");
        self.runs(&reject, &[("ID", &rejected), ("KEY", "berta")]);
        let cancel = section.next("chancery ceremony cancel");
        self.runs(&cancel, &[("ID", &cancelled), ada]);
        let kid = kid_of(&self.runs(&section.next("chancery ceremony execute"), &[("ID", id)]));
        let values = [("ID", id), ("KID", kid.as_str())];
        let printed = self.runs(&section.next("chancery ceremony acceptance"), &values);
        let seen = self.runs(&section.next("chancery ceremony review result"), &[]);
        assert!(seen.contains(&kid), "{seen}");
        // "As in 3, with a different namespace".
        let namespace = Self::namespace(&printed);
        let result = [
            ("NAMESPACE", namespace.as_str()),
            ("KEY", "berta"),
            ("request", "result"),
        ];
        self.runs(&sign, &result);
        self.runs(&section.next("chancery ceremony accept"), &values);
        let accept = section.next("chancery ceremony accept ID --key");
        self.runs(&accept, &[("KEY", "carl"), values[0], values[1]]);
        self.runs(&section.next("chancery ceremony transcript"), &values);
        section.end();

        let mut section = Section::of("docs/CEREMONY.md", "Independent verification");
        let verify = section.next("chancery ceremony verify transcript.json");
        self.runs(&verify, &[("SHA256", genesis)]);
        let signers = format!("berta {}", self.read("berta.pub"));
        fs::write(self.file("allowed_signers"), signers).expect("written");
        self.runs(&section.next("ssh-keygen -Y verify"), &[("ada", "berta")]);
        section.next("chancery ceremony verify");
        section.end();
        kid
    }

    /// "A ceremony for it as in 4", by the commands with `--key`.
    pub fn makes_the_logs_key(&self) {
        let mut section = Section::of("docs/CEREMONY.md", "Every key");
        let mut next = |begins: &str| loop {
            let command = section.commands.pop_front().expect(begins);
            if command.starts_with(begins) {
                break command;
            }
        };
        let propose = next("chancery ceremony new generate");
        let id = self.runs(&propose, &[("integrity", "log"), ("KEY", "ada")]);
        let approve = next("chancery ceremony approve ID --key");
        let execute = next("chancery ceremony execute");
        let accept = next("chancery ceremony accept ID --key");
        for who in ["berta", "carl"] {
            self.runs(&approve, &[("ID", &id), ("KEY", who)]);
        }
        let kid = kid_of(&self.runs(&execute, &[("ID", &id)]));
        for who in ["berta", "carl"] {
            self.runs(&accept, &[("ID", &id), ("KEY", who), ("KID", &kid)]);
        }
    }

    fn revokes(&self, kid: &str) {
        let mut section = Section::of("docs/CEREMONY.md", "Destruction and revocation");
        let values = [("KID", kid), ("KEY", "ada")];
        let archive = section.next("chancery ring archive");
        let said = self.tries(&archive, &values);
        assert_eq!(said.code, Some(3), "it is not retired: {said:?}");
        let superseded = section.next("chancery ring revoke");
        let id = last_line(&self.runs(&superseded, &values));
        let compromised = section.next("chancery ring revoke");
        // The instant may lie before the key's birth.
        let said = self.tries(&compromised, &values);
        assert!(!said.stderr.contains("Usage:"), "{said:?}");
        for who in ["berta", "carl"] {
            let approve = "chancery ceremony approve ID --key KEY";
            self.runs(approve, &[("ID", &id), ("KEY", who)]);
        }
        self.runs(&section.next("chancery ceremony execute"), &[("ID", &id)]);
        section.next("chancery ring archive");
        section.next("chancery ceremony new clock-correction");
        // Held in docs/RECOVERY.md, and the last one by the tests of rotation policies.
        for word in "new new-origin,request,acceptance,bundle,new rotation-policy".split(',') {
            section.next(&format!("chancery ceremony {word}"));
        }
        section.end();
    }

    /// Berta gets a passkey and approves with it.
    fn uses_a_passkey(&self) {
        let mut section = Section::of("docs/CEREMONY.md", "Passkeys");
        let [export, ask, approve, object, ask_no, reject, create, new] = [
            "chancery ceremony request",
            "chancery trust passkey-options request",
            "chancery ceremony approve",
            "chancery ceremony reject",
            "chancery trust passkey-options rejection",
            "chancery ceremony reject",
            "chancery trust new-passkey",
            "chancery trust new-roster",
        ]
        .map(|begins| section.next(begins));
        let [propose, prove, sign] = [
            "chancery trust propose",
            "chancery trust passkey-options next-roster",
            "chancery trust sign",
        ]
        .map(|begins| section.next(begins));
        section.end();
        let passkey = SoftPasskey::new("berta");
        let write = |file: &str, json: String| fs::write(self.file(file), json).expect("written");
        // What the page does with what it is given.
        let answers = |command: &str, file: &str| {
            let options = self.runs(command, &[]);
            let options: serde_json::Value = serde_json::from_str(&options).expect("options");
            let message = fs::read(self.file(file)).expect("the file");
            let challenge = trust::Sha256Digest::of(&message);
            let challenge = trust::base64url::encode(challenge.as_bytes());
            assert_eq!(options["challenge"], challenge);
            write("answer.json", passkey.browser_json(&message).to_string());
        };
        assert!(self.runs(&create, &[]).starts_with(r#"{"rp":{"id":""#));
        write("new.json", passkey.registration().to_string());
        self.runs(&new, &[]);
        self.runs(&propose, &[("KEY", "ada")]);
        self.runs("chancery trust sign next-roster --key carl", &[]);
        answers(&prove, "next-roster");
        let said = self.runs(&sign, &[]);
        assert!(said.contains("effective"), "{said}");

        let rotate = "chancery ceremony new generate --ring integrity --proposer ada --key ada --reason rotation";
        let id = self.runs(rotate, &[]);
        self.takes_away("request");
        self.runs(&export, &[("ID", &id)]);
        answers(&ask, "request");
        let said = self.runs(&approve, &[("ID", &id)]);
        assert!(said.contains("approved by  berta"), "{said}");
        let values = [("ID", id.as_str()), ("TEXT", "no")];
        self.runs(&object, &values);
        answers(&ask_no, "rejection");
        let said = self.runs(&reject, &values);
        assert!(said.contains("rejected by berta: no"), "{said}");
    }

    /// A database of yesterday, as docs/RECOVERY.md has it.
    fn recovers(&self, mut service: Running, serve: &str, sign: &str) {
        let mut section = Section::of("docs/RECOVERY.md", "Backups");
        let backup = section.next("sqlite3 chancery.db");
        self.runs(&backup, &[("FILE", "yesterday")]);
        section.end();
        let published = || {
            let answer = send(&self.api, "GET", "/log/checkpoint", &[], b"").expect("an answer");
            let note = String::from_utf8_lossy(&answer.body).into_owned();
            note.lines()
                .nth(1)
                .and_then(|size| size.parse::<u64>().ok())
        };
        let before = published();
        self.runs(sign, &[("FILE", "later")]);
        until("it is published", || published() > before);

        let mut section = Section::of("docs/RECOVERY.md", "The database was replaced");
        self.runs(&section.next("curl"), &[]);
        fs::copy(self.file("kept-1"), self.file("kept-2")).expect("of the other replica");
        service.kill();
        for file in ["chancery.db-wal", "chancery.db-shm"] {
            self.takes_away(file);
        }
        fs::copy(self.file("yesterday"), self.file("chancery.db")).expect("restored");
        let said = self.tries("chancery doctor", &[]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.text().contains("`chancery log recover`"), "{said:?}");
        self.runs(&section.next("chancery log recover"), &[]);
        let apply = section.next("chancery log recover");
        assert!(apply.ends_with(" --apply"), "{apply}");
        // Until the lease of the replica that was killed has run out.
        self.runs_when_due(&apply, &[]);
        let service = self.serves(serve);
        let check = section.next("chancery log check");
        self.runs(&check, &[]);
        drop(service);
        // Nothing is lost here: it is refused, and not because of how it is written.
        let lose = self.tries(&section.next("chancery log recover"), &[]);
        assert!(!lose.stderr.contains("Usage:"), "{lose:?}");
        section.next("chancery log check");
        // All documents are there, and this is no copy of them: it is refused, and not because of how it is written.
        let restore = section.next("chancery trust restore");
        let said = self.tries(&restore, &[("FILE", "kept-1")]);
        assert!(!said.stderr.contains("Usage:"), "{said:?}");
        // The database has this key: its word is not needed, and does no harm.
        let keys = self.runs(&section.next("chancery log vkey"), &[]);
        let key = keys.lines().next().unwrap_or_default();
        self.runs(&section.next("chancery log recover"), &[("VKEY", key)]);
        section.end();

        let mut section = Section::of("docs/RECOVERY.md", "A clock was wrong");
        self.runs(&section.next("chancery log clock"), &[]);
        let correct = section.next("chancery ceremony new clock-correction");
        let said = self.tries(&correct, &[("KEY", "ada")]);
        assert!(said.stderr.contains("no leaf lies ahead"), "{said:?}");
        section.next("chancery log check");
        section.end();
        self.begins_a_new_origin(serve);
    }

    /// The database of yesterday once more, and no bundles.
    fn begins_a_new_origin(&self, serve: &str) {
        for file in ["chancery.db-wal", "chancery.db-shm"] {
            self.takes_away(file);
        }
        fs::copy(self.file("yesterday"), self.file("chancery.db")).expect("restored");
        fs::remove_dir_all(self.file("log/tile/entries")).expect("the bundles");
        let mut section = Section::of("docs/RECOVERY.md", "Leaves are lost for good");
        let recover = section.next("chancery log recover");
        let said = self.tries(&format!("{recover} --without-kept --apply"), &[]);
        assert_eq!(said.code, Some(4), "{said:?}");
        let propose = section.next("chancery ceremony new new-origin");
        self.runs(&propose, &[("KEY", "ada")]);
        section.next("chancery ceremony bundle add origin.bundle proposal.sig");
        self.takes_away("request");
        let printed = self.runs(&section.next("chancery ceremony request"), &[]);
        let seen = self.runs(&section.next("chancery ceremony review request"), &[]);
        assert!(seen.contains("previous_checkpoint"), "{seen}");
        let sign = section.next("ssh-keygen -Y sign");
        let add = section.next("chancery ceremony bundle add origin.bundle request.sig");
        let namespace = Self::namespace(&printed);
        for who in ["berta", "carl"] {
            self.takes_away("request.sig");
            self.runs(&sign, &[("NAMESPACE", &namespace), ("KEY", who)]);
            self.runs(&add, &[]);
        }
        let show = section.next("chancery ceremony bundle show");
        assert!(self.runs(&show, &[]).contains("not signed   berta, carl"));
        self.takes_away("result");
        let printed = self.runs(&section.next("chancery ceremony acceptance"), &[]);
        self.runs(&section.next("chancery ceremony review result"), &[]);
        let namespace = Self::namespace(&printed);
        let add = section.next("chancery ceremony bundle add origin.bundle result.sig");
        for who in ["berta", "carl"] {
            self.takes_away("result.sig");
            let result = [
                ("NAMESPACE", namespace.as_str()),
                ("KEY", who),
                ("request", "result"),
            ];
            self.runs(&sign, &result);
            self.runs(&add, &[]);
        }
        self.edits(
            "# origin = \"keys.example.org/log\"",
            "origin = \"keys.example.org/log-2\"",
        );
        self.edits("/log\"\n", "/log-2\"\n");
        self.runs(&section.next("chancery ceremony bundle apply"), &[]);
        let apply = section.next("chancery ceremony bundle apply");
        assert!(apply.ends_with(" --apply"), "{apply}");
        // Until the lease of the replica that was killed has run out.
        self.runs_when_due(&apply, &[]);
        section.next("chancery log recover");
        let service = self.serves(serve);
        let published = || {
            let answer = send(&self.api, "GET", "/log/checkpoint", &[], b"");
            answer.is_ok_and(|answer| answer.body.starts_with(b"keys.example.org/log-2\n"))
        };
        until("it is published", published);
        let vkey = self.runs(&section.next("chancery log vkey"), &[]);
        assert!(vkey.starts_with("keys.example.org/log-2+"), "{vkey}");
        self.runs(&section.next("chancery log check"), &[]);
        drop(service);
        section.end();
    }
}

/// Where a plan comes before the id.
pub fn last_line(said: &str) -> String {
    said.lines().last().unwrap_or_default().trim().to_owned()
}

/// Of a report of a ceremony.
pub fn kid_of(report: &str) -> String {
    let line = report.lines().find(|line| line.starts_with("kid"));
    let kid = line.and_then(|line| line.split_whitespace().nth(1));
    kid.unwrap_or_else(|| panic!("{report}"))
        .trim_end_matches(',')
        .to_owned()
}

#[test]
fn case_c8_the_stories_of_the_documents_run_as_printed() {
    let reader = Reader::new();
    let mut section = Section::of("README.md", "First use");
    let module = reader.runs(&section.next("softhsm/init-token"), &[]);
    reader.is_configured(&module);
    let said = reader.tries(&section.next("chancery doctor"), &[]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.text().contains("run `chancery migrate`"), "{said:?}");
    let genesis = reader.found();
    reader.edits(&"0".repeat(64), &genesis);
    reader.runs(&section.next("chancery migrate"), &[]);
    reader.runs(&section.next("chancery ceremony genesis install"), &[]);
    reader.runs(&section.next("chancery ring create integrity"), &[]);
    let propose = section.next("chancery ceremony new generate");
    let id = reader.runs(&propose, &[("NAME", "ada"), ("KEY", "ada")]);
    let kid = reader.holds_ceremonies(&id, &genesis);
    reader.runs(&section.next("chancery access grant"), &[]);
    let serve = section.next("chancery serve");
    let service = reader.serves(&serve);
    reader.runs(&section.next("chancery ring create log"), &[]);
    reader.makes_the_logs_key();
    reader.runs_when_due(&section.next("chancery ring rotate log"), &[]);
    reader.runs_when_due(&section.next("chancery ring rotate integrity"), &[]);

    for name in ["record", "later"] {
        fs::write(reader.file(name), name).expect("written");
    }
    let values = [("FILE", "record"), ("SHA256", genesis.as_str())];
    // The service is not at the default address.
    let sign = section.next("chancery sign FILE");
    let sign = format!("{sign} --url http://{}", reader.api);
    reader.runs_when_due(&sign, &values);
    reader.runs(&section.next("chancery verify FILE.jws"), &values);
    let export = section.next("chancery evidence export");
    let export = format!("{export} --url http://{}", reader.api);
    reader.runs_when_due(&export, &values);
    reader.runs(&section.next("chancery verify FILE.evidence"), &values);
    reader.runs(&section.next("python3"), &values);
    section.end();

    let mut section = Section::of("README.md", "Verify a transcript offline");
    reader.runs(&section.next("curl"), &[("KID", &kid)]);
    reader.runs(&section.next("chancery ceremony verify"), &values);
    section.next("ssh-keygen -Y verify");
    section.end();
    reader.runs("chancery doctor", &[]);
    reader.recovers(service, &serve, &sign);
    reader.revokes(&kid);
    reader.uses_a_passkey();
}
