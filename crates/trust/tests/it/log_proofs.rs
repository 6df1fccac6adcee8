//! Transcripts with the log's proofs: the acts of the ceremony are in the log, before its end.

use serde_json::{Value, json};
use trust::leaf::{ActKind, ActLeaf};
use trust::request::{NewOrigin, Operation};
use trust::tlog::proof::TlogProof;
use trust::transcript::{LogProofsError, Logged};
use trust::*;

use crate::story::{generated, primary};
use crate::support::{NewKey, World, log, minute, revoke};

const ORIGIN: &str = "seal.example/log";

/// A finished ceremony and the log in which its acts stand.
pub struct InLog {
    world: World,
    core: Transcript,
    key: NewKey,
    log_key: String,
    leaves: Vec<String>,
    /// The leaves that are proven.
    proven: Vec<usize>,
}

impl InLog {
    /// Proposed, approved by two, done, accepted by two, and all of it in the log.
    pub fn new() -> Self {
        let world = World::quick();
        let mut ceremony = world.ceremony(&world.request(), &[&world.alice, &world.bob]);
        // What does not count is logged as well.
        let rejection = world.rejection(&world.request(), &world.dave);
        ceremony.rejections.push(rejection);
        let outcome = NewKey::generate().generated(&world.request());
        let core = world.finished(&ceremony, approval::Outcome::Generated(outcome));
        let key = NewKey::generate();
        let mut all = Self {
            log_key: generated(&world, "log", &key),
            world,
            core,
            key,
            leaves: vec![],
            proven: vec![],
        };
        all.leaf("start", |act| act.kind = ActKind::Admin);
        let record = all.core.record.clone();
        let mut acts = vec![("propose", record.proposal.unwrap().signature)];
        acts.extend(
            record
                .approvals
                .into_iter()
                .map(|each| ("approve", each.signature)),
        );
        acts.extend(
            record
                .rejections
                .into_iter()
                .map(|each| ("reject", each.signature)),
        );
        let accepted = all.core.acceptance.signatures.clone();
        acts.extend(accepted.into_iter().map(|each| ("accept", each)));
        for (action, signature) in acts {
            all.prove(action, |act| act.digest = Some(signature.digest().unwrap()));
        }
        all.prove("executed", |_| ());
        let core = all.core.core_digest().unwrap();
        all.prove("accepted", |act| act.digest = Some(core));
        all
    }

    fn leaf(&mut self, action: &str, change: impl FnOnce(&mut ActLeaf)) -> usize {
        let at = minute(self.leaves.len() as u64);
        let mut act = ActLeaf::new(ActKind::Ceremony, action, "test", at);
        let request = self.core.record.request.as_bytes();
        act.reference = Some(Sha256Digest::of(request).to_string());
        change(&mut act);
        let bytes = json::canonical(&act).unwrap();
        self.leaves.push(String::from_utf8(bytes).unwrap());
        self.leaves.len() - 1
    }

    fn prove(&mut self, action: &str, change: impl FnOnce(&mut ActLeaf)) -> usize {
        let index = self.leaf(action, change);
        self.proven.push(index);
        index
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut Value)) {
        let mut leaf: Value = serde_json::from_str(&self.leaves[index]).unwrap();
        change(&mut leaf);
        self.leaves[index] = String::from_utf8(json::canonical(&leaf).unwrap()).unwrap();
    }

    fn proof(&self, index: usize) -> TlogProof {
        log::proof(ORIGIN, &self.key, &self.leaves, index)
    }

    fn logged(&self, index: usize) -> Logged {
        Logged {
            leaf: self.leaves[index].clone(),
            proof: self.proof(index).to_string(),
        }
    }

    pub fn transcript(&self) -> Transcript {
        let logged = self.proven.iter().map(|index| self.logged(*index));
        Transcript {
            log_keys: vec![self.log_key.clone()],
            log_proofs: logged.collect(),
            ..self.core.clone()
        }
    }

    fn verified(&self) -> Result<VerifiedTranscript, TranscriptError> {
        let bytes = self.transcript().encode().unwrap();
        verify_transcript(&bytes, &self.world.pin)
    }

    /// What is wrong with the proofs.
    fn error(&self) -> LogProofsError {
        proofs_error(self.verified().unwrap_err())
    }

    fn with(&self, change: impl FnOnce(&mut Transcript)) -> LogProofsError {
        let mut transcript = self.transcript();
        change(&mut transcript);
        let bytes = transcript.encode().unwrap();
        proofs_error(verify_transcript(&bytes, &self.world.pin).unwrap_err())
    }
}

