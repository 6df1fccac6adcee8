use super::*;
use crate::tlog::merkle::tests::naive;
use crate::tlog::merkle::{Frontier, leaf_hash};
use crate::tlog::note::NoteSignature;
use crate::tlog::tests::{Signer, mutations};

#[test]
fn the_first_checkpoint_needs_no_proof() {
    let log = Signer::log("log");
    let mut tree = Frontier::new();
    tree.push(leaf_hash(b"leaf"));
    let request = AddCheckpoint {
        old: 0,
        proof: vec![],
        note: log.checkpoint(1, tree.root()),
    };
    assert_eq!(
        AddCheckpoint::parse(request.to_string().as_bytes()).unwrap(),
        request
    );
    let seen = Seen {
        size: 1,
        root: tree.root(),
    };
    assert_eq!(
        decide(None, &request, std::slice::from_ref(&log.key)),
        Ok(seen)
    );
    assert_eq!(
        decide(Some(&seen), &request, &[log.key]),
        Err(Refusal::Conflict { size: 1 })
    );
}

/// A log of so many leaves, one checkpoint of each size.
struct Log {
    signer: Signer,
    leaves: Vec<Sha256Digest>,
}

impl Log {
    fn new(origin: &str, size: u8) -> Self {
        Self {
            signer: Signer::log(origin),
            leaves: (0..size).map(|n| leaf_hash(&[n])).collect(),
        }
    }

    fn root(&self, size: usize) -> Sha256Digest {
        naive::root(&self.leaves[..size])
    }

    fn seen(&self, size: usize) -> Seen {
        Seen {
            size: size as u64,
            root: self.root(size),
        }
    }

    fn request(&self, old: usize, size: usize) -> AddCheckpoint {
        let proof = match old {
            0 => vec![],
            old => naive::proof(old, &self.leaves[..size]),
        };
        AddCheckpoint {
            old: old as u64,
            proof,
            note: self.signer.checkpoint(size as u64, self.root(size)),
        }
    }
}

fn status(found: Result<Seen, Refusal>) -> u16 {
    found.map_or_else(|refusal| refusal.status(), |_| 200)
}

#[test]
fn a_witness_follows_a_log_that_grows() {
    let log = Log::new("log", 20);
    let keys = [log.signer.key.clone()];
    for old in 0..=20 {
        for size in old..=20 {
            let (seen, request) = (log.seen(old), log.request(old, size));
            let state = (old > 0).then_some(&seen);
            assert_eq!(
                decide(state, &request, &keys),
                Ok(log.seen(size)),
                "{old} {size}"
            );
            let other = Seen {
                size: seen.size + 1,
                ..seen
            };
            let conflict = Refusal::Conflict { size: other.size };
            assert_eq!(decide(Some(&other), &request, &keys), Err(conflict));
        }
    }
}

