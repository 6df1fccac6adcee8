//! Custodians of a test: what they close holds from their genesis.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use trust::approval::{Acceptance, Approval, Outcome, Statement};
use trust::bytes16::Nonce;
use trust::chain::{Chains, Genesis, SignedDocument, walk};
use trust::format::V1;
use trust::policy::Thresholds;
use trust::request::{ClockCorrection, LostLeaves, NewOrigin, Operation};
use trust::sshkey::SshKey;
use trust::tlog::checkpoint::Checkpoint;
use trust::transcript::Record;
use trust::{
    Hash, Line, Member, MemberKey, MemberSignature, Name, Namespace, Pin, Policy, Purpose, Request,
    Role, Roster, Sha256Digest, Threshold, Time, Transcript, dsse, sshsig,
};

/// Minutes after the beginning of every test's time.
pub fn minute(minutes: i64) -> Time {
    Time::from_millis(1_795_338_000_000 + minutes * 60_000)
}

struct Person {
    id: Name,
    role: Role,
    active: bool,
    pair: Ed25519KeyPair,
    public: SshKey,
    /// The key is one of a security key.
    touched: bool,
}

/// Alice and Bob approve and accept what Carol proposes.
pub struct Custodians {
    people: Vec<Person>,
    routine_rings: Vec<Name>,
    chains: Chains,
    pin: Pin,
}

/// A leaf that does something to the log, and the ceremony that it rests on.
#[derive(Clone)]
pub struct Done {
    /// SHA-256 of the request.
    pub request: Sha256Digest,
    pub transcript: Vec<u8>,
    pub leaf: Value,
}

impl Custodians {
    pub fn new(environment: &str) -> Self {
        Self::of(
            environment,
            ["alice", "bob", "carol"].map(Person::new).into(),
            &[],
        )
    }

    /// Besides them Dave, an operator, Erin, who was a custodian once, Wendy, a witness, and Adam, an administrator.
    pub fn with_others(environment: &str) -> Self {
        let mut people = Vec::from(["alice", "bob", "carol"].map(Person::new));
        people.push(Person {
            role: Role::Operator,
            ..Person::new("dave")
        });
        people.push(Person {
            active: false,
            ..Person::new("erin")
        });
        let more = [("wendy", Role::Witness), ("adam", Role::Administrator)];
        people.extend(more.map(|(id, role)| Person {
            role,
            ..Person::new(id)
        }));
        Self::of(environment, people, &[])
    }

    /// With the executors `robot` and `second`; the policy calls these rings routine.
    pub fn with_executors(environment: &str, routine_rings: &[&str]) -> Self {
        let mut people = Vec::from(["alice", "bob", "carol"].map(Person::new));
        people.extend(["robot", "second"].map(|id| Person {
            role: Role::Executor,
            ..Person::new(id)
        }));
        Self::of(environment, people, routine_rings)
    }

    /// The same, and Alice's key is in a security key, which she touches.
    pub fn with_a_security_key(environment: &str) -> Self {
        let others = ["bob", "carol"].map(Person::new);
        let alice = Person::with_security_key("alice");
        let people = [alice].into_iter().chain(others).collect();
        Self::of(environment, people, &[])
    }

    fn of(environment: &str, people: Vec<Person>, routine_rings: &[&str]) -> Self {
        let pin = Pin {
            genesis: Sha256Digest::of(b""),
            service: name("seal"),
            environment: name(environment),
        };
        let mut custodians = Self {
            people,
            routine_rings: routine_rings.iter().map(|ring| name(ring)).collect(),
            chains: Chains {
                genesis: SignedDocument {
                    body: String::new(),
                    signatures: Vec::new(),
                },
                changes: Vec::new(),
            },
            pin,
        };
        let genesis = Genesis {
            v: V1,
            roster: custodians.roster(),
            policy: custodians.policy(),
        };
        let body = String::from_utf8(genesis.encode().unwrap()).unwrap();
        custodians.pin.genesis = Sha256Digest::of(body.as_bytes());
        let everybody: Vec<String> = custodians.people.iter().map(|p| p.id.to_string()).collect();
        let everybody: Vec<&str> = everybody.iter().map(String::as_str).collect();
        let signatures = custodians.sign(Purpose::Genesis, body.as_bytes(), &everybody);
        custodians.chains.genesis = SignedDocument { body, signatures };
        custodians
    }

    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// The signed genesis, as an installation takes it.
    pub fn genesis(&self) -> Vec<u8> {
        trust::json::canonical(&self.chains).unwrap()
    }

    /// A signature over a file, as `ssh-keygen -Y sign` writes it. Whoever is no member signs with a key that the roster
    /// does not know.
    pub fn signature(&self, who: &str, namespace: &str, file: &[u8]) -> String {
        let member = self.people.iter().find(|person| person.id.as_str() == who);
        match member {
            Some(person) => person.armored(namespace, file),
            None => Person::new(who).armored(namespace, file),
        }
    }