fn proofs_error(error: TranscriptError) -> LogProofsError {
    match error {
        TranscriptError::LogProofs(error) => error,
        other => panic!("{other}"),
    }
}

/// The places of the leaves of [`InLog::new`].
const PROPOSED: usize = 1;
const APPROVED: [usize; 2] = [2, 3];
const REJECTED: usize = 4;
const ACCEPTED: [usize; 2] = [5, 6];
const EXECUTED: usize = 7;
const END: usize = 8;

#[test]
fn a_transcript_with_its_proofs_tells_when_each_approval_was_in_the_log() {
    let all = InLog::new();
    let verified = all.verified().unwrap();
    let approvals = &all.core.record.approvals;
    let expected = approvals.iter().zip(APPROVED).map(|(approval, index)| {
        let digest = approval.signature.digest().unwrap();
        (digest, minute(index as u64))
    });
    assert_eq!(verified.logged_at(), &expected.collect());
    // The same ceremony, with proofs or without them.
    let bytes = all.core.encode().unwrap();
    let bare = verify_transcript(&bytes, &all.world.pin).unwrap();
    assert!(bare.logged_at().is_empty());
    assert_eq!(bare.digest(), verified.digest());
    assert_eq!(bare.core_digest(), verified.core_digest());
    assert_eq!(bare.core_digest(), Sha256Digest::of(&bytes));
    assert_ne!(all.transcript().encode().unwrap(), bytes);
}

#[test]
fn approvals_that_counted_and_the_end_are_required_and_nothing_else() {
    for kept in [
        vec![APPROVED[0], APPROVED[1], END],
        vec![APPROVED[0], APPROVED[1], EXECUTED, END],
        vec![PROPOSED, APPROVED[0], APPROVED[1], REJECTED, END],
    ] {
        let mut all = InLog::new();
        all.proven = kept;
        assert!(all.verified().is_ok(), "{:?}", all.proven);
    }
    for (missing, what) in [
        (APPROVED[0], "an approval before it"),
        (APPROVED[1], "an approval before it"),
        (END, "the end of the ceremony"),
    ] {
        let mut all = InLog::new();
        all.proven.retain(|index| *index != missing);
        assert!(
            matches!(all.error(), LogProofsError::Missing(found) if found == what),
            "{missing}"
        );
    }
}

#[test]
fn only_what_changes_the_log_is_ended_by_an_act_on_it() {
    let mut all = InLog::new();
    all.change(END, |leaf| {
        leaf["kind"] = json!("log");
        leaf["action"] = json!("clock-correction");
    });
    let error = all.error();
    let end = END - 1;
    assert!(
        matches!(error, LogProofsError::OtherLeaf(found) if found == end),
        "{error}"
    );
}

/// The log in which its approvals would stand is halted; its own act is the first of the new one.
#[test]
fn what_begins_a_log_is_proven_by_its_end_alone() {
    let mut all = InLog::new();
    let note = log::checkpoint("old", &all.key, &["a"]);
    let operation = Operation::NewOrigin(NewOrigin {
        lost: None,
        origin: ORIGIN.to_owned(),
        previous_checkpoint: note.to_string(),
        previous_origin: "old".to_owned(),
        root: log::root(&["a"]),
        size: 1,
    });
    all.core = all.world.done(&all.world.request_for(operation));
    all.leaves.truncate(1);
    all.proven.clear();
    let core = all.core.core_digest().unwrap();
    let end = all.prove("new-origin", |act| {
        act.kind = ActKind::Log;
        act.digest = Some(core);
    });
    assert_eq!(end, 1);
    let verified = all.verified().unwrap();
    assert!(verified.logged_at().is_empty());
    all.proven.clear();
    all.prove("executed", |_| ());
    assert!(matches!(
        all.error(),
        LogProofsError::Missing("the end of the ceremony")
    ));
}

