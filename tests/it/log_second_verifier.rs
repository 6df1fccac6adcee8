//! A second verifier, written from docs/LOG.md by other hands in another language, comes to the same answer about every
//! file: good ones, tampered ones, and ones that only a thief of the log's key could write.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::evidence::verify;
use trust::tlog::note::VerifierKey;
use trust::tlog::policy::WitnessPolicy;

use crate::support::agreement::{Case, PYTHON, Tally, ask};
use crate::support::installation::{
    Installation, Service, base64url, directory, free_port, member, text,
};
use crate::support::process::{repository, run, until};
use crate::support::witness::{Witness, WitnessKey};

/// `EVERY_BYTE=1`: as much as somebody may wait for who has the time.
fn thorough() -> bool {
    std::env::var_os("EVERY_BYTE").is_some()
}

#[test]
fn the_second_verifiers_own_tests_pass() {
    let mut tests = Command::new(PYTHON);
    tests.args(["-m", "unittest"]);
    tests.current_dir(repository("deploy/verifier"));
    tests.env("PYTHONDONTWRITEBYTECODE", "1");
    let said = run(&mut tests, b"");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("\nOK"), "{}", said.stderr);
}

/// Lives of keys by rule and at random, in a log that its own key would have to be stolen for.
#[test]
fn both_agree_on_every_life_of_a_key() {
    let directory = directory();
    let mut make = Command::new(PYTHON);
    make.arg(repository("deploy/verifier/sample_corpus.py"));
    let made = run(make.arg(directory.path()), b"");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let (mut cases, mut policies) = (Vec::new(), vec![None]);
    for entry in fs::read_dir(directory.path()).expect("a directory") {
        let path = entry.expect("a file").path();
        let bytes = fs::read(&path).expect("a file");
        match text(&path).ends_with(".policy") {
            true => policies.push(Some(String::from_utf8(bytes).expect("text"))),
            false => cases.push(Case {
                name: text(&path).to_owned(),
                bytes,
            }),
        }
    }
    let mut tally = Tally::default();
    let (lives, ruled): (Vec<Case>, Vec<Case>) = cases
        .into_iter()
        .partition(|case| case.name.contains("/life-"));
    for policy in policies.iter().map(|policy| policy.as_deref()) {
        ask(&mut tally, directory.path(), made.text(), policy, &ruled);
        // What a policy asks for is the same for every life; once is enough, and once without one.
        let once = policy.is_none_or(|policy| policy.ends_with("quorum w\n"));
        if once || thorough() {
            ask(&mut tally, directory.path(), made.text(), policy, &lives);
        }
    }
    let tally = tally.done();
    // One check fails in each of these, but in the lives made at random.
    let told = |said: &&String| !said.contains("/life-");
    let differ: Vec<_> = tally.words_differ.iter().filter(told).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert!(tally.verdicts.len() >= 14, "{:#?}", tally.verdicts);
    println!(
        "{} held, {} refused, {} with two words: {:#?}",
        tally.held,
        tally.refused,
        tally.words_differ.len(),
        tally.words_differ
    );
}

/// A service whose log witnesses cosign, and what it gave out.
struct House {
    installation: Installation,
    service: Service,
    token: String,
    policies: BTreeMap<&'static str, String>,
    _witness: Witness,
}

const RINGS: [(&str, &str, &str); 8] = [
    ("log", "ES256", "structured"),
    ("atp", "ES256", "structured"),
    ("old", "ES256", "structured"),
    ("stolen", "ES256", "structured"),
    ("unknown", "Ed25519", "structured"),
    ("left", "PS256", "structured"),
    ("ed", "Ed25519", "structured"),
    ("digests", "ES256", "raw"),
];

/// What a caller holds after a signature.
struct Signed {
    claim: Value,
    salt: String,
    index: u64,
    time: String,
}