    /// The key of a member; one that the roster does not know of anybody else.
    pub fn public_key(&self, who: &str) -> SshKey {
        let member = self.people.iter().find(|person| person.id.as_str() == who);
        match member {
            Some(person) => person.public.clone(),
            None => Person::new(who).public,
        }
    }

    /// What somebody's security key signs that nobody touched.
    pub fn untouched(&self, who: &str, namespace: &str, file: &[u8]) -> String {
        let mut people = self.people.iter();
        let person = people.find(|person| person.id.as_str() == who).unwrap();
        person.armored_with(namespace, file, 0)
    }

    fn roster(&self) -> Roster {
        let member = |person: &Person| Member {
            id: person.id.clone(),
            name: person.id.to_string(),
            roles: vec![person.role.clone()],
            keys: vec![MemberKey::Ssh {
                public: person.public.clone(),
            }],
            active: person.active,
        };
        Roster {
            v: V1,
            service: self.pin.service.clone(),
            environment: self.pin.environment.clone(),
            version: 1,
            previous: None,
            members: self.people.iter().map(member).collect(),
            expires_at: None,
            passkeys: None,
        }
    }

    fn policy(&self) -> Policy {
        Policy {
            v: V1,
            service: self.pin.service.clone(),
            environment: self.pin.environment.clone(),
            version: 1,
            previous: None,
            routine_rings: self.routine_rings.clone(),
            thresholds: Thresholds::uniform(Threshold::try_from(2).unwrap()),
        }
    }

    fn sign(&self, purpose: Purpose, body: &[u8], who: &[&str]) -> Vec<MemberSignature> {
        let namespace = Namespace::new(purpose, &self.pin.service, &self.pin.environment);
        let namespace = namespace.to_string();
        let signers = (self.people.iter()).filter(|person| who.contains(&person.id.as_str()));
        signers
            .map(|person| person.sign(&namespace, body))
            .collect()
    }

    /// Proposed in this minute, and closed ten minutes after.
    pub fn close(&self, at: i64, operation: Operation) -> (Sha256Digest, Vec<u8>) {
        let trusted = walk(&self.chains, &self.pin).unwrap();
        let outcome = match &operation {
            Operation::ClockCorrection(order) => Outcome::Corrected(order.clone()),
            Operation::NewOrigin(order) => Outcome::NewOrigin {
                origin: order.origin.clone(),
                root: order.root,
                size: order.size,
            },
            other => panic!("{other:?} is not done to a log"),
        };
        let first = |subject| Line {
            previous: None,
            sequence: 1,
            subject,
        };
        let request = Request {
            v: V1,
            service: self.pin.service.clone(),
            environment: self.pin.environment.clone(),
            lines: operation.subjects().into_iter().map(first).collect(),
            roster: trusted.roster_ref(),
            policy: trusted.policy_ref(),
            operation,
            order: None,
            proposer: Some(name("carol")),
            reason: "a test".to_owned(),
            ticket: None,
            created_at: minute(at),
            approve_by: minute(at + 30),
            execute_by: minute(at + 60),
            nonce: Nonce([9; 16]),
        };
        let bytes = request.encode().unwrap();
        let voted = |purpose, who: &[&str]| {
            let approval = |signature| Approval {
                signature,
                received_at: minute(at + 5),
            };
            let signed = self.sign(purpose, &bytes, who);
            signed.into_iter().map(approval).collect::<Vec<_>>()
        };
        let record = Record {
            v: V1,
            chains: self.chains.clone(),
            request: String::from_utf8(bytes.clone()).unwrap(),
            order: None,
            proposal: voted(Purpose::Propose, &["carol"]).pop(),
            approvals: voted(Purpose::Approve, &["alice", "bob"]),
            rejections: Vec::new(),
            cancellations: Vec::new(),
            suspensions: Vec::new(),
            steps: Vec::new(),
        };
        let statement = Statement {
            v: V1,
            request_digest: Sha256Digest::of(&bytes),
            record_digest: record.digest().unwrap(),
            executed_at: minute(at + 10),
            outcome,
        };
        let statement = String::from_utf8(statement.encode().unwrap()).unwrap();
        let signatures = self.sign(Purpose::Accept, statement.as_bytes(), &["alice", "bob"]);
        let transcript = Transcript {
            v: V1,
            record,
            acceptance: Acceptance {
                result: None,
                statement,
                signatures,
            },
            log_keys: Vec::new(),
            log_proofs: Vec::new(),
        };
        (Sha256Digest::of(&bytes), transcript.encode().unwrap())
    }

