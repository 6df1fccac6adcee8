//! `chancery log witness`, by the letter of c2sp.org/tlog-witness.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use trust::tlog::checkpoint;
use trust::tlog::cosignature;
use trust::tlog::merkle::empty_root;
use trust::tlog::note::{Note, NoteSignature};
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::witness::AddCheckpoint;

use crate::support::http::{Answer, send};
use crate::support::installation::{directory, free_port, text};
use crate::support::process::{done, run};
use crate::support::witness::{FakeLog, Witness, WitnessKey, add, command};

const ORIGIN: &str = "log.example/roll";
const TEXT: Option<&str> = Some("text/plain; charset=utf-8");

fn body(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).expect("text")
}

/// That a 200 holds one cosignature that checks, of now.
fn cosigned(answer: &Answer, key: &WitnessKey, text: &str) {
    assert_eq!(answer.status, 200, "{}", body(answer));
    assert_eq!(answer.header("content-type"), TEXT);
    let note = Note {
        text: text.to_owned(),
        signatures: NoteSignature::parse_lines(&answer.body).expect("signature lines"),
    };
    assert_eq!(note.signatures.len(), 1);
    let stated = cosignature::verify(&note, &key.key).expect("by this witness");
    let seconds = stated.expect("it checks").seconds;
    #[expect(
        clippy::disallowed_methods,
        reason = "the process's own clock is meant"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
    assert!(now.as_secs().abs_diff(seconds) < 60, "{seconds}");
}

fn conflict(answer: &Answer, size: u64) {
    assert_eq!(answer.status, 409, "{}", body(answer));
    assert_eq!(answer.header("content-type"), Some("text/x.tlog.size"));
    assert_eq!(body(answer), format!("{size}\n"));
}

#[test]
fn every_status_of_the_protocol() {
    let directory = directory();
    let at = directory.path();
    let key = WitnessKey::new(at, "witness.example/w1");
    let mut log = FakeLog::new(ORIGIN, 1, "leaf");
    let mut fork = FakeLog::new(ORIGIN, 1, "another");
    let mut stranger = FakeLog::new(ORIGIN, 2, "leaf");
    let mut unknown = FakeLog::new("other.example/log", 1, "leaf");
    let witness = Witness::serve(&key, &at.join("state"), &[&log.key]);
    for log in [&mut log, &mut fork, &mut stranger, &mut unknown] {
        log.grow_to(400);
    }
    let request = |old, proof, note| AddCheckpoint { old, proof, note }.to_string();

    // Nothing is known yet.
    assert_eq!(witness.checkpoint(ORIGIN).status, 404);
    conflict(&witness.add(&log.request(3, 7)), 0);

    // 400: not a request, or one of a log that shrank.
    let good = log.request(0, 5);
    for broken in [
        String::new(),
        "old 5\n".to_owned(),
        good.replacen("old 0", "old 00", 1),
        good.replacen("old 0", "old -1", 1),
        good.replacen("old 0\n", "old 0\nAAAA\n", 1),
        good.replacen("\n\n", "\n", 1),
        good.trim_end().to_owned(),
        good.replace('\n', "\r\n"),
        good.replacen("\n5\n", "\nfive\n", 1),
        request(6, Vec::new(), log.checkpoint(5)),
        format!(
            "old 0\n{}\n{}",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".repeat(64),
            log.checkpoint(5)
        ),
    ] {
        let answer = witness.add(&broken);
        assert_eq!(answer.status, 400, "{broken:?}: {}", body(&answer));
    }
    // 404: of a log that is not known.
    assert_eq!(witness.add(&unknown.request(0, 5)).status, 404);
    // 403: not signed by the log, or wrongly in its name.
    assert_eq!(witness.add(&stranger.request(0, 5)).status, 403);
    let mut forged = log.checkpoint(5);
    forged.signatures[0].bytes[20] ^= 1;
    assert_eq!(witness.add(&request(0, Vec::new(), forged)).status, 403);
    // 422: a proof from nothing; an empty tree with a root of its own.
    let superfluous = request(0, vec![log.root(3)], log.checkpoint(5));
    assert_eq!(witness.add(&superfluous).status, 422);
    let rootless = request(0, Vec::new(), log.claim(0, log.root(1)));
    assert_eq!(witness.add(&rootless).status, 422);
    // Nothing of it was remembered.
    assert_eq!(witness.checkpoint(ORIGIN).status, 404);

    // 200: the empty tree, the first one, a larger one, the same again.
    assert_eq!(log.root(0), empty_root());
    for (old, size) in [(0, 0), (0, 5), (5, 5), (5, 300), (300, 300)] {
        let answer = witness.add(&log.request(old, size));
        cosigned(&answer, &key, &log.checkpoint(size).text);
        let kept = witness.checkpoint(ORIGIN);
        assert_eq!((kept.status, kept.header("content-type")), (200, TEXT));
        let kept = Note::parse(&kept.body).expect("a note");
        let open = checkpoint::open(&kept, &[log.key.clone(), key.key.clone()]);
        assert_eq!(open.expect("by both").size, size);
        assert_eq!(kept.signatures.len(), 2);
        assert_eq!(
            kept.signatures[1..],
            NoteSignature::parse_lines(&answer.body).unwrap()[..]
        );
    }
    // 409: from elsewhere, and the answer says from where; also to who would go back.
    for (old, size) in [(0, 400), (299, 400), (301, 400), (0, 5), (5, 5), (5, 300)] {
        conflict(&witness.add(&log.request(old, size)), 300);
    }
    // 422: another history, with its own proof, with ours, with none, at the same size.
    assert_eq!(witness.add(&fork.request(300, 400)).status, 422);
    let borrowed = request(300, log.proof(300, 400), fork.checkpoint(400));
    assert_eq!(witness.add(&borrowed).status, 422);
    let unproven = request(300, Vec::new(), log.checkpoint(400));
    assert_eq!(witness.add(&unproven).status, 422);
    assert_eq!(witness.add(&fork.request(300, 300)).status, 422);
    conflict(&witness.add(&log.request(0, 1)), 300);
    // Signatures of strangers do not matter, and are not kept.
    let mut note = log.checkpoint(310);
    note.signatures
        .insert(0, stranger.checkpoint(310).signatures.remove(0));
    let proof = log.proof(300, 310);
    cosigned(
        &witness.add(&request(300, proof, note.clone())),
        &key,
        &note.text,
    );
    let kept = Note::parse(&witness.checkpoint(ORIGIN).body).expect("a note");
    assert_eq!(kept.signatures.len(), 2);

    // The rest of HTTP.
    let long = format!("old 0\n{}", "A".repeat(64 * 1024));
    assert_eq!(witness.add(&long).status, 413);
    let at = &witness.address;
    assert_eq!(
        send(at, "GET", "/add-checkpoint", &[], b"").unwrap().status,
        405
    );
    assert_eq!(
        send(at, "GET", "/checkpoint", &[], b"").unwrap().status,
        404
    );
    let hash = trust::Sha256Digest::of(ORIGIN.as_bytes()).to_string();
    for path in [
        format!("/{}/checkpoint", hash.to_uppercase()),
        "/..%2Flock/checkpoint".to_owned(),
        "/lock/checkpoint".to_owned(),
    ] {
        assert_eq!(
            send(at, "GET", &path, &[], b"").unwrap().status,
            404,
            "{path}"
        );
    }
}

