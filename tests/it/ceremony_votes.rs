//! Votes that must not count, handed to the running system: a rule says no, the trail tells of it, and the token holds
//! nothing that a quorum did not ask for.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::custodian::{Custodian, with_key};
use crate::support::database::Database;
use crate::support::installation::{ENVIRONMENT, Installation, SERVICE, member, must, text};
use crate::support::process::{Running, Said, run};

const RING: &str = "integrity";

/// Refused by a rule, in words that hold these.
fn refused(said: &Said, words: &str) {
    assert_eq!(said.code, Some(3), "{said:?}");
    let message = member(&said.json()["error"], "message");
    assert!(message.contains(words), "{words:?} is not in {message:?}");
}

/// Hands in a signature over these bytes under this namespace.
fn hand_in(
    installation: &Installation,
    verb: &str,
    id: &str,
    custodian: &Custodian,
    (bytes, namespace): (&[u8], &str),
) -> Said {
    let file = tempfile::Builder::new()
        .tempfile_in(installation.directory.path())
        .expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    let signature = must(custodian.sign(file.path(), namespace));
    installation.try_chancery(["ceremony", verb, id, "--signature", text(&signature)])
}

/// The exact bytes to sign, and their namespace.
fn paper(installation: &Installation, paper: &str, id: &str) -> (Vec<u8>, String) {
    let file = installation.file(&format!("{id}.{paper}.bytes"));
    let said = installation.chancery(["ceremony", paper, id, "--out", text(&file)]);
    (
        std::fs::read(&file).expect("the bytes"),
        member(&said.json(), "namespace"),
    )
}

fn objects_on_token(installation: &Installation) -> usize {
    let said = installation.token_tool(&["--list-objects", "--type", "privkey"]);
    said.text().matches("Private Key Object").count()
}

fn new_ring() -> Installation {
    let installation = Installation::new();
    installation.create_ring(RING, &[]);
    installation
}

#[test]
fn proposer_approves_own_request_and_strangers_vote_and_nothing_counts() {
    let installation = new_ring();
    let [ada, berta, carl] = installation.custodians.as_slice() else {
        panic!("three")
    };
    let stranger = with_key(installation.directory.path(), "stranger", "ed25519");
    let id = installation.propose(RING);
    refused(
        &installation.try_vote("approve", &id, ada),
        "the proposer's approval does not count",
    );
    refused(
        &installation.try_vote("approve", &id, &stranger),
        "the key belongs to no roster member",
    );
    refused(
        &installation.try_chancery(["ceremony", "execute", &id]),
        "waiting for 2 more approval(s)",
    );

    // One person, twice: the same signature, another signature by the same key.
    assert_eq!(installation.try_vote("approve", &id, berta).code, Some(0));
    let (bytes, namespace) = paper(&installation, "request", &id);
    let file = installation.file("twice");
    std::fs::write(&file, &bytes).expect("written");
    let signature = must(berta.sign(&file, &namespace));
    let again = ["ceremony", "approve", &id, "--signature", text(&signature)];
    refused(&installation.try_chancery(again), "already counted");
    refused(&installation.try_chancery(again), "already counted");
    refused(
        &installation.try_vote("approve", &id, berta),
        "already counted",
    );
    refused(
        &installation.try_chancery(["ceremony", "execute", &id]),
        "waiting for 1 more approval(s)",
    );

    // Other bytes, another purpose, another environment.
    let mut changed = bytes.clone();
    let at = changed
        .windows(4)
        .position(|four| four == b"test")
        .expect("the reason");
    changed[at] = b'T';
    let other = installation.propose(RING);
    let (other_bytes, _) = paper(&installation, "request", &other);
    let elsewhere = format!("chancery/approve.v1@{SERVICE}/production");
    let accept = format!("chancery/accept.v1@{SERVICE}/{ENVIRONMENT}");
    for (bytes, namespace) in [
        (changed.as_slice(), namespace.as_str()),
        (&other_bytes, &namespace),
        (&bytes, &elsewhere),
        (&bytes, &accept),
        (&bytes, "file"),
    ] {
        refused(
            &hand_in(&installation, "approve", &id, carl, (bytes, namespace)),
            "does not count",
        );
    }
    refused(
        &installation.try_chancery(["ceremony", "execute", &id]),
        "waiting for 1 more approval(s)",
    );
    let show = installation.chancery(["ceremony", "show", &id]).json();
    assert_eq!(
        (&show["state"], &show["approved_by"]),
        (&"proposed".into(), &serde_json::json!(["berta"]))
    );
    assert_eq!(objects_on_token(&installation), 0);

    // Every no is in the trail.
    let mut database = Database::open(&installation.sqlite_url());
    let told = database.one("SELECT CAST(COUNT(*) AS TEXT) FROM log_leaf WHERE kind = 'refusal'");
    assert_eq!(told, "13");
}

