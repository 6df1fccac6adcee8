//! Custodians, a genesis and whole ceremonies for tests.

mod device;
pub mod log;
pub mod ordered;
pub mod passkeys;
mod people;

use trust::approval::{
    Acceptance, Approval, Objection, ObjectionBody, Outcome, Statement, objection_message,
};
use trust::bytes16::Nonce;
use trust::chain::{Genesis, SignedDocument, walk};
use trust::format::V1;
use trust::policy::Thresholds;
use trust::request::request_digest;
use trust::suspension::{Suspension, SuspensionBody};
use trust::tally::History;
use trust::transcript::{Record, Step, WitnessNote};
use trust::*;

pub use device::{
    NewKey, as_ordered, destroy, found, generate, in_vault, on_token, revoke, wrap_key, wrapping,
};
pub use people::{Custodian, armor, armored, put, sshsig_blob};

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
    /// In which minute the next ceremony begins.
    pub clock: u64,
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
        Self::of(people, "production")
    }

    pub fn of(people: [Custodian; 4], environment: &str) -> Self {
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
            clock: 0,
        }
    }

    fn at(&self, minutes: u64) -> Time {
        minute(self.clock + minutes)
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
        self.request_for(Operation::Generate(generate("atp-integrity")))
    }

    /// The second act on each of its lines.
    pub fn later(&self, operation: Operation) -> Request {
        let mut request = self.request_for(operation);
        for line in &mut request.lines {
            line.sequence = 2;
            line.previous = Some(Sha256Digest::of(b"the first act"));
        }
        request
    }

    pub fn request_for(&self, operation: Operation) -> Request {
        let trusted = self.trusted();
        Request {
            v: V1,
            service: self.pin.service.clone(),
            environment: self.pin.environment.clone(),
            lines: operation.subjects().into_iter().map(first).collect(),
            roster: trusted.roster_ref(),
            policy: trusted.policy_ref(),
            operation,
            order: None,
            proposer: Some(self.carol.id.clone()),
            reason: "the ring's first key".to_owned(),
            ticket: None,
            created_at: self.at(0),
            approve_by: self.at(30),
            execute_by: self.at(60),
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
        let proposer = request.proposer.as_ref().and_then(|id| self.person(id));
        Ceremony {
            proposal: proposer.map(|proposer| self.proposal(&bytes, proposer)),
            request: bytes,
            approvals,
            rejections: vec![],
            cancellations: vec![],
            suspensions: vec![],
            order: None,
        }
    }

    /// One of the four.
    pub fn person(&self, id: &MemberId) -> Option<&Custodian> {
        let all = [&self.alice, &self.bob, &self.carol, &self.dave];
        all.into_iter().find(|person| person.id == *id)
    }

    pub fn proposal(&self, request: &[u8], signer: &Custodian) -> Approval {
        Approval {
            signature: self.signature(Purpose::Propose, request, signer),
            received_at: self.at(1),
        }
    }

    pub fn approval(&self, request: &[u8], signer: &Custodian) -> Approval {
        Approval {
            signature: self.signature(Purpose::Approve, request, signer),
            received_at: self.at(5),
        }
    }

    /// Over a body, for a purpose.
    pub fn signature(&self, purpose: Purpose, body: &[u8], signer: &Custodian) -> MemberSignature {
        let namespace = self.namespace(purpose).to_string();
        signer.signed(&namespace, &dsse::pae(&namespace, body))
    }

    pub fn rejection(&self, request: &Request, signer: &Custodian) -> Objection {
        objection(Purpose::Reject, request, signer)
    }

    pub fn cancellation(&self, request: &Request, signer: &Custodian) -> Objection {
        objection(Purpose::Cancel, request, signer)
    }

    pub fn suspension(&self, member: &str, signers: &[&Custodian]) -> Suspension {
        let body = SuspensionBody {
            member: name(member),
            nonce: Nonce([3; 16]),
            reason: "a lost laptop".to_owned(),
            roster: self.trusted().roster_ref(),
            v: V1,
        };
        let body = body.encode().unwrap();
        Suspension {
            signatures: sign_all(signers, &self.namespace(Purpose::Suspend), &body),
            body: String::from_utf8(body).unwrap(),
            received_at: minute(4),
        }
    }

    pub fn tally(&self, ceremony: &Ceremony) -> Tally {
        let history = History::claimed_by(&ceremony.request);
        tally(&self.trusted(), ceremony, &history, minute(10))
    }

    /// The record of a ceremony that was carried out.
    pub fn record(&self, ceremony: &Ceremony) -> Record {
        Record {
            v: V1,
            chains: self.chains.clone(),
            request: String::from_utf8(ceremony.request.clone()).unwrap(),
            order: ceremony.order.clone(),
            proposal: ceremony.proposal.clone(),
            approvals: ceremony.approvals.clone(),
            rejections: ceremony.rejections.clone(),
            cancellations: ceremony.cancellations.clone(),
            suspensions: ceremony.suspensions.clone(),
            steps: vec![Step {
                at: self.at(10),
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
            executed_at: self.at(10),
            outcome,
        }
    }

    pub fn acceptance(&self, statement: &Statement, signers: &[&Custodian]) -> Acceptance {
        let statement = String::from_utf8(statement.encode().unwrap()).unwrap();
        let namespace = self.namespace(Purpose::Accept);
        let signatures = sign_all(signers, &namespace, statement.as_bytes());
        Acceptance {
            result: None,
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
            log_keys: vec![],
            log_proofs: vec![],
        }
    }

    /// What was ordered is approved, done and accepted.
    pub fn done(&self, request: &Request) -> Transcript {
        let ceremony = self.ceremony(request, &[&self.alice, &self.bob]);
        self.finished(&ceremony, as_ordered(&request.operation))
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
        passkeys: None,
    }
}

pub fn first_policy(environment: &Name, threshold: u64) -> Policy {
    Policy {
        v: V1,
        service: name("seal"),
        environment: environment.clone(),
        version: 1,
        previous: None,
        routine_rings: vec![],
        thresholds: Thresholds::uniform(Threshold::try_from(threshold).unwrap()),
    }
}

pub fn sign_all(
    signers: &[&Custodian],
    namespace: &Namespace,
    body: &[u8],
) -> Vec<MemberSignature> {
    let namespace = namespace.to_string();
    let message = dsse::pae(&namespace, body);
    signers
        .iter()
        .map(|signer| signer.signed(&namespace, &message))
        .collect()
}

/// The first of a line.
pub fn first(subject: Subject) -> Line {
    Line {
        previous: None,
        sequence: 1,
        subject,
    }
}

fn objection(purpose: Purpose, request: &Request, signer: &Custodian) -> Objection {
    let body = ObjectionBody {
        v: V1,
        request_digest: request_digest(&request.encode().unwrap()),
        reason: "wrong token".to_owned(),
    };
    let body = body.encode().unwrap();
    let namespace = request.namespace(purpose).to_string();
    Objection {
        signature: signer.signed(&namespace, &objection_message(request, purpose, &body)),
        body: String::from_utf8(body).unwrap(),
        received_at: minute(6),
    }
}
