//! The recovery roster: enrolled by the custodians, used when they are lost. What must not pass is in
//! `threats_to_recovery`.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use trust::acts::Act;
use trust::chain::{
    ChainError, Change, LoggedVeto, Next, Progress, Recovery, RecoveryError, progress, walk,
};
use trust::format::V1;
use trust::leaf::{ActKind, ActLeaf};
use trust::policy::Threshold;
use trust::recovery::{
    ANNOUNCE, RECOVER, RecoveryFault, RecoveryMember, VETO, VetoBody, check_recovery, message,
};
use trust::review::{open_file, review_document};
use trust::transcript::Logged;
use trust::*;

use crate::story::generated;
use crate::support::{Custodian, NewKey, World, generate, log, minute, sign_all};

pub const ORIGIN: &str = "seal.example/log";

/// 72 hours.
pub const DELAY: u64 = 72 * 60;

/// A leaf about the recovery of `document`, as the service writes it: of a veto the digest is that of its body.
pub fn recovery_act(
    action: &str,
    document: Sha256Digest,
    digest: Sha256Digest,
    time: Time,
) -> ActLeaf {
    ActLeaf {
        digest: Some(digest),
        reference: Some(document.to_string()),
        ..ActLeaf::new(ActKind::Roster, action, "test", time)
    }
}

/// How far its document is.
pub fn progress_of(world: &World, document: &SignedDocument) -> Result<Progress, ChainError> {
    progress(&world.trusted(), Next::Recovery, document, &BTreeSet::new())
}

/// A service that lost Bob and Carol. Ruth, Sam and Tess may recover, two of them after the delay.
pub struct Lost {
    pub world: World,
    pub ruth: Custodian,
    pub sam: Custodian,
    pub tess: Custodian,
    /// New custodians, with Alice.
    pub erin: Custodian,
    pub frank: Custodian,
    pub key: NewKey,
    pub birth: String,
    pub leaves: Vec<ActLeaf>,
    pub document: SignedDocument,
    pub announced: usize,
    pub effect: usize,
    pub vetoes: Vec<(usize, Vec<u8>, MemberSignature)>,
}

impl Lost {
    pub fn new() -> Self {
        let mut world = World::quick();
        let [ruth, sam, tess] = ["ruth", "sam", "tess"].map(Custodian::quick);
        let roster = recovery_roster(&world, &[&ruth, &sam, &tess]);
        let signers = [&world.alice, &world.bob, &ruth, &sam, &tess];
        let enrolment = enrolment(&world, &roster, &signers);
        world.chains.changes.push(enrolment);
        let key = NewKey::generate();
        let birth = generated(&world, "log", &key);
        let document = SignedDocument {
            body: String::new(),
            signatures: vec![],
        };
        let [erin, frank] = ["erin", "frank"].map(Custodian::quick);
        let mut all = Self {
            world,
            ruth,
            sam,
            tess,
            erin,
            frank,
            key,
            birth,
            leaves: vec![],
            document,
            announced: 0,
            effect: 0,
            vetoes: vec![],
        };
        all.announce(all.signed_by_enough(|_| ()));
        all.take_effect(100 + DELAY);
        all
    }

    /// The roster with Erin and Frank in place of Bob and Carol, changed, by these.
    pub fn signed(
        &self,
        change: impl FnOnce(&mut Roster),
        signers: &[&Custodian],
    ) -> SignedDocument {
        let newcomers = [&self.erin, &self.frank].map(|each| each.member(&[Role::Custodian]));
        let change = |roster: &mut Roster| {
            roster.members[1].active = false;
            roster.members[2].active = false;
            roster.members.extend(newcomers);
            change(roster);
        };
        let body = self.world.next_roster(change, &[]).body;
        self.world
            .signed(Purpose::Recover, body.into_bytes(), signers)
    }

    pub fn signed_by_enough(&self, change: impl FnOnce(&mut Roster)) -> SignedDocument {
        self.signed(change, &[&self.ruth, &self.sam, &self.erin, &self.frank])
    }