#[test]
fn one_person_with_two_keys_and_two_members_sharing_a_key_are_no_roster() {
    let installation = Installation::new();
    let at = installation.directory.path();
    let (one, two) = (
        with_key(at, "one", "ed25519"),
        with_key(at, "two", "ed25519"),
    );
    let found = |members: &[(&str, &Custodian)], threshold: &str| {
        let members: Vec<String> = members
            .iter()
            .map(|(id, key)| match id.split_once(',') {
                Some((id, role)) => format!("{id}={},{role}", text(&key.public_key_file())),
                None => format!("{id}={}", text(&key.public_key_file())),
            })
            .collect();
        let out = installation.file("other.genesis");
        let _ = std::fs::remove_file(&out);
        let mut words = vec![
            "ceremony",
            "genesis",
            "new",
            "--service",
            SERVICE,
            "--environment",
            ENVIRONMENT,
        ];
        words.extend(["--threshold", threshold, "--out", text(&out)]);
        members
            .iter()
            .for_each(|member| words.extend(["--member", member]));
        installation.try_chancery(words).code.expect("no signal")
    };
    let three = with_key(at, "three", "ed25519");
    let pair = [("one", &one), ("two", &two)];
    assert_eq!(
        found(&pair, "2"),
        3,
        "whoever proposes does not count, so two of two could never act"
    );
    let operator = ("three,operator", &three);
    assert_eq!(found(&[pair[0], pair[1], operator], "2"), 0);
    assert_eq!(found(&[pair[0], pair[1], ("three", &three)], "2"), 0);
    assert_eq!(
        found(&[("one", &one), ("one", &two)], "2"),
        3,
        "one person, two keys"
    );
    assert_eq!(
        found(&[("one", &one), ("two", &one)], "2"),
        3,
        "two members, one key"
    );
    assert_eq!(
        found(&[("one", &one), ("two", &two)], "1"),
        2,
        "a threshold under two"
    );
    assert_eq!(
        found(&[("one", &one), ("two", &two)], "3"),
        3,
        "a threshold that nobody could reach"
    );
}

#[test]
fn approval_after_the_deadline_does_not_count() {
    let installation = new_ring();
    let words = ["ceremony", "new", "generate", "--ring", RING];
    let propose = |more: &[&str]| installation.propose_words(&[&words, more].concat());
    let late = propose(&["--approve-within", "2s"]);
    sleep(Duration::from_millis(2_100));
    for custodian in installation.signers() {
        assert_eq!(
            installation.try_vote("approve", &late, custodian).code,
            Some(3)
        );
    }
    assert_eq!(
        installation
            .try_chancery(["ceremony", "execute", &late])
            .code,
        Some(3)
    );
    // Approved in time and carried out too late.
    let end = Instant::now() + Duration::from_millis(10_500);
    let slow = propose(&["--approve-within", "9s", "--execute-within", "10s"]);
    installation.vote_all("approve", &slow);
    sleep(end.saturating_duration_since(Instant::now()));
    refused(
        &installation.try_chancery(["ceremony", "execute", &slow]),
        "was 20",
    );
    assert_eq!(objects_on_token(&installation), 0);
}

#[test]
fn replay_of_a_ceremony_is_refused() {
    let installation = new_ring();
    let (done, _) = installation.hold(RING);
    // The same ceremony once more.
    refused(
        &installation.try_chancery(["ceremony", "execute", &done]),
        "the ceremony is closed",
    );
    // Its approvals for another one, whose request differs in number, nonce and time only.
    let next = installation.propose(RING);
    let (bytes, namespace) = paper(&installation, "request", &done);
    for custodian in installation.signers() {
        let said = hand_in(
            &installation,
            "approve",
            &next,
            custodian,
            (&bytes, &namespace),
        );
        refused(&said, "does not count");
    }
    // Two that were proposed as the next: once one is carried out, the other is not the next any more.
    let twin = installation.propose(RING);
    installation.vote_all("approve", &next);
    installation.vote_all("approve", &twin);
    installation.chancery(["ceremony", "execute", &next]);
    assert_eq!(
        installation
            .try_chancery(["ceremony", "execute", &twin])
            .code,
        Some(3)
    );
    // Acceptances of the first for the second.
    let (bytes, namespace) = paper(&installation, "acceptance", &done);
    for custodian in installation.signers() {
        let said = hand_in(
            &installation,
            "accept",
            &next,
            custodian,
            (&bytes, &namespace),
        );
        refused(&said, "does not count");
    }
    installation.vote_all("accept", &next);
    assert_eq!(objects_on_token(&installation), 2);
}