#[test]
fn a_witness_that_was_killed_remembers_what_it_cosigned() {
    let directory = directory();
    let at = directory.path();
    let key = WitnessKey::new(at, "w");
    let mut log = FakeLog::new(ORIGIN, 1, "leaf");
    let address = free_port();
    let state = at.join("state");
    let mut size = 0;
    for round in 1..=12 {
        // Killed when let go of, by SIGKILL.
        let witness = Witness::serve_at(&address, &key, &state, &[&log.key]);
        if size > 0 {
            let kept = Note::parse(&witness.checkpoint(ORIGIN).body).expect("a note");
            assert_eq!(kept.text, log.checkpoint(size).text);
            conflict(&witness.add(&log.request(size - 1, size + round)), size);
        }
        for _ in 0..round % 3 + 1 {
            let answer = witness.add(&log.request(size, size + round));
            size += round;
            cosigned(&answer, &key, &log.checkpoint(size).text);
        }
    }
}

#[test]
fn a_state_that_was_tampered_with_is_not_relied_on() {
    let directory = directory();
    let at = directory.path();
    let key = WitnessKey::new(at, "w");
    let mut log = FakeLog::new(ORIGIN, 1, "leaf");
    let state = at.join("state");
    let file = state.join(trust::Sha256Digest::of(ORIGIN.as_bytes()).to_string());
    let witness = Witness::serve(&key, &state, &[&log.key]);
    let first = log.request(0, 9);
    assert_eq!(witness.add(&first).status, 200);
    let good = std::fs::read_to_string(&file).expect("the state");
    let next = log.request(9, 12);
    for bad in [
        good.replacen("\n9\n", "\n8\n", 1),
        good.replacen("\n9\n", "\n12\n", 1),
        good.replace("log.example", "log.exampla"),
        String::new(),
        "{}".to_owned(),
    ] {
        std::fs::write(&file, &bad).expect("tampered");
        assert_eq!(witness.add(&next).status, 500, "{bad}");
        assert_eq!(witness.checkpoint(ORIGIN).status, 500, "{bad}");
        assert_eq!(std::fs::read_to_string(&file).expect("the state"), bad);
    }
    std::fs::write(&file, &good).expect("restored");
    assert_eq!(witness.add(&next).status, 200);

    // One directory, one process.
    let mut second = command(&free_port(), &key, &state, &[&log.key]);
    let said = run(&mut second, b"");
    assert_eq!(said.code, Some(4));
}

