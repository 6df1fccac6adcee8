//! Keys under standing orders held against the log: what an honest program does not let take effect, and what no replica
//! believes of one that has the database, the token and the executor's key.

use log::{Event, Log};
use store::{Change, KeyRow, KeyStatus, StatementKind};
use trust::approval::Statement;
use trust::evidence::Evidence;
use trust::leaf::{ActKind, Leaf};
use trust::order_log::UseProof;
use trust::transcript::Logged;
use trust::{Operation, Purpose, Sha256Digest, Transcript, verify_transcript};

use super::installation::{Installation, LONG};
use super::serving::Verifying;
use super::standing_orders::{
    RING, executor, findings, keys, make, order, ordered, report, sound, withdraw,
};
use crate::ceremony::Alone;
use crate::rotation::RingChange;

/// Lets a key take effect that was made and given up, as a hostile program would.
async fn publish(all: &Installation, id: &str) {
    let row = all.store.ceremony(id).await.unwrap().unwrap();
    let transcript = row.execution.unwrap();
    let verified = verify_transcript(&transcript, &all.settings.pin).unwrap();
    let Operation::Generate(generate) = verified.request().operation.clone() else {
        panic!("{id}")
    };
    let digest = verified.core_digest();
    let accepted = verified.into_key().unwrap();
    let again = format!("UPDATE ceremony SET state = 'executed' WHERE id = '{id}'");
    all.tamper("ceremony", &again).await;
    let key = KeyRow {
        kid: accepted.kid().clone(),
        ring: generate.ring.clone(),
        number: generate.number,
        status: KeyStatus::Prepared,
        spki: accepted.public_key().to_spki_der(),
        object: generate.place.object(),
        location: accepted.location().clone(),
        published_at: all.now(),
        activate_at: generate.activate_at,
        retire_at: generate.retire_at,
        activated_at: None,
        demoted_at: None,
        retired_at: None,
        archived_at: None,
        unpublished_at: None,
        revocation: None,
        ceremony: row.id,
    };
    let change = Change::AcceptKey {
        ceremony: id.to_owned(),
        key: Box::new(key),
        transcript,
        at: all.now().millis(),
    };
    let event = Event {
        digest: Some(digest),
        reference: Some(id),
        ring: Some(generate.ring.as_str()),
        kid: Some(accepted.kid()),
        ..Event::new(ActKind::Ceremony, "accepted", "test", all.now())
    };
    let log = Log::new(all.store.clone());
    log.commit(&change, &event).await.unwrap();
}

/// Made, and refused by the program that made it; a hostile one publishes it, and no replica believes it. Returns why.
pub(super) async fn refused_by_everybody(all: &Installation, order: &str) -> String {
    let made = make(all, order).await.unwrap();
    assert_eq!(made.state, "failed", "{made:?}");
    let (before, refused) = keys(all).await;
    assert_eq!(refused, [""; 0]);
    publish(all, &made.ceremony).await;
    let (count, mut refused) = keys(all).await;
    assert_eq!((count, refused.len()), (before + 1, 1), "{refused:?}");
    let findings = findings(all).await;
    assert!(findings.contains(&"order"), "{findings:?}");
    refused.remove(0)
}

/// By two custodians.
async fn suspend(all: &Installation, who: &str) -> String {
    let body = all.suspension_of(who).await;
    let id = all.file(StatementKind::Suspension, &body, "alice").await;
    let state = all.agree(StatementKind::Suspension, &body, "bob").await;
    assert_eq!(state, "effective");
    id
}

const TAKEN_BACK: &str = "UPDATE standing_order SET withdrawn_at = NULL, withdrawal = NULL, signature = NULL, idx = NULL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_superuser_takes_a_withdrawal_back() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    make(&all, &order).await.unwrap();
    withdraw(&all, &order, "carol").await.unwrap();
    all.tamper("standing_order", TAKEN_BACK).await;
    assert_eq!(findings(&all).await, ["order_withdrawal"]);
    let why = refused_by_everybody(&all, &order).await;
    assert!(why.contains("was withdrawn before"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_use_is_taken_twice_in_the_database() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    make(&all, &order).await.unwrap();
    all.tamper("order_use", "DELETE FROM order_use").await;
    assert_eq!(findings(&all).await, ["order_use"]);
    let why = refused_by_everybody(&all, &order).await;
    assert!(why.ends_with("was taken by another ceremony"), "{why}");
}

/// The leaf of its acceptance is of something else: members whose old keys were stolen could have approved it today.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_an_order_is_dated_back() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    let asked = report(&all, &order).await.ceremony;
    make(&all, &order).await.unwrap();
    let moved = format!(
        "UPDATE log_leaf SET body = replace(body, '{asked}', '{}')
        WHERE kind = 'ceremony' AND substr(body, 1, 21) = '{{\"action\":\"accepted\",'",
        Sha256Digest::of(b"another")
    );
    all.tamper("log_leaf", &moved).await;
    let (count, refused) = keys(&all).await;
    assert_eq!((count, refused.len()), (2, 1));
    let why = "does not tell of the acceptance of the standing order before its use";
    assert!(refused[0].contains(why), "{refused:?}");
    let made = make(&all, &order).await.unwrap();
    assert_eq!(made.state, "failed");
    let findings = findings(&all).await;
    assert!(findings.contains(&"order_unlogged"), "{findings:?}");
    assert!(findings.contains(&"order"), "{findings:?}");
}