/// Each refusal of c2sp.org/tlog-witness, in the order in which they are to be found.
#[test]
fn every_refusal_has_its_status() {
    let log = Log::new("log", 9);
    let fork = Log {
        signer: Signer::log("log"),
        leaves: vec![leaf_hash(b"other"); 9],
    };
    let (other, witness) = (Signer::log("other"), Signer::witness("log"));
    let keys = [log.signer.key.clone(), other.key.clone()];
    let decided = |state: usize, request: &AddCheckpoint| {
        let seen = log.seen(state);
        status(decide((state > 0).then_some(&seen), request, &keys))
    };
    let good = log.request(3, 7);
    assert_eq!(decided(3, &good), 200);

    // 400: no checkpoint; 404: no such log, even where a witness has its name.
    let text = |text: &str| AddCheckpoint {
        note: Note {
            text: text.to_owned(),
            signatures: vec![log.signer.sign(text)],
        },
        ..good.clone()
    };
    assert_eq!(decided(3, &text("log\n7\n")), 400);
    assert_eq!(
        decided(3, &text(&(good.note.text.clone() + "extension\n"))),
        400
    );
    assert_eq!(
        decided(3, &text(&good.note.text.replace("log", "unknown"))),
        404
    );
    assert_eq!(
        status(decide(None, &log.request(0, 7), &[witness.key])),
        404
    );

    // 403: signed by nobody, by another log, by another key of that name, badly.
    let signed = |signatures: Vec<NoteSignature>| AddCheckpoint {
        note: Note {
            signatures,
            ..good.note.clone()
        },
        ..good.clone()
    };
    let line = |signer: &Signer| signer.sign(&good.note.text);
    assert_eq!(decided(3, &signed(vec![line(&other)])), 403);
    assert_eq!(decided(3, &signed(vec![line(&fork.signer)])), 403);
    assert_eq!(decided(3, &signed(vec![log.signer.sign("log\n")])), 403);
    assert_eq!(
        decided(
            3,
            &signed(vec![line(&log.signer), log.signer.sign("log\n")])
        ),
        403
    );
    assert_eq!(
        decided(3, &signed(vec![line(&fork.signer), line(&log.signer)])),
        200
    );

    // 400: old beyond new, whatever was seen. 409: another size was seen, whatever the proof.
    assert_eq!(
        decided(
            8,
            &AddCheckpoint {
                old: 8,
                ..good.clone()
            }
        ),
        400
    );
    assert_eq!(decided(7, &good), 409);
    assert_eq!(
        decided(
            7,
            &AddCheckpoint {
                proof: vec![],
                ..good.clone()
            }
        ),
        409
    );
    assert_eq!(decided(3, &log.request(0, 7)), 409);
    assert_eq!(decided(0, &good), 409);

    // 422: a proof from nothing, none, another one; another root of the same size; a fork.
    let proof = |proof: Vec<Sha256Digest>| AddCheckpoint {
        proof,
        ..good.clone()
    };
    assert_eq!(decided(3, &proof(vec![])), 422);
    assert_eq!(decided(3, &proof(log.request(4, 7).proof)), 422);
    let from_nothing = AddCheckpoint {
        old: 0,
        ..good.clone()
    };
    assert_eq!(decided(0, &from_nothing), 422);
    let forked = |old, size| AddCheckpoint {
        note: log.signer.checkpoint(size as u64, fork.root(size)),
        ..fork.request(old, size)
    };
    assert_eq!(decided(3, &forked(3, 7)), 422);
    assert_eq!(decided(7, &forked(7, 7)), 422);
    assert_eq!(decided(0, &forked(0, 7)), 200, "nothing was seen before");
    let empty = |root| AddCheckpoint {
        old: 0,
        proof: vec![],
        note: log.signer.checkpoint(0, root),
    };
    assert_eq!(decided(0, &empty(empty_root())), 200);
    assert_eq!(decided(0, &empty(log.root(1))), 422);
}

#[test]
fn requests_have_one_spelling() {
    let log = Log::new("log", 9);
    let request = log.request(3, 7);
    let written = request.to_string();
    assert_eq!(
        AddCheckpoint::parse(written.as_bytes()),
        Ok(request.clone())
    );
    assert_eq!(request.unverified_origin(), "log");
    let keys = [log.signer.key.clone()];
    let seen = log.seen(3);
    for changed in mutations(written.as_bytes()) {
        if let Ok(read) = AddCheckpoint::parse(&changed) {
            assert_eq!(read.to_string().as_bytes(), changed);
            assert!(decide(Some(&seen), &read, &keys).is_err(), "{read}");
        }
    }
    let hash = base64(log.leaves[0].as_bytes());
    let hashes = |count: usize| {
        let lines = format!("{hash}\n").repeat(count);
        AddCheckpoint::parse(format!("old 3\n{lines}\n{}", request.note).as_bytes())
    };
    assert_eq!(hashes(63).unwrap().proof.len(), 63);
    assert_eq!(hashes(64), Err(RequestError::Line(65)));
    let head = |head: &str| AddCheckpoint::parse(written.replacen("old 3", head, 1).as_bytes());
    for first in [
        "", "old", "old ", "old 03", "old  3", "Old 3", "old -3", "old 3 ", "3",
    ] {
        assert!(head(first).is_err(), "{first:?}");
    }
    assert!(AddCheckpoint::parse(b"").is_err());
    assert!(AddCheckpoint::parse(b"old 0\n\n").is_err());
}

#[test]
fn the_answer_to_a_conflict() {
    assert_eq!(parse_conflict(b"20852014\n"), Some(20_852_014));
    for body in ["", "\n", "1", "01\n", "1\n\n", " 1\n", "1\r\n"] {
        assert_eq!(parse_conflict(body.as_bytes()), None, "{body:?}");
    }
}
