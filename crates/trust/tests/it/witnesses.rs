//! What witnesses attest of a ceremony, and what does not hold.

use trust::attestation::{
    Attestation, AttestationBody, Attestations, NotAttested, NotShown, attestation_message,
    verify_attestation, verify_attestations,
};
use trust::chain::Change;
use trust::tally::{Standing, WhyNot};
use trust::*;

use crate::support::passkeys::Passkey;
use crate::support::{Custodian, NewKey, World};

/// What a witness signs about a transcript.
pub fn attest(
    world: &World,
    transcript: &VerifiedTranscript,
    witness: &Custodian,
    note: Option<&str>,
) -> Attestation {
    let body = AttestationBody::of(transcript, note.map(str::to_owned));
    let body = body.encode().unwrap();
    Attestation {
        signature: world.signature(Purpose::Witness, &body, witness),
        body: String::from_utf8(body).unwrap(),
        log: NotShown,
        received_at: None,
    }
}

/// The service with Wendy, who is a witness, Walt, who is one besides being a custodian, Adam, an administrator, and Wanda,
/// who was a witness once.
struct Witnessed {
    world: World,
    wendy: Custodian,
    walt: Custodian,
    adam: Custodian,
    wanda: Custodian,
}

impl Witnessed {
    fn new() -> Self {
        let mut world = World::quick();
        let [wendy, walt, adam, wanda] = ["wendy", "walt", "adam", "wanda"].map(Custodian::quick);
        let enrolled = world.next_roster(
            |roster| {
                roster.members.push(wendy.member(&[Role::Witness]));
                roster
                    .members
                    .push(walt.member(&[Role::Witness, Role::Custodian]));
                roster.members.push(adam.member(&[Role::Administrator]));
                roster.members.push(Member {
                    active: false,
                    ..wanda.member(&[Role::Witness])
                });
            },
            &[&world.alice, &world.bob, &wendy, &walt, &adam],
        );
        world.chains.changes.push(Change::Roster(enrolled));
        Self {
            world,
            wendy,
            walt,
            adam,
            wanda,
        }
    }

    fn verified(&self, transcript: &Transcript) -> VerifiedTranscript {
        verify_transcript(&transcript.encode().unwrap(), &self.world.pin).unwrap()
    }

    fn judged(&self, of: &VerifiedTranscript, by: &Custodian) -> Result<String, NotAttested> {
        let attestation = attest(&self.world, of, by, None);
        verify_attestation(of, &attestation).map(|attested| attested.witness.to_string())
    }

    /// How a request stands that this member proposed and Alice and Bob approved.
    fn proposed_by(&self, member: &Custodian) -> Standing {
        let request = Request {
            proposer: Some(member.id.clone()),
            ..self.world.request()
        };
        let bytes = request.encode().unwrap();
        let ceremony = Ceremony {
            proposal: Some(self.world.proposal(&bytes, member)),
            ..self
                .world
                .ceremony(&request, &[&self.world.alice, &self.world.bob])
        };
        self.world.tally(&ceremony).into_standing()
    }
}

#[test]
fn what_a_witness_attests_is_read_back_and_changes_no_byte_of_the_transcript() {
    let all = Witnessed::new();
    let transcript = all.world.transcript();
    let verified = all.verified(&transcript);
    let seen = [
        attest(
            &all.world,
            &verified,
            &all.wendy,
            Some("the seal was intact"),
        ),
        attest(&all.world, &verified, &all.walt, None),
    ];
    let file = Attestations {
        attestations: seen.into(),
        request_digest: verified.statement().request_digest,
        v: format::V1,
    };
    let file = Attestations::decode(&file.encode().unwrap()).unwrap();
    let judged = verify_attestations(&verified, &file.attestations);
    let said: Vec<_> = judged
        .iter()
        .map(|each| each.as_ref().unwrap())
        .map(|each| (each.witness.as_str(), each.note.as_deref()))
        .collect();
    let expected = [("wendy", Some("the seal was intact")), ("walt", None)];
    assert_eq!(said, expected);
    // Proofs of the log do not make it another transcript, and other acceptances do.
    assert_eq!(verified.core_digest(), transcript.core_digest().unwrap());
    let mut other = transcript;
    other.acceptance.signatures.reverse();
    let why = verify_attestation(&all.verified(&other), &file.attestations[0]);
    assert_eq!(why.unwrap_err(), NotAttested::OtherTranscript);
}