/// By the service's word all were in time; the log says otherwise.
#[test]
fn an_approval_after_the_deadline_by_the_log() {
    let mut all = InLog::new();
    let request = Request::decode(all.core.record.request.as_bytes()).unwrap();
    all.change(APPROVED[0], |leaf| leaf["time"] = json!(request.approve_by));
    assert!(all.verified().is_ok());
    let late = request.approve_by + std::time::Duration::from_millis(1);
    all.change(APPROVED[0], |leaf| leaf["time"] = json!(late));
    assert!(matches!(all.error(), LogProofsError::Late));
}

#[test]
fn a_leaf_longer_than_any_of_ours_is_none() {
    let mut all = InLog::new();
    all.change(END, |leaf| leaf["comment"] = json!("x".repeat(1_024)));
    assert!(matches!(all.error(), LogProofsError::OtherLeaf(_)));
}

#[test]
fn an_approval_that_came_into_the_log_after_the_end_is_none() {
    let mut all = InLog::new();
    let late = all.leaves[APPROVED[0]].clone();
    all.leaves.push(late);
    all.proven.retain(|index| *index != APPROVED[0]);
    all.proven.push(END + 1);
    assert!(matches!(
        all.error(),
        LogProofsError::Missing("an approval before it")
    ));
    // Once more after the end does no harm to the one before it, whose time it is.
    let mut all = InLog::new();
    let late = all.leaves[APPROVED[0]].clone();
    all.leaves.push(late);
    all.proven.push(END + 1);
    all.change(END + 1, |leaf| leaf["time"] = json!(minute(1_000)));
    let verified = all.verified().unwrap();
    let times: Vec<_> = verified.logged_at().values().copied().collect();
    assert!(!times.contains(&minute(1_000)));
    // Nor is there a second end.
    let mut all = InLog::new();
    let again = all.leaves[END].clone();
    all.leaves.push(again);
    all.proven.push(END + 1);
    assert!(matches!(
        all.error(),
        LogProofsError::Missing("the end of the ceremony")
    ));
}

#[test]
fn keys_and_proofs_stand_together_or_not_at_all() {
    let all = InLog::new();
    let error = all.with(|transcript| transcript.log_keys.clear());
    assert!(matches!(error, LogProofsError::Incomplete));
    let error = all.with(|transcript| transcript.log_proofs.clear());
    assert!(matches!(error, LogProofsError::Incomplete));
}

#[test]
fn a_key_of_the_log_is_certified_by_its_own_transcript() {
    let all = InLog::new();
    let with = |keys: Vec<String>| all.with(|transcript| transcript.log_keys = keys);
    let core = |transcript: &Transcript| String::from_utf8(transcript.encode().unwrap()).unwrap();
    let revocation = all.world.request_for(revoke(&NewKey::generate().kid()));
    for (key, why) in [
        (generated(&all.world, "jwt", &all.key), "a ring other than"),
        (
            core(&all.world.done(&revocation)),
            "does not concern the generation",
        ),
        (core(&all.transcript()), "must not contain log proofs"),
        ("{}".to_owned(), "cannot be parsed"),
        (format!("{} ", all.log_key), "cannot be parsed"),
    ] {
        for (keys, place) in [
            (vec![key.clone()], 0),
            (vec![all.log_key.clone(), key.clone()], 1),
        ] {
            match with(keys) {
                LogProofsError::Key(number, error) => {
                    assert_eq!(number, place);
                    assert!(error.contains(why), "{error}");
                }
                other => panic!("{other}"),
            }
        }
    }
    let twice = with(vec![all.log_key.clone(); 2]);
    assert!(
        matches!(&twice, LogProofsError::Key(1, why) if why.contains("twice")),
        "{twice}"
    );
    // One that signed no checkpoint of the file has no place in it.
    let idle = generated(&all.world, "log", &NewKey::generate());
    let error = with(vec![all.log_key.clone(), idle.clone()]);
    assert!(matches!(error, LogProofsError::Keys(_)), "{error}");
    let error = with(vec![idle]);
    assert!(matches!(error, LogProofsError::Proof(0, _)), "{error}");
}