/// An order and its keys survive those changes of the roster that leave enough of its approvers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_under_an_order_of_a_former_roster() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    make(&all, &order).await.unwrap();
    all.install_roster_with("frank").await;
    make(&all, &order).await.unwrap();
    assert_eq!(keys(&all).await, (3, vec![]));
    sound(&all).await;
}

/// The acceptance of the order stands behind the end of the chain under which it was held, and after its deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_an_order_is_accepted_by_former_custodians() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    all.install_roster_with("frank").await;
    make(&all, &order).await.unwrap();
    assert_eq!(keys(&all).await, (2, vec![]));
    // As if the roster had been installed before the order was carried out.
    let asked = report(&all, &order).await.ceremony;
    let early = format!(
        "UPDATE log_leaf SET body = replace(body, '\"ref\":\"{asked}\"', '\"ref\":\"{}\"')
        WHERE kind = 'ceremony' AND substr(body, 1, 20) = '{{\"action\":\"ordered\",'",
        Sha256Digest::of(b"another")
    );
    all.tamper("log_leaf", &early).await;
    // Its acceptance still stands before the end, which is enough.
    assert_eq!(keys(&all).await, (2, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_suspended_executor_s_earlier_result_is_accepted() {
    let (all, order) = ordered(&[], |_| ()).await;
    let made = make(&all, &order).await.unwrap();
    assert_eq!(made.state, "executed");
    suspend(&all, "robot").await;
    for who in ["alice", "bob"] {
        all.accept(&made.ceremony, who).await.unwrap();
    }
    // Enough accepted, and the executor whose result it is does not count any more.
    assert_eq!(all.ceremony_is(&made.ceremony).await, "failed");
    assert_eq!(keys(&all).await, (1, vec![]));
    let reason = all.last_act().await;
    assert!(reason.contains("the executor was suspended"), "{reason}");
    sound(&all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_key_of_a_suspended_executor_is_published() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    make(&all, &order).await.unwrap();
    let when = ("UPDATE ON ceremony", "NEW.state = 'closed'");
    all.break_at(when.0, when.1).await;
    make(&all, &order).await.unwrap_err();
    all.repair().await;
    let suspension = suspend(&all, "robot").await;
    all.wait(3);
    let token = all.token.executor();
    executor(&all)
        .reconcile(&token, Alone::Unknown)
        .await
        .unwrap();
    let uses = report(&all, &order).await.used;
    let made = uses.last().unwrap();
    assert_eq!(made.state, "failed");
    publish(&all, &made.ceremony.to_string()).await;
    let (count, refused) = keys(&all).await;
    assert_eq!((count, refused.len()), (3, 1));
    assert!(
        refused[0].contains("the executor was suspended"),
        "{refused:?}"
    );
    // Whoever takes the suspension out has it counted as anybody's.
    let gone = format!("DELETE FROM trust_statement_signature WHERE statement = '{suspension}'");
    all.tamper("trust_statement", &gone).await;
    assert_eq!(keys(&all).await.1, refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_key_is_made_or_accepted_after_the_deadline_of_its_use() {
    for (event, when, state) in [
        ("UPDATE ON ceremony", "NEW.state = 'executed'", "failed"),
        ("UPDATE ON ceremony", "NEW.state = 'closed'", "failed"),
    ] {
        let (all, order) = ordered(&[RING], |_| ()).await;
        all.break_at(event, when).await;
        make(&all, &order).await.unwrap_err();
        all.repair().await;
        // A use is open for a day.
        all.wait(24 * 60 + 1);
        let token = all.token.executor();
        executor(&all)
            .reconcile(&token, Alone::Unknown)
            .await
            .unwrap();
        assert_eq!(report(&all, &order).await.used[0].state, state, "{when}");
        assert_eq!(keys(&all).await, (1, vec![]), "{when}");
        sound(&all).await;
    }
}

/// More leaves about an order than anybody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_withdrawal_is_hidden_behind_a_thousand_leaves() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    make(&all, &order).await.unwrap();
    let log = Log::new(all.store.clone());
    for _ in 0..1_000 {
        let event = Event {
            reference: Some(&order),
            ..Event::new(ActKind::Order, "nothing", "test", all.now())
        };
        log.commit(&Change::Record, &event).await.unwrap();
    }
    withdraw(&all, &order, "carol").await.unwrap();
    all.tamper("standing_order", TAKEN_BACK).await;
    let made = make(&all, &order).await.unwrap();
    assert_eq!(made.state, "failed");
    publish(&all, &made.ceremony).await;
    let (count, refused) = keys(&all).await;
    assert_eq!((count, refused.len()), (3, 1));
    assert!(
        refused[0].contains("tells more of its standing order"),
        "{refused:?}"
    );
}

/// The database's index of acts says where a key was accepted, and proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_moved_row_of_the_index_hides_a_withdrawal() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    make(&all, &order).await.unwrap();
    let before = all.store.log_size().await.unwrap() - 1;
    withdraw(&all, &order, "carol").await.unwrap();
    all.tamper("standing_order", TAKEN_BACK).await;
    let why = refused_by_everybody(&all, &order).await;
    assert!(why.contains("was withdrawn before"), "{why}");
    let kid = report(&all, &order).await.used[1].kid.clone().unwrap();
    while all.store.index_acts(1_000).await.unwrap() {}
    for place in [before, before - 1] {
        let moved = format!("UPDATE log_key_act SET idx = {place} WHERE subject = '{kid}'");
        all.tamper("log_key_act", &moved).await;
        let (count, refused) = keys(&all).await;
        assert_eq!((count, refused.len()), (3, 1), "{place}");
        let why = "does not tell of the key's acceptance";
        assert!(refused[0].contains(why), "{refused:?}");
    }
}

/// Nor does it say that a key of an ordinary ceremony was accepted before its roster ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_moved_row_of_the_index_hides_a_former_roster() {
    let all = Installation::new().await;
    all.create_ring(RING).await;
    all.closed(RING, Installation::generation()).await;
    let early = all.store.log_size().await.unwrap() - 1;
    let late = all.executed(RING, Installation::generation()).await;
    all.install_roster_with("frank").await;
    for who in ["alice", "bob"] {
        all.accept(&late, who).await.unwrap();
    }
    assert_eq!(keys(&all).await, (2, vec![]));
    // It was made before the roster ended, as far as the log goes; now it was not.
    let unmade = format!(
        "UPDATE log_leaf SET body = replace(body, '{late}', '{}')
        WHERE substr(body, 1, 22) = '{{\"action\":\"generated\",' AND body LIKE '%{late}%'",
        Sha256Digest::of(b"another")
    );
    all.tamper("log_leaf", &unmade).await;
    let (_, refused) = keys(&all).await;
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("did not hold any more"), "{refused:?}");
    let rows = all.store.keys().await.unwrap().all().unwrap();
    let key = rows.iter().find(|key| key.ceremony.to_string() == late);
    let kid = &key.unwrap().kid;
    while all.store.index_acts(1_000).await.unwrap() {}
    let moved = format!("UPDATE log_key_act SET idx = {early} WHERE subject = '{kid}'");
    all.tamper("log_key_act", &moved).await;
    assert_eq!(keys(&all).await.1, refused);
}

/// A cold start: an order has hundreds of keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_s1_an_order_is_read_once_for_all_its_keys() {
    let (all, order) = ordered(&[RING], |input| input.uses = 6).await;
    let other = self::order(&all, |_| ()).await;
    for _ in 0..4 {
        make(&all, &order).await.unwrap();
    }
    make(&all, &other).await.unwrap();
    let fresh = all.keys().await;
    assert_eq!(fresh.current().refused, []);
    assert_eq!(fresh.current().keys.len(), 7);
    assert_eq!(fresh.order_reads(), (2, 2));
    // What comes later is looked for where it can be: behind what was read.
    make(&all, &order).await.unwrap();
    fresh.refresh().await;
    assert_eq!(fresh.current().keys.len(), 8);
    assert_eq!(fresh.order_reads(), (3, 2));
}