    /// In minute 100; nothing else is in the log but its start.
    pub fn announce(&mut self, document: SignedDocument) {
        self.document = document;
        self.vetoes.clear();
        self.leaves = vec![ActLeaf::new(ActKind::Admin, "start", "test", minute(0))];
        let act = recovery_act(ANNOUNCE, self.digest(), self.digest(), minute(100));
        self.announced = self.leaf(act);
    }

    pub fn take_effect(&mut self, at: u64) {
        let act = recovery_act(RECOVER, self.digest(), self.digest(), minute(at));
        self.effect = self.leaf(act);
        let heartbeat = ActLeaf::new(ActKind::Admin, "heartbeat", "test", minute(at));
        self.leaf(heartbeat);
    }

    /// Before the effect.
    pub fn veto(&mut self, body: Vec<u8>, signature: MemberSignature) {
        let digest = Sha256Digest::of(&body);
        let at = self.leaves[self.announced].time;
        self.leaves.truncate(self.effect);
        let act = recovery_act(VETO, self.digest(), digest, at);
        let index = self.leaf(act);
        self.vetoes.push((index, body, signature));
        self.take_effect(100 + DELAY);
    }

    pub fn veto_body(&self) -> VetoBody {
        VetoBody {
            document_digest: self.digest(),
            reason: "we are all here".to_owned(),
            roster: self.world.trusted().roster_ref(),
            v: V1,
        }
    }

    pub fn vetoed_by(&mut self, member: &Custodian) {
        let body = self.veto_body().encode().unwrap();
        let signature = self.world.signature(Purpose::Veto, &body, member);
        self.veto(body, signature);
    }

    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.document.body.as_bytes())
    }

    pub fn leaf(&mut self, act: ActLeaf) -> usize {
        self.leaves.push(act);
        self.leaves.len() - 1
    }

    pub fn logged(&self, index: usize) -> Logged {
        self.logged_in(ORIGIN, &self.key, index)
    }

    pub fn logged_in(&self, origin: &str, key: &NewKey, index: usize) -> Logged {
        let leaves = self.leaves.iter().map(|act| json::canonical(act).unwrap());
        let leaves: Vec<_> = leaves.collect();
        Logged {
            leaf: String::from_utf8(leaves[index].clone()).unwrap(),
            proof: log::proof(origin, key, &leaves, index).to_string(),
        }
    }

    pub fn change(&self) -> Recovery {
        let vetoes = self.vetoes.iter().map(|(index, body, signature)| {
            let Logged { leaf, proof } = self.logged(*index);
            LoggedVeto {
                body: String::from_utf8(body.clone()).unwrap(),
                leaf,
                proof,
                signature: signature.clone(),
            }
        });
        Recovery {
            announcement: self.logged(self.announced),
            document: self.document.clone(),
            effect: self.logged(self.effect),
            log_keys: vec![self.birth.clone()],
            vetoes: vetoes.collect(),
        }
    }

    pub fn walked(&self) -> Result<Trusted, ChainError> {
        self.walked_with(|_| ())
    }

    pub fn walked_with(&self, change: impl FnOnce(&mut Recovery)) -> Result<Trusted, ChainError> {
        let mut recovery = self.change();
        change(&mut recovery);
        let mut chains = self.world.chains.clone();
        chains.changes.push(Change::Recovery(Box::new(recovery)));
        walk(&chains, &self.world.pin)
    }

    /// What is wrong with the recovery itself.
    pub fn error(&self) -> RecoveryError {
        self.error_with(|_| ())
    }

    pub fn error_with(&self, change: impl FnOnce(&mut Recovery)) -> RecoveryError {
        match self.walked_with(change).unwrap_err() {
            ChainError::Recovery { index: 2, source } => source,
            other => panic!("{other}"),
        }
    }
}

