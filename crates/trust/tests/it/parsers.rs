//! Every parser of outside bytes against mutations of what it reads. The same assertions as the
//! fuzz targets, which need more time and another compiler than an ordinary test run has.

use proptest::prelude::*;
use trust::chain::Change;
use trust::evidence::Evidence;
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;
use trust::tlog::witness::AddCheckpoint;
use trust::tlog::{cosignature, merkle, tile};
use trust::*;

use crate::log_proofs::InLog;
use crate::recoveries::Lost;
use crate::story::primary;
use crate::support::ordered::{request_for_order, standing_order};
use crate::support::{
    Custodian, NewKey, World, armored, destroy, generate, in_vault, log, minute, revoke, wrap_key,
};

#[path = "../../../../tests/fuzz/parsers.rs"]
mod targets;

type Parser = fn(&[u8]);

/// Each parser with something that it reads.
fn seeds() -> Vec<(Parser, Vec<u8>)> {
    let world = World::quick();
    let trusted = world.trusted();
    let key = NewKey::generate().public();
    let jwk =
        serde_json::to_vec(&key.to_jwk(Algorithm::Es256, Usage::Structured, &key.kid())).unwrap();
    let approval = world.approval(b"body", &world.alice).signature;
    let envelope = dsse::Envelope::new("type", b"body", "kid", &[1, 2, 3]);
    let canonical = |value: &serde_json::Value| json::canonical(value).unwrap();
    vec![
        (
            targets::json as Parser,
            canonical(&serde_json::json!({"a": [1, -2, "x\u{e9}\n", null, true], "b": {"c": {}}})),
        ),
        (targets::jwk, jwk),
        (targets::jwk, key.to_spki_der()),
        (targets::jwk, signature::p1363_to_der(&[0x81; 64]).unwrap()),
        (targets::sshsig, armored(&approval).as_bytes().to_vec()),
        (targets::sshsig, world.alice.public.to_string().into_bytes()),
        (
            targets::sshsig,
            Custodian::ssh_keygen("a", "ecdsa-256")
                .public
                .to_string()
                .into_bytes(),
        ),
        (targets::pae, dsse::pae("type", b"body")),
        (targets::pae, envelope.encode().unwrap()),
        (targets::transcript, world.transcript().encode().unwrap()),
        (targets::transcript, proven().encode().unwrap()),
        (targets::evidence, primary().file().encode().unwrap()),
        (targets::evidence, of_a_log().encode().unwrap()),
        (targets::leaf, primary().file().leaf.into_bytes()),
        (
            targets::leaf,
            primary().file().life[1].leaf.clone().into_bytes(),
        ),
        (
            targets::leaf,
            of_a_log().origins[0].leaf.clone().into_bytes(),
        ),
        (
            targets::leaf,
            canonical(&serde_json::json!({
                "kind": "tenant", "time": minute(0), "v": 1, "since": [1, {"a": null}],
            })),
        ),
        (targets::member_signature, approval.encode().unwrap()),
        (
            targets::member_signature,
            canonical(&serde_json::json!({
                "authenticator_data": "AAAA", "client_data": "e30", "credential_id": "AAAA",
                "kind": "webauthn", "signature": "AAAA",
            })),
        ),
        (
            targets::statement,
            world.transcript().acceptance.statement.into_bytes(),
        ),
        (
            targets::statement,
            world.suspension("bob", &[]).body.into_bytes(),
        ),
        (
            targets::statement,
            world
                .rejection(&world.request(), &world.alice)
                .body
                .into_bytes(),
        ),
        (targets::request, world.request().encode().unwrap()),
        (targets::roster, json::canonical(trusted.roster()).unwrap()),
        (targets::roster, json::canonical(trusted.policy()).unwrap()),
        (targets::roster, world.chains.genesis.body.into_bytes()),
    ]
    .into_iter()
    .chain(requests())
    .chain(recovery_seeds())
    .chain(log_seeds())
    .chain(passkey_seeds())
    .collect()
}