/// The rows of orders, uses and withdrawals against their leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_superuser_rewrites_the_rows_of_an_order() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    make(&all, &order).await.unwrap();
    sound(&all).await;
    let found = async |table: &str, sql: &str| {
        all.tamper(table, sql).await;
        findings(&all).await
    };
    let enlarge = "UPDATE standing_order SET uses = uses + 6";
    assert_eq!(found("standing_order", enlarge).await, ["order_row"]);
    let back = "UPDATE standing_order SET uses = uses - 6";
    assert_eq!(found("standing_order", back).await, [""; 0]);
    let later = "UPDATE order_use SET use_number = 2";
    assert_eq!(found("order_use", later).await, ["order_use", "order_use"]);
    assert_eq!(
        found("order_use", "UPDATE order_use SET use_number = 1").await,
        [""; 0]
    );
    // Withdrawn in the row alone; then by somebody who may not, over something else, and at another time.
    let row = "UPDATE standing_order SET withdrawn_at = 1, withdrawal = X'7b7d', signature = '{}', idx = 1";
    assert_eq!(found("standing_order", row).await, ["order_withdrawal"]);
    all.tamper("standing_order", TAKEN_BACK).await;
    withdraw(&all, &order, "carol").await.unwrap();
    sound(&all).await;
    let time = "UPDATE standing_order SET withdrawn_at = withdrawn_at + 1";
    assert_eq!(found("standing_order", time).await, ["order_withdrawal"]);
    let back = "UPDATE standing_order SET withdrawn_at = withdrawn_at - 1";
    assert_eq!(found("standing_order", back).await, [""; 0]);
    let body = "UPDATE standing_order SET withdrawal = CAST(replace(CAST(withdrawal AS TEXT), 'enough', 'no use') AS BLOB)";
    assert_eq!(found("standing_order", body).await, ["order_withdrawal"]);
    let back = "UPDATE standing_order SET withdrawal = CAST(replace(CAST(withdrawal AS TEXT), 'no use', 'enough') AS BLOB)";
    assert_eq!(found("standing_order", back).await, [""; 0]);
    let gone = "PRAGMA foreign_keys = OFF; DELETE FROM standing_order; PRAGMA foreign_keys = ON";
    let codes = found("standing_order", gone).await;
    assert!(
        codes.iter().all(|code| *code == "order_missing"),
        "{codes:?}"
    );
    assert!(!codes.is_empty());
}

