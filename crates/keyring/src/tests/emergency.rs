//! Emergencies over a database, a token and a log: stopped by one, let go on by the threshold, and stolen from.

use std::time::Duration;

use log::{Auditor, Storage};
use trust::request::Ended;
use trust::stop::StopBody;
use trust::{Kid, Sha256Digest};

use super::installation::{Installation, LONG};
use super::serving::{Serving, Verifying, asked};
use crate::ceremony::{Draft, EmergencyReport, Error, Report};
use crate::keys::Snapshot;
use crate::signing;

pub const RING: &str = "records";

pub async fn opened() -> (Installation, Kid) {
    let all = Installation::for_emergencies().await;
    Box::pin(all.open_ring("log")).await;
    let kid = Box::pin(all.open_ring(RING)).await;
    (all, kid)
}

pub async fn draft(all: &Installation, ring: Option<&str>) -> StopBody {
    let ring = ring.map(|ring| ring.parse().unwrap());
    let hour = Duration::from_secs(3_600);
    let service = all.service();
    let draft = service.stop_draft(ring.as_ref(), "stolen laptop", hour);
    draft.await.unwrap()
}

pub fn signed(all: &Installation, body: &StopBody, who: &str) -> (Vec<u8>, String) {
    let payload = all.service().stop_payload(body).unwrap();
    let signature = all
        .custodians
        .signature(who, &payload.namespace, &payload.bytes);
    (body.encode().unwrap(), signature)
}

pub async fn submit(all: &Installation, stop: &(Vec<u8>, String)) -> Result<Sha256Digest, Error> {
    let snapshot = all.snapshot().await;
    let (body, signature) = stop;
    all.service().stop(body.clone(), signature, &snapshot).await
}

pub async fn stop(
    all: &Installation,
    ring: Option<&str>,
    who: &str,
) -> Result<Sha256Digest, Error> {
    let body = draft(all, ring).await;
    submit(all, &signed(all, &body, who)).await
}

pub async fn state(all: &Installation) -> EmergencyReport {
    all.service().emergency_report(&*all.snapshot().await)
}

/// Draft of the resume that ends what keeps the ring, or all, from signing.
pub async fn to_resume(all: &Installation, ring: Option<&str>) -> Draft {
    let ring = ring.map(|ring| ring.parse().unwrap());
    let ends = state(all).await.to_end(ring.as_ref()).unwrap();
    Draft::Resume { ends }
}