/// Two of these, after 72 hours.
pub fn recovery_roster(world: &World, people: &[&Custodian]) -> RecoveryRoster {
    let trusted = world.trusted();
    let members = people.iter().map(|person| RecoveryMember {
        id: person.id.clone(),
        name: format!("{} of the tests", person.id),
        keys: person.member(&[]).keys,
    });
    RecoveryRoster {
        v: V1,
        service: world.pin.service.clone(),
        environment: world.pin.environment.clone(),
        version: trusted.recovery_ref().map_or(0, |known| known.version) + 1,
        previous: Some(trusted.head()),
        members: members.collect(),
        threshold: Threshold::try_from(2).unwrap(),
        delay_seconds: 60 * DELAY,
    }
}

pub fn enrolment(world: &World, roster: &RecoveryRoster, signers: &[&Custodian]) -> Change {
    let body = roster.encode().unwrap();
    Change::RecoveryRoster(world.signed(Purpose::RecoveryRoster, body, signers))
}

pub fn walked(world: &World, change: Change) -> Result<Trusted, ChainError> {
    let mut chains = world.chains.clone();
    chains.changes.push(change);
    walk(&chains, &world.pin)
}

#[test]
fn a_recovery_roster_is_enrolled_by_the_custodians_and_all_its_keys() {
    let world = World::quick();
    let [ruth, sam, tess] = ["ruth", "sam", "tess"].map(Custodian::quick);
    let roster = recovery_roster(&world, &[&ruth, &sam, &tess]);
    let all = [&world.alice, &world.bob, &ruth, &sam, &tess];
    assert!(world.trusted().recovery().is_none());
    assert_eq!(world.trusted().may_enrol(&roster), Ok(()));
    let change = enrolment(&world, &roster, &all);
    let trusted = walked(&world, change).unwrap();
    assert_eq!(trusted.recovery(), Some(&roster));
    assert_eq!(trusted.roster_ref(), world.trusted().roster_ref());
    assert_eq!(trusted.policy_ref(), world.trusted().policy_ref());
    assert_eq!(trusted.length(), 2);
    assert_eq!(trusted.head(), trusted.recovery_ref().unwrap().digest);
    assert!(trusted.extends(&world.trusted()));
    for missing in 0..all.len() {
        let mut fewer = all.to_vec();
        fewer.remove(missing);
        let error = walked(&world, enrolment(&world, &roster, &fewer)).unwrap_err();
        let expected = matches!(error, ChainError::Signatures { index: 1, .. });
        assert!(expected, "{error}");
    }
    // Every key, not every person.
    let mut more = roster.clone();
    let second = Custodian::quick("second");
    more.members[0].keys.extend(second.member(&[]).keys);
    assert!(walked(&world, enrolment(&world, &more, &all)).is_err());
    let mut signers = all.to_vec();
    signers.push(&second);
    assert!(walked(&world, enrolment(&world, &more, &signers)).is_ok());
}

#[test]
fn an_enrolment_needs_the_threshold_of_its_own_word() {
    let mut world = World::quick();
    let three = |policy: &mut Policy| {
        let three = Threshold::try_from(3).unwrap();
        policy.thresholds.set("recovery-roster", three);
    };
    // Dave proposes where all three custodians are needed.
    let document = world.next_policy(three, &[&world.alice, &world.bob]);
    world.chains.changes.push(Change::Policy(document));
    let [ruth, sam] = ["ruth", "sam"].map(Custodian::quick);
    let roster = recovery_roster(&world, &[&ruth, &sam]);
    let two = [&world.alice, &world.bob, &ruth, &sam];
    assert!(walked(&world, enrolment(&world, &roster, &two)).is_err());
    let three = [&world.alice, &world.bob, &world.carol, &ruth, &sam];
    assert!(walked(&world, enrolment(&world, &roster, &three)).is_ok());
}

