//! A standing order, and ceremonies under it.

use std::num::NonZeroU32;
use std::time::Duration;

use trust::approval::{Acceptance, Outcome};
use trust::bytes16::{CkaId, Nonce};
use trust::chain::Change;
use trust::place::{Pkcs11Place, Place};
use trust::request::{OrderExecutor, OrderPlace, OrderToken, OrderUse, OrderWindow};
use trust::*;

use super::{Custodian, NewKey, World, minute, name};

/// How the order is called.
pub const ID: Nonce = Nonce([5; 16]);

/// When it begins, in minutes.
pub const BEGINS: u64 = 100;

/// A service whose custodians ordered keys of ring `atp-integrity` in advance.
pub struct Ordered {
    pub world: World,
    pub robot: Custodian,
    /// The order's transcript.
    pub order: String,
}

/// Three keys within a month, made by the executor `robot`.
pub fn standing_order(robot: &Custodian) -> StandingOrder {
    StandingOrder {
        activate_after_seconds: 3_600,
        executor: OrderExecutor {
            key: robot.public.clone(),
            member: robot.id.clone(),
        },
        id: ID,
        interval_seconds: 0,
        lifetime_seconds: 90 * 86_400,
        not_after: minute(60 * 24 * 30),
        not_before: minute(BEGINS),
        place: OrderPlace::Pkcs11(OrderToken {
            template: Template::signing_key(),
            token_label: "seal-1".to_owned(),
            token_serial: "0a1b2c3d".to_owned(),
        }),
        purpose: KeyPurpose::Sign {
            algorithm: Algorithm::Es256,
            key_spec: KeySpec::P256,
        },
        ring: name("atp-integrity"),
        usage: Usage::Structured,
        uses: 3,
        window: OrderWindow::always(),
    }
}

impl Ordered {
    /// The policy calls the ring routine.
    pub fn routine() -> Self {
        Self::new(true, |_| ())
    }

    /// The policy calls no ring routine.
    pub fn critical() -> Self {
        Self::new(false, |_| ())
    }

    pub fn new(routine: bool, change: impl FnOnce(&mut StandingOrder)) -> Self {
        let (mut world, robot) = world(routine);
        let mut order = standing_order(&robot);
        change(&mut order);
        let request = request_for_order(&world, order);
        let transcript = world.done(&request);
        let bytes = transcript.encode().unwrap();
        verify_transcript(&bytes, &world.pin).unwrap();
        world.clock = BEGINS;
        Self {
            world,
            robot,
            order: String::from_utf8(bytes).unwrap(),
        }
    }

    /// Asks for key 2 of the ring.
    pub fn request(&self, number: u32) -> Request {
        request_under(&self.world, number)
    }

    /// The ring's first key, which the others succeed.
    pub fn first_key(&self) -> VerifiedTranscript {
        let first = self.world.transcript();
        self.verify(&first).unwrap()
    }

    pub fn ceremony(&self, request: &Request) -> Ceremony {
        Ceremony {
            order: Some(self.order.clone()),
            ..self.world.ceremony(request, &[])
        }
    }

    pub fn standing(&self, request: &Request) -> tally::Standing {
        let now = request.created_at + Duration::from_secs(600);
        self.standing_at(request, now)
    }

    pub fn standing_at(&self, request: &Request, now: Time) -> tally::Standing {
        let ceremony = self.ceremony(request);
        let history = History::claimed_by(&ceremony.request);
        tally(&self.world.trusted(), &ceremony, &history, now).into_standing()
    }

    /// What was made, signed by the executor and accepted by these.
    pub fn transcript(&self, request: &Request, accept: &[&Custodian]) -> Transcript {
        let made = NewKey::generate().generated(request);
        self.with(request, Outcome::Generated(made), &self.robot, accept)
    }

    pub fn with(
        &self,
        request: &Request,
        outcome: Outcome,
        executor: &Custodian,
        accept: &[&Custodian],
    ) -> Transcript {
        let world = &self.world;
        let record = world.record(&self.ceremony(request));
        let statement = world.statement(&record, outcome);
        let acceptance = world.acceptance(&statement, accept);
        let result = world.signature(Purpose::Result, acceptance.statement.as_bytes(), executor);
        Transcript {
            v: format::V1,
            record,
            acceptance: Acceptance {
                result: Some(result),
                ..acceptance
            },
            log_keys: vec![],
            log_proofs: vec![],
        }
    }

    pub fn verify(&self, transcript: &Transcript) -> Result<VerifiedTranscript, TranscriptError> {
        verify_transcript(&transcript.encode().unwrap(), &self.world.pin)
    }
}

/// Four people and an executor.
pub fn world(routine: bool) -> (World, Custodian) {
    let mut world = World::quick();
    let robot = Custodian::quick("robot");
    let enrolled = world.next_roster(
        |roster| roster.members.push(robot.member(&[Role::Executor])),
        &[&world.alice, &world.bob, &robot],
    );
    world.chains.changes.push(Change::Roster(enrolled));
    if routine {
        let policy = world.next_policy(
            |policy| policy.routine_rings = vec![name("atp-integrity")],
            &[&world.alice, &world.bob],
        );
        world.chains.changes.push(Change::Policy(policy));
    }
    (world, robot)
}

/// Asks for a key under the order.
pub fn request_under(world: &World, number: u32) -> Request {
    let created_at = minute(world.clock);
    let activate_at = created_at + Duration::from_secs(3_600);
    let key = number + 1;
    let place = Place::Pkcs11(Pkcs11Place {
        cka_id: CkaId([u8::try_from(key).unwrap(); 16]),
        label: format!("seal/production/atp-integrity/{key}"),
        template: Template::signing_key(),
        token_label: "seal-1".to_owned(),
        token_serial: "0a1b2c3d".to_owned(),
    });
    let generate = Generate {
        ring: name("atp-integrity"),
        number: key,
        purpose: KeyPurpose::Sign {
            algorithm: Algorithm::Es256,
            key_spec: KeySpec::P256,
        },
        usage: Usage::Structured,
        place,
        publish_at: created_at,
        activate_at,
        retire_at: activate_at + Duration::from_secs(90 * 86_400),
        predecessor: Some(NewKey::generate().kid()),
    };
    let mut request = world.request_for(Operation::Generate(generate));
    request.proposer = None;
    // The ring has had its first key.
    request.lines[0].sequence = 2;
    request.lines[0].previous = Some(Sha256Digest::of(b"the first key"));
    request.order = NonZeroU32::new(number).map(|number| OrderUse { id: ID, number });
    request
}

pub fn request_for_order(world: &World, order: StandingOrder) -> Request {
    let id = order.id;
    let mut request = world.request_for(Operation::Order(Box::new(order)));
    request.nonce = id;
    request
}
