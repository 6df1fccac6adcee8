//! Every state that a build has left behind is opened by this one, for both engines (tests/golden/upgrade).

use std::path::PathBuf;

use serde_json::{Value, json};
use trust::PublicKey;
use trust::tlog::merkle::leaf_hash;
use trust::tlog::note::VerifierKey;
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;

use crate::support::agreement::{Case, Tally, ask};
use crate::support::database::Database;
use crate::support::installation::{Installation, Service, directory, member, text};
use crate::support::kept::{
    Engine, Kept, LOG, RAW, RING, evidence, grant_signer, jws, make, second_verifier, signed,
    sorted, verdict_once,
};
use crate::support::past::{check, codes, stop};
use crate::support::process::{done, repository, run};

/// Names a folder: what the present build leaves behind is kept there. Not `CHANCERY_…`: that would be a setting.
const WRITE: &str = "WRITE_GOLDEN";

/// Oldest first.
fn folders() -> Vec<PathBuf> {
    let all = sorted(&repository("tests/golden/upgrade"));
    let folders: Vec<PathBuf> = all.into_iter().filter(|path| path.is_dir()).collect();
    assert!(!folders.is_empty(), "nothing is kept");
    folders
}

/// What this build leaves behind is like what was kept last, so that every form has its example.
fn the_last_is_like_this_build(engine: &Engine) {
    let (made, home) = (directory(), directory());
    let present = make(engine, made.path());
    if let Some(folder) = std::env::var_os(WRITE) {
        let to = repository(text(folder.as_ref())).join(engine.name());
        std::fs::create_dir_all(&to).expect("a folder");
        let all = format!("{}/.", made.path().display());
        done("cp", ["-r", &all, text(&to)]);
    }
    let newest = folders().pop().expect("one");
    let kept = Kept(newest.join(engine.name()));
    let present = present.shape(engine, home.path(), "present");
    let kept = kept.shape(engine, home.path(), "kept");
    let only = |one: &std::collections::BTreeSet<String>, other| -> Vec<String> {
        one.difference(other).cloned().collect()
    };
    let (new, gone) = (only(&present, &kept), only(&kept, &present));
    assert!(
        new.is_empty() && gone.is_empty(),
        "{}: new: {new:#?}, gone: {gone:#?}\nKeep what this build writes beside what is there:\n\
         {WRITE}=tests/golden/upgrade/NNNN-name cargo test --test it upgrade::",
        newest.display(),
    );
}

fn every_one_is_opened(engine: &Engine) {
    for folder in folders() {
        let kept = Kept(folder.join(engine.name()));
        let name = folder.file_name().and_then(|name| name.to_str());
        let name = name.expect("UTF-8").replace('-', "_");
        is_opened(engine, &kept, &format!("kept_{name}"));
    }
}

fn is_opened(engine: &Engine, kept: &Kept, name: &str) {
    let (installation, url) = kept.open(engine, name);
    installation.chancery(["migrate"]);
    let mut database = Database::open(&url);
    let log_kid = database.one("SELECT kid FROM signing_key WHERE ring = 'log' AND number = 1");
    let count = database.one("SELECT CAST(count(*) AS TEXT) FROM signing_key");
    every_key_is_believed(&installation, &count);
    is_sound(&installation);
    both_verifiers_accept(&installation, kept);

    // The private halves of the old keys are gone, as after the loss of an HSM.
    let token = grant_signer(&installation);
    let rings = [LOG, RING, RAW];
    let new = rings.map(|ring| installation.give_birth(ring));
    rings
        .iter()
        .for_each(|ring| installation.rotate_when_safe(ring));
    let service = installation.replica(&[]);
    old_signatures_keep_their_verdicts(&service, kept);
    let old = kept.signatures();
    for signature in &old {
        receipt_holds(&installation, &service, &mut database, &log_kid, signature);
    }
    let mut cases = Vec::new();
    let digest = trust::base64url::encode(&trust::Hash::Sha256.digest(b"another message"));
    let raw = json!({"format": "raw", "digest": digest, "hash": "sha-256", "encoding": "p1363"});
    for (ring, kid, body) in [(RING, &new[1], jws(b"after all this")), (RAW, &new[2], raw)] {
        let signature = signed(&service, ring, &token, &body);
        assert_eq!(signature["kid"], json!(kid));
        receipt_holds(&installation, &service, &mut database, &new[0], &signature);
        verdict_once(&service, &signature["claim"], |answer| {
            answer["verdict"] == "VALID" && answer["log_index"] == signature["log_index"]
        });
        cases.push((format!("new, {ring}"), evidence(&service, &signature)));
    }
    // Evidence of before, as it is given today: also where the key that signed it is gone.
    for signature in &old {
        cases.push((signature["kid"].to_string(), evidence(&service, signature)));
    }
    both_agree(&installation, cases);
    old_signatures_keep_their_verdicts(&service, kept);
    stop(service);
    is_sound(&installation);
    let count = count.parse::<usize>().expect("a number") + new.len();
    every_key_is_believed(&installation, &count.to_string());
}

