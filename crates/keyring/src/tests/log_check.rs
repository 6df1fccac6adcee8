//! The check of the log goes on where the last one came to, and finds what a whole one would find from there on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use log::{Auditor, Event, Log, OriginChange, Report, Storage};
use store::Change;
use trust::leaf::ActKind;
use trust::tlog::note::VerifierKey;

use super::installation::{Installation, LONG};
use super::serving::Verifying;
use crate::ceremony::{Bundle, CeremonyService, Draft, SigningPayload};
use crate::rotation::RingChange;

const NEW: &str = "log-2.example";

pub(super) struct Checked {
    pub all: Installation,
    verifying: Verifying,
    state: tempfile::TempDir,
}

impl Checked {
    pub async fn new() -> Self {
        let all = Installation::new().await;
        all.open_ring("log").await;
        all.open_ring("records").await;
        let verifying = Verifying::over(&all).await;
        let state = tempfile::tempdir().unwrap();
        Self {
            all,
            verifying,
            state,
        }
    }

    /// The log goes on under another origin, at another place, with all its leaves.
    async fn begin_anew(self) -> Self {
        let Self {
            all,
            verifying,
            state,
        } = self;
        let old = Storage::open(&verifying.settings, |_| None).unwrap();
        let tiles = verifying.stop().await;
        let service = all.service();
        let tree = all.store.tree().await.unwrap();
        let snapshot = all.snapshot().await;
        let keys = snapshot.rings["log"].keys.iter();
        let keys = keys.map(|key| VerifierKey::for_log(&tree.origin, &key.public).unwrap());
        let change = OriginChange::new(all.store.clone(), Some(old), keys.collect());
        let note = std::fs::read_to_string(tiles.path().join("checkpoint")).unwrap();
        let pin = &all.settings.pin;
        let order = change.draft(NEW, &note, pin, |_, _| {}).await.unwrap();
        let mut proposal = all.proposal("log", Draft::NewOrigin(Box::new(order.clone())));
        proposal.ring = None;
        let request = service.draft_request(proposal, &snapshot).await.unwrap();
        let mut bundle = service.bundle(&request).await.unwrap();
        let add = |who: &str, payload: SigningPayload, bundle: &mut Bundle| {
            let custodians = &all.custodians;
            let signature = custodians.signature(who, &payload.namespace, &payload.bytes);
            bundle.add(&signature, pin, all.now()).unwrap();
        };
        let payload = CeremonyService::proposal_payload(&request).unwrap();
        add("carol", payload, &mut bundle);
        for who in ["alice", "bob"] {
            let payload = bundle.approval_payload().unwrap();
            add(who, payload, &mut bundle);
        }
        for who in ["alice", "bob"] {
            let payload = bundle.acceptance_payload().unwrap();
            add(who, payload, &mut bundle);
        }
        let permitted = service.permit_origin(&bundle).await.unwrap();
        let settings = log::Settings {
            origin: Some(NEW.to_owned()),
            ..log::Settings::default()
        };
        let place = tempfile::tempdir().unwrap();
        let new = log::Settings {
            tiles: place.path().display().to_string(),
            ..settings.clone()
        };
        let new = Storage::open(&new, |_| None).unwrap();
        let retained = change.copy(&new, &order, |_, _| {}).await.unwrap();
        service.begin_origin(&permitted, &retained).await.unwrap();
        change.end().await.unwrap();
        let verifying = Verifying::at(&all, place, settings).await;
        Self {
            all,
            verifying,
            state,
        }
    }

    /// So many leaves more, some of them signatures, all under a checkpoint.
    pub async fn grow(&self, leaves: usize) {
        let log = Log::new(self.all.store.clone());
        for number in 0..leaves {
            if number % 50 == 0 {
                self.verifying.serving.jws("records", "payload").await;
            }
            let event = Event::new(ActKind::Admin, "test", "cli", self.all.now());
            log.commit(&Change::Record, &event).await.unwrap();
        }
        self.verifying.covered().await;
    }

