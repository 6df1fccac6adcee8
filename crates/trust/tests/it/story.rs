//! A key, its log and a signature by it, in the hands of a test: what the thief of a log's key could write.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use trust::approval::Outcome;
use trust::evidence::{Covers, Evidence, Kind, Logged, Subject, verify};
use trust::format::V1;
use trust::request::{Operation, RevocationReason};
use trust::tlog::cosignature;
use trust::tlog::note::VerifierKey;
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;
use trust::*;

mod of_the_log;

use crate::support::{NewKey, World, generate, log, minute, name};

pub const RING: &str = "atp-integrity";
pub const ORIGIN: &str = "seal.example/log";

/// A key, its log, and a signature by it.
pub struct Story {
    pub world: World,
    pub key: NewKey,
    pub birth: String,
    pub log_key: NewKey,
    pub log_birth: String,
    pub leaves: Vec<String>,
    pub life: Vec<usize>,
    pub signed: usize,
    pub subject: Option<Subject>,
    pub revocation: Option<String>,
    /// First line of the log's checkpoints today.
    pub origin: String,
    /// The places and transcripts of acts on the log.
    pub corrections: Vec<(usize, String)>,
    pub origins: Vec<(usize, String)>,
    /// Earlier origins with all that stood there.
    pub before: Vec<(String, Vec<String>)>,
}

impl Story {
    pub fn new() -> Self {
        Self::of(Usage::Structured)
    }

    /// Of a ring with this usage. Accepted in minute 11.
    pub fn of(usage: Usage) -> Self {
        let world = World::quick();
        let (key, log_key) = (NewKey::generate(), NewKey::generate());
        let order = Generate {
            usage,
            ..generate(RING)
        };
        let birth = born(&world, order, &key);
        let log_birth = generated(&world, "log", &log_key);
        let mut story = Self {
            world,
            key,
            log_key,
            log_birth,
            leaves: Vec::new(),
            life: Vec::new(),
            signed: 0,
            subject: None,
            revocation: None,
            birth: String::new(),
            origin: ORIGIN.to_owned(),
            corrections: Vec::new(),
            origins: Vec::new(),
            before: Vec::new(),
        };
        story.leaf(json!({"kind": "admin", "action": "start", "actor": "test", "time": minute(0)}));
        let digest = Sha256Digest::of(birth.as_bytes());
        story.birth = birth;
        let more = json!({"kind": "ceremony", "kid": story.kid(), "digest": digest});
        story.act(11, "accepted", more);
        story
    }

    pub fn kid(&self) -> Kid {
        self.key.public().kid()
    }

    pub fn leaf(&mut self, mut leaf: Value) -> usize {
        leaf["v"] = json!(1);
        let bytes = json::canonical(&leaf).unwrap();
        self.leaves.push(String::from_utf8(bytes).unwrap());
        self.leaves.len() - 1
    }

    /// An act of the key's life, with what makes it so.
    pub fn act(&mut self, at: u64, action: &str, more: Value) -> &mut Self {
        let mut leaf = json!({
            "kind": "key", "action": action, "actor": "test", "ring": RING, "time": minute(at),
        });
        for (name, value) in more.as_object().unwrap() {
            leaf[name] = value.clone();
        }
        let index = self.leaf(leaf);
        self.life.push(index);
        self
    }

    pub fn activate(&mut self) -> &mut Self {
        self.act(20, "rotate", json!({"kid": self.kid()}))
    }

    pub fn demote(&mut self) -> &mut Self {
        let more = json!({"kid": other(), "previous_kid": self.kid()});
        self.act(200, "rotate", more)
    }

    pub fn retire(&mut self) -> &mut Self {
        self.act(300, "retire", json!({"kid": self.kid()}))
    }

    pub fn revoke(&mut self, reason: &str, since: Option<u64>) -> &mut Self {
        let mut more = json!({"previous_kid": self.kid(), "reason": reason, "ref": "0"});
        if let Some(since) = since {
            more["compromised_since"] = json!(minute(since));
        }
        self.act(402, "revoke", more)
    }

    /// In minute 100 by the log's clock.
    pub fn sign(&mut self) -> &mut Self {
        self.sign_as(Covers::Jws, jws("a record"))
    }

    /// Something else, in the same minute. A digest stands for itself.
    pub fn sign_as(&mut self, covers: Covers, input: Vec<u8>) -> &mut Self {
        let salt = [7; 16];
        let signature = match covers {
            Covers::Digest => self.key.sign_digest(&input),
            _ => self.key.sign(&input),
        };
        self.signed = self.leaf(json!({
            "actor": "a service", "alg": "ES256", "kid": self.kid(), "kind": "sign", "ring": RING,
            "input_commit": Sha256Digest::of(&[&salt[..], &input].concat()),
            "sig_hash": sig_hash(&signature), "time": minute(100),
        }));
        self.subject = Some(Subject {
            covers,
            input: Base64Url(input),
            salt: Some(Base64Url(salt.to_vec())),
            signature: Base64Url(signature),
        });
        self
    }