#[test]
fn a_kid_that_begins_with_a_hyphen_is_a_kid() {
    let installation = new_ring();
    let (id, _) = installation.hold(RING);
    let kid = format!("-{}", "A".repeat(42));
    let retire = ["ring", "retire", RING, "--kid", &kid, "--apply"];
    refused(&installation.try_chancery(retire), &kid);
    let show = installation.try_chancery(["key", "show", &kid]);
    let why = member(&show.json()["error"], "message");
    assert!(why.contains("unknown key"), "{why}");
    let key = text(installation.custodians[1].key_file());
    let accept = ["ceremony", "accept", &id, "--key", key, "--kid", &kid];
    assert_eq!(installation.try_chancery(accept).code, Some(3));
}

#[test]
fn one_rejection_blocks() {
    let installation = new_ring();
    let id = installation.propose(RING);
    installation.vote_all("approve", &id);
    let key = text(installation.custodians[1].key_file());
    let reject = [
        "ceremony",
        "reject",
        &id,
        "--key",
        key,
        "--reason",
        "second thoughts",
    ];
    installation.chancery(reject);
    assert_eq!(installation.ceremony_state(&id), "rejected");
    assert_eq!(
        installation.try_chancery(["ceremony", "execute", &id]).code,
        Some(3)
    );
    // Nobody on the roster, no rejection.
    let other = installation.propose(RING);
    let stranger = with_key(installation.directory.path(), "stranger", "ed25519");
    let reject = [
        "ceremony",
        "reject",
        &other,
        "--key",
        text(stranger.key_file()),
        "--reason",
        "no",
    ];
    assert_eq!(installation.try_chancery(reject).code, Some(3));
    assert_eq!(installation.ceremony_state(&other), "proposed");
    assert_eq!(objects_on_token(&installation), 0);
}

/// An agent that holds keys; ended by its own id.
pub struct Agent {
    _child: Running,
    pub socket: PathBuf,
}

impl Agent {
    pub fn start(installation: &Installation) -> Self {
        let socket = installation.file("agent.sock");
        let mut agent = Command::new("ssh-agent");
        agent
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = Running::new(agent.spawn().expect("ssh-agent starts"));
        crate::support::process::until("the agent listens", || socket.exists());
        Self {
            _child: child,
            socket,
        }
    }
}

#[test]
fn a_key_in_an_agent_votes() {
    let installation = new_ring();
    let agent = Agent::start(&installation);
    for custodian in installation.signers() {
        let mut add = Command::new("ssh-add");
        add.arg("-q")
            .arg(custodian.key_file())
            .env("SSH_AUTH_SOCK", &agent.socket);
        assert_eq!(run(&mut add, b"").code, Some(0));
        // Only the agent has the private half now.
        std::fs::remove_file(custodian.key_file()).expect("removed");
    }
    let vote = |verb: &str, id: &str, more: &[&str]| {
        for custodian in installation.signers() {
            let mut command = installation.command();
            command
                .args(["--output", "json", "ceremony", verb, id])
                .args(more);
            command
                .arg("--key")
                .arg(custodian.public_key_file())
                .env("SSH_AUTH_SOCK", &agent.socket);
            let said = run(&mut command, b"");
            assert_eq!(said.code, Some(0), "{said:?}");
        }
    };
    let id = installation.propose(RING);
    vote("approve", &id, &[]);
    installation.chancery(["ceremony", "execute", &id]);
    let kid = installation.only_kid(&id);
    vote("accept", &id, &["--kid", &kid]);
    assert_eq!(installation.ceremony_state(&id), "closed");
}

#[test]
fn no_changed_byte_of_a_transcript_verifies() {
    let installation = new_ring();
    let (id, kid) = installation.hold(RING);
    let file = installation.file("transcript");
    installation.chancery(["ceremony", "transcript", &id, "--out", text(&file)]);
    let genesis = installation.genesis.as_str();
    let verify = |file: &std::path::Path| {
        installation.try_chancery(["ceremony", "verify", text(file), "--genesis", genesis])
    };
    let said = verify(&file);
    assert_eq!(
        (said.code, &said.json()["kids"]),
        (Some(0), &serde_json::json!([kid]))
    );
    let good = std::fs::read(&file).expect("the transcript");
    let other = installation.file("changed");
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(&other, bytes).expect("written");
        assert_eq!(verify(&other).code, Some(5), "{what}");
    };
    // Every byte is tried in the crate; here some of them, all over the file, through the command.
    for n in 0..60 {
        let at = n * good.len() / 60;
        let mut changed = good.clone();
        changed[at] ^= if n % 2 == 0 { 1 } else { 0x20 };
        refused(&changed, &format!("byte {at}"));
    }
    refused(&good[..good.len() - 1], "cut");
    refused(&[good.as_slice(), b"\n"].concat(), "a line more");
    refused(&[b" ", good.as_slice()].concat(), "a space before");
    refused(b"", "nothing");
    // For another service, with everything else the same.
    let mut elsewhere = vec!["ceremony", "verify", text(&file), "--genesis", genesis];
    elsewhere.extend(["--environment", "production"]);
    assert_eq!(installation.try_chancery(elsewhere).code, Some(5));
}
