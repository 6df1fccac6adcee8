//! Custodians, a genesis and whole ceremonies for tests.
//!
//! Two kinds of custodian: [`Custodian::ssh_keygen`] has a key file and signs with the real
//! `ssh-keygen`; [`Custodian::quick`] signs in this process, for tests that need many signatures.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64ct::{Base64, Encoding};
use tempfile::TempDir;
use trust::alg::{Algorithm, Hash, KeySpec};
use trust::approval::{
    Acceptance, Approval, Generated, Outcome, Rejection, RejectionBody, Statement,
    possession_message, rejection_message,
};
use trust::bytes16::{CkaId, Nonce};
use trust::chain::{Genesis, SignedDocument, walk};
use trust::format::V1;
use trust::jwk::Curve;
use trust::policy::Thresholds;
use trust::request::{Operation, RevocationReason, Usage, request_digest};
use trust::sshkey::SshKey;
use trust::tally::History;
use trust::transcript::{Record, Step, WitnessNote};
use trust::*;

/// A person with a key.
pub struct Custodian {
    pub id: MemberId,
    pub public: SshKey,
    key: Key,
}

enum Key {
    File { _dir: TempDir, path: PathBuf },
    InProcess(Ed25519KeyPair),
}

impl Custodian {
    /// A key file made by `ssh-keygen -t kind`, used by `ssh-keygen -Y sign`.
    pub fn ssh_keygen(id: &str, kind: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", id, "-f"]).arg(&path);
        match kind.split_once('-') {
            Some((kind, bits)) => command.args(["-t", kind, "-b", bits]),
            None => command.args(["-t", kind]),
        };
        assert!(command.status().expect("ssh-keygen is installed").success());
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        Self {
            id: id.parse().unwrap(),
            public: SshKey::from_pub_file(&public).unwrap(),
            key: Key::File { _dir: dir, path },
        }
    }

    /// An Ed25519 key in this process, always the same for the same id.
    pub fn quick(id: &str) -> Self {
        Self::quick_with_seed(id, id)
    }

    pub fn quick_with_seed(id: &str, seed: &str) -> Self {
        let seed = Sha256Digest::of(seed.as_bytes());
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_bytes()).unwrap();
        let mut wire = Vec::new();
        put(&mut wire, b"ssh-ed25519");
        put(&mut wire, pair.public_key().as_ref());
        let public = format!("ssh-ed25519 {}", Base64::encode_string(&wire))
            .parse()
            .unwrap();
        Self {
            id: id.parse().unwrap(),
            public,
            key: Key::InProcess(pair),
        }
    }

    /// The armored signature over `message` in `namespace`.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> String {
        match &self.key {
            Key::File { path, .. } => {
                let mut child = Command::new("ssh-keygen")
                    .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
                    .arg(path)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("ssh-keygen is installed");
                child.stdin.take().unwrap().write_all(message).unwrap();
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success());
                String::from_utf8(output.stdout).unwrap()
            }
            Key::InProcess(pair) => {
                let mut signed = b"SSHSIG".to_vec();
                for part in [
                    namespace.as_bytes(),
                    b"",
                    b"sha512",
                    &Hash::Sha512.digest(message),
                ] {
                    put(&mut signed, part);
                }
                let mut signature = Vec::new();
                put(&mut signature, b"ssh-ed25519");
                put(&mut signature, pair.sign(&signed).as_ref());
                let mut wire = Vec::new();
                put(&mut wire, b"ssh-ed25519");
                put(&mut wire, pair.public_key().as_ref());
                armor(&sshsig_blob(
                    &wire,
                    namespace.as_bytes(),
                    b"",
                    b"sha512",
                    &signature,
                ))
            }
        }
    }

    pub fn member(&self, roles: &[Role]) -> Member {
        Member {
            id: self.id.clone(),
            name: format!("{} of the tests", self.id),
            roles: roles.to_vec(),
            keys: vec![MemberKey::Ssh {
                public: self.public.clone(),
            }],
            active: true,
        }
    }
}