    fn state(&self) -> PathBuf {
        self.state.path().join("kept").join("checked")
    }

    fn auditor(&self, full: bool) -> Auditor {
        let settings = &self.verifying.settings;
        let storage = Storage::open(settings, |_| None).unwrap();
        let origin = settings.origin("https://chancery.example");
        let pin = self.all.settings.pin.clone();
        Auditor::new(self.all.store.clone(), storage, pin, origin)
            .with_state(self.state(), full)
            .with_pages_of(1)
    }

    /// All leaves, and the documents of two ceremonies at a time.
    async fn in_pages(&self) -> Report {
        let auditor = self.auditor(true).with_ceremonies_of(2);
        auditor.check(|_, _| {}).await.unwrap()
    }

    async fn check(&self, full: bool) -> Report {
        self.auditor(full).check(|_, _| {}).await.unwrap()
    }

    pub async fn clean(&self, full: bool) -> Report {
        let report = self.check(full).await;
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        report
    }

    pub async fn codes(&self, full: bool) -> Vec<&'static str> {
        let report = self.check(full).await;
        report.findings.iter().map(|finding| finding.code).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_goes_on_where_the_last_one_came_to() {
    let checked = Checked::new().await;
    checked.grow(600).await;
    let first = checked.clean(false).await;
    assert_eq!(first.resumed_at, 0);
    let again = checked.clean(false).await;
    assert_eq!(again.resumed_at, first.leaves / 256 * 256);
    assert_eq!(
        (again.leaves, again.checkpoints),
        (first.leaves, first.checkpoints)
    );
    checked.grow(300).await;
    let later = checked.clean(false).await;
    assert_eq!(later.resumed_at, again.resumed_at);
    let full = checked.clean(true).await;
    assert_eq!(full.resumed_at, 0);
    assert_eq!(
        (later.leaves, later.checkpoints),
        (full.leaves, full.checkpoints)
    );
    assert_eq!(later.keys, full.keys);
    assert!(checked.clean(false).await.resumed_at > later.resumed_at);
}

/// Killed half way, and the log's key is rotated before it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_is_interrupted_and_goes_on_across_a_rotation_of_the_logs_key() {
    let checked = Checked::new().await;
    checked.grow(700).await;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let mut stop = Some(stop);
    let reached = Arc::new(AtomicI64::new(0));
    let seen = reached.clone();
    let auditor = checked.auditor(false);
    let progress = |done: i64, _: i64| {
        seen.store(done, Ordering::Relaxed);
        if done >= 512
            && let Some(stop) = stop.take()
        {
            let _ = stop.send(());
        }
    };
    tokio::select! {
        biased;
        _ = stopped => {}
        report = auditor.check(progress) => drop(report.unwrap()),
    }
    assert!(reached.load(Ordering::Relaxed) >= 512);
    let first = checked.all.snapshot().await.rings["log"]
        .primary
        .clone()
        .unwrap();
    checked.all.next_primary("log").await;
    checked.all.wait(LONG);
    let retire = RingChange::Retire(first.kid.clone());
    checked.all.change("log", &retire).await;
    checked.verifying.serving.keys.refresh().await;
    checked.grow(300).await;
    let resumed = checked.clean(false).await;
    assert!(resumed.resumed_at >= 256, "{}", resumed.resumed_at);
    let full = checked.clean(true).await;
    assert_eq!(
        (resumed.leaves, resumed.checkpoints),
        (full.leaves, full.checkpoints)
    );
    // And from a state that the new key signed.
    checked.grow(10).await;
    assert!(checked.clean(false).await.resumed_at >= resumed.resumed_at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_is_found_from_there_on_and_acts_and_rows_before_too() {
    let checked = Checked::new().await;
    checked.grow(600).await;
    let begun = checked.clean(false).await;
    assert!(begun.leaves > 600);
    let state = std::fs::read(checked.state()).unwrap();
    let tamper = async |sql: &str| checked.all.tamper("log_leaf", sql).await;
    let spoil = r#"replace(body, '"cli"', '"cla"')"#;

    // Behind it; nothing is kept of a check with a finding.
    tamper(&format!(
        "UPDATE log_leaf SET body = {spoil} WHERE idx = 590"
    ))
    .await;
    let resumed = checked.codes(false).await;
    assert!(
        resumed.contains(&"leaf") && resumed.contains(&"root"),
        "{resumed:?}"
    );
    assert_eq!(std::fs::read(checked.state()).unwrap(), state);
    tamper(r#"UPDATE log_leaf SET body = replace(body, '"cla"', '"cli"') WHERE idx = 590"#).await;
    checked.clean(false).await;

    // An act before it.
    tamper(&format!(
        "UPDATE log_leaf SET body = {spoil} WHERE idx = 100"
    ))
    .await;
    assert!(checked.codes(false).await.contains(&"leaf"));
    tamper(r#"UPDATE log_leaf SET body = replace(body, '"cla"', '"cli"') WHERE idx = 100"#).await;
    // One that calls itself a signature, or is gone: as the whole way through the log says it.
    let rows = "FROM log_leaf WHERE idx = 100";
    set_aside(&checked, &format!("CREATE TABLE aside AS SELECT * {rows}")).await;
    for (sql, code) in [
        (
            "UPDATE log_leaf SET kind = 'sign', ring = 'records', kid = printf('%043d', idx), sig_hash = printf('%064d', idx) WHERE idx = 100",
            "columns",
        ),
        ("DELETE FROM log_leaf WHERE idx = 100", "missing"),
    ] {
        tamper(sql).await;
        let report = checked.check(false).await;
        assert_eq!(report.resumed_at, 0, "{code}");
        assert!(
            report.findings.iter().any(|found| found.code == code),
            "{code}: {:?}",
            report.findings
        );
        tamper("INSERT OR REPLACE INTO log_leaf SELECT * FROM aside").await;
    }
    checked.clean(false).await;

    // Rows of the index of acts, which nobody believes and everybody goes by.
    while checked.all.store.index_acts(1_000).await.unwrap() {}
    checked.clean(false).await;
    for (table, of) in [
        ("log_key_act", "subject <> 'log'"),
        ("log_key_accepted", "place = 0"),
    ] {
        let tamper = async |sql: &str| checked.all.tamper(table, sql).await;
        set_aside(
            &checked,
            &format!("CREATE TABLE aside_{table} AS SELECT * FROM {table} WHERE {of}"),
        )
        .await;
        tamper(&format!("DELETE FROM {table} WHERE {of}")).await;
        assert_eq!(checked.codes(false).await[0], "act_index", "{table}");
        tamper(&format!("INSERT INTO {table} SELECT * FROM aside_{table}")).await;
        checked.clean(false).await;
    }

    // A row of a key.
    checked
        .all
        .tamper(
            "signing_key",
            "UPDATE signing_key SET activated_at = activated_at + 1",
        )
        .await;
    assert!(checked.codes(false).await.contains(&"key_state"));
    checked
        .all
        .tamper(
            "signing_key",
            "UPDATE signing_key SET activated_at = activated_at - 1",
        )
        .await;
    checked.clean(false).await;

    // A signature before it is hashed by a whole check alone.
    let sql = "UPDATE log_leaf SET body = body || ' ' WHERE idx = (SELECT MIN(idx) FROM log_leaf WHERE kind = 'sign')";
    tamper(sql).await;
    checked.clean(false).await;
    assert!(checked.codes(true).await.contains(&"leaf"));
}

async fn set_aside(checked: &Checked, sql: &str) {
    checked.all.place.raw(sql).await.unwrap();
}

/// What is in the file counts only with the signature and with the checkpoint in the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_not_of_this_log_is_not_believed() {
    let checked = Checked::new().await;
    checked.grow(600).await;
    checked.clean(false).await;
    let good: serde_json::Value =
        serde_json::from_slice(&std::fs::read(checked.state()).unwrap()).unwrap();
    let write = |state: &serde_json::Value| {
        std::fs::write(checked.state(), state.to_string()).unwrap();
    };
    for (member, value) in [
        ("v", serde_json::json!(2)),
        ("origin", serde_json::json!("elsewhere")),
        ("size", serde_json::json!(1)),
        ("root", serde_json::json!("00".repeat(32))),
        ("note", serde_json::json!("nothing")),
    ] {
        let mut state = good.clone();
        state[member] = value;
        write(&state);
        let report = checked.clean(false).await;
        assert_eq!(report.resumed_at, 0, "{member}");
        let told = report
            .remarks
            .iter()
            .any(|remark| remark.starts_with("starts anew"));
        assert!(told, "{member}: {:?}", report.remarks);
    }
    // Another place is one of other acts.
    let mut state = good.clone();
    state["mark"]["from"] = serde_json::json!(256);
    write(&state);
    assert_eq!(checked.clean(false).await.resumed_at, 0);
    std::fs::write(checked.state(), b"garbage").unwrap();
    assert_eq!(checked.clean(false).await.resumed_at, 0);
    // Signed by the log, and not in the database: it has another history.
    write(&good);
    let size = good["size"].as_i64().unwrap();
    let sql = format!(
        "UPDATE log_checkpoint SET root = '{}' WHERE size = {size}",
        "00".repeat(32)
    );
    let drop = "DROP TRIGGER log_checkpoint_cosigned";
    checked.all.place.raw(drop).await.unwrap();
    checked.all.place.raw(&sql).await.unwrap();
    assert!(checked.codes(false).await.contains(&"checkpoint"));
}

/// What the last check kept is of an origin that has ended, so the next one reads all leaves; then it goes on again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_new_origin_a_check_begins_anew_and_goes_on_from_there() {
    let checked = Checked::new().await;
    checked.grow(600).await;
    checked.clean(false).await;
    let before = checked.clean(false).await;
    assert!(before.resumed_at > 0);
    let checked = checked.begin_anew().await;
    checked.grow(300).await;
    let first = checked.clean(false).await;
    assert_eq!(first.resumed_at, 0);
    let told = |why: &str| first.remarks.iter().any(|remark| remark.contains(why));
    assert!(told("genesis or origin differs"), "{:?}", first.remarks);
    assert!(first.checkpoints > before.checkpoints);
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(checked.state()).unwrap()).unwrap();
    assert_eq!(state["origin"], NEW);
    assert!(state["note"].as_str().unwrap().starts_with(NEW));
    // Begun anew once: the ended origin's checkpoints and the root before the act count from there too.
    let again = checked.clean(false).await;
    assert_eq!(again.resumed_at, first.leaves / 256 * 256);
    assert_eq!(
        (again.leaves, again.checkpoints),
        (first.leaves, first.checkpoints)
    );
    // Interrupted among leaves that the ended origin signed: nothing is kept that the present one did not sign.
    std::fs::remove_file(checked.state()).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let mut stop = Some(stop);
    let auditor = checked.auditor(false);
    let progress = |done: i64, _: i64| {
        if done >= 512
            && let Some(stop) = stop.take()
        {
            let _ = stop.send(());
        }
    };
    tokio::select! {
        biased;
        _ = stopped => {}
        report = auditor.check(progress) => drop(report.unwrap()),
    }
    if let Ok(state) = std::fs::read(checked.state()) {
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        assert!(state["note"].as_str().unwrap().starts_with(NEW));
    }
    assert_eq!(checked.clean(false).await.leaves, first.leaves);
}

/// A recovery puts back the leaves and the last checkpoint; a database that is older has neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_without_its_row_is_compared_with_the_leaves() {
    let checked = Checked::new().await;
    checked.grow(300).await;
    let first = checked.clean(false).await;
    checked.grow(300).await;
    let all = &checked.all;
    let size = first.leaves;
    let of: Vec<_> = all.store.checkpoints(size, 1).await.unwrap();
    assert_eq!(of[0].size, size);
    all.tamper(
        "log_checkpoint",
        &format!("DELETE FROM log_checkpoint WHERE size = {size}"),
    )
    .await;
    let kept = std::fs::read(checked.state()).unwrap();
    let anew = checked.clean(false).await;
    assert_eq!(anew.resumed_at, 0);
    let told = |why: &str| anew.remarks.iter().any(|remark| remark.contains(why));
    assert!(told("their root is compared"), "{:?}", anew.remarks);
    assert!(checked.clean(false).await.resumed_at > 0);