#[test]
fn a_log_whose_key_changed_is_proven_by_both() {
    let mut all = InLog::new();
    let second = NewKey::generate();
    let birth = generated(&all.world, "log", &second);
    let mut transcript = all.transcript();
    all.leaf("more", |_| ());
    let proof = log::proof(ORIGIN, &second, &all.leaves, END);
    transcript.log_proofs.last_mut().unwrap().proof = proof.to_string();
    let verified =
        |transcript: &Transcript| verify_transcript(&transcript.encode().unwrap(), &all.world.pin);
    let error = proofs_error(verified(&transcript).unwrap_err());
    assert!(matches!(error, LogProofsError::Proof(7, _)), "{error}");
    transcript.log_keys.push(birth);
    verified(&transcript).unwrap();
}

#[test]
fn a_proof_that_does_not_hold() {
    let all = InLog::new();
    let with = |change: &dyn Fn(&mut TlogProof)| {
        let mut proof = all.proof(EXECUTED);
        change(&mut proof);
        let place = all
            .proven
            .iter()
            .position(|index| *index == EXECUTED)
            .unwrap();
        let error = all.with(|transcript| transcript.log_proofs[place].proof = proof.to_string());
        assert!(
            matches!(error, LogProofsError::Proof(found, _) if found == place),
            "{error}"
        );
    };
    with(&|proof| proof.extra = Some(vec![1]));
    with(&|proof| proof.index += 1);
    with(&|proof| _ = proof.hashes.pop());
    with(&|proof| proof.checkpoint.signatures.clear());
    with(&|proof| proof.checkpoint.text.push_str("more\n"));
    // Of another leaf.
    with(&|proof| *proof = all.proof(REJECTED));
    // Two roots of one size.
    let mut forked = InLog::new();
    (forked.core, forked.leaves) = (all.core.clone(), all.leaves.clone());
    forked.leaves[0] = forked.leaves[0].replace("start", "begin");
    let proof = log::proof(ORIGIN, &all.key, &forked.leaves, END).to_string();
    let error = all.with(|transcript| transcript.log_proofs.last_mut().unwrap().proof = proof);
    match error {
        LogProofsError::Keys(why) => assert!(why.to_string().contains("forked"), "{why}"),
        other => panic!("{other}"),
    }
}

#[test]
fn proofs_are_of_one_log_and_in_its_order() {
    let all = InLog::new();
    let error = all.with(|transcript| transcript.log_proofs.swap(0, 1));
    assert!(matches!(error, LogProofsError::Order(1)), "{error}");
    let error = all.with(|transcript| {
        let again = transcript.log_proofs[0].clone();
        transcript.log_proofs.insert(0, again);
    });
    assert!(matches!(error, LogProofsError::Order(1)), "{error}");
    let elsewhere = log::proof("another/log", &all.key, &all.leaves, END).to_string();
    let error = all.with(|transcript| transcript.log_proofs[7].proof = elsewhere);
    assert!(matches!(error, LogProofsError::Order(7)), "{error}");
}