#[test]
fn requests_at_once_never_roll_a_log_back() {
    const SIZES: u64 = 120;
    let directory = directory();
    let at = directory.path();
    let key = WitnessKey::new(at, "w");
    let mut log = FakeLog::new(ORIGIN, 1, "leaf");
    log.grow_to(SIZES);
    let witness = Witness::serve(&key, &at.join("state"), &[&log.key]);
    let requests: Vec<Vec<String>> = (0..SIZES)
        .map(|old| {
            (old + 1..=(old + 4).min(SIZES))
                .map(|size| log.request(old, size))
                .collect()
        })
        .collect();
    let largest = AtomicU64::new(0);
    let granted = AtomicU64::new(0);
    // Eight clients want the log to go on from where each thinks it is, each to another size.
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (requests, largest, granted) = (&requests, &largest, &granted);
            let address = &witness.address;
            scope.spawn(move || {
                let mut old = 0;
                while old < SIZES {
                    let of_old = &requests[usize::try_from(old).unwrap()];
                    let mine = client % of_old.len();
                    let before = largest.load(Ordering::SeqCst);
                    let answer = add(address, &of_old[mine]);
                    match answer.status {
                        200 => {
                            let size = old + 1 + mine as u64;
                            // Whoever was answered before we asked had seen less.
                            assert!(size > before, "{before} was cosigned before {size}");
                            largest.fetch_max(size, Ordering::SeqCst);
                            granted.fetch_add(1, Ordering::SeqCst);
                            old = size;
                        }
                        409 => {
                            let size = body(&answer).trim().parse().expect("a size");
                            assert!(size >= before && size > old);
                            old = size;
                        }
                        other => panic!("{other}: {}", body(&answer)),
                    }
                }
            });
        }
    });
    let kept = Note::parse(&witness.checkpoint(ORIGIN).body).expect("a note");
    assert_eq!(kept.text, log.checkpoint(SIZES).text);
    // Of two who asked from the same size one was granted, so there were no more than sizes.
    assert!(granted.into_inner() <= SIZES);
}

#[test]
fn a_key_is_made_once_and_a_policy_takes_its_line() {
    let directory = directory();
    let at = directory.path();
    let key = WitnessKey::new(at, "witness.example/w1");
    assert_eq!(key.key.name(), "witness.example/w1");
    let policy = format!("{}\nquorum {}\n", key.policy_line, key.key.name());
    let policy = WitnessPolicy::parse(&policy).expect("a policy");
    assert_eq!(policy.witnesses()[0].key, key.key);

    let before = std::fs::read(&key.file).expect("the key");
    let mut again = std::process::Command::new(env!("CARGO_BIN_EXE_chancery"));
    again.args([
        "log",
        "witness",
        "new",
        "--name",
        "w",
        "--out",
        text(&key.file),
    ]);
    assert_eq!(run(&mut again, b"").code, Some(2));
    assert_eq!(std::fs::read(&key.file).expect("the key"), before);

    // Other programs read the key: the last 32 bytes of its SPKI are those of the vkey.
    let der = done(
        "openssl",
        ["pkey", "-in", text(&key.file), "-pubout", "-outform", "DER"],
    );
    assert!(key.key.public().to_spki_der() == der.stdout);

    // What does not fit is refused before anything is served.
    let log = FakeLog::new(ORIGIN, 1, "leaf");
    let list = at.join("logs");
    std::fs::write(&list, format!("# ours\n\n{}\nnot a key\n", log.key)).expect("a list");
    for logs in [
        vec![],
        vec!["--log".to_owned(), key.key.to_string()],
        vec!["--log".to_owned(), "nonsense".to_owned()],
        vec!["--log-file".to_owned(), text(&list).to_owned()],
    ] {
        let mut serve = command(&free_port(), &key, &at.join("state"), &[]);
        let said = run(serve.args(&logs), b"");
        assert_eq!(said.code, Some(2), "{logs:?}");
    }
}