pub fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(bytes);
}

pub fn sshsig_blob(
    public: &[u8],
    namespace: &[u8],
    reserved: &[u8],
    hash: &[u8],
    signature: &[u8],
) -> Vec<u8> {
    let mut blob = b"SSHSIG\x00\x00\x00\x01".to_vec();
    for part in [public, namespace, reserved, hash, signature] {
        put(&mut blob, part);
    }
    blob
}

pub fn armor(blob: &[u8]) -> String {
    let text = format!(
        "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
        Base64::encode_string(blob)
    );
    sshsig::normalize(&text).unwrap()
}

/// Minutes after the beginning of every test's time.
pub fn minute(minutes: u64) -> Time {
    Time::from_millis(1_795_338_000_000) + std::time::Duration::from_secs(60 * minutes)
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A service with custodians alice, bob and carol, an operator dave, and a 2-of-3 policy.
pub struct World {
    pub alice: Custodian,
    pub bob: Custodian,
    pub carol: Custodian,
    pub dave: Custodian,
    pub chains: Chains,
    pub pin: Pin,
}

impl World {
    pub fn quick() -> Self {
        Self::new(["alice", "bob", "carol", "dave"].map(Custodian::quick))
    }

    /// Every signature is made by the real ssh-keygen, with keys of every common kind.
    pub fn ssh_keygen() -> Self {
        Self::new(
            [
                ("alice", "ed25519"),
                ("bob", "ecdsa-256"),
                ("carol", "rsa-2048"),
                ("dave", "ecdsa-384"),
            ]
            .map(|(id, kind)| Custodian::ssh_keygen(id, kind)),
        )
    }

    fn new(people: [Custodian; 4]) -> Self {
        Self::at(people, "production")
    }

    pub fn at(people: [Custodian; 4], environment: &str) -> Self {
        let [alice, bob, carol, dave] = people;
        let (service, environment) = (name("seal"), name(environment));
        let roster = first_roster(
            &environment,
            vec![
                alice.member(&[Role::Custodian]),
                bob.member(&[Role::Custodian]),
                carol.member(&[Role::Custodian]),
                dave.member(&[Role::Operator]),
            ],
        );
        let genesis = Genesis {
            v: V1,
            roster,
            policy: first_policy(&environment, 2),
        };
        let body = String::from_utf8(genesis.encode().unwrap()).unwrap();
        let namespace = Namespace::new(Purpose::Genesis, &service, &environment);
        let signatures = sign_all(&[&alice, &bob, &carol, &dave], &namespace, body.as_bytes());
        let pin = Pin {
            genesis: Sha256Digest::of(body.as_bytes()),
            service,
            environment,
        };
        let chains = Chains {
            genesis: SignedDocument { body, signatures },
            changes: vec![],
        };
        Self {
            alice,
            bob,
            carol,
            dave,
            chains,
            pin,
        }
    }

    pub fn trusted(&self) -> Trusted {
        walk(&self.chains, &self.pin).unwrap()
    }

    pub fn namespace(&self, purpose: Purpose) -> Namespace {
        Namespace::new(purpose, &self.pin.service, &self.pin.environment)
    }

    /// A later roster or policy, signed by `signers`.
    pub fn signed(
        &self,
        purpose: Purpose,
        body: Vec<u8>,
        signers: &[&Custodian],
    ) -> SignedDocument {
        let signatures = sign_all(signers, &self.namespace(purpose), &body);
        SignedDocument {
            body: String::from_utf8(body).unwrap(),
            signatures,
        }
    }

    pub fn next_roster(
        &self,
        change: impl FnOnce(&mut Roster),
        signers: &[&Custodian],
    ) -> SignedDocument {
        let trusted = self.trusted();
        let mut roster = trusted.roster().clone();
        roster.version += 1;
        roster.previous = Some(trusted.head());
        change(&mut roster);
        self.signed(Purpose::Roster, json::canonical(&roster).unwrap(), signers)
    }

    pub fn next_policy(
        &self,
        change: impl FnOnce(&mut Policy),
        signers: &[&Custodian],
    ) -> SignedDocument {
        let trusted = self.trusted();
        let mut policy = trusted.policy().clone();
        policy.version += 1;
        policy.previous = Some(trusted.head());
        change(&mut policy);
        self.signed(Purpose::Policy, json::canonical(&policy).unwrap(), signers)
    }

    /// Carol proposes the first key of ring `atp-integrity`.
    pub fn request(&self) -> Request {
        self.request_for(Operation::Generate(Generate {
            ring: name("atp-integrity"),
            algorithm: Algorithm::Es256,
            key_spec: KeySpec::P256,
            number: 1,
            token_serial: "0a1b2c3d".to_owned(),
            token_label: "seal-1".to_owned(),
            cka_id: CkaId([7; 16]),
            label: "atp-integrity.1".to_owned(),
            template: Template::signing_key(),
            critical: true,
            usage: Usage::Structured,
            publish_at: minute(0),
            activate_at: minute(60),
            retire_at: minute(60 * 24 * 90),
            predecessor: None,
        }))
    }

    pub fn request_for(&self, operation: Operation) -> Request {
        let trusted = self.trusted();
        Request {
            v: V1,
            service: self.pin.service.clone(),
            environment: self.pin.environment.clone(),
            sequence: 1,
            previous_transcript: None,
            roster: trusted.roster_ref(),
            policy: trusted.policy_ref(),
            operation,
            proposer: self.carol.id.clone(),
            reason: "the ring's first key".to_owned(),
            ticket: None,
            created_at: minute(0),
            approve_by: minute(30),
            execute_by: minute(60),
            nonce: Nonce([9; 16]),
        }
    }

    /// A ceremony with approvals by `signers`, received five minutes after the request.
    pub fn ceremony(&self, request: &Request, signers: &[&Custodian]) -> Ceremony {
        let bytes = request.encode().unwrap();
        let approvals = signers
            .iter()
            .map(|signer| self.approval(&bytes, signer))
            .collect();
        Ceremony {
            request: bytes,
            approvals,
            rejections: vec![],
        }
    }

    pub fn approval(&self, request: &[u8], signer: &Custodian) -> Approval {
        let namespace = self.namespace(Purpose::Approve).to_string();
        let signature = signer.sign(&namespace, &dsse::pae(&namespace, request));
        Approval {
            signature,
            received_at: minute(5),
        }
    }

    pub fn rejection(&self, request: &Request, signer: &Custodian) -> Rejection {
        let request_digest = request_digest(&request.encode().unwrap());
        let body = RejectionBody {
            v: V1,
            request_digest,
            reason: "wrong token".to_owned(),
        };
        let body = body.encode().unwrap();
        let namespace = request.namespace(Purpose::Reject).to_string();
        let signature = signer.sign(&namespace, &rejection_message(request, &body));
        Rejection {
            body: String::from_utf8(body).unwrap(),
            signature,
            received_at: minute(6),
        }
    }

    pub fn tally(&self, ceremony: &Ceremony) -> Tally {
        tally(&self.trusted(), ceremony, &History::default(), minute(10))
    }

    /// The record of a ceremony that was carried out.
    pub fn record(&self, ceremony: &Ceremony) -> Record {
        Record {
            v: V1,
            chains: self.chains.clone(),
            request: String::from_utf8(ceremony.request.clone()).unwrap(),
            approvals: ceremony.approvals.clone(),
            rejections: ceremony.rejections.clone(),
            steps: vec![Step {
                at: minute(10),
                what: "generated".to_owned(),
                witness: Some(WitnessNote {
                    name: "Wendy".to_owned(),
                    note: "seen".to_owned(),
                }),
            }],
        }
    }

    pub fn statement(&self, record: &Record, outcome: Outcome) -> Statement {
        Statement {
            v: V1,
            request_digest: request_digest(record.request.as_bytes()),
            record_digest: record.digest().unwrap(),
            executed_at: minute(10),
            outcome,
        }
    }

    pub fn acceptance(&self, statement: &Statement, signers: &[&Custodian]) -> Acceptance {
        let statement = String::from_utf8(statement.encode().unwrap()).unwrap();
        let namespace = self.namespace(Purpose::Accept);
        let signatures = sign_all(signers, &namespace, statement.as_bytes());
        Acceptance {
            statement,
            signatures,
        }
    }

    /// Carol proposes, Alice and Bob approve and accept.
    pub fn transcript(&self) -> Transcript {
        let request = self.request();
        let ceremony = self.ceremony(&request, &[&self.alice, &self.bob]);
        let outcome = Outcome::Generated(NewKey::generate().generated(&request));
        self.finished(&ceremony, outcome)
    }

    pub fn finished(&self, ceremony: &Ceremony, outcome: Outcome) -> Transcript {
        let record = self.record(ceremony);
        let statement = self.statement(&record, outcome);
        let acceptance = self.acceptance(&statement, &[&self.alice, &self.bob]);
        Transcript {
            v: V1,
            record,
            acceptance,
            log_proofs: vec![],
        }
    }
}

pub fn first_roster(environment: &Name, members: Vec<Member>) -> Roster {
    Roster {
        v: V1,
        service: name("seal"),
        environment: environment.clone(),
        version: 1,
        previous: None,
        members,
        expires_at: None,
    }
}

pub fn first_policy(environment: &Name, threshold: u64) -> Policy {
    Policy {
        v: V1,
        service: name("seal"),
        environment: environment.clone(),
        version: 1,
        previous: None,
        thresholds: Thresholds::uniform(Threshold::try_from(threshold).unwrap()),
    }
}

pub fn sign_all(signers: &[&Custodian], namespace: &Namespace, body: &[u8]) -> Vec<String> {
    let namespace = namespace.to_string();
    let message = dsse::pae(&namespace, body);
    signers
        .iter()
        .map(|signer| signer.sign(&namespace, &message))
        .collect()
}

/// What a token would have generated.
pub struct NewKey(EcdsaKeyPair);

impl NewKey {
    pub fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn public(&self) -> PublicKey {
        let point = self.0.public_key().as_ref();
        PublicKey::ec(Curve::P256, &point[1..33], &point[33..]).unwrap()
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0
            .sign(&SystemRandom::new(), message)
            .unwrap()
            .as_ref()
            .to_vec()
    }

    /// What the executor reports about it.
    pub fn generated(&self, request: &Request) -> Box<Generated> {
        let Operation::Generate(order) = &request.operation else {
            panic!("not a generation");
        };
        let key = self.public();
        let digest = request_digest(&request.encode().unwrap());
        let challenge = possession_message(request, digest, &key.kid()).unwrap();
        Box::new(Generated {
            kid: key.kid(),
            spki_digest: key.spki_digest(),
            public_key: Base64Url(key.to_spki_der()),
            read_back: ReadBack {
                token_serial: order.token_serial.clone(),
                token_label: order.token_label.clone(),
                cka_id: order.cka_id,
                label: order.label.clone(),
                key_spec: order.key_spec,
                template: order.template.clone(),
                always_sensitive: Some(true),
                never_extractable: Some(true),
                local: Some(true),
            },
            possession: Base64Url(self.sign(&challenge)),
            attestation: None,
        })
    }
}

/// A revocation of a key.
pub fn revoke(kid: &Kid) -> Operation {
    Operation::Revoke(Revoke {
        ring: name("atp-integrity"),
        kid: kid.clone(),
        number: 1,
        reason: RevocationReason::Compromised,
        compromised_since: Some(minute(0)),
    })
}

/// A destruction of a key.
pub fn destroy(kid: &Kid) -> Operation {
    Operation::Destroy(Destroy {
        ring: name("atp-integrity"),
        kid: kid.clone(),
        number: 1,
        cka_id: CkaId([7; 16]),
        token_serial: "0a1b2c3d".to_owned(),
        token_label: "seal-1".to_owned(),
    })
}
