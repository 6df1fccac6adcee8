//! A log whose published leaves are lost for good goes on under another origin, by a ceremony that is held on files.

use std::fs;
use std::thread;

use serde_json::{Value, json};
use testkit::http::send;
use trust::PublicKey;
use trust::evidence::Evidence;
use trust::tlog::merkle::leaf_hash;
use trust::tlog::note::VerifierKey;
use trust::tlog::policy::WitnessPolicy;
use trust::tlog::proof::TlogProof;

use crate::support::agreement::{Case, Tally, ask};
use crate::support::custodian::{Custodian, with_key};
use crate::support::database::Database;
use crate::support::installation::{Installation, Service, base64url, member, must, text};
use crate::support::past::{Past, RING, alarms, check, codes, stop};
use crate::support::process::{Said, until};
use crate::support::witness::{Witness, WitnessKey};

const NEW: &str = "keys.example/log-2";

/// What a caller holds.
struct Signed {
    index: u64,
    jws: String,
    receipt: String,
    evidence: Vec<u8>,
}

fn signed(service: &Service, token: &str) -> Signed {
    let body = json!({"format": "jws", "payload": base64url(b"a record")});
    let path = format!("/v1/rings/{RING}/sign?receipt=wait");
    let mut answer = Value::Null;
    until("it signs", || {
        let said = service.post(&path, Some(token), &body);
        let done = said.status == 200;
        answer = serde_json::from_slice(&said.into_body()).unwrap_or_default();
        done && answer["receipt"].is_string()
    });
    let jws = member(&answer, "jws");
    Signed {
        index: answer["log_index"].as_u64().expect("an index"),
        receipt: member(&answer, "receipt"),
        evidence: evidence(service, &jws),
        jws,
    }
}

fn evidence(service: &Service, jws: &str) -> Vec<u8> {
    let body = json!({"signature": {"jws": jws}});
    let mut file = Vec::new();
    until("there is evidence", || {
        let answer = service.post("/v1/evidence", None, &body);
        let there = answer.status == 200;
        file = answer.into_body();
        there
    });
    file
}

/// The leaf and its receipt hold under the log's key by this name.
fn is_of(receipt: &str, leaf: &str, origin: &str, key: &PublicKey) -> bool {
    let proof = TlogProof::parse(receipt.as_bytes()).expect("a receipt");
    let keys = [VerifierKey::for_log(origin, key).expect("a log key")];
    let hash = leaf_hash(leaf.as_bytes());
    proof.verify(hash, &keys, &WitnessPolicy::none()).is_ok()
}

fn leaf_of(evidence: &[u8]) -> String {
    Evidence::decode(evidence).expect("evidence").leaf
}

fn refused(service: &Service) -> String {
    let health = send(&service.operations, "GET", "/health/ready", &[], b"").expect("it answers");
    let ready: Value = health.json().expect("JSON");
    let why = ready["parts"]["log"]["refused"].as_str();
    why.unwrap_or_default().to_owned()
}

/// Origin and place of the log.
fn configure(installation: &Installation, origin: &str, tiles: &str) {
    let file = installation.file("chancery.toml");
    let settings = fs::read_to_string(&file).expect("settings");
    let before = settings.split("\n[log]\n").next().expect("settings");
    let text = format!("{before}\n[log]\norigin = \"{origin}\"\ntiles = \"{tiles}\"\n");
    fs::write(file, text).expect("written");
}

fn proposed(installation: &Installation, note: &str, bundle: &str, origin: &str) -> Said {
    let ada = &installation.custodians[0];
    installation.try_chancery([
        "ceremony",
        "new",
        "new-origin",
        "--origin",
        origin,
        "--previous-checkpoint",
        note,
        "--bundle",
        bundle,
        "--proposer",
        "ada",
        "--reason",
        "database and bundles are lost",
        "--key",
        text(ada.key_file()),
    ])
}

/// Signs what `paper` writes, with plain `ssh-keygen`, and adds it.
fn add(installation: &Installation, bundle: &str, paper: &str, who: &Custodian) -> Said {
    let bytes = installation.file(&format!("{}.{paper}", who.id));
    let _ = fs::remove_file(&bytes);
    let said = installation.chancery(["ceremony", paper, bundle, "--out", text(&bytes)]);
    installation.chancery(["ceremony", "review", text(&bytes)]);
    let signature = must(who.sign(&bytes, &member(&said.json(), "namespace")));
    installation.try_chancery(["ceremony", "bundle", "add", bundle, text(&signature)])
}