/// Each is in the log, and proven; it is of something else.
#[test]
fn a_proof_of_another_leaf() {
    let digest = |signature: &MemberSignature| json!(signature.digest().unwrap());
    let all = InLog::new();
    let accepted = digest(&all.core.acceptance.signatures[0]);
    let approval = digest(&all.core.record.approvals[0].signature);
    let proposal = digest(&all.core.record.proposal.as_ref().unwrap().signature);
    let nothing = json!(Sha256Digest::of(b"something else"));
    let whole = json!(Sha256Digest::of(&all.transcript().encode().unwrap()));
    let statement = json!(Sha256Digest::of(all.core.acceptance.statement.as_bytes()));
    for (index, member, value) in [
        // Of another ceremony, or of none.
        (APPROVED[0], "ref", nothing.clone()),
        (END, "ref", nothing.clone()),
        (EXECUTED, "ref", nothing.clone()),
        (EXECUTED, "ref", Value::Null),
        // A signature that is not in the transcript, or stands in another place of it.
        (PROPOSED, "digest", nothing.clone()),
        (PROPOSED, "digest", approval.clone()),
        (APPROVED[0], "digest", nothing.clone()),
        (APPROVED[0], "digest", accepted.clone()),
        (APPROVED[0], "digest", proposal),
        (REJECTED, "digest", approval.clone()),
        (ACCEPTED[0], "digest", approval),
        (ACCEPTED[1], "digest", Value::Null),
        (REJECTED, "action", json!("cancel")),
        // Of another transcript, or of something else about this one.
        (END, "digest", nothing),
        (END, "digest", Value::Null),
        (END, "digest", whole),
        (END, "digest", statement),
        // No act of a ceremony.
        (EXECUTED, "kind", json!("key")),
        (EXECUTED, "kind", json!("something-later")),
        (EXECUTED, "comment", json!("")),
    ] {
        let mut changed = InLog::new();
        (changed.core, changed.leaves) = (all.core.clone(), all.leaves.clone());
        changed.change(index, |leaf| match value.clone() {
            Value::Null => _ = leaf.as_object_mut().unwrap().remove(member),
            value => leaf[member] = value,
        });
        let place = changed
            .proven
            .iter()
            .position(|each| *each == index)
            .unwrap();
        let error = changed.error();
        assert!(
            matches!(error, LogProofsError::OtherLeaf(found) if found == place),
            "{index} {member} {value}: {error}"
        );
    }
    // The words of an act may be any.
    let mut changed = InLog::new();
    changed.change(EXECUTED, |leaf| {
        leaf["reason"] = json!("a witness was there")
    });
    assert!(changed.verified().is_ok());
}

#[test]
fn a_cancellation_that_did_not_count_is_proven_in_its_own_place() {
    let mut all = InLog::new();
    let mut ceremony = all.core.record.ceremony();
    let request = Request::decode(&ceremony.request).unwrap();
    ceremony
        .cancellations
        .push(all.world.cancellation(&request, &all.world.alice));
    let outcome = approval::Outcome::Generated(NewKey::generate().generated(&request));
    all.core = all.world.finished(&ceremony, outcome);
    let core = all.core.core_digest().unwrap();
    all.change(END, |leaf| leaf["digest"] = json!(core));
    let accepted = all.core.acceptance.signatures.clone();
    for (index, signature) in ACCEPTED.into_iter().zip(accepted) {
        all.change(index, |leaf| {
            leaf["digest"] = json!(signature.digest().unwrap())
        });
    }
    assert!(all.verified().is_ok());
    let signature = all.core.record.cancellations[0].signature.digest().unwrap();
    all.change(EXECUTED, |leaf| {
        leaf["action"] = json!("cancel");
        leaf["digest"] = json!(signature);
    });
    assert!(all.verified().is_ok());
    all.change(EXECUTED, |leaf| leaf["action"] = json!("reject"));
    assert!(matches!(all.error(), LogProofsError::OtherLeaf(6)));
}

/// Where a transcript stands in another file, the other file has the proofs.
#[test]
fn a_transcript_inside_another_file_has_no_proofs_of_its_own() {
    let all = InLog::new();
    let whole = String::from_utf8(all.transcript().encode().unwrap()).unwrap();
    let story = primary();
    let mut file = story.file();
    file.transcript = whole.clone();
    assert_eq!(story.said(&file, None), "transcript");
    let mut file = story.file();
    file.log_keys = vec![whole];
    assert_eq!(story.said(&file, None), "log_key");
}

/// A stride that is a prime, as for evidence files.
#[test]
fn no_byte_of_the_proofs_changes_unnoticed() {
    let all = InLog::new();
    let bytes = all.transcript().encode().unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    let range = text.find("\"log_keys\"").unwrap()..text.find("\"record\"").unwrap();
    for at in range.step_by(67) {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 7);
        assert!(
            verify_transcript(&bad, &all.world.pin).is_err(),
            "byte {at}"
        );
    }
}