    /// With the leaf that tells of it, ten minutes after it was proposed.
    pub fn done(&self, at: i64, operation: Operation) -> Done {
        let mut leaf = match &operation {
            Operation::ClockCorrection(order) => json!({
                "action": "clock-correction", "first": order.first, "last": order.last,
                "bound": order.bound, "origin": order.origin,
            }),
            Operation::NewOrigin(order) => json!({
                "action": "new-origin", "origin": order.origin, "first": order.size,
                "last": order.lost.map_or(order.size, |lost| lost.last + 1),
            }),
            other => panic!("{other:?} is not done to a log"),
        };
        let (request, transcript) = self.close(at, operation);
        leaf["kind"] = "log".into();
        leaf["actor"] = "test".into();
        leaf["v"] = 1.into();
        leaf["time"] = json!(minute(at + 10));
        leaf["ref"] = json!(request);
        leaf["digest"] = json!(Sha256Digest::of(&transcript));
        Done {
            request,
            transcript,
            leaf,
        }
    }
}

/// Leaves that were not written after a minute.
pub fn correction(origin: &str, first: u64, last: u64, bound: i64) -> Operation {
    Operation::ClockCorrection(ClockCorrection {
        bound: minute(bound),
        first,
        last,
        origin: origin.to_owned(),
    })
}

/// An origin that takes over the first `size` of `before` leaves, of whatever tree.
pub fn new_origin(from: &str, to: &str, size: u64, before: u64) -> Operation {
    let last = Checkpoint {
        origin: from.to_owned(),
        size: before,
        root: Sha256Digest::of(b"tree"),
    };
    Operation::NewOrigin(NewOrigin {
        lost: (size < before).then(|| LostLeaves {
            first: size,
            last: before - 1,
        }),
        origin: to.to_owned(),
        previous_checkpoint: signed(&last),
        previous_origin: from.to_owned(),
        root: Sha256Digest::of(b"tree"),
        size,
    })
}

/// A note, by nobody's key.
pub fn signed(now: &Checkpoint) -> String {
    format!("{}\n\u{2014} x AAAAAAA=\n", now.body())
}

/// The key that a person of this name has, who may be no member yet.
pub fn public(who: &str) -> SshKey {
    Person::new(who).public
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(bytes);
}

/// PROTOCOL.u2f: the user was there.
const TOUCHED: u8 = 1;

const SECURITY_KEY: &str = "sk-ssh-ed25519@openssh.com";

impl Person {
    fn new(id: &str) -> Self {
        let seed = Sha256Digest::of(id.as_bytes());
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_bytes()).unwrap();
        let public = format!("ssh-ed25519 {}", Base64::encode_string(&wire(&pair)));
        Self {
            id: name(id),
            role: Role::Custodian,
            active: true,
            public: public.parse().unwrap(),
            pair,
            touched: false,
        }
    }

    fn with_security_key(id: &str) -> Self {
        let person = Self {
            touched: true,
            ..Self::new(id)
        };
        let public = Base64::encode_string(&person.wire());
        Self {
            public: format!("{SECURITY_KEY} {public}").parse().unwrap(),
            ..person
        }
    }

    fn sign(&self, namespace: &str, body: &[u8]) -> MemberSignature {
        let text = self.armored(namespace, &dsse::pae(namespace, body));
        MemberSignature::ssh(sshsig::normalize(&text).unwrap())
    }

    fn wire(&self) -> Vec<u8> {
        if !self.touched {
            return wire(&self.pair);
        }
        let mut wire = Vec::new();
        put(&mut wire, SECURITY_KEY.as_bytes());
        put(&mut wire, self.pair.public_key().as_ref());
        put(&mut wire, b"ssh:");
        wire
    }

    /// As `ssh-keygen -Y sign` would.
    fn armored(&self, namespace: &str, file: &[u8]) -> String {
        self.armored_with(namespace, file, TOUCHED)
    }

    fn armored_with(&self, namespace: &str, file: &[u8], flags: u8) -> String {
        let digest = Hash::Sha512.digest(file);
        let mut signed = b"SSHSIG".to_vec();
        for part in [namespace.as_bytes(), b"", b"sha512", &digest] {
            put(&mut signed, part);
        }
        let mut signature = Vec::new();
        if self.touched {
            let counter = 7u32.to_be_bytes();
            let application = Hash::Sha256.digest(b"ssh:");
            let message = Hash::Sha256.digest(&signed);
            let data = [&application[..], &[flags], &counter, &message].concat();
            put(&mut signature, SECURITY_KEY.as_bytes());
            put(&mut signature, self.pair.sign(&data).as_ref());
            signature.push(flags);
            signature.extend_from_slice(&counter);
        } else {
            put(&mut signature, b"ssh-ed25519");
            put(&mut signature, self.pair.sign(&signed).as_ref());
        }
        let mut blob = b"SSHSIG\x00\x00\x00\x01".to_vec();
        let key = self.wire();
        for part in [&key[..], namespace.as_bytes(), b"", b"sha512", &signature] {
            put(&mut blob, part);
        }
        let text = Base64::encode_string(&blob);
        format!("-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n")
    }
}

fn wire(pair: &Ed25519KeyPair) -> Vec<u8> {
    let mut wire = Vec::new();
    put(&mut wire, b"ssh-ed25519");
    put(&mut wire, pair.public_key().as_ref());
    wire
}