impl House {
    fn new() -> (Self, BTreeMap<&'static str, String>) {
        let installation = Installation::new();
        for (ring, algorithm, usage) in RINGS {
            let words = [
                "ring",
                "create",
                ring,
                "--algorithm",
                algorithm,
                "--usage",
                usage,
            ];
            installation.chancery(words.into_iter().chain(["--apply"]));
        }
        let kids = RINGS.map(|(ring, ..)| (ring, installation.give_birth(ring)));
        RINGS
            .iter()
            .for_each(|(ring, ..)| installation.rotate_when_safe(ring));
        let mut grant = vec!["access", "grant", "integrity-service"];
        let roles = RINGS.map(|(ring, ..)| format!("signer:{ring}"));
        roles[1..]
            .iter()
            .for_each(|role| grant.extend(["--role", role]));
        let token = member(&installation.chancery(grant).json(), "access_token");

        let log = installation.chancery(["log", "vkey"]).json();
        let log: VerifierKey = member(&log["keys"][0], "vkey").parse().expect("a vkey");
        let at = installation.directory.path();
        let names = ["witness.example/here", "witness.example/away"];
        let [here, away] = names.map(|name| WitnessKey::new(at, name));
        let witness = Witness::serve(&here, &at.join("state"), &[&log]);
        let line = |name: &str, key: &WitnessKey, address: &str| {
            format!("witness {name} {} http://{address}\n", key.key)
        };
        let here = line("here", &here, &witness.address);
        let away = line("away", &away, &free_port());
        let policies = BTreeMap::from([
            ("complete", format!("{here}quorum here\n")),
            (
                "incomplete",
                format!("{here}{away}group g all here away\nquorum g\n"),
            ),
            ("absent", format!("{away}quorum away\n")),
            ("nobody", format!("{here}quorum none\n")),
        ]);
        let file = installation.file("witnesses.policy");
        fs::write(&file, &policies["complete"]).expect("a policy");
        let service = installation.serve_with(&[
            ("CHANCERY_LOG__WITNESSES", text(&file)),
            ("CHANCERY_LOG__INTERVAL", "100ms"),
        ]);
        // The witnesses are asked first.
        until("it signs", || service.says_yes("/health/ready/signing"));
        let house = Self {
            installation,
            service,
            token,
            policies,
            _witness: witness,
        };
        (house, kids.into())
    }

    fn sign(&self, ring: &str, body: &Value) -> Signed {
        let path = format!("/v1/rings/{ring}/sign?receipt=wait");
        let signed = self.service.post(&path, Some(&self.token), body).ok();
        let claim = match body["format"].as_str() {
            Some("jws") => json!({"jws": signed["jws"]}),
            Some("dsse") => json!({"envelope": signed["envelope"]}),
            _ => {
                json!({"signature": signed["signature"], "kid": signed["kid"], "digest": body["digest"]})
            }
        };
        Signed {
            claim,
            salt: member(&signed, "salt"),
            index: signed["log_index"].as_u64().expect("an index"),
            time: member(&signed, "time"),
        }
    }

    fn jws(&self, ring: &str) -> Signed {
        self.sign(
            ring,
            &json!({"format": "jws", "payload": base64url(ring.as_bytes())}),
        )
    }

    /// The file, once it says what it is to say, and is witnessed.
    fn evidence(&self, name: &str, signed: &Signed, salted: bool, expected: &str) -> Case {
        let mut body = json!({"signature": signed.claim});
        if salted {
            body["salt"] = json!(signed.salt);
        }
        self.fetch(name, expected, || {
            self.service.post("/v1/evidence", None, &body)
        })
    }

    fn fetch(
        &self,
        name: &str,
        expected: &str,
        get: impl Fn() -> crate::support::http::Answer,
    ) -> Case {
        let policy = WitnessPolicy::parse(&self.policies["complete"]).expect("a policy");
        let genesis: Sha256Digest = self.installation.genesis.parse().expect("a digest");
        let mut bytes = Vec::new();
        until(&format!("{name} is {expected}"), || {
            bytes = get().into_body();
            verify(&bytes, genesis, Some(&policy)).is_ok_and(|found| {
                let verdict = json!(found.verdict);
                let said = format!("{} {}", verdict["outcome"], verdict["reasons"]);
                found.witnessed && said.replace('"', "") == expected
            })
        });
        Case {
            name: name.to_owned(),
            bytes,
        }
    }