/// The standard's own: a registration, an assertion, and what browsers write of them.
fn passkey_seeds() -> Vec<(Parser, Vec<u8>)> {
    let vectors = include_str!("../../src/webauthn/tests/vectors.txt");
    let (_, example) = vectors
        .split_once("[sctn-test-vectors-packed-es256]")
        .unwrap();
    let value = |name: &str| {
        let (_, rest) = example.split_once(&format!("{name} = ")).unwrap();
        hex::decode(rest.lines().next().unwrap()).unwrap()
    };
    let text = |name: &str| base64url::encode(&value(name));
    let browser = |response: serde_json::Value| {
        let json = serde_json::json!({
            "rawId": "AAAA", "type": "public-key", "response": response,
        });
        json.to_string().into_bytes()
    };
    let registration = serde_json::json!({
        "attestationObject": text("registration.attestationObject"),
        "clientDataJSON": text("registration.clientDataJSON"),
    });
    let assertion = serde_json::json!({
        "authenticatorData": text("authentication.authenticatorData"),
        "clientDataJSON": text("authentication.clientDataJSON"),
        "signature": text("authentication.signature"),
    });
    [
        value("registration.attestationObject"),
        value("authentication.authenticatorData"),
        value("authentication.clientDataJSON"),
        browser(registration),
        browser(assertion),
    ]
    .map(|seed| (targets::webauthn as Parser, seed))
    .into()
}

/// What a recovery is made of, without the transcript of the log's key.
fn recovery_seeds() -> Vec<(Parser, Vec<u8>)> {
    let mut lost = Lost::new();
    let alice = Custodian::quick("alice");
    let roster = lost.world.trusted().recovery().unwrap().encode().unwrap();
    let veto = lost.veto_body().encode().unwrap();
    let service = &lost.world.pin.service;
    let environment = &lost.world.pin.environment;
    let file = recovery::message(Purpose::RecoveryRoster, service, environment, &roster);
    lost.vetoed_by(&alice);
    let mut change = lost.change();
    change.log_keys[0].truncate(2);
    let enrolment = json::canonical(&lost.world.chains.changes[0]).unwrap();
    let announcement = change.announcement.leaf.clone().into_bytes();
    let change = Change::Recovery(Box::new(change));
    let mut chains = lost.world.chains.clone();
    chains.changes.push(change.clone());
    let mut transcript = lost.world.transcript();
    transcript.record.chains = chains;
    vec![
        (targets::roster as Parser, roster),
        (targets::roster, enrolment),
        (targets::roster, json::canonical(&change).unwrap()),
        (targets::roster, file),
        (targets::statement, veto),
        (targets::leaf, announcement),
        (targets::transcript, transcript.encode().unwrap()),
    ]
}

/// A request for each operation, and for each kind of place.
fn requests() -> Vec<(Parser, Vec<u8>)> {
    let world = World::quick();
    let kids = [NewKey::generate().kid(), NewKey::generate().kid()];
    let in_a_vault = Generate {
        place: in_vault("jwt", 1),
        ..generate("jwt")
    };
    let correction = request::ClockCorrection {
        bound: minute(0),
        first: 0,
        last: 3,
        origin: "seal.example/log".to_owned(),
    };
    let note = log::checkpoint("old", &NewKey::generate(), &["a", "b"]);
    let new_origin = NewOrigin {
        lost: Some(request::LostLeaves { first: 1, last: 1 }),
        origin: "new".to_owned(),
        previous_checkpoint: note.to_string(),
        previous_origin: "old".to_owned(),
        root: log::root(&["a"]),
        size: 1,
    };
    let order = request_for_order(&world, standing_order(&Custodian::quick("robot")));
    assert_eq!(order.check(), Ok(()));
    let order = (targets::request as Parser, order.encode().unwrap());
    [
        Operation::Generate(in_a_vault),
        Operation::Generate(wrap_key("kek")),
        destroy(&kids),
        revoke(&kids[0]),
        Operation::ClockCorrection(correction),
        Operation::NewOrigin(new_origin),
    ]
    .into_iter()
    .map(|operation| {
        let request = world.request_for(operation);
        assert_eq!(request.check(), Ok(()));
        (targets::request as Parser, request.encode().unwrap())
    })
    .chain([order])
    .collect()
}

/// An evidence file of a log to which everything happened, without the long transcripts, of which
/// another seed is one.
fn of_a_log() -> Evidence {
    let mut story = primary();
    story.correct(160, 150, 0, 3);
    story.begin_again(180, "seal.example/log-2", 5);
    let mut file = story.file();
    file.corrections[0].transcript.truncate(2);
    file.origins[0].transcript.truncate(2);
    file.transcript.truncate(2);
    file.log_keys[0].truncate(2);
    file
}

/// A transcript with the log's proofs, without the transcript of the log's key.
fn proven() -> Transcript {
    let mut transcript = InLog::new().transcript();
    transcript.log_keys[0].truncate(2);
    transcript.log_proofs.drain(3..);
    transcript
}