#[test]
fn a_recovery_puts_a_roster_in_place_of_one_that_is_lost() {
    let lost = Lost::new();
    let before = lost.world.trusted();
    assert!(
        progress_of(&lost.world, &lost.document)
            .unwrap()
            .is_complete()
    );
    let trusted = lost.walked().unwrap();
    let announced = json::canonical(trusted.roster()).unwrap();
    assert_eq!(announced, lost.document.body.as_bytes());
    assert_eq!(trusted.roster_ref().version, 2);
    assert_eq!(trusted.roster_ref().digest, lost.digest());
    assert_eq!(trusted.head(), lost.digest());
    assert_eq!(trusted.policy_ref(), before.policy_ref());
    assert_eq!(trusted.recovery_ref(), before.recovery_ref());
    assert!(trusted.extends(&before));
    let [recovered] = trusted.recoveries() else {
        panic!("{:?}", trusted.recoveries());
    };
    assert_eq!(recovered.document, lost.digest());
    assert_eq!(recovered.announced, (1, minute(100)));
    assert_eq!(recovered.effective, (2, minute(100 + DELAY)));
    assert_eq!(recovered.origin, ORIGIN);
    assert_eq!(recovered.delay, Duration::from_secs(60 * DELAY));
}

/// A ceremony under the roster that was put in place: Dave proposes, Alice and Erin approve.
fn held_after(lost: &Lost, order: Generate, key: &NewKey) -> Vec<u8> {
    let world = &lost.world;
    let mut request = world.request_for(Operation::Generate(order));
    request.proposer = Some(world.dave.id.clone());
    let ceremony = world.ceremony(&request, &[&world.alice, &lost.erin]);
    let record = world.record(&ceremony);
    let outcome = Outcome::Generated(key.generated(&request));
    let statement = world.statement(&record, outcome);
    let transcript = Transcript {
        v: V1,
        acceptance: world.acceptance(&statement, &[&lost.erin, &lost.frank]),
        record,
        log_keys: vec![],
        log_proofs: vec![],
    };
    transcript.encode().unwrap()
}

/// What is done afterwards is done by the new roster, and can be checked by everybody.
#[test]
fn ceremonies_and_recoveries_go_on_after_a_recovery() {
    let mut lost = Lost::new();
    let before = lost.world.transcript().encode().unwrap();
    let change = Change::Recovery(Box::new(lost.change()));
    lost.world.chains.changes.push(change);
    let after = held_after(&lost, generate("jwt"), &NewKey::generate());
    let after = verify_transcript(&after, &lost.world.pin).unwrap();
    assert_eq!(after.trusted().recoveries().len(), 1);
    // What was done before is still what it was.
    let before = verify_transcript(&before, &lost.world.pin).unwrap();
    assert!(after.trusted().extends(before.trusted()));

    // Again, with the log's key as it was certified before and after the first.
    let change = |roster: &mut Roster| {
        roster.members[0].active = false;
        roster.members[3].roles.push(Role::Custodian);
    };
    let body = lost.world.next_roster(change, &[]).body.into_bytes();
    let signers = [&lost.ruth, &lost.tess, &lost.erin, &lost.frank];
    let document = lost.world.signed(Purpose::Recover, body, &signers);
    let born_again = held_after(&lost, generate("log"), &lost.key);
    for birth in [lost.birth.clone(), String::from_utf8(born_again).unwrap()] {
        lost.birth = birth;
        lost.announce(document.clone());
        lost.take_effect(100 + DELAY);
        let trusted = lost.walked().unwrap();
        assert_eq!(trusted.recoveries().len(), 2);
        assert_eq!(trusted.roster_ref().version, 3);
    }
}

#[test]
fn a_recovery_roster_is_replaced_by_the_custodians_alone() {
    let mut lost = Lost::new();
    let [uma, vera] = ["uma", "vera"].map(Custodian::quick);
    let roster = recovery_roster(&lost.world, &[&lost.ruth, &uma, &vera]);
    assert_eq!(roster.version, 2);
    let signers = [&lost.world.alice, &lost.world.bob, &lost.ruth, &uma, &vera];
    let change = enrolment(&lost.world, &roster, &signers);
    lost.world.chains.changes.push(change);
    let trusted = lost.world.trusted();
    assert_eq!(trusted.recovery().map(|roster| roster.version), Some(2));
    lost.announce(lost.signed(|_| (), &[&uma, &lost.ruth, &lost.erin, &lost.frank]));
    lost.take_effect(100 + DELAY);
    assert!(lost.walked().is_ok());
}

