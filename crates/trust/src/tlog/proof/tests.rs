use super::*;
use crate::tlog::merkle::{Frontier, leaf_hash, node_hash};
use crate::tlog::tests::{Signer, mutations};

#[test]
fn a_receipt_for_two_leaves() {
    let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
    let mut tree = Frontier::new();
    tree.push(left);
    tree.push(right);
    assert_eq!(tree.root(), node_hash(left, right));
    for log in [Signer::log("log"), Signer::ecdsa_log("log")] {
        let proof = TlogProof {
            index: 1,
            extra: Some(b"more".to_vec()),
            hashes: vec![left],
            checkpoint: log.checkpoint(2, tree.root()),
        };
        let read = TlogProof::parse(proof.to_string().as_bytes()).unwrap();
        assert_eq!(read, proof);
        let (logs, policy) = ([log.key], WitnessPolicy::none());
        let logged = read.verify(right, &logs, &policy).unwrap();
        assert_eq!((logged.index, logged.checkpoint.size), (1, 2));
        assert!(logged.witnessed.complete && logged.witnessed.at.is_none());
        assert!(read.verify(left, &logs, &policy).is_err());
    }
}

/// A tree of five leaves, a receipt of each kind of log and two witnesses.
struct World {
    log: Signer,
    witnesses: [Signer; 2],
    leaves: Vec<Sha256Digest>,
    proof: TlogProof,
    policy: WitnessPolicy,
}

impl World {
    fn new(log: Signer) -> Self {
        let leaves: Vec<Sha256Digest> = (0..5).map(|n: u8| leaf_hash(&[n])).collect();
        let mut tree = Frontier::new();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        let witnesses = ["w1", "w2"].map(Signer::witness);
        let mut note = log.checkpoint(5, tree.root());
        for (witness, seconds) in witnesses.iter().zip([30, 20]) {
            note.signatures.push(witness.cosign(&note.text, seconds));
        }
        let policy = format!(
            "witness 1 {}\nwitness 2 {}\ngroup q 2 1 2\nquorum q\n",
            witnesses[0].key, witnesses[1].key
        );
        let proof = TlogProof {
            index: 2,
            extra: None,
            hashes: vec![leaves[3], node_hash(leaves[0], leaves[1]), leaves[4]],
            checkpoint: note,
        };
        Self {
            log,
            witnesses,
            leaves,
            proof,
            policy: WitnessPolicy::parse(&policy).unwrap(),
        }
    }

    fn verify(&self, proof: &TlogProof) -> Result<Logged, ProofError> {
        proof.verify(
            self.leaves[2],
            std::slice::from_ref(&self.log.key),
            &self.policy,
        )
    }
}

#[test]
fn what_a_receipt_proves() {
    for log in [Signer::log("log"), Signer::ecdsa_log("log")] {
        let world = World::new(log);
        let logged = world.verify(&world.proof).unwrap();
        assert_eq!(logged.witnessed.at, Some(at(30)));
        assert_eq!(logged.checkpoint.origin, "log");
        for (place, leaf) in world.leaves.iter().enumerate() {
            let logs = [world.log.key.clone()];
            let found = world.proof.verify(*leaf, &logs, &world.policy);
            assert_eq!(found.is_ok(), place == 2);
        }
        let strangers = [Signer::log("log").key];
        let found = world
            .proof
            .verify(world.leaves[2], &strangers, &world.policy);
        assert_eq!(found, Err(ProofError::Checkpoint(NoteError::Unsigned)));
    }
}

/// A checkpoint without enough witnesses proves what the log says and no time.
#[test]
fn a_receipt_says_when_witnesses_are_missing() {
    let world = World::new(Signer::log("log"));
    let mut proof = world.proof.clone();
    proof.checkpoint.signatures.pop();
    let witnessed = world.verify(&proof).unwrap().witnessed;
    assert!(!witnessed.complete && witnessed.at.is_none());
    assert_eq!(witnessed.cosigners, [("w1".to_owned(), at(30))]);
    let forged = world.witnesses[1].cosign("another\n", 20);
    proof.checkpoint.signatures.push(forged);
    let bad = NoteError::BadSignature("w2".to_owned());
    assert_eq!(world.verify(&proof), Err(ProofError::Checkpoint(bad)));
}