/// A copy of the past whose database is of yesterday and whose bundles are gone, with what was signed before and after
/// the backup, and the last published checkpoint in the file `published`.
struct Lost {
    past: &'static Past,
    installation: Installation,
    before: Signed,
    after: Signed,
    /// A ceremony for a key that was approved before.
    approved: String,
    /// Of the log, under its old name.
    origin: String,
    key: PublicKey,
    /// Leaves that are left.
    left: u64,
    witness: Witness,
    policy: String,
}

impl Lost {
    fn new() -> Self {
        let past = Past::sqlite();
        let installation = past.copy(None);
        let origin = format!("{}/log", past.installation.plan.api);
        let vkeys = installation.chancery(["log", "vkey"]).json();
        let at = installation.directory.path();
        let witness_key = WitnessKey::new(at, "witness.example/w");
        let old: VerifierKey = member(&vkeys["keys"][0], "vkey").parse().expect("a vkey");
        let service = installation.replica(&[]);
        let path = format!("/v1/keys/{}/jwk", member(&vkeys["keys"][0], "kid"));
        let key = PublicKey::from_jwk_json(&service.get(&path).into_body()).expect("a JWK");
        stop(service);
        let new = VerifierKey::for_log(NEW, &key).expect("a log key");
        let witness = Witness::serve(&witness_key, &at.join("witness"), &[&old, &new]);
        let policy = text(&installation.file("policy")).to_owned();
        let line = format!(
            "witness w {} http://{}\nquorum w\n",
            witness_key.key, witness.address
        );
        fs::write(&policy, line).expect("written");

        let service = installation.replica(&[("CHANCERY_LOG__WITNESSES", &policy)]);
        let before = signed(&service, &past.token);
        let approved = installation.propose(RING);
        for custodian in installation.signers() {
            installation.approve(&approved, custodian);
        }
        let index = signed(&service, &past.token).index;
        assert!(index > before.index);
        assert_eq!(alarms(&installation, &service), [""; 0]);
        stop(service);
        let database = installation.file("chancery.db");
        fs::copy(&database, installation.file("yesterday")).expect("a backup");
        let left = Database::open(&installation.sqlite_url())
            .rows("SELECT CAST(size AS TEXT) FROM log_head")[0][0]
            .parse()
            .expect("a number");
        let service = installation.replica(&[("CHANCERY_LOG__WITNESSES", &policy)]);
        signed(&service, &past.token);
        let after = signed(&service, &past.token);
        assert_eq!(alarms(&installation, &service), [""; 0]);
        let note = service.get("/log/checkpoint").into_body();
        stop(service);
        fs::write(installation.file("published"), note).expect("written");

        for more in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{more}", text(&database)));
        }
        fs::copy(installation.file("yesterday"), &database).expect("restored");
        fs::remove_dir_all(installation.file("log/tile/entries")).expect("the bundles");
        Self {
            past,
            installation,
            before,
            after,
            approved,
            origin,
            key,
            left,
            witness,
            policy,
        }
    }

    fn bundle(&self) -> String {
        text(&self.installation.file("origin.bundle")).to_owned()
    }

    fn apply(&self, more: &[&str]) -> Said {
        let bundle = self.bundle();
        let words = ["ceremony", "bundle", "apply", &bundle];
        self.installation
            .try_chancery(words.into_iter().chain(more.iter().copied()))
    }
}