/// What the service gives to people to sign is what is verified here.
#[test]
fn messages_are_those_that_are_verified() {
    let lost = Lost::new();
    let world = &lost.world;
    for purpose in [Purpose::RecoveryRoster, Purpose::Recover, Purpose::Veto] {
        let namespace = world.namespace(purpose).to_string();
        let made = message(purpose, &world.pin.service, &world.pin.environment, b"{}");
        assert_eq!(made, dsse::pae(&namespace, b"{}"));
        assert!(trust::namespace::is_reserved(&made));
        let by_hand = lost.ruth.signed(&namespace, &made);
        let signed = sign_all(&[&lost.ruth], &world.namespace(purpose), b"{}");
        assert_eq!(signed, [by_hand]);
    }
    let words = [Purpose::RecoveryRoster, Purpose::Recover, Purpose::Veto].map(Purpose::word);
    assert_eq!(words, ["recovery-roster", "recover", "veto"]);
}

#[test]
fn what_is_signed_about_a_recovery_can_be_read() {
    let lost = Lost::new();
    let pin = &lost.world.pin;
    let roster = lost.world.trusted().recovery().unwrap().encode().unwrap();
    let document = lost.document.body.clone().into_bytes();
    let veto = lost.veto_body().encode().unwrap();
    let digest = lost.digest().to_string();
    for (purpose, body, shown) in [
        (Purpose::RecoveryRoster, &roster, "delay_seconds 259200"),
        (Purpose::Recover, &document, "frank of the tests"),
        (Purpose::Veto, &veto, digest.as_str()),
    ] {
        let file = message(purpose, &pin.service, &pin.environment, body);
        let review = review_document(&open_file(&file).unwrap(), None).unwrap();
        let text = review.render();
        let squeezed = text.split(' ').filter(|word| !word.is_empty());
        let squeezed = squeezed.collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(shown), "{text}");
        assert_eq!(review.digest, Sha256Digest::of(body));
        // The bytes of one are not those of another.
        for other in [Purpose::RecoveryRoster, Purpose::Recover, Purpose::Veto] {
            let file = message(other, &pin.service, &pin.environment, body);
            assert_eq!(open_file(&file).is_ok(), other == purpose);
        }
    }
    let elsewhere = message(Purpose::Recover, &pin.service, &pin.service, &document);
    assert!(open_file(&elsewhere).is_err());
}

#[test]
fn documents_are_spelled_as_specified() {
    let lost = Lost::new();
    let Change::RecoveryRoster(signed) = &lost.world.chains.changes[0] else {
        panic!("an enrolment");
    };
    let genesis = lost.world.pin.genesis;
    let public = |person: &Custodian| {
        format!(
            r#"{{"id":"{0}","keys":[{{"kind":"ssh","public":"{1}"}}],"name":"{0} of the tests"}}"#,
            person.id, person.public
        )
    };
    let members = [&lost.ruth, &lost.sam, &lost.tess].map(public).join(",");
    let expected = format!(
        r#"{{"delay_seconds":259200,"environment":"production","members":[{members}],"previous":"{genesis}","service":"seal","threshold":2,"v":1,"version":1}}"#
    );
    assert_eq!(signed.body, expected);
    let veto = String::from_utf8(lost.veto_body().encode().unwrap()).unwrap();
    let roster = lost.world.trusted().roster_ref();
    let expected = format!(
        r#"{{"document_digest":"{}","reason":"we are all here","roster":{{"digest":"{}","version":1}},"v":1}}"#,
        lost.digest(),
        roster.digest
    );
    assert_eq!(veto, expected);
    let chains = serde_json::to_value(Change::Recovery(Box::new(lost.change()))).unwrap();
    let members: Vec<_> = chains["recovery"].as_object().unwrap().keys().collect();
    let expected = ["announcement", "document", "effect", "log_keys", "vetoes"];
    assert_eq!(members, expected);
    let leaf = lost.logged(lost.announced).leaf;
    let digest = lost.digest();
    let expected = format!(
        r#"{{"action":"announce-recovery","actor":"test","digest":"{digest}","kind":"roster","ref":"{digest}","time":"{}","v":1}}"#,
        minute(100)
    );
    assert_eq!(leaf, expected);
}