/// A ring that signs, and the reason if it does not.
pub async fn signs(serving: &Serving) -> Result<(), String> {
    match serving.sign(RING, "payload").await {
        Ok(_) => Ok(()),
        Err(signing::Error::Stopped { ring, why }) => {
            assert_eq!(ring, RING);
            Err(why)
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn publishes(snapshot: &Snapshot, kid: &Kid) -> bool {
    let jwks = &snapshot.rings[RING].jwks.bytes;
    String::from_utf8_lossy(jwks).contains(kid.as_str())
}

/// What the check of the log finds, by its codes.
pub async fn findings(all: &Installation) -> Vec<&'static str> {
    let verifying = Verifying::over(all).await;
    verifying.covered().await;
    let storage = Storage::open(&verifying.settings, |_| None).unwrap();
    let origin = verifying.settings.origin("https://chancery.example");
    let pin = all.settings.pin.clone();
    let auditor = Auditor::new(all.store.clone(), storage, pin, origin);
    let report = auditor.check(|_, _| {}).await.unwrap();
    report.findings.iter().map(|finding| finding.code).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_custodian_or_the_member_on_call_stops_and_the_threshold_resumes() {
    let (all, kid) = opened().await;
    let serving = Serving::over(&all).await;
    assert_eq!(signs(&serving).await, Ok(()));
    for (round, who) in ["alice", "otto"].into_iter().enumerate() {
        stop(&all, Some(RING), who).await.unwrap();
        // A replica that was told nothing yet.
        let why = signs(&serving).await.unwrap_err();
        assert!(why.contains(&format!("by {who}: stolen laptop")), "{why}");
        // Keys are published and verified as before.
        assert!(publishes(&serving.keys.current(), &kid));
        let id = Box::pin(all.closed(RING, to_resume(&all, Some(RING)).await)).await;
        let report = all.service().report(&id).await.unwrap();
        assert_eq!(report.lines[0].sequence, 2 * (round as u64 + 1));
        assert_eq!(report.lines[0].subject.to_string(), "stop/records");
        assert_eq!(signs(&serving).await, Ok(()));
    }
    assert!(state(&all).await.stops.is_empty());
    assert_eq!(findings(&all).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_neither_a_custodian_nor_on_call_stops_nothing() {
    let (all, _) = opened().await;
    let size = all.store.log_size().await.unwrap();
    for (who, why) in [
        ("lena", "the member is neither a custodian nor on call"),
        ("mallory", "the key belongs to no roster member"),
    ] {
        let refused = stop(&all, Some(RING), who).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("this signature does not count: {why}")
        );
    }
    // What is refused is told of by whoever asks at the command line, as every refusal is.
    assert_eq!(all.store.log_size().await.unwrap(), size + 2);
    for ring in ["nothing", "log"] {
        let refused = match ring {
            "log" => {
                let log = "log".parse().unwrap();
                let hour = Duration::from_secs(3_600);
                let draft = all.service().stop_draft(Some(&log), "x", hour).await;
                draft.map(drop).unwrap_err()
            }
            ring => stop(&all, Some(ring), "alice").await.unwrap_err(),
        };
        assert!(matches!(refused, Error::Unfit(_)), "{refused:?}");
    }
    // Signed long ago.
    let stop = signed(&all, &draft(&all, Some(RING)).await, "alice");
    all.wait(61);
    let late = submit(&all, &stop).await.unwrap_err().to_string();
    assert!(late.contains("had to be submitted by"), "{late}");
    assert!(state(&all).await.stops.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stopped_already_adds_nothing_however_often_it_is_stopped() {
    let (all, _) = opened().await;
    let first = stop(&all, Some(RING), "alice").await.unwrap();
    let size = all.store.log_size().await.unwrap();
    for who in ["bob", "otto", "alice"] {
        assert_eq!(stop(&all, Some(RING), who).await.unwrap(), first);
    }
    assert_eq!(all.store.log_size().await.unwrap(), size);
    // All rings are another matter, and are resumed by themselves.
    stop(&all, None, "otto").await.unwrap();
    assert_eq!(state(&all).await.stops.len(), 2);
    let serving = Serving::over(&all).await;
    for (ring, still) in [(Some(RING), true), (None, false)] {
        let proposal = |draft| crate::ceremony::ProposalInput {
            ring: ring.map(|ring| ring.parse().unwrap()),
            ..all.proposal(RING, draft)
        };
        let input = proposal(to_resume(&all, ring).await);
        let id = Box::pin(all.try_propose(input)).await.unwrap();
        Box::pin(carried_out(&all, &id, &["alice", "bob"]))
            .await
            .unwrap();
        for who in ["alice", "bob"] {
            all.accept(&id, who).await.unwrap();
        }
        assert_eq!(signs(&serving).await.is_err(), still);
    }
    assert_eq!(findings(&all).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_missed_the_resume_stops_anew() {
    let (all, _) = opened().await;
    let first = stop(&all, Some(RING), "alice").await.unwrap();
    let behind = all.snapshot().await;
    Box::pin(all.closed(RING, to_resume(&all, Some(RING)).await)).await;
    let (body, signature) = signed(&all, &draft(&all, Some(RING)).await, "alice");
    let second = all.service().stop(body, &signature, &behind).await;
    assert_ne!(second.unwrap(), first);
    assert!(signs(&Serving::over(&all).await).await.is_err());
}

pub async fn carried_out(all: &Installation, id: &str, who: &[&str]) -> Result<Report, Error> {
    for who in who {
        all.approve(id, who).await?;
    }
    all.execute(id).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_replica_that_wakes_after_a_stop_releases_nothing() {
    let (all, _) = opened().await;
    let serving = Serving::over(&all).await;
    let written = all.signatures_in_the_log().await;
    all.token.hold();
    let replica = serving.clone();
    let waiting = tokio::spawn(async move { replica.sign(RING, "payload").await });
    asked(&all, 1).await;
    // The token has been asked, and the replica knows of no stop.
    stop(&all, Some(RING), "alice").await.unwrap();
    all.token.release();
    let woken = waiting.await.unwrap();
    assert!(
        matches!(woken, Err(signing::Error::Stopped { .. })),
        "{woken:?}"
    );
    assert_eq!(all.signatures_in_the_log().await, written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_signature_replayed_after_the_resume_does_nothing() {
    let (all, _) = opened().await;
    let kept = signed(&all, &draft(&all, Some(RING)).await, "alice");
    submit(&all, &kept).await.unwrap();
    Box::pin(all.closed(RING, to_resume(&all, Some(RING)).await)).await;
    let size = all.store.log_size().await.unwrap();
    let again = submit(&all, &kept).await.unwrap_err().to_string();
    assert!(again.contains("which is not the next"), "{again}");
    assert_eq!(all.store.log_size().await.unwrap(), size);
    let serving = Serving::over(&all).await;
    assert_eq!(signs(&serving).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_does_not_end_a_later_stop() {
    let (all, _) = opened().await;
    stop(&all, Some(RING), "alice").await.unwrap();
    // Two that would end the same stop: the second is void once the first was carried out.
    let first = all.propose(RING, to_resume(&all, Some(RING)).await).await;
    let second = all.propose(RING, to_resume(&all, Some(RING)).await).await;
    for id in [&first, &second] {
        for who in ["alice", "bob"] {
            all.approve(id, who).await.unwrap();
        }
    }
    all.execute(&first).await.unwrap();
    for who in ["alice", "bob"] {
        all.accept(&first, who).await.unwrap();
    }
    stop(&all, Some(RING), "alice").await.unwrap();
    let refused = all.execute(&second).await.unwrap_err();
    assert!(matches!(refused, Error::NotApproved(_)), "{refused:?}");
    let serving = Serving::over(&all).await;
    assert!(signs(&serving).await.is_err());
    // Nor one that names what is over.
    let ended = state(&all).await.stops[0].stop;
    let other = Ended::Stop {
        digest: Sha256Digest::of(b"another"),
        sequence: 1,
    };
    assert_ne!(ended, Sha256Digest::of(b"another"));
    let id = all.approved(RING, Draft::Resume { ends: other }).await;
    let refused = all.execute(&id).await.unwrap_err();
    assert!(matches!(refused, Error::Unfit(_)), "{refused:?}");
}

/// As the database's owner could, with the leaf's index moved past what is there.
pub async fn insert_leaf(all: &Installation, kind: &str, body: &str) {
    let size = all.store.log_size().await.unwrap();
    let now = all.now().millis();
    let sql = format!(
        "UPDATE log_head SET size = size + 1, version = version + 1;
         INSERT INTO log_leaf (idx, time, kind, body) VALUES ({size}, {now}, '{kind}', '{body}')"
    );
    assert!(all.place.raw(&sql).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_superuser_who_inserts_a_stop_is_reported_and_stops_nothing() {
    let (all, _) = opened().await;
    let body = signed(&all, &draft(&all, Some(RING)).await, "mallory");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let sql = format!(
        "INSERT INTO emergency_stop (id, subject, seq, body, signature, at, idx)
         VALUES ('{}', 'stop/records', 1, x'{}', '{{}}', 1, 1)",
        Sha256Digest::of(&body.0),
        hex(&body.0)
    );
    assert!(all.place.raw(&sql).await.unwrap() > 0);
    let serving = Serving::over(&all).await;
    assert_eq!(signs(&serving).await, Ok(()));
    let faults = state(&all).await.faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].contains("the log does not tell of it"),
        "{faults:?}"
    );
    assert!(findings(&all).await.contains(&"stop"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_superuser_who_deletes_a_stop_lets_no_replica_sign() {
    let (all, _) = opened().await;
    stop(&all, Some(RING), "alice").await.unwrap();
    all.tamper("emergency_stop", "DELETE FROM emergency_stop")
        .await;
    let serving = Serving::over(&all).await;
    let why = signs(&serving).await.unwrap_err();
    assert!(why.contains("its statement is missing"), "{why}");
    assert_eq!(state(&all).await.faults.len(), 1);
    assert!(findings(&all).await.contains(&"stop_missing"));
    // The leaf has its place in the line, by which the threshold ends it.
    let ends = to_resume(&all, Some(RING)).await;
    let id = Box::pin(all.closed(RING, ends)).await;
    let report = all.service().report(&id).await.unwrap();
    assert_eq!(report.lines[0].sequence, 2);
    assert_eq!(signs(&serving).await, Ok(()));
    // And the line goes on.
    assert_eq!(draft(&all, Some(RING)).await.line.sequence, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_whose_leaf_is_made_another_kind_holds_until_a_resume_names_it() {
    let (all, _) = opened().await;
    stop(&all, Some(RING), "alice").await.unwrap();
    let sql = "UPDATE log_leaf SET kind = 'admin' WHERE kind = 'emergency'";
    all.tamper("log_leaf", sql).await;
    // A replica that begins now, too.
    assert!(signs(&Serving::over(&all).await).await.is_err());
    assert_eq!(state(&all).await.faults.len(), 1);
    Box::pin(all.closed(RING, to_resume(&all, Some(RING)).await)).await;
    assert_eq!(signs(&Serving::over(&all).await).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_a_database_superuser_inserts_into_the_log_can_be_ended() {
    let (all, _) = opened().await;
    let serving = Serving::over(&all).await;
    for version in ["", r#","version":9007199254740991"#] {
        let body = format!(
            r#"{{"action":"stop","actor":"x","kind":"emergency","ref":"garbage{}","ring":"records","time":"{}","v":1{version}}}"#,
            version.len(),
            all.now()
        );
        insert_leaf(&all, "emergency", &body).await;
        assert!(signs(&serving).await.is_err());
        assert_eq!(state(&all).await.stops[0].sequence, 0);
        Box::pin(all.closed(RING, to_resume(&all, Some(RING)).await)).await;
        assert_eq!(signs(&serving).await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_superuser_who_inserts_a_resume_lets_no_replica_sign() {
    let (all, _) = opened().await;
    stop(&all, Some(RING), "alice").await.unwrap();
    let serving = Serving::over(&all).await;
    // A leaf without a ceremony, and one with a ceremony that nobody approved.
    let waiting = all.propose(RING, to_resume(&all, Some(RING)).await).await;
    for reference in [Sha256Digest::of(b"nothing").to_string(), waiting] {
        let body = format!(
            r#"{{"action":"resume","actor":"x","digest":"{}","kind":"emergency","ref":"{reference}","ring":"records","time":"{}","v":1}}"#,
            Sha256Digest::of(b"core"),
            all.now()
        );
        insert_leaf(&all, "emergency", &body).await;
        assert!(signs(&serving).await.is_err());
        assert!(signs(&Serving::over(&all).await).await.is_err());
    }
    assert_eq!(state(&all).await.faults.len(), 2);
    assert!(findings(&all).await.contains(&"resume"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_under_a_former_roster_lets_no_replica_sign() {
    let (all, _) = opened().await;
    stop(&all, Some(RING), "alice").await.unwrap();
    let size = all.store.log_size().await.unwrap();
    let id = Box::pin(all.closed(RING, to_resume(&all, Some(RING)).await)).await;
    all.install_roster_with("frank").await;
    // What was carried out while its roster held, holds.
    assert_eq!(signs(&Serving::over(&all).await).await, Ok(()));
    // The same transcript, as if whoever left had made it today.
    let leaves = all.store.leaves(size, 100).await.unwrap();
    let resume = leaves.iter().find(|leaf| leaf.kind == "emergency").unwrap();
    let sql = format!(
        "UPDATE log_leaf SET kind = 'admin', body = json_set(body, '$.kind', 'admin', '$.ref', 'x')
         WHERE idx >= {size} AND json_extract(body, '$.ref') = '{id}'"
    );
    all.tamper("log_leaf", &sql).await;
    insert_leaf(&all, "emergency", &resume.body).await;
    assert!(signs(&Serving::over(&all).await).await.is_err());
    let faults = state(&all).await.faults.join(" ");
    assert!(faults.contains("did not hold any more"), "{faults}");
}

pub fn rotation(all: &Installation) -> Draft {
    Draft::EmergencyRotation {
        standby: None,
        compromised_since: all.now(),
        ratify_within: Duration::from_secs(24 * 3_600),
    }
}

/// A ring with a standby key that verifiers have had long enough.
pub async fn with_standby() -> (Installation, Kid, Kid) {
    let (all, old) = opened().await;
    let new = Box::pin(all.standby(RING)).await;
    all.wait(LONG);
    (all, old, new)
}

pub const THREE: [&str; 3] = ["lena", "mona", "alice"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_rotation_switches_and_revokes_in_one_breath_and_is_ratified() {
    let (all, old, new) = with_standby().await;
    let serving = Serving::over(&all).await;
    let id = all.propose(RING, rotation(&all)).await;
    let size = all.store.log_size().await.unwrap();
    Box::pin(carried_out(&all, &id, &THREE)).await.unwrap();
    let keys = all.snapshot().await;
    let (old, new) = (&keys.keys[&old], &keys.keys[&new]);
    assert_eq!((old.status(), new.status()), ("revoked", "primary"));
    let revoked = old.state.life().revocation.unwrap();
    assert_eq!(
        revoked.reason,
        trust::request::RevocationReason::Compromised
    );
    // One leaf tells of both, and until when it has to be ratified.
    let leaves = all.store.leaves(size, 100).await.unwrap();
    let mut told = leaves.iter().filter(|leaf| leaf.kind == "key");
    let leaf = told.next().unwrap();
    assert!(leaf.body.contains(r#""until":"#) && told.next().is_none());
    assert!(publishes(&keys, &new.kid) && !publishes(&keys, &old.kid));
    let waiting = state(&all).await.unratified;
    assert_eq!((waiting.len(), waiting[0].missed), (1, false));
    for who in ["alice", "bob"] {
        all.accept(&id, who).await.unwrap();
    }
    let ratification = Draft::Ratification { rotation: None };
    Box::pin(all.closed(RING, ratification)).await;
    assert!(state(&all).await.unratified.is_empty());
    all.wait(25 * 60);
    assert_eq!(signs(&serving).await, Ok(()));
    assert_eq!(findings(&all).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_rotation_that_is_not_ratified_stops_its_ring_until_the_threshold_decides() {
    let (all, old, _) = with_standby().await;
    let id = all.propose(RING, rotation(&all)).await;
    Box::pin(carried_out(&all, &id, &THREE)).await.unwrap();
    let ratification = Draft::Ratification { rotation: None };
    let late = all.approved(RING, ratification).await;
    let early = all.approved(RING, to_end(&id)).await;
    let refused = all.execute(&early).await.unwrap_err();
    assert!(matches!(refused, Error::Unfit(_)), "{refused:?}");
    all.wait(24 * 60 + 1);
    let serving = Serving::over(&all).await;
    let why = signs(&serving).await.unwrap_err();
    assert!(why.contains("was not ratified until"), "{why}");
    assert!(all.execute(&late).await.is_err());
    assert!(state(&all).await.unratified[0].missed);
    Box::pin(all.closed(RING, to_resume(&all, Some(RING)).await)).await;
    assert_eq!(signs(&serving).await, Ok(()));
    assert_eq!(all.snapshot().await.keys[&old].status(), "revoked");
    assert_eq!(findings(&all).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_earlier_of_two_rotations_is_ratified_with_the_key_that_it_made_the_primary() {
    let (all, _, new) = with_standby().await;
    let third = Box::pin(all.standby(RING)).await;
    all.wait(LONG);
    let onto = |kid: &Kid| Draft::EmergencyRotation {
        standby: Some(kid.clone()),
        compromised_since: all.now(),
        ratify_within: Duration::from_secs(24 * 3_600),
    };
    let first = all.propose(RING, onto(&new)).await;
    Box::pin(carried_out(&all, &first, &THREE)).await.unwrap();
    let second = all.propose(RING, onto(&third)).await;
    Box::pin(carried_out(&all, &second, &THREE)).await.unwrap();
    let waiting = || async {
        let waiting = state(&all).await.unratified.into_iter();
        let waiting = waiting.map(|each| each.rotation.to_string());
        waiting.collect::<Vec<_>>()
    };
    assert_eq!(waiting().await, [first.clone(), second.clone()]);
    let rotation = Some(first.parse().unwrap());
    let id = Box::pin(all.closed(RING, Draft::Ratification { rotation })).await;
    let report = all.service().report(&id).await.unwrap();
    assert_eq!(report.lines[0].subject.to_string(), format!("key/{new}"));
    assert_eq!(waiting().await, [second]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ratification_that_is_accepted_too_late_is_refused_and_told_to_nobody() {
    let (all, _, _) = with_standby().await;
    let id = all.propose(RING, rotation(&all)).await;
    Box::pin(carried_out(&all, &id, &THREE)).await.unwrap();
    let ratification = Draft::Ratification { rotation: None };
    let late = all.approved(RING, ratification).await;
    all.execute(&late).await.unwrap();
    all.accept(&late, "alice").await.unwrap();
    all.wait(24 * 60 + 1);
    let size = all.store.log_size().await.unwrap();
    let refused = all.accept(&late, "bob").await.unwrap_err();
    assert!(matches!(refused, Error::NoEffect(_)), "{refused:?}");
    let row = all.store.ceremony(&late).await.unwrap().unwrap();
    assert_eq!(row.state, store::CeremonyState::Executed);
    let told = all.store.leaves(size, 100).await.unwrap();
    assert!(told.iter().all(|leaf| leaf.kind != "emergency"), "{told:?}");
    // It is over, and people are told why.
    assert_eq!(all.service().expire().await.unwrap(), 1);
    let report = all.service().report(&late).await.unwrap();
    let (state, why) = (report.state.as_str(), report.standing.as_str());
    let expected = "the emergency rotation was not ratified in time; a resume is needed";
    assert_eq!((state, why), ("failed", expected));
    let last = all.store.leaves(size, 100).await.unwrap().pop().unwrap();
    assert!(last.body.contains(r#""action":"failed""#) && last.body.contains(expected));
    assert_eq!(all.service().expire().await.unwrap(), 0);
    Box::pin(all.closed(RING, to_resume(&all, Some(RING)).await)).await;
    assert_eq!(signs(&Serving::over(&all).await).await, Ok(()));
    assert_eq!(findings(&all).await, [""; 0]);
}

pub fn to_end(rotation: &str) -> Draft {
    Draft::Resume {
        ends: Ended::Unratified {
            rotation: rotation.parse().unwrap(),
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_rotation_by_one_person_in_three_roles_is_not_carried_out() {
    let (all, old, _) = with_standby().await;
    let id = all.propose(RING, rotation(&all)).await;
    let report = all.approve(&id, "ida").await.unwrap();
    let waits = "waiting for 2 more approval(s), of security-lead, on-call-manager, custodian";
    assert_eq!(report.standing, waits);
    // Neither do three custodians without the other two, nor the proposer in whatever role.
    for who in ["alice", "bob"] {
        all.approve(&id, who).await.unwrap();
    }
    let early = all.execute(&id).await.unwrap_err();
    assert!(matches!(early, Error::NotApproved(_)), "{early:?}");
    assert!(all.approve(&id, "carol").await.is_err());
    assert!(all.approve(&id, "otto").await.is_err());
    assert_eq!(all.snapshot().await.keys[&old].status(), "primary");
    all.approve(&id, "lena").await.unwrap();
    // Ida stands for the manager, Alice for the custodians.
    all.execute(&id).await.unwrap();
    assert_eq!(all.snapshot().await.keys[&old].status(), "revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_rotation_takes_an_accepted_standby_key_and_no_other() {
    let (all, old) = opened().await;
    let none = all.try_propose(all.proposal(RING, rotation(&all))).await;
    let no_standby = matches!(none, Err(Error::NoStandby { next: None, .. }));
    assert!(no_standby, "{none:?}");
    let new = Box::pin(all.standby(RING)).await;
    // Published a moment ago.
    let fresh = Draft::EmergencyRotation {
        standby: Some(new),
        compromised_since: all.now(),
        ratify_within: Duration::from_secs(60),
    };
    let fresh = all.try_propose(all.proposal(RING, fresh)).await;
    assert!(matches!(fresh, Err(Error::Plan(_))), "{fresh:?}");
    let itself = Draft::EmergencyRotation {
        standby: Some(old),
        compromised_since: all.now(),
        ratify_within: Duration::from_secs(60),
    };
    let itself = all.try_propose(all.proposal(RING, itself)).await;
    assert!(matches!(itself, Err(Error::Plan(_))), "{itself:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superuser_who_takes_the_deadline_of_a_rotation_away_is_found() {
    let (all, _, _) = with_standby().await;
    let id = all.propose(RING, rotation(&all)).await;
    Box::pin(carried_out(&all, &id, &THREE)).await.unwrap();
    let covered = Verifying::over(&all).await;
    covered.covered().await;
    let sql = r#"UPDATE log_leaf SET body = json_remove(body, '$.until')
        WHERE kind = 'key' AND json_extract(body, '$.until') IS NOT NULL"#;
    all.tamper("log_leaf", sql).await;
    assert!(findings(&all).await.contains(&"rotation"));
}