#[test]
fn case_l2_a_log_whose_leaves_are_lost_goes_on_under_a_new_origin() {
    let lost = Lost::new();
    let installation = &lost.installation;
    let (published, bundle) = (installation.file("published"), lost.bundle());
    let published = text(&published);

    // Halted, and nothing puts it back.
    let service = installation.replica(&[]);
    let why = refused(&service);
    assert!(why.contains("older than the log"), "{why}");
    stop(service);
    let recover = ["log", "recover", "--without-kept", "--apply"];
    let said = installation.try_chancery(recover);
    assert_eq!(said.code, Some(4), "{said:?}");

    // What no ceremony may say.
    let unsigned = installation.file("unsigned");
    let note = fs::read_to_string(published).expect("a note");
    fs::write(&unsigned, note.replacen(&lost.origin, "other", 1)).expect("written");
    for (note, origin, why) in [
        (text(&unsigned), NEW, "not signed by this log"),
        (published, lost.origin.as_str(), "before: give another one"),
    ] {
        let said = proposed(installation, note, &bundle, origin);
        assert_eq!(said.code, Some(3), "{said:?}");
        assert!(
            said.stderr.contains(why) || said.text().contains(why),
            "{said:?}"
        );
    }

    let said = proposed(installation, published, &bundle, NEW);
    assert_eq!(said.code, Some(0), "{said:?}");
    let id = member(&said.json(), "ceremony");
    let [ada, berta, carl] = installation.custodians.as_slice() else {
        panic!("three custodians")
    };
    let early = installation.try_chancery(["ceremony", "acceptance", &bundle, "--out", "x"]);
    assert_eq!(early.code, Some(3), "{early:?}");
    let own = add(installation, &bundle, "request", ada);
    assert_eq!(own.code, Some(3), "the proposer does not count: {own:?}");
    let foreign = with_key(installation.directory.path(), "eve", "ed25519");
    let nobody = add(installation, &bundle, "request", &foreign);
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
    let one = add(installation, &bundle, "request", berta).json();
    assert_eq!(one["approved_by"], json!(["berta"]), "{one}");
    assert_eq!(one["missing"], json!(["carl"]), "{one}");
    let two = add(installation, &bundle, "request", carl).json();
    assert_eq!(two["state"], "approved", "{two}");
    configure(installation, NEW, text(&installation.file("log-2")));
    let early = lost.apply(&["--apply"]);
    assert_eq!(early.code, Some(3), "not accepted yet: {early:?}");
    // At the same moment: neither loses the other's signature.
    thread::scope(|scope| {
        let adding = [berta, carl].map(|who| {
            let bundle = &bundle;
            scope.spawn(move || add(installation, bundle, "acceptance", who))
        });
        for one in adding {
            let said = one.join().expect("it ran");
            assert_eq!(said.code, Some(0), "{said:?}");
        }
    });
    let huge = installation.file("huge.bundle");
    fs::write(&huge, vec![b' '; (4 << 20) + 1]).expect("written");
    let said = installation.try_chancery(["ceremony", "bundle", "show", text(&huge)]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.text().contains("too large"), "{said:?}");
    let shown = installation.chancery(["ceremony", "bundle", "show", &bundle]);
    assert_eq!(shown.json()["missing"], json!([]), "{shown:?}");

    // Neither of the two settings alone, and the plan changes nothing.
    let (old_place, new_place) = (installation.file("log"), installation.file("log-2"));
    configure(installation, &lost.origin, text(&new_place));
    let said = lost.apply(&["--apply"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    configure(installation, NEW, text(&old_place));
    let said = lost.apply(&["--apply"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    configure(installation, NEW, text(&new_place));
    let service = installation.replica(&[]);
    let why = refused(&service);
    assert!(why.contains("changes only by a ceremony"), "{why}");
    stop(service);
    let plan = lost.apply(&["--from", text(&old_place)]).json();
    assert_eq!(plan["applied"], false, "{plan}");
    assert_eq!(plan["retained"], lost.left, "{plan}");
    assert_eq!(plan["revoked"], json!([]), "{plan}");
    assert_ne!(plan["unread"], json!([]), "their bundles are gone: {plan}");
    let mut done = Value::Null;
    // Until the lease of a replica that was stopped has run out.
    until("it is applied", || {
        let said = lost.apply(&["--from", text(&old_place), "--apply"]);
        done = said.json();
        said.code == Some(0)
    });
    assert_eq!(done["log_index"], lost.left, "{done}");
    let again = lost.apply(&["--apply"]).json();
    assert_eq!(again["already"], true, "{again}");

    // Only one of the two changed.
    for (origin, tiles, says) in [
        (NEW, &old_place, "log.tiles holds the log"),
        (
            lost.origin.as_str(),
            &new_place,
            "log.origin changes only by a ceremony",
        ),
    ] {
        configure(installation, origin, text(tiles));
        let service = installation.replica(&[]);
        let why = refused(&service);
        assert!(why.contains(says), "{why}");
        stop(service);
    }
    configure(installation, NEW, text(&new_place));

    let service = installation.replica(&[("CHANCERY_LOG__WITNESSES", &lost.policy)]);
    let now = signed(&service, &lost.past.token);
    assert!(now.index > lost.left, "{} {}", now.index, lost.left);
    let note = String::from_utf8(service.get("/log/checkpoint").into_body()).expect("text");
    assert!(note.starts_with(NEW), "{note}");
    let cosigned = || {
        let note = service.get("/log/checkpoint").into_body();
        String::from_utf8_lossy(&note).contains("witness.example/w")
    };
    until("a witness cosigns", cosigned);

    // What was signed before stays valid, by its old receipt and evidence and by new ones.
    let old = |signed: &Signed| {
        let leaf = leaf_of(&signed.evidence);
        is_of(&signed.receipt, &leaf, &lost.origin, &lost.key)
    };
    assert!(old(&lost.before) && old(&lost.after), "under the old name");
    let verify = |jws: &str| service.post("/v1/verify", None, &json!({"jws": jws})).ok();
    let verdict = verify(&lost.before.jws);
    assert_eq!(verdict["verdict"], "VALID", "{verdict}");
    assert_eq!(verdict["log_index"], lost.before.index, "{verdict}");
    let verdict = verify(&lost.after.jws);
    assert!(verdict["log_index"].is_null(), "it is lost: {verdict}");
    let receipt = service.get(&format!("/v1/receipts/{}", lost.before.index));
    let receipt = String::from_utf8(receipt.into_body()).expect("text");
    let leaf = leaf_of(&lost.before.evidence);
    assert!(is_of(&receipt, &leaf, &lost.origin, &lost.key));
    assert!(is_of(&now.receipt, &leaf_of(&now.evidence), NEW, &lost.key));
    let cases = [
        ("kept, retained", lost.before.evidence.clone()),
        ("kept, lost", lost.after.evidence.clone()),
        ("retained", evidence(&service, &lost.before.jws)),
        ("new", now.evidence.clone()),
    ];
    let origins = Evidence::decode(&cases[2].1).expect("evidence").origins;
    assert_eq!(origins.len(), 1);
    let cases = cases.map(|(name, bytes)| Case {
        name: name.to_owned(),
        bytes,
    });
    let mut tally = Tally::default();
    let at = installation.directory.path();
    ask(&mut tally, at, &installation.genesis, None, &cases);
    let tally = tally.done();
    assert_eq!((tally.held, tally.refused), (4, 0), "{tally:?}");
    assert_eq!(tally.verdicts.len(), 1, "{:?}", tally.verdicts);
    let file = installation.file("retained.evidence");
    fs::write(&file, &cases[2].bytes).expect("written");
    let genesis = ["--genesis", installation.genesis.as_str()];
    let said = installation.chancery(["verify", text(&file)].into_iter().chain(genesis));
    assert_eq!(said.json()["verdict"], "VALID");

    // Told once, and followed from there.
    assert_eq!(alarms(installation, &service), ["new_origin"]);
    assert_eq!(alarms(installation, &service), [""; 0]);
    signed(&service, &lost.past.token);
    assert_eq!(alarms(installation, &service), [""; 0]);
    let answer = service.get(&format!("/v1/ceremonies/{id}/transcript"));
    assert_eq!(answer.status, 200);
    let shown = installation.chancery(["ceremony", "show", &id]).json();
    // In the order in which they came, which was either.
    let by = shown["accepted_by"].as_array().expect("a list");
    let all = by.len() == 2 && ["berta", "carl"].iter().all(|who| by.contains(&json!(who)));
    assert!(all, "{shown}");
    stop(service);
    let report = check(installation);
    assert_eq!(codes(&report), [""; 0], "{report}");
    // A ceremony begun before and ended after has its proofs in one log.
    let service = installation.replica(&[("CHANCERY_LOG__WITNESSES", &lost.policy)]);
    installation.chancery(["ceremony", "execute", &lost.approved]);
    for custodian in installation.signers() {
        installation.accept(&lost.approved, custodian);
    }
    let kid = installation.only_kid(&lost.approved);
    let path = format!("/v1/keys/{kid}/transcript");
    until("its transcript has proofs", || {
        let transcript = service.get(&path);
        transcript.status == 200 && String::from_utf8_lossy(&transcript.body).contains(NEW)
    });
    stop(service);
    drop(lost.witness);
}