#[test]
fn threat_an_attestation_that_does_not_hold() {
    let all = Witnessed::new();
    let (world, name) = (&all.world, |id: &str| id.parse::<MemberId>().unwrap());
    let verified = all.verified(&world.transcript());
    let nobody = Custodian::quick("nobody");
    for (by, why) in [
        (&nobody, NotAttested::Signature(WhyNot::UnknownKey)),
        (&all.wanda, NotAttested::Signature(WhyNot::Inactive)),
        (&all.adam, NotAttested::Role(name("adam"))),
        (&world.alice, NotAttested::Role(name("alice"))),
        (&world.dave, NotAttested::Role(name("dave"))),
    ] {
        assert_eq!(all.judged(&verified, by).unwrap_err(), why);
    }
    // Another transcript, another note, nothing readable.
    let mine = attest(world, &verified, &all.wendy, None);
    let body: AttestationBody = json::require_canonical(mine.body.as_bytes()).unwrap();
    let changed = |change: &dyn Fn(&mut AttestationBody)| {
        let mut body = body.clone();
        change(&mut body);
        let bytes = body.encode().unwrap();
        Attestation {
            signature: world.signature(Purpose::Witness, &bytes, &all.wendy),
            body: String::from_utf8(bytes).unwrap(),
            log: NotShown,
            received_at: None,
        }
    };
    let other = Sha256Digest::of(b"another");
    for (attestation, why) in [
        (
            changed(&|body| body.core_digest = other),
            NotAttested::OtherTranscript,
        ),
        (
            changed(&|body| body.request_digest = other),
            NotAttested::OtherTranscript,
        ),
        (
            changed(&|body| body.note = Some("a\u{202e}b".to_owned())),
            NotAttested::Text,
        ),
        (
            changed(&|body| body.note = Some("x".repeat(1_001))),
            NotAttested::Text,
        ),
        (
            Attestation {
                body: mine.body.replace("null", "\"seen\""),
                ..mine.clone()
            },
            NotAttested::Signature(WhyNot::Signature(sshsig::SshSigError::BadSignature)),
        ),
    ] {
        let judged = verify_attestation(&verified, &attestation);
        assert_eq!(judged.unwrap_err(), why);
    }
    // By a passkey, whoever's it is.
    let passkey = Passkey::new(Algorithm::Es256, "wendy");
    let (service, environment) = (&world.pin.service, &world.pin.environment);
    let message = attestation_message(service, environment, mine.body.as_bytes());
    let by_passkey = Attestation {
        signature: passkey.signed(&message),
        ..mine.clone()
    };
    let why = verify_attestation(&verified, &by_passkey).unwrap_err();
    assert_eq!(why, NotAttested::Passkey);
    assert!(
        why.to_string()
            .starts_with("a witness attests by an SSH key")
    );
    // The room for a proof is empty, and is there.
    let written = String::from_utf8(json::canonical(&mine).unwrap()).unwrap();
    assert!(written.contains(r#""log":null,"#), "{written}");
    for instead in ["", r#""log":{},"#, r#""log":false,"#] {
        let written = written.replace(r#""log":null,"#, instead);
        let read = json::require_canonical::<Attestation>(written.as_bytes());
        assert!(read.is_err(), "{written}");
    }
    let again = verify_attestations(&verified, &[mine.clone(), mine]);
    assert_eq!(again[1], Err(NotAttested::Again(name("wendy"))));
    // Who took part: Walt approves, as a custodian.
    let request = world.request();
    let outcome = Outcome::Generated(NewKey::generate().generated(&request));
    let ceremony = world.ceremony(&request, &[&world.alice, &all.walt]);
    let approved = all.verified(&world.finished(&ceremony, outcome));
    let why = all.judged(&approved, &all.walt).unwrap_err();
    assert_eq!(why, NotAttested::TookPart(name("walt")));
    assert!(all.judged(&approved, &all.wendy).is_ok());
    // Suspended when it was carried out.
    let outcome = Outcome::Generated(NewKey::generate().generated(&request));
    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    ceremony.suspensions = vec![world.suspension("wendy", &[&all.wendy])];
    let suspended = all.verified(&world.finished(&ceremony, outcome));
    let why = all.judged(&suspended, &all.wendy).unwrap_err();
    assert_eq!(why, NotAttested::Suspended(name("wendy")));
}

#[test]
fn threat_an_attestation_is_passed_off_as_an_acceptance() {
    let all = Witnessed::new();
    let transcript = all.world.transcript();
    let verified = all.verified(&transcript);
    let attestation = attest(&all.world, &verified, &all.walt, None);
    let mut passed_off = transcript.clone();
    passed_off.acceptance.signatures.push(attestation.signature);
    let bytes = passed_off.encode().unwrap();
    let error = verify_transcript(&bytes, &all.world.pin).unwrap_err();
    assert!(
        matches!(error, TranscriptError::Superfluous { index: 2, .. }),
        "{error}"
    );
    // The same statement, accepted, attests nothing.
    let mut taken = attest(&all.world, &verified, &all.wendy, None);
    taken.signature = transcript.acceptance.signatures[0].clone();
    let why = verify_attestation(&verified, &taken).unwrap_err();
    assert!(matches!(why, NotAttested::Signature(_)), "{why}");
}

#[test]
fn neither_a_witness_nor_an_administrator_counts() {
    let all = Witnessed::new();
    let world = &all.world;
    let request = world.request();
    for who in [&all.wendy, &all.adam] {
        let tally = world.tally(&world.ceremony(&request, &[&world.alice, who]));
        assert_eq!(tally.not_counted[0].why, WhyNot::Role, "{}", who.id);
        assert!(matches!(tally.standing, Standing::Waiting { missing: 1 }));
        let mut transcript = world.transcript();
        let statement = transcript.acceptance.statement.clone();
        let acceptance = world.signature(Purpose::Accept, statement.as_bytes(), who);
        transcript.acceptance.signatures.push(acceptance);
        let bytes = transcript.encode().unwrap();
        let error = verify_transcript(&bytes, &world.pin).unwrap_err();
        assert!(matches!(error, TranscriptError::Superfluous { .. }));
    }
    // A rejection by one blocks nothing.
    let mut ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    ceremony.rejections = vec![world.rejection(&request, &all.wendy)];
    assert_eq!(world.tally(&ceremony).into_standing(), Standing::Approved);
}

#[test]
fn a_witness_alone_proposes_nothing_and_an_administrator_does() {
    let all = Witnessed::new();
    let refused = all.proposed_by(&all.wendy);
    assert!(matches!(refused, Standing::Refused(_)), "{refused:?}");
    assert_eq!(all.proposed_by(&all.adam), Standing::Approved);
    // A custodian who is a witness besides.
    assert_eq!(all.proposed_by(&all.walt), Standing::Approved);
    let mut member = all.wendy.member(&[Role::Witness]);
    assert!(!member.may_propose() && member.may_note() && member.may_attest());
    member.roles = vec![Role::Witness, "seen-before".parse().unwrap()];
    assert!(!member.may_propose());
    member.roles = vec![Role::Witness, Role::Operator];
    assert!(member.may_propose() && member.may_attest());
    member.roles = vec![Role::Administrator];
    assert!(member.may_propose() && member.may_note() && !member.may_attest());
    for role in [Role::Operator, Role::Executor, Role::OnCall] {
        member.roles = vec![role];
        assert!(!member.may_note() && !member.may_attest());
    }
    member.roles = vec![Role::Custodian, Role::Witness];
    member.active = false;
    assert!(!member.may_propose() && !member.may_note() && !member.may_attest());
}
