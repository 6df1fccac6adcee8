//! What must hold for every input of every parser of outside bytes. Used by the fuzz targets and by
//! the mutation test that runs with the ordinary tests.
//!
//! No input panics; what is read is written back byte for byte; nothing unsigned verifies.

use trust::approval::{ObjectionBody, Statement};
use trust::chain::{Change, Genesis};
use trust::evidence::{self, Evidence};
use trust::history::History;
use trust::jwk::PublicKey;
use trust::leaf::{ActKind, Leaf};
use trust::recovery::{MAX_DELAY, MIN_DELAY, RecoveryRoster, VetoBody};
use trust::request::Request;
use trust::review::{open_file, review, review_document};
use trust::roster::Roster;
use trust::sshkey::SshKey;
use trust::suspension::SuspensionBody;
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::note::{Note, NoteSignature, VerifierKey};
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;
use trust::tlog::tile::{Resource, decode_bundle, encode_bundle};
use trust::tlog::witness::{self, AddCheckpoint, Refusal};
use trust::tlog::{cosignature, merkle};
use trust::transcript::Transcript;
use trust::{
    Algorithm, JsonError, MemberSignature, Namespace, Pin, Policy, Purpose, Sha256Digest, Subject,
    Usage, dsse, json, signature, sshsig, verify_transcript,
};

/// Strict JSON: what is accepted has a canonical form that is accepted and is its own.
pub fn json(data: &[u8]) {
    let Ok(value) = json::parse_strict::<serde_json::Value>(data) else {
        return;
    };
    let canonical = json::canonical(&value).expect("what was read can be written");
    let again: serde_json::Value = json::require_canonical(&canonical).expect("canonical");
    assert_eq!(value, again);
    // serde_json reads whatever we read: we are only stricter.
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(data).expect("stricter"),
        value
    );
}

/// Public keys, as JWK and as SubjectPublicKeyInfo; signatures between their two forms.
pub fn jwk(data: &[u8]) {
    let keys = [
        PublicKey::from_jwk_json(data),
        PublicKey::from_spki_der(data),
    ];
    if let Ok(key) = &keys[1] {
        assert_eq!(key.to_spki_der(), data, "one encoding");
    }
    for key in keys.into_iter().flatten() {
        assert_eq!(
            PublicKey::from_spki_der(&key.to_spki_der()).expect("our own"),
            key
        );
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|each| each.allows(key.spec()))
            .expect("one");
        let jwk = serde_json::to_vec(&key.to_jwk(algorithm, Usage::Structured, &key.kid()))
            .expect("writes");
        assert_eq!(PublicKey::from_jwk_json(&jwk).expect("our own"), key);
        if let Ok(verifier) = trust::Verifier::new(&key, algorithm) {
            assert!(verifier.verify_message(data, data).is_err());
        }
    }
    for len in [32, 48] {
        if let Ok(fixed) = signature::der_to_p1363(data, len) {
            assert_eq!(
                signature::p1363_to_der(&fixed).expect("back"),
                data,
                "one encoding"
            );
        }
    }
}

/// SSH signatures and public keys.
pub fn sshsig(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (service, environment) = (name("seal"), name("test"));
    let namespace = Namespace::new(Purpose::Approve, &service, &environment);
    assert!(sshsig::verify(text, &namespace, b"a message nobody signed").is_err());
    if let Ok(normal) = sshsig::normalize(text) {
        assert_eq!(sshsig::normalize(&normal).expect("normal"), normal);
    }
    if let Ok(key) = text.parse::<SshKey>() {
        assert_eq!(key.as_str(), text, "one spelling");
    }
    if let Ok(key) = SshKey::from_pub_file(text) {
        assert_eq!(key.as_str().parse::<SshKey>().expect("our own"), key);
    }
}