/// A leaf that says that an order was withdrawn, with a row whose signature is nobody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_withdrawal_is_forged_in_the_database() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    let signature = all.signed("mallory", Purpose::Withdraw, b"{}");
    let signature = trust::sshsig::normalize(&signature).unwrap();
    let signature = trust::MemberSignature::ssh(signature);
    let change = Change::WithdrawOrder {
        order: order.clone(),
        body: b"{}".to_vec(),
        signature: String::from_utf8(signature.encode().unwrap()).unwrap(),
        at: all.now().millis(),
    };
    let event = Event {
        digest: Some(signature.digest().unwrap()),
        reference: Some(&order),
        ring: Some(RING),
        ..Event::new(ActKind::Order, "withdraw", "test", all.now())
    };
    Log::new(all.store.clone())
        .commit(&change, &event)
        .await
        .unwrap();
    assert_eq!(findings(&all).await, ["order_withdrawal"]);
}

/// What a stranger is given of a key under an order has the leaves about the order, and none of them can be left out that
/// speaks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transcript_under_an_order_shows_what_the_log_says_of_the_order() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    all.install_roster_with("frank").await;
    let made = make(&all, &order).await.unwrap();
    let verifying = Verifying::over(&all).await;
    verifying.covered().await;
    let kid = made.kids.first().unwrap();
    let proven = verifying.evidence.transcript_of(kid).await.unwrap();
    let pin = &all.settings.pin;
    let proof = |transcript: &Transcript| {
        let bytes = transcript.encode().unwrap();
        verify_transcript(&bytes, pin).unwrap().use_proof()
    };
    let whole = Transcript::decode(&proven).unwrap();
    assert_eq!(proof(&whole), Some(UseProof::Shown));
    let action = |logged: &Logged| match Leaf::parse(logged.leaf.as_bytes()) {
        Ok(Leaf::Act(act)) => act.action,
        other => panic!("{other:?}"),
    };
    let actions: Vec<String> = whole.log_proofs.iter().map(action).collect();
    let expected = [
        "accepted",
        "ordered",
        "accepted",
        "install-roster",
        "use",
        "intend-generation",
        "generated",
        "accepted",
    ];
    assert_eq!(actions, expected);
    for (place, action) in actions.iter().enumerate() {
        let mut without = whole.clone();
        without.log_proofs.remove(place);
        let refused = verify_transcript(&without.encode().unwrap(), pin).is_err();
        // That it was carried out in time matters where it was accepted later.
        assert_eq!(refused, action != "ordered", "{action}");
    }
    // Without all of them it shows less, and says so.
    let mut silent = whole.clone();
    let silent_core = whole.core_digest().unwrap().to_string();
    silent.log_proofs.retain(|logged| {
        let act = action(logged);
        act == "accepted" && logged.leaf.contains(&silent_core)
    });
    assert_eq!(proof(&silent), Some(UseProof::NotShown));
    assert_eq!(proof(&whole.core()), Some(UseProof::NotShown));
    for at in (0..proven.len()).step_by(211) {
        let mut changed = proven.clone();
        changed[at] ^= 1;
        assert!(verify_transcript(&changed, pin).is_err(), "byte {at}");
    }
    // And so has an evidence file, in which the acceptance is the first act of the key's life.
    all.wait(LONG);
    all.change(RING, &RingChange::Rotate).await;
    verifying.serving.keys.refresh().await;
    verifying.serving.jws(RING, "payload").await;
    verifying.covered().await;
    let signed = all.store.log_size().await.unwrap() - 1;
    let file = verifying.evidence.of_leaf(signed).await.unwrap();
    let file = Evidence::decode(&file).unwrap();
    let proof = |file: &Evidence| {
        let found = trust::evidence::verify(&file.encode().unwrap(), pin.genesis, None);
        found.unwrap().order_use
    };
    assert_eq!(proof(&file), Some(UseProof::Shown));
    let silent = Evidence {
        order: Vec::new(),
        ..file.clone()
    };
    assert_eq!(proof(&silent), Some(UseProof::NotShown));
    let actions: Vec<String> = file.order.iter().map(action).collect();
    assert_eq!(actions, expected[..7]);
    for (place, action) in actions.iter().enumerate() {
        let mut without = file.clone();
        without.order.remove(place);
        let verified =
            trust::evidence::verify(&without.encode().unwrap(), pin.genesis, None).map(drop);
        match action.as_str() {
            "ordered" => verified.unwrap(),
            what => assert_eq!(verified.unwrap_err().word, "order", "{what}"),
        }
    }
}