    /// Hands the leaf to `change`, as whoever has the log's key may.
    pub fn rewrite(&mut self, index: usize, change: impl FnOnce(&mut Value)) -> &mut Self {
        let mut leaf: Value = serde_json::from_str(&self.leaves[index]).unwrap();
        change(&mut leaf);
        self.leaves[index] = String::from_utf8(json::canonical(&leaf).unwrap()).unwrap();
        self
    }

    pub fn proof(&self, index: usize) -> TlogProof {
        log::proof(&self.origin, &self.log_key, &self.leaves, index)
    }

    pub fn file(&self) -> Evidence {
        Evidence {
            leaf: self.leaves[self.signed].clone(),
            proof: self.proof(self.signed).to_string(),
            ..self.file_without_leaf()
        }
    }

    fn file_without_leaf(&self) -> Evidence {
        let logged = |index: &usize| Logged {
            leaf: self.leaves[*index].clone(),
            proof: self.proof(*index).to_string(),
        };
        Evidence {
            corrections: self.certified(&self.corrections),
            environment: self.world.pin.environment.clone(),
            leaf: String::new(),
            life: self.life.iter().map(logged).collect(),
            log_keys: vec![self.log_birth.clone()],
            order: vec![],
            origins: self.certified(&self.origins),
            proof: String::new(),
            revocation: self.revocation.clone(),
            service: self.world.pin.service.clone(),
            subject: self.subject.clone(),
            transcript: self.birth.clone(),
            kind: Kind::ChanceryEvidence,
            v: V1,
        }
    }

    pub fn genesis(&self) -> Sha256Digest {
        self.world.pin.genesis
    }

    /// The verdict and its reasons, or the word of the refusal.
    pub fn said(&self, file: &Evidence, policy: Option<&WitnessPolicy>) -> String {
        said(&file.encode().unwrap(), self.genesis(), policy)
    }

    pub fn verdict(&self) -> String {
        self.said(&self.file(), None)
    }

    /// The same with a witness that saw the leaf's checkpoint in this minute.
    pub fn witnessed(&self, at: u64) -> String {
        let (file, policy) = self.cosigned(at);
        self.said(&file, Some(&policy))
    }

    pub fn cosigned(&self, at: u64) -> (Evidence, WitnessPolicy) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let key = VerifierKey::cosigner("witness.example", public).unwrap();
        let mut proof = self.proof(self.signed);
        let seconds = minute(at).millis() as u64 / 1000;
        let signature = pair.sign(&cosignature::message(&proof.checkpoint.text, seconds));
        let line = cosignature::build(&key, seconds, signature.as_ref()).unwrap();
        proof.checkpoint.signatures.push(line);
        let mut file = self.file();
        file.proof = proof.to_string();
        let policy = WitnessPolicy::parse(&format!("witness w {key}\nquorum w\n")).unwrap();
        (file, policy)
    }
}

pub fn said(bytes: &[u8], genesis: Sha256Digest, policy: Option<&WitnessPolicy>) -> String {
    match verify(bytes, genesis, policy) {
        Err(refused) => refused.word.to_owned(),
        Ok(found) => {
            let verdict = json!(found.verdict);
            format!("{} {}", verdict["outcome"], verdict["reasons"]).replace('"', "")
        }
    }
}

/// By which the log names a signature of the key.
pub fn sig_hash(signature: &[u8]) -> Sha256Digest {
    Sha256Digest::of(&trust::signature::canonical(KeySpec::P256, signature))
}

/// What is signed of a JWS with this payload.
pub fn jws(payload: &str) -> Vec<u8> {
    let parts = [r#"{"alg":"ES256"}"#, payload].map(|part| base64url::encode(part.as_bytes()));
    parts.join(".").into_bytes()
}

/// Some other key of the ring.
pub fn other() -> String {
    "A".repeat(43)
}

pub fn generated(world: &World, ring: &str, key: &NewKey) -> String {
    born(world, generate(ring), key)
}

fn born(world: &World, order: Generate, key: &NewKey) -> String {
    let request = world.request_for(Operation::Generate(order));
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let outcome = Outcome::Generated(key.generated(&request));
    encoded(&world.finished(&ceremony, outcome))
}

pub fn revoked(world: &World, change: impl FnOnce(&mut Revoke)) -> (String, Sha256Digest) {
    let mut order = Revoke {
        ring: name(RING),
        kid: other().parse().unwrap(),
        number: 1,
        reason: RevocationReason::Superseded,
        compromised_since: None,
    };
    change(&mut order);
    let request = world.request_for(Operation::Revoke(order));
    let digest = Sha256Digest::of(&request.encode().unwrap());
    (encoded(&world.done(&request)), digest)
}

fn encoded(transcript: &Transcript) -> String {
    String::from_utf8(transcript.encode().unwrap()).unwrap()
}

/// A key that was primary, and signed.
pub fn primary() -> Story {
    let mut story = Story::new();
    story.activate().sign();
    story
}