/// DSSE: the pre-authentication encoding and the envelope.
pub fn pae(data: &[u8]) {
    if let Ok((payload_type, body)) = dsse::parse_pae(data) {
        assert_eq!(dsse::pae(payload_type, body), data, "one encoding");
    }
    if let Ok(envelope) = dsse::Envelope::decode(data) {
        let written = envelope.encode().expect("writes");
        assert_eq!(dsse::Envelope::decode(&written).expect("our own"), envelope);
        let _ = envelope.unverified_payload();
    }
}

/// Members' signatures: one encoding, and none is anybody's over what nobody signed.
pub fn member_signature(data: &[u8]) {
    let Ok(signature) = MemberSignature::decode(data) else {
        return;
    };
    assert_eq!(signature.encode().expect("writes"), data, "one encoding");
    assert_eq!(signature.digest().expect("writes"), Sha256Digest::of(data));
    if let MemberSignature::Ssh { signature } = signature {
        sshsig(signature.as_bytes());
    }
}

/// What authenticators and browsers make: none of it is a signature over this message, and what is read of a registration
/// can stand in a roster.
pub fn webauthn(data: &[u8]) {
    use trust::browser::{self, registration};
    use trust::roster::{MemberKey, Passkeys};
    use trust::webauthn::{self, Assertion, AuthenticatorData, ClientData, PasskeyKey};
    let party = Passkeys {
        origins: vec!["https://seal.example".to_owned()],
        rp_id: "seal.example".to_owned(),
    };
    let _ = ClientData::parse(data);
    if let Ok(read) = AuthenticatorData::parse(data) {
        assert_eq!(read.rp_id_hash.as_bytes()[..], data[..32]);
    }
    let _ = browser::assertion(data);
    if let Ok((client_data, attestation)) = browser::registration(data) {
        let _ = registration::read(&party, &client_data, &attestation);
    }
    let Ok(read) = registration::of_attestation(data, None) else {
        return;
    };
    if let MemberKey::Webauthn {
        algorithm,
        public_key,
        ..
    } = &read.key
    {
        let key = PasskeyKey::from_spki(*algorithm, &public_key.0).expect("its one form");
        let assertion = Assertion {
            authenticator_data: data,
            client_data: data,
            signature: data,
        };
        assert!(webauthn::verify(&party, &key, b"message", assertion).is_err());
    }
    let key = serde_json::to_value(&read.key).expect("writes");
    let again: MemberKey = serde_json::from_value(key).expect("as a roster has it");
    assert_eq!(again, read.key);
}

/// What people sign beside requests: statements, objections, suspensions.
pub fn statement(data: &[u8]) {
    let same = |written: Result<Vec<u8>, JsonError>| assert_eq!(written.expect("writes"), data);
    if let Ok(statement) = json::require_canonical::<Statement>(data) {
        same(statement.encode());
    }
    if let Ok(body) = json::require_canonical::<ObjectionBody>(data) {
        same(body.encode());
    }
    if let Ok(body) = json::require_canonical::<SuspensionBody>(data) {
        same(body.encode());
    }
    if let Ok(body) = json::require_canonical::<VetoBody>(data) {
        same(body.encode());
    }
}

/// Transcripts: one encoding, whose core is one too; none verifies from a genesis nobody signed.
pub fn transcript(data: &[u8]) {
    if let Ok(transcript) = Transcript::decode(data) {
        assert_eq!(transcript.encode().expect("writes"), data, "one encoding");
        let core = transcript.core().encode().expect("writes");
        let digest = transcript.core_digest().expect("writes");
        assert_eq!(digest, Sha256Digest::of(&core));
        let bare = Transcript::decode(&core).expect("our own");
        assert_eq!(bare.core(), bare);
        let proven = !transcript.log_keys.is_empty() || !transcript.log_proofs.is_empty();
        assert_eq!(core != data, proven);
        transcript
            .log_proofs
            .iter()
            .for_each(|logged| leaf(logged.leaf.as_bytes()));
    }
    let pin = Pin {
        genesis: Sha256Digest::of(b"nobody's genesis"),
        service: name("seal"),
        environment: name("test"),
    };
    assert!(verify_transcript(data, &pin).is_err());
}