    /// Files of every life that a key of a running service has.
    fn files(&self, kids: &BTreeMap<&'static str, String>) -> Vec<Case> {
        let house = &self.installation;
        let old = self.jws("old");
        let (before, unknown, left) = (self.jws("stolen"), self.jws("unknown"), self.jws("left"));
        let active = self.jws("atp");
        let dsse = json!({"format": "dsse", "payload": "AQID", "payload_type": "text/plain"});
        let dsse = self.sign("atp", &dsse);
        let raw = json!({"format": "raw", "digest": base64url(&[7; 32]), "hash": "sha-256"});
        let raw = self.sign("digests", &raw);
        let ed = self.jws("ed");
        let mut files = vec![
            self.evidence("active, salted", &active, true, "VALID []"),
            self.evidence("active", &active, false, "VALID []"),
            self.evidence("dsse", &dsse, true, "VALID []"),
            self.evidence("raw", &raw, true, "VALID []"),
            self.evidence("ed25519", &ed, true, "VALID []"),
            self.evidence("ps256", &left, false, "VALID []"),
            self.fetch("without subject", "VALID []", || {
                self.service.get(&format!("/v1/evidence/{}", active.index))
            }),
        ];
        // The second key of `old` takes over, and the first one ends while the others are revoked.
        house.give_birth("old");
        house.rotate_when_safe("old");
        files.push(self.evidence("demoted", &old, true, "VALID []"));
        // Witnesses tell whole seconds.
        let since = self.jws("atp").time;
        std::thread::sleep(std::time::Duration::from_millis(1_100));
        let after = self.jws("stolen");
        let since = ["--because", "compromised", "--compromised-since", &since];
        house.revoke("stolen", &kids["stolen"], &since);
        house.revoke("left", &kids["left"], &["--because", "superseded"]);
        house.revoke("unknown", &kids["unknown"], &["--because", "unspecified"]);
        let words = ["ring", "retire", "old", "--kid", &kids["old"], "--apply"];
        until("it may retire", || {
            house.try_chancery(words).code == Some(0)
        });
        files.push(self.evidence("retired", &old, true, "VALID_RETIRED_KEY []"));
        house.hold_words(&["ring", "archive", "old", "--kid", &kids["old"], "--apply"]);
        let archived = || {
            self.service
                .post("/v1/evidence", None, &json!({"signature": old.claim}))
                .into_body()
        };
        until("it is archived", || {
            String::from_utf8_lossy(&archived()).contains(r#"\"archive\""#)
        });
        let valid = "VALID_RETIRED_KEY [key_revoked]";
        files.extend([
            self.evidence("archived", &old, false, "VALID_RETIRED_KEY []"),
            self.evidence("superseded", &left, true, valid),
            self.evidence("unspecified", &unknown, true, valid),
            self.evidence(
                "before",
                &before,
                true,
                "VALID_RETIRED_KEY [key_compromised]",
            ),
            self.evidence("after", &after, true, "REVOKED [key_compromised]"),
        ]);
        files
    }
}

#[test]
fn both_agree_on_files_of_a_service_whole_and_tampered() {
    let (house, kids) = House::new();
    let at = house.installation.directory.path();
    let files = house.files(&kids);
    let genesis = house.installation.genesis.as_str();
    let mut tally = Tally::default();
    for policy in house.policies.values() {
        ask(&mut tally, at, genesis, Some(policy), &files);
    }
    ask(&mut tally, at, genesis, None, &files);
    let held = tally.held;
    assert_eq!(held, files.len() * 5, "{tally:?}");
    ask(&mut tally, at, &"0".repeat(64), None, &files);
    assert_eq!(tally.held, held, "{tally:?}");

    let mut tampered = Vec::new();
    for (number, file) in files.iter().enumerate() {
        tampered.extend(with_bytes_changed(file, number));
        // A long life, one that ended badly, and a file without the signature; the others are of the same parts.
        let different = ["archived", "after", "without subject"].contains(&file.name.as_str());
        if different || thorough() {
            let other = &files[(number + 1) % files.len()];
            tampered.extend(with_members_changed(file, other));
        }
    }
    ask(&mut tally, at, genesis, None, &tampered);
    let witnessed: Vec<Case> = with_bytes_changed(&files[7], 5)
        .into_iter()
        .chain(with_witness_lines_changed(&files[8]))
        .collect();
    ask(
        &mut tally,
        at,
        genesis,
        Some(&house.policies["complete"]),
        &witnessed,
    );
    let tally = tally.done();
    println!(
        "{} held, {} refused, {} with two words: {:#?}",
        tally.held,
        tally.refused,
        tally.words_differ.len(),
        tally.words_differ
    );
    assert!(tally.refused > 300, "{tally:?}");
}

fn case(file: &Case, what: &str, bytes: Vec<u8>) -> Case {
    Case {
        name: format!("{}: {what}", file.name),
        bytes,
    }
}

/// Bits that flip, each file elsewhere, and ends that are missing.
fn with_bytes_changed(file: &Case, number: usize) -> Vec<Case> {
    let length = file.bytes.len();
    let flips = if thorough() { 97 } else { 11 };
    let flipped = (number * 211..length).step_by(length / flips).map(|place| {
        let mut bytes = file.bytes.clone();
        bytes[place] ^= 1 << (place % 5);
        case(file, &format!("byte {place} flipped"), bytes)
    });
    let ends = [0, 1, length / 3, length - 1];
    let cut = ends.map(|end| case(file, &format!("cut at {end}"), file.bytes[..end].to_vec()));
    flipped.chain(cut).collect()
}

/// Lines of witnesses that are changed, one character after the other.
fn with_witness_lines_changed(file: &Case) -> Vec<Case> {
    let whole = String::from_utf8(file.bytes.clone()).expect("text");
    let line = "\u{2014} witness.example/here ";
    let places: Vec<usize> = whole.match_indices(line).map(|(place, _)| place).collect();
    assert!(!places.is_empty(), "{whole}");
    let mut cases = Vec::new();
    for (number, start) in places.into_iter().enumerate() {
        for place in (start + number % 3..start + 130).step_by(11) {
            let mut bytes = file.bytes.clone();
            bytes[place] ^= 1;
            cases.push(case(
                file,
                &format!("byte {place} flipped in a witness's line"),
                bytes,
            ));
        }
    }
    cases
}

/// Parts that are missing, twice there, in another order, or of another file.
fn with_members_changed(file: &Case, other: &Case) -> Vec<Case> {
    let read = |case: &Case| -> Value { serde_json::from_slice(&case.bytes).expect("JSON") };
    let (whole, other) = (read(file), read(other));
    let mut cases = Vec::new();
    let mut add = |what: String, value: &Value| {
        let bytes = trust::json::canonical(value).expect("JSON");
        cases.push(case(file, &what, bytes));
    };
    let with = |pointer: &str, value: Value| {
        let mut changed = whole.clone();
        *changed.pointer_mut(pointer).expect(pointer) = value;
        changed
    };
    let members = whole.as_object().expect("an object");
    for name in members.keys() {
        let mut less = whole.clone();
        less.as_object_mut().expect("an object").remove(name);
        add(format!("no {name}"), &less);
        add(
            format!("{name} is null"),
            &with(&format!("/{name}"), Value::Null),
        );
        add(
            format!("{name} is of another file"),
            &with(&format!("/{name}"), other[name].clone()),
        );
    }
    for names in [
        &["leaf", "proof"][..],
        &["leaf", "proof", "transcript"],
        &["life", "transcript"],
        &["leaf", "proof", "subject"],
    ] {
        let mut changed = whole.clone();
        names
            .iter()
            .for_each(|name| changed[*name] = other[*name].clone());
        add(format!("{names:?} are of another file"), &changed);
    }
    let mut more = whole.clone();
    more["revocation"] = other["transcript"].clone();
    add("a revocation that is a birth".to_owned(), &more);
    more["revocation"] = json!("{}");
    add("a revocation that is nothing".to_owned(), &more);
    add(
        "the log's transcript".to_owned(),
        &with("/transcript", whole["log_keys"][0].clone()),
    );
    let (key, log) = (whole["transcript"].clone(), whole["log_keys"][0].clone());
    for (what, keys) in [
        ("none", json!([])),
        ("twice", json!([log, log])),
        ("another", json!([key])),
        ("more", json!([log, key])),
    ] {
        add(format!("log keys: {what}"), &with("/log_keys", keys));
    }
    let acts = whole["life"].as_array().expect("acts").clone();
    for (number, act) in acts.iter().enumerate() {
        let mut changed = acts.clone();
        changed.remove(number);
        add(format!("no act {number}"), &with("/life", json!(changed)));
        changed.insert(number, act.clone());
        changed.insert(number, act.clone());
        add(
            format!("act {number} twice"),
            &with("/life", json!(changed)),
        );
        changed.remove(number);
        changed.rotate_left(1);
        add(
            format!("acts in another order {number}"),
            &with("/life", json!(changed)),
        );
        add(
            format!("the leaf's proof with act {number}"),
            &with(&format!("/life/{number}/proof"), whole["proof"].clone()),
        );
        add(
            format!("act {number} for the leaf"),
            &with("/leaf", act["leaf"].clone()),
        );
        add(
            format!("proof of act {number} for the leaf"),
            &with("/proof", act["proof"].clone()),
        );
        let mut changed = with("/leaf", act["leaf"].clone());
        changed["proof"] = act["proof"].clone();
        add(format!("act {number}, proven, for the leaf"), &changed);
        let mut changed = whole.clone();
        changed["life"][number] = json!({"leaf": whole["leaf"], "proof": whole["proof"]});
        add(format!("the leaf, proven, for act {number}"), &changed);
        for (what, later) in [("end", number), ("begin", acts.len() - number)] {
            let part = if what == "end" {
                &acts[..later]
            } else {
                &acts[acts.len() - later..]
            };
            add(
                format!("acts {what} at {number}"),
                &with("/life", json!(part)),
            );
        }
    }
    let mut changed = acts.clone();
    changed.extend(other["life"].as_array().expect("acts").iter().cloned());
    add(
        "the acts of two keys".to_owned(),
        &with("/life", json!(changed)),
    );
    for member in ["environment", "service"] {
        for value in ["other", "Other", "", "-", "a b"] {
            add(
                format!("{member} is {value:?}"),
                &with(&format!("/{member}"), json!(value)),
            );
        }
    }
    add("v is 2".to_owned(), &with("/v", json!(2)));
    add(
        "another type".to_owned(),
        &with("/type", json!("chancery-transcript")),
    );
    let mut changed = whole.clone();
    changed["comment"] = json!("");
    add("an unknown member".to_owned(), &changed);
    if whole["subject"].is_object() {
        with_subject_changed(&whole, &other, &mut add);
    }
    let text = String::from_utf8(file.bytes.clone()).expect("text");
    for (what, from, to) in [
        ("space", ",", ", "),
        (
            "twice",
            "{\"environment\":",
            "{\"environment\":\"test\",\"environment\":",
        ),
        ("escaped", "chancery-evidence", "\\u0063hancery-evidence"),
        ("version 1.0", "\"v\":1}", "\"v\":1.0}"),
        ("mark", "{\"environment\"", "\u{feff}{\"environment\""),
        ("end", "\"v\":1}", "\"v\":1}\n"),
    ] {
        cases.push(case(file, what, text.replacen(from, to, 1).into_bytes()));
    }
    cases
}

fn with_subject_changed(whole: &Value, other: &Value, add: &mut impl FnMut(String, &Value)) {
    let subject = &whole["subject"];
    let mut with = |what: &str, member: &str, value: Value| {
        let mut changed = whole.clone();
        changed["subject"][member] = value;
        add(format!("subject: {what}"), &changed);
    };
    for covers in ["jws", "dsse", "message", "digest"] {
        if subject["covers"] != covers {
            with(&format!("covers {covers}"), "covers", json!(covers));
        }
    }
    with("covers nothing", "covers", json!("nothing"));
    with("input", "input", json!("AQID"));
    with("input of no length", "input", json!("A"));
    with(
        "digest of another length",
        "input",
        json!(base64url(&[1; 31])),
    );
    with("salt", "salt", json!("AQID"));
    with("salt is null", "salt", Value::Null);
    with("signature", "signature", json!("AQID"));
    with("signature with padding", "signature", json!("AQI="));
    with(
        "signature of another file",
        "signature",
        other["subject"]["signature"].clone(),
    );
    let mut unsalted = whole.clone();
    unsalted["subject"]
        .as_object_mut()
        .expect("an object")
        .remove("salt");
    add("subject: no salt".to_owned(), &unsalted);
    unsalted["subject"]["input"] = json!(base64url(&[1; 32]));
    add("subject: another input, no salt".to_owned(), &unsalted);
    unsalted["subject"]["covers"] = json!("digest");
    add("subject: another digest, no salt".to_owned(), &unsalted);
}