/// With the executor's key somebody makes a key under an order that the custodians did not approve so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_a_superuser_inserts_an_order_and_a_key_under_it() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    let made = make(&all, &order).await.unwrap();
    let kept = all.store.transcript(&made.ceremony).await.unwrap().unwrap();
    let pin = &all.settings.pin;
    verify_transcript(&kept, pin).unwrap();
    let under = |change: &dyn Fn(&mut Transcript)| {
        let mut file = Transcript::decode(&kept).unwrap();
        let text = file.record.order.clone().unwrap();
        let mut of_order = Transcript::decode(text.as_bytes()).unwrap();
        change(&mut of_order);
        let forged = String::from_utf8(of_order.encode().unwrap()).unwrap();
        file.record.order = Some(forged);
        // The executor's key signs it.
        let text = &file.acceptance.statement;
        let mut statement: Statement = trust::json::require_canonical(text.as_bytes()).unwrap();
        statement.record_digest = file.record.digest().unwrap();
        let statement = statement.encode().unwrap();
        let signature = all.signed("robot", Purpose::Result, &statement);
        let signature = trust::sshsig::normalize(&signature).unwrap();
        file.acceptance.statement = String::from_utf8(statement).unwrap();
        file.acceptance.result = Some(trust::MemberSignature::ssh(signature));
        file.encode().unwrap()
    };
    verify_transcript(&under(&|_| ()), pin).unwrap();
    let approved_by_one = under(&|order| drop(order.record.approvals.pop()));
    let accepted_by_one = under(&|order| drop(order.acceptance.signatures.pop()));
    let enlarged = under(&|order| {
        let more = order.record.request.replace(r#""uses":3"#, r#""uses":9"#);
        order.record.request = more;
    });
    for forged in [approved_by_one, accepted_by_one, enlarged] {
        let hex = trust::hex::encode(&forged);
        let sql = format!(
            "UPDATE ceremony SET transcript = X'{hex}' WHERE id = '{}'",
            made.ceremony
        );
        all.tamper("ceremony", &sql).await;
        let (count, refused) = keys(&all).await;
        assert_eq!((count, refused.len()), (2, 1));
        assert!(refused[0].contains("Order(Transcript("), "{refused:?}");
    }
}