/// Evidence files: one encoding, and none verifies from a genesis nobody signed.
pub fn evidence(data: &[u8]) {
    if let Ok(file) = Evidence::decode(data) {
        assert_eq!(file.encode().expect("writes"), data, "one encoding");
    }
    let genesis = Sha256Digest::of(b"nobody's genesis");
    assert!(evidence::verify(data, genesis, None).is_err());
}

/// Leaves: one encoding; a history takes whatever was read, or says why not.
pub fn leaf(data: &[u8]) {
    let written = match Leaf::parse(data) {
        Ok(Leaf::Signature(leaf)) => json::canonical(&leaf),
        Ok(Leaf::Act(act)) => {
            for kid in act.kid.iter().chain(&act.previous_kid) {
                let mut history = History::new(kid.clone(), act.time);
                let told = history.apply(&act).is_ok();
                assert!(!told || History::concerns(&act, kid));
                let _ = history.state();
            }
            json::canonical(&act)
        }
        // Its bytes are all that is kept of it, and they have one spelling too.
        Ok(Leaf::Unknown(leaf)) => {
            assert!(leaf.kind.as_str().parse::<ActKind>().is_err());
            let value: serde_json::Value = json::parse_strict(data).expect("strict");
            assert_eq!(value["kind"], leaf.kind.as_str());
            assert_eq!(value["time"], leaf.time.to_string());
            assert_eq!(value["v"], 1);
            json::canonical(&value)
        }
        Err(_) => return,
    };
    assert_eq!(written.expect("writes"), data, "one encoding");
}

/// Requests: one encoding; checking and rendering take whatever was read.
pub fn request(data: &[u8]) {
    let Ok(request) = Request::decode(data) else {
        return;
    };
    assert_eq!(request.encode().expect("writes"), data, "one encoding");
    if request.check().is_ok() {
        // Whatever was found good is in the lines of its subjects, and asked for by somebody.
        let lines = request.lines.iter().map(|line| &line.subject);
        assert!(lines.eq(&request.operation.subjects()));
        assert!(!request.lines.is_empty());
        assert!(request.proposer.is_some() != request.order.is_some());
    }
    for line in &request.lines {
        let text = line.subject.to_string();
        assert_eq!(text.parse::<Subject>().expect("our own"), line.subject);
    }
    let review = review(data, Some(&request)).expect("renders");
    assert!(review.changes.is_empty(), "no difference to itself");
    assert!(review.render().contains(&review.digest.to_string()));
}

/// Rosters, policies, recovery rosters, recoveries and the genesis.
pub fn roster(data: &[u8]) {
    let same = |written: Result<Vec<u8>, JsonError>| assert_eq!(written.expect("writes"), data);
    if let Ok(roster) = json::require_canonical::<Roster>(data) {
        let _ = roster.check();
        same(json::canonical(&roster));
    }
    if let Ok(policy) = json::require_canonical::<Policy>(data) {
        assert!(policy.thresholds.largest().get() >= 2);
        assert!(policy.thresholds.of("emergency-rotation").get() >= 3);
        let _ = policy.check();
        same(json::canonical(&policy));
    }
    if let Ok(roster) = json::require_canonical::<RecoveryRoster>(data) {
        assert!(roster.threshold.get() >= 2);
        if roster.check().is_ok() {
            assert!((MIN_DELAY..=MAX_DELAY).contains(&roster.delay()));
            assert!(roster.members.len() >= roster.threshold.get());
        }
        same(roster.encode());
    }
    if let Ok(change) = json::require_canonical::<Change>(data) {
        if let Change::Recovery(recovery) = &change {
            leaf(recovery.announcement.leaf.as_bytes());
            leaf(recovery.effect.leaf.as_bytes());
            tlog_proof(recovery.announcement.proof.as_bytes());
        }
        same(json::canonical(&change));
    }
    if let Ok(file) = open_file(data) {
        let _ = review_document(&file, None);
    }
    if let Ok(genesis) = json::require_canonical::<Genesis>(data) {
        let _ = (genesis.roster.check(), genesis.policy.check());
        same(genesis.encode());
    }
}