/// Only what no key vouches for can be changed: a witness's name or id, which makes it a stranger.
#[test]
fn no_byte_of_a_receipt_can_be_changed() {
    for log in [Signer::log("log"), Signer::ecdsa_log("log")] {
        let world = World::new(log);
        let whole = world.verify(&world.proof).unwrap();
        let written = world.proof.to_string();
        let names = written.find("\u{2014} w1").unwrap();
        let (mut refused, mut lost) = (0, 0);
        let lines = |proof: &TlogProof| proof.checkpoint.signatures.len();
        for changed in mutations(written.as_bytes()) {
            let Ok(proof) = TlogProof::parse(&changed) else {
                refused += 1;
                continue;
            };
            assert_eq!(proof.to_string().as_bytes(), changed, "one spelling");
            match world.verify(&proof) {
                Err(_) => refused += 1,
                Ok(logged) => {
                    lost += 1;
                    assert_eq!((logged.index, &logged.checkpoint), (2, &whole.checkpoint));
                    assert!(!logged.witnessed.complete, "{proof}");
                    assert_eq!(&changed[..names], &written.as_bytes()[..names]);
                    assert_eq!(lines(&proof), lines(&world.proof));
                }
            }
        }
        assert!(
            refused > 8000 && (20..400).contains(&lost),
            "{refused} {lost}"
        );
    }
}

#[test]
fn receipts_that_are_none() {
    let world = World::new(Signer::log("log"));
    let good = world.proof.to_string();
    let hash = base64(world.leaves[3].as_bytes());
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let extra = |text: &str| with("index", &format!("{text}\nindex"));
    assert_eq!(TlogProof::parse(good.as_bytes()).unwrap(), world.proof);
    let read = TlogProof::parse(extra("extra AQI=").as_bytes()).unwrap();
    assert_eq!(
        (&read.extra, read.to_string()),
        (&Some(vec![1, 2]), extra("extra AQI="))
    );
    assert!(world.verify(&read).is_ok(), "nothing vouches for it");
    let none = TlogProof {
        extra: Some(vec![]),
        ..world.proof.clone()
    };
    assert_eq!(none.to_string(), good);

    let many = |count: usize| with(&hash, &[hash.as_str()].repeat(count).join("\n"));
    assert!(TlogProof::parse(many(62).as_bytes()).is_ok());
    for (text, line) in [
        (with("v1", "v2"), 1),
        (with("c2sp", " c2sp"), 1),
        (format!("\n{good}"), 1),
        (extra("extra"), 2),
        (extra("extra "), 2),
        (extra("extra AQI"), 2),
        (extra("extra  AQI="), 2),
        (extra("extraAQI="), 2),
        (extra("extra AQI=\nextra AQI="), 3),
        (extra("other AQI="), 2),
        (with("index 2\n", ""), 2),
        (with("index 2", "index 02"), 2),
        (with("index 2", "index  2"), 2),
        (with("index 2", "index -2"), 2),
        (with("index 2", "Index 2"), 2),
        (with("index 2", "index 2\nindex 2"), 3),
        (with("index 2", "index 18446744073709551616"), 2),
        (with(&hash, &hash[4..]), 3),
        (with(&hash, &format!("{hash} ")), 3),
        (with(&hash, &format!("{hash}\r")), 3),
        (many(63), 67),
    ] {
        assert_eq!(
            TlogProof::parse(text.as_bytes()),
            Err(ProofError::Line(line)),
            "{text}"
        );
    }
    let head = "c2sp.org/tlog-proof@v1\n\nlog\n";
    assert_eq!(TlogProof::parse(head.as_bytes()), Err(ProofError::Line(2)));
    let form = Err(ProofError::Checkpoint(NoteError::Form));
    assert_eq!(TlogProof::parse(b""), form);
    let joined = with("\n\n", "\n");
    assert_eq!(
        TlogProof::parse(joined.as_bytes()),
        Err(ProofError::Line(6)),
        "the log's name"
    );
    let long = vec![b'x'; MAX_LEN + 1];
    assert_eq!(TlogProof::parse(&long), Err(ProofError::TooLong));
}

/// What a cosignature of this second proves: the end of it.
fn at(seconds: i64) -> crate::Time {
    crate::testing::at(seconds) + std::time::Duration::from_millis(999)
}