/// One file cannot show what was left out of it; the log does.
#[test]
fn a_veto_that_was_left_out_is_found_in_the_log() {
    let mut lost = Lost::new();
    let delay = Duration::from_secs(60 * DELAY);
    let checked = |lost: &Lost, time: fn(&Act) -> Time| {
        let acts = lost.leaves.iter().zip(0..);
        let acts = acts.map(|(leaf, index)| Act {
            index,
            leaf: leaf.clone(),
        });
        let acts: Vec<_> = acts.collect();
        check_recovery(lost.digest(), delay, &acts, time)
    };
    assert_eq!(checked(&lost, |act| act.leaf.time), Ok(()));
    let alice = Custodian::quick("alice");
    lost.vetoed_by(&alice);
    let vetoes = std::mem::take(&mut lost.vetoes);
    assert!(lost.walked().is_ok(), "the file hides it");
    let vetoed = RecoveryFault::Vetoed { effect: 3, veto: 2 };
    assert_eq!(checked(&lost, |act| act.leaf.time), Err(vetoed));
    // After the effect it comes too late, and one of another document says nothing of this.
    let veto = lost.leaves.remove(vetoes[0].0);
    assert_eq!(checked(&lost, |act| act.leaf.time), Ok(()));
    lost.leaf(veto);
    assert_eq!(checked(&lost, |act| act.leaf.time), Ok(()));
    let other = recovery_act(VETO, lost.world.pin.genesis, lost.digest(), minute(101));
    lost.leaves.insert(2, other);
    assert_eq!(checked(&lost, |act| act.leaf.time), Ok(()));
    // A clock that ran ahead, as a ceremony corrected it.
    let early = checked(&lost, |act| act.leaf.time.min(minute(99 + DELAY)));
    let expected = RecoveryFault::Early {
        effect: 3,
        announced_at: minute(100),
        at: minute(99 + DELAY),
    };
    assert_eq!(early, Err(expected));
    let announcement = lost.leaves.remove(1);
    let fault = checked(&lost, |act| act.leaf.time).unwrap_err();
    assert_eq!(fault, RecoveryFault::NotAnnounced { effect: 2 });
    lost.leaves.insert(1, announcement);
    lost.leaves.remove(3);
    let fault = checked(&lost, |act| act.leaf.time).unwrap_err();
    assert_eq!(fault, RecoveryFault::NoEffect);
}

/// Every seventh byte: nothing in a change is covered by nothing.
#[test]
fn any_single_byte_of_a_recovery_changed_is_refused() {
    let lost = Lost::new();
    let original = json::canonical(&Change::Recovery(Box::new(lost.change()))).unwrap();
    let mut bytes = original.clone();
    for at in (0..bytes.len()).step_by(7) {
        bytes[at] ^= 1 << (at % 7);
        if let Ok(change) = json::require_canonical::<Change>(&bytes) {
            assert!(walked(&lost.world, change).is_err(), "byte {at}");
        }
        bytes[at] = original[at];
    }
    let change = json::require_canonical::<Change>(&bytes).unwrap();
    assert!(walked(&lost.world, change).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// No subset under one of the two thresholds ever recovers, whenever it is used.
    #[test]
    fn no_subset_under_a_threshold_recovers(chosen in any::<[bool; 7]>(), minutes in 0..2 * DELAY) {
        let mut lost = Lost::new();
        let people = [
            &lost.ruth, &lost.sam, &lost.tess, &lost.erin, &lost.frank, &lost.world.alice,
            &lost.world.bob,
        ];
        let signers: Vec<_> = people.into_iter().zip(chosen).filter(|each| each.1).map(|each| each.0).collect();
        let document = lost.signed(|_| (), &signers);
        lost.announce(document);
        lost.take_effect(100 + minutes);
        let [ruth, sam, tess, erin, frank, ..] = chosen;
        let recovery = usize::from(ruth) + usize::from(sam) + usize::from(tess);
        let holds = recovery >= 2 && erin && frank && minutes >= DELAY;
        prop_assert_eq!(lost.walked().is_ok(), holds);
    }
}