fn every_key_is_believed(installation: &Installation, count: &str) {
    let list = installation.chancery(["key", "list"]).json();
    assert_eq!(list["refused"], json!([]), "{list}");
    let keys = list["keys"].as_array().expect("keys");
    assert_eq!(keys.len().to_string(), count, "{list}");
}

fn is_sound(installation: &Installation) {
    let report = check(installation);
    assert_eq!(codes(&report), [""; 0], "{report}");
}

fn both_verifiers_accept(installation: &Installation, kept: &Kept) {
    let genesis = ["--genesis", &installation.genesis];
    let transcripts = kept.files("transcripts");
    for file in &transcripts {
        let verify = ["ceremony", "verify", text(file)];
        installation.chancery(verify.into_iter().chain(genesis));
    }
    for more in [&[][..], &["--succession"]] {
        let mut second = second_verifier();
        let said = run(second.args(&transcripts).args(genesis).args(more), b"");
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    let mut cases = Vec::new();
    for file in kept.files("evidence") {
        let verify = ["verify", text(&file)];
        installation.chancery(verify.into_iter().chain(genesis));
        let bytes = std::fs::read(&file).expect("evidence");
        cases.push((text(&file).to_owned(), bytes));
    }
    both_agree(installation, cases);
}

/// Both verifiers accept each file, and say the same of it.
fn both_agree(installation: &Installation, cases: Vec<(String, Vec<u8>)>) {
    let cases: Vec<Case> = cases
        .into_iter()
        .map(|(name, bytes)| Case { name, bytes })
        .collect();
    let mut tally = Tally::default();
    let home = installation.directory.path();
    ask(&mut tally, home, &installation.genesis, None, &cases);
    assert_eq!(tally.done().held, cases.len());
}

fn old_signatures_keep_their_verdicts(service: &Service, kept: &Kept) {
    for signature in kept.signatures() {
        let answer = service.post("/v1/verify", None, &signature["claim"]).ok();
        for member in [
            "verdict",
            "reasons",
            "existed_at",
            "log_index",
            "kid",
            "ring",
        ] {
            assert_eq!(answer[member], signature["answer"][member], "{answer}");
        }
    }
}

/// The receipt was signed by this key of the log, and leads from the leaf that stands there.
fn receipt_holds(
    installation: &Installation,
    service: &Service,
    database: &mut Database,
    log_kid: &str,
    signature: &Value,
) {
    let jwk = service.get(&format!("/v1/keys/{log_kid}/jwk")).into_body();
    let key = PublicKey::from_jwk_json(&jwk).expect("a JWK");
    let origin = format!("{}/log", installation.plan.api);
    let keys = [VerifierKey::for_log(&origin, &key).expect("a log key")];
    let receipt = member(signature, "receipt");
    let proof = TlogProof::parse(receipt.as_bytes()).expect("a receipt");
    assert_eq!(json!(proof.index), signature["log_index"]);
    let leaf = format!("SELECT body FROM log_leaf WHERE idx = {}", proof.index);
    let hash = leaf_hash(database.one(&leaf).as_bytes());
    let nobody = WitnessPolicy::none();
    proof
        .verify(hash, &keys, &nobody)
        .expect("it is in the log");
}

#[test]
fn what_was_kept_last_on_sqlite_is_like_what_this_build_writes() {
    the_last_is_like_this_build(&Engine::Sqlite);
}

#[test]
fn what_was_kept_last_on_postgresql_is_like_what_this_build_writes() {
    the_last_is_like_this_build(&Engine::postgres());
}

#[test]
fn every_installation_that_was_kept_is_opened_on_sqlite() {
    every_one_is_opened(&Engine::Sqlite);
}

#[test]
fn every_installation_that_was_kept_is_opened_on_postgresql() {
    every_one_is_opened(&Engine::postgres());
}