/// What the parsers of the log read.
fn log_seeds() -> Vec<(Parser, Vec<u8>)> {
    let hash = merkle::leaf_hash(b"leaf");
    let log = VerifierKey::for_log("example.com/log", &NewKey::generate().public()).unwrap();
    let witness = VerifierKey::cosigner("example.com/witness", &[3; 32]).unwrap();
    let checkpoint = Checkpoint {
        origin: log.name().to_owned(),
        size: 2,
        root: merkle::node_hash(hash, hash),
    };
    let note = Note {
        text: checkpoint.body(),
        signatures: vec![
            checkpoint::signature_line(&log, &[0x81; 64]).unwrap(),
            cosignature::build(&witness, 1_795_338_000, &[0x81; 64]).unwrap(),
        ],
    };
    let proof = TlogProof {
        index: 1,
        extra: Some(b"extra".to_vec()),
        hashes: vec![hash],
        checkpoint: note.clone(),
    };
    let request = AddCheckpoint {
        old: 1,
        proof: vec![hash],
        note: note.clone(),
    };
    let policy =
        format!("# who\nlog {log} https://log\nwitness w {witness}\ngroup g 1 w\nquorum g\n");
    WitnessPolicy::parse(&policy).unwrap();
    let bundle = tile::encode_bundle([&b"one"[..], b"", b"three"]).unwrap();
    [
        (targets::note as Parser, note.to_string()),
        (targets::note, note.signatures[1].to_string()),
        (targets::note, log.to_string()),
        (targets::note, witness.to_string()),
        (targets::checkpoint, checkpoint.body()),
        (targets::tlog_proof, proof.to_string()),
        (targets::witness_policy, policy),
        (targets::add_checkpoint, request.to_string()),
        (targets::tile, "tile/0/x001/x234/067.p/5".to_owned()),
        (targets::tile, "tile/entries/x001/234".to_owned()),
    ]
    .into_iter()
    .map(|(parser, seed)| (parser, seed.into_bytes()))
    .chain([(targets::tile as Parser, bundle)])
    .collect()
}

#[test]
fn every_parser_takes_its_seed() {
    for (parser, seed) in seeds() {
        parser(&seed);
        for length in 0..seed.len().min(600) {
            parser(&seed[..length]);
        }
    }
}

#[derive(Clone, Debug)]
enum Edit {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Delete(prop::sample::Index, u8),
    Repeat(prop::sample::Index, u8),
    /// Something that means something to one of the formats.
    Token(prop::sample::Index, prop::sample::Index),
}

const TOKENS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\u0061",
    "\\ud800",
    "9007199254740993",
    "1e9",
    "-0",
    "null",
    "\u{0}",
    " ",
    "DSSEv1 ",
    "-----",
    "=",
    "\n\n",
    "\u{2014} ",
    "\nextra ",
    "\ngroup g all w\n",
    "/x000",
    ".p/256",
];

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 1..=255u8).prop_map(|(at, by)| Edit::Flip(at, by)),
        (index(), prop::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(at, what)| Edit::Insert(at, what)),
        (index(), 1..40u8).prop_map(|(at, length)| Edit::Delete(at, length)),
        (index(), 1..40u8).prop_map(|(at, length)| Edit::Repeat(at, length)),
        (index(), index()).prop_map(|(at, token)| Edit::Token(at, token)),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    let place = |at: &prop::sample::Index| at.index(bytes.len() + 1);
    let part = |at: &prop::sample::Index, length: u8| {
        let start = at.index(bytes.len() + 1);
        start..(start + usize::from(length)).min(bytes.len())
    };
    match edit {
        Edit::Flip(at, by) => {
            let at = place(at);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= by;
            }
        }
        Edit::Insert(at, what) => {
            let at = place(at);
            bytes.splice(at..at, what.clone());
        }
        Edit::Delete(at, length) => {
            let range = part(at, *length);
            bytes.drain(range);
        }
        Edit::Repeat(at, length) => {
            let range = part(at, *length);
            let copy = bytes[range.clone()].to_vec();
            bytes.splice(range.start..range.start, copy);
        }
        Edit::Token(at, token) => {
            let at = place(at);
            bytes.splice(at..at, TOKENS[token.index(TOKENS.len())].bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_mutation_breaks_a_parser(edits in prop::collection::vec(prop::collection::vec(edit(), 1..4), 25)) {
        for (parser, seed) in seeds() {
            for edits in &edits {
                let mut bytes = seed.clone();
                for edit in edits {
                    apply(&mut bytes, edit);
                }
                parser(&bytes);
            }
        }
    }

    #[test]
    fn no_noise_breaks_a_parser(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        for parser in [
            targets::json, targets::jwk, targets::sshsig, targets::pae, targets::transcript,
            targets::request, targets::roster, targets::note, targets::checkpoint,
            targets::tlog_proof, targets::witness_policy, targets::tile, targets::add_checkpoint,
            targets::evidence, targets::leaf, targets::member_signature, targets::statement,
        ] {
            parser(&noise);
        }
    }
}