/// Signed notes, their signature lines and their keys.
pub fn note(data: &[u8]) {
    let keys = nobodys_keys();
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data, "one spelling");
        assert!(checkpoint::open(&note, &keys).is_err());
        for key in &keys {
            assert!(cosignature::verify(&note, key).is_none_or(|found| found.is_err()));
        }
    }
    if let Ok(lines) = NoteSignature::parse_lines(data) {
        let written: String = lines.iter().map(NoteSignature::to_string).collect();
        assert_eq!(written.as_bytes(), data, "one spelling");
    }
    if let Ok(key) = text(data).parse::<VerifierKey>() {
        assert_eq!(key.to_string().as_bytes(), data, "one spelling");
    }
}

/// Checkpoints.
pub fn checkpoint(data: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::parse(text(data)) {
        assert_eq!(checkpoint.body().as_bytes(), data, "one spelling");
    }
}

/// Receipts: one spelling, and none verifies for a leaf and a log that nobody signed for.
pub fn tlog_proof(data: &[u8]) {
    if let Ok(proof) = TlogProof::parse(data) {
        assert_eq!(proof.to_string().as_bytes(), data, "one spelling");
        let leaf = merkle::leaf_hash(data);
        let policy = WitnessPolicy::none();
        assert!(proof.verify(leaf, &nobodys_keys(), &policy).is_err());
    }
}

/// Witness policies: each known key stands once, and nobody's note satisfies a quorum.
pub fn witness_policy(data: &[u8]) {
    let Ok(policy) = WitnessPolicy::parse(text(data)) else {
        return;
    };
    let keys: Vec<_> = policy.witnesses().iter().map(|w| w.key.public()).collect();
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    let note = Note {
        text: "log\n".to_owned(),
        signatures: vec![],
    };
    let witnessed = policy
        .satisfied(&note)
        .expect("no signature, none that fails");
    assert!(witnessed.at.is_none() && witnessed.cosigners.is_empty());
}

/// Paths of tiles and bundles, and bundles.
pub fn tile(data: &[u8]) {
    if let Ok(resource) = Resource::parse(text(data)) {
        assert_eq!(resource.path().as_bytes(), data, "one spelling");
    }
    if let Ok(entries) = decode_bundle(data) {
        assert!((1..=256).contains(&entries.len()));
        assert_eq!(encode_bundle(entries).expect("back"), data, "one encoding");
    }
}

/// Requests to a witness: one spelling, and nobody's is cosigned.
pub fn add_checkpoint(data: &[u8]) {
    let Ok(request) = AddCheckpoint::parse(data) else {
        return;
    };
    assert_eq!(request.to_string().as_bytes(), data, "one spelling");
    let refusal = witness::decide(None, &request, &nobodys_keys()).expect_err("nobody's");
    assert!(
        !matches!(refusal, Refusal::Conflict { .. }),
        "before it is known who asks"
    );
}

/// Keys of a log and of a witness whose private halves nobody has.
fn nobodys_keys() -> Vec<VerifierKey> {
    let x = [0x33; 32];
    let log = PublicKey::ed25519(&x).expect("32 bytes");
    vec![
        VerifierKey::for_log("example.com/foo", &log).expect("a key"),
        VerifierKey::cosigner("example.com/foo", &x).expect("a key"),
    ]
}

fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).unwrap_or_default()
}

fn name(text: &str) -> trust::Name {
    text.parse().expect("a name")
}