    // Another history of as many leaves.
    std::fs::write(checked.state(), kept).unwrap();
    let spoil = r#"UPDATE log_leaf SET body = replace(body, '"cli"', '"cla"') WHERE idx = 100"#;
    all.tamper("log_leaf", spoil).await;
    assert!(checked.codes(false).await.contains(&"checkpoint"));
}

/// Of more ceremonies than are read together, each is compared, and what cannot be read hides nothing behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ceremonies_are_checked_page_by_page() {
    let checked = Checked::new().await;
    let all = &checked.all;
    for _ in 0..4 {
        all.next_primary("records").await;
        all.wait(LONG);
    }
    let clean = checked.in_pages().await;
    assert!(clean.findings.is_empty(), "{:?}", clean.findings);
    let mut keys = all.store.keys().await.unwrap().all().unwrap();
    // As ceremonies are read.
    keys.sort_by_key(|key| key.ceremony.to_string());
    assert!(keys.len() > 4);
    let replace = async |(from, to): (&str, &str), id: &str| {
        let sql = format!(
            "UPDATE ceremony SET transcript = CAST(replace(CAST(transcript AS TEXT), '{from}', '{to}') AS BLOB) WHERE id = '{id}'"
        );
        all.tamper("ceremony", &sql).await;
    };
    for key in keys.iter().filter(|key| key.ring.as_str() == "records") {
        let id = key.ceremony.to_string();
        replace(("alice", "alicf"), &id).await;
        let report = checked.in_pages().await;
        let mut named: Vec<&str> = Vec::new();
        for found in &report.findings {
            assert_eq!(found.code, "transcript", "{found:?}");
            named.push(&found.what);
        }
        let of = |subject: &str| named.iter().filter(|what| what.contains(subject)).count();
        // It does not tally, and is neither the one that the key nor the one that the ceremony was accepted with.
        assert_eq!((of(key.kid.as_str()), of(&id)), (2, 1), "{named:?}");
        assert_eq!(named.len(), 3, "{named:?}");
        replace(("alicf", "alice"), &id).await;
    }
    assert!(checked.in_pages().await.findings.is_empty());

    // One whose documents are not read at all, and one whose documents are.
    let unreadable = [&keys[0], &keys[3]].map(|key| key.ceremony.to_string());
    for (column, id) in ["updated_at = -1", "nonce = substr(id, 1, 31) || 'Z'"]
        .into_iter()
        .zip(&unreadable)
    {
        let sql = format!("UPDATE ceremony SET {column} WHERE id = '{id}'");
        all.tamper("ceremony", &sql).await;
    }
    let report = checked.in_pages().await;
    let of_rows = report
        .findings
        .iter()
        .filter(|found| found.code == "unreadable_row");
    let of_rows: Vec<&str> = of_rows.map(|found| found.what.as_str()).collect();
    assert_eq!(of_rows.len(), 2, "{of_rows:?}");
    for id in &unreadable {
        assert!(of_rows.iter().any(|what| what.contains(id)), "{of_rows:?}");
    }
    let missing = |found: &&trust::finding::Finding| found.code == "ceremony_missing";
    assert_eq!(report.findings.iter().find(missing), None);
}
