//! Standing orders over a database, a token and a log: used one by one, withdrawn, and stolen from.

use std::sync::Arc;
use std::time::Duration;

use log::{Auditor, Storage};
use testkit::custodians::Custodians;
use testkit::token::Fault;
use trust::request::OrderWindow;
use trust::sshkey::SshKey;

use super::installation::{Installation, LABEL, LONG, SERIAL};
use super::serving::Verifying;
use crate::ceremony::{
    CeremonyService, Draft, Error, OrderInput, OrderReport, Report, ResultSigner,
};

pub(super) const RING: &str = "records";

/// An executor's key.
struct Robot(Arc<Custodians>, &'static str);

impl ResultSigner for Robot {
    fn public_key(&self) -> Result<SshKey, String> {
        Ok(self.0.public_key(self.1))
    }

    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, String> {
        Ok(self.0.signature(self.1, namespace, bytes))
    }
}

/// Says that it is the robot.
struct Liar(Arc<Custodians>);

impl ResultSigner for Liar {
    fn public_key(&self) -> Result<SshKey, String> {
        Ok(self.0.public_key("robot"))
    }

    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, String> {
        Ok(self.0.signature("second", namespace, bytes))
    }
}

pub(super) fn input(all: &Installation) -> OrderInput {
    OrderInput {
        activate_after: Duration::from_secs(24 * 3_600),
        executor: "robot".parse().unwrap(),
        executor_key: None,
        interval: Duration::ZERO,
        lifetime: Duration::from_secs(90 * 86_400),
        not_after: all.now() + Duration::from_secs(300 * 86_400),
        not_before: all.now(),
        token_label: LABEL.to_owned(),
        token_serial: SERIAL.to_owned(),
        uses: 3,
        window: OrderWindow::always(),
    }
}

/// A ring that signs, and an order for its next keys.
pub(super) async fn ordered(
    routine: &[&str],
    change: impl FnOnce(&mut OrderInput),
) -> (Installation, String) {
    let all = Installation::with_executors(routine).await;
    for ring in ["log", RING] {
        Box::pin(all.open_ring(ring)).await;
    }
    let order = Box::pin(order(&all, change)).await;
    (all, order)
}

pub(super) async fn order(all: &Installation, change: impl FnOnce(&mut OrderInput)) -> String {
    let mut input = input(all);
    change(&mut input);
    let id = Box::pin(all.closed(RING, Draft::Order(Box::new(input)))).await;
    let (orders, _) = all.service().orders((i64::MAX, ""), 10).await.unwrap();
    let found = orders
        .into_iter()
        .find(|order| order.ceremony.to_string() == id);
    found.unwrap().order
}

pub(super) fn executor(all: &Installation) -> CeremonyService {
    by(all, "robot")
}

pub(super) fn by(all: &Installation, who: &'static str) -> CeremonyService {
    let signer = Robot(all.custodians.clone(), who);
    all.service().with_result_signer(Arc::new(signer))
}

pub(super) async fn make(all: &Installation, order: &str) -> Result<Report, Error> {
    make_by(all, executor(all), order).await
}

pub(super) async fn make_by(
    all: &Installation,
    service: CeremonyService,
    order: &str,
) -> Result<Report, Error> {
    let snapshot = all.snapshot().await;
    let token = all.token.executor();
    service.make_under_order(order, &token, &snapshot).await
}

pub(super) async fn withdraw(
    all: &Installation,
    order: &str,
    who: &str,
) -> Result<OrderReport, Error> {
    let service = all.service();
    let payload = service.withdrawal_payload(order, "enough").await?;
    let signature = all
        .custodians
        .signature(who, &payload.namespace, &payload.bytes);
    service.withdraw_order(order, "enough", &signature).await
}

pub(super) async fn report(all: &Installation, order: &str) -> OrderReport {
    all.service().order_report(order).await.unwrap()
}

/// Keys of the ring in the database, and those that no replica believes.
pub(super) async fn keys(all: &Installation) -> (usize, Vec<String>) {
    let mut keys = all.store.keys().await.unwrap().all().unwrap();
    keys.retain(|key| key.ring.as_str() == RING);
    let refused = all.snapshot().await.refused.clone();
    (keys.len(), refused.into_iter().map(|key| key.why).collect())
}

/// What the check of the log finds, by its codes.
pub(super) async fn findings(all: &Installation) -> Vec<&'static str> {
    let verifying = Verifying::over(all).await;
    verifying.covered().await;
    let storage = Storage::open(&verifying.settings, |_| None).unwrap();
    let origin = verifying.settings.origin("https://chancery.example");
    let pin = all.settings.pin.clone();
    let auditor = Auditor::new(all.store.clone(), storage, pin, origin);
    let report = auditor.check(|_, _| {}).await.unwrap();
    report.findings.iter().map(|finding| finding.code).collect()
}

pub(super) async fn sound(all: &Installation) {
    assert_eq!(findings(all).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_routine_ring_is_rotated_by_its_order_and_by_nobody() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    let before = report(&all, &order).await;
    assert_eq!(
        (before.state, before.left, before.routine),
        ("active", 3, true)
    );
    for number in 1..=3_u32 {
        let made = make(&all, &order).await.unwrap();
        assert_eq!(
            (made.state.as_str(), made.standing.as_str()),
            ("closed", "finished")
        );
        assert_eq!(made.approved_by, ["alice", "bob"]);
        assert_eq!(
            (made.acceptances_needed, made.accepted_by.len()),
            (Some(0), 0)
        );
        let now = report(&all, &order).await;
        assert_eq!(now.left, 3 - number);
        assert_eq!(now.used.last().unwrap().kid.as_ref(), made.kids.first());
        all.wait(LONG);
        all.change(RING, &crate::rotation::RingChange::Rotate).await;
    }
    assert_eq!(report(&all, &order).await.state, "used-up");
    let refused = make(&all, &order).await.unwrap_err();
    assert!(matches!(refused, Error::NotApproved(_)), "{refused}");
    assert!(
        refused
            .to_string()
            .contains("it has 3 use(s), this is use 4"),
        "{refused}"
    );
    // Everybody else believes all of it, and the log agrees.
    let state = all.state().await;
    assert!(state.ends_with("| pair, pair, pair, pair, pair"), "{state}");
    sound(&all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_other_rings_are_accepted_by_custodians_many_at_once() {
    let (all, order) = ordered(&[], |_| ()).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let made = make(&all, &order).await.unwrap();
        assert_eq!(made.state, "executed");
        assert_eq!(made.standing, "waiting for 2 more acceptance(s)");
        ids.push(made.ceremony);
    }
    for who in ["alice", "carol"] {
        for id in &ids {
            all.accept(id, who).await.unwrap();
        }
    }
    assert_eq!(keys(&all).await, (3, vec![]));
    sound(&all).await;
}

#[tokio::test]
async fn an_order_waits_for_its_interval_and_its_window() {
    let (all, order) = ordered(&[RING], |input| {
        input.interval = Duration::from_secs(7 * 86_400);
    })
    .await;
    make(&all, &order).await.unwrap();
    let told = report(&all, &order).await;
    assert_eq!(told.state, "waiting");
    let early = make(&all, &order).await.unwrap_err();
    assert!(
        early.to_string().contains("this use is not before"),
        "{early}"
    );
    all.wait(7 * 24 * 60);
    assert_eq!(report(&all, &order).await.state, "active");
    make(&all, &order).await.unwrap();
    // Of an hour that is over.
    let other = self::order(&all, |input| {
        input.window.from_minute = 0;
        input.window.until_minute = 1;
    })
    .await;
    let outside = make(&all, &other).await.unwrap_err();
    assert!(
        outside.to_string().contains("outside its window"),
        "{outside}"
    );
    all.wait(365 * 24 * 60);
    assert_eq!(report(&all, &order).await.state, "ended");
    let late = make(&all, &order).await.unwrap_err();
    assert!(late.to_string().contains("it ends at"), "{late}");
}

#[tokio::test]
async fn an_order_is_drafted_for_executors_and_for_what_may_be_ordered() {
    let all = Installation::with_executors(&[]).await;
    all.create_ring("log").await;
    all.open_ring(RING).await;
    let refused = async |ring: &str, change: &dyn Fn(&mut OrderInput)| {
        let mut input = input(&all);
        change(&mut input);
        let draft = Draft::Order(Box::new(input));
        let error = all.try_propose(all.proposal(ring, draft)).await;
        error.unwrap_err().to_string()
    };
    for who in ["alice", "nobody"] {
        let told = refused(RING, &|input| input.executor = who.parse().unwrap()).await;
        assert_eq!(told, format!("{who} is not an active executor"));
    }
    let told = refused("log", &|_| ()).await;
    assert!(told.contains("never made under a standing order"), "{told}");
    let told = refused(RING, &|input| input.activate_after = Duration::ZERO).await;
    assert!(told.contains("publish_safety"), "{told}");
    let told = refused(RING, &|input| input.uses = 367).await;
    assert!(told.contains("expected 1 to 366"), "{told}");
}

#[tokio::test]
async fn a_custodian_blocks_one_use_by_a_rejection() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    let snapshot = all.snapshot().await;
    let id = executor(&all)
        .propose_under_order(&order, &snapshot)
        .await
        .unwrap();
    // It is the same one until somebody makes it.
    let again = executor(&all)
        .propose_under_order(&order, &snapshot)
        .await
        .unwrap();
    assert_eq!(id, again);
    all.object(&id, trust::Purpose::Reject, "carol")
        .await
        .unwrap();
    // Nobody approves what an order permits, or cancels what nobody proposed.
    let made = make(&all, &order).await.unwrap();
    assert_ne!(made.ceremony, id);
    assert_eq!(report(&all, &order).await.left, 1);
}

#[tokio::test]
async fn nobody_but_the_executor_makes_keys_under_an_order() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    let nobody = make_by(&all, all.service(), &order).await.unwrap_err();
    assert!(matches!(nobody, Error::NoResultSigner), "{nobody}");
    assert_eq!(keys(&all).await, (1, vec![]));
    let made = make(&all, &order).await.unwrap();
    assert_eq!(made.state, "closed");
    let id = executor(&all)
        .propose_under_order(&order, &*all.snapshot().await)
        .await
        .unwrap();
    let refused = all.approve(&id, "alice").await.unwrap_err();
    assert!(
        refused.to_string().contains("no approvals of its own"),
        "{refused}"
    );
}

#[tokio::test]
async fn threat_a_result_by_another_executor() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    for who in ["second", "alice", "mallory"] {
        let refused = make_by(&all, by(&all, who), &order).await.unwrap_err();
        let told = refused.to_string();
        assert!(matches!(refused, Error::OtherExecutor(_)), "{told}");
    }
    // Not a use was taken, and nothing made.
    assert_eq!(report(&all, &order).await.left, 3);
    // One that says the right name and signs with its own key: nobody can accept what it says of the key. The order's
    // executor finds the key on the token, and signs for what it sees.
    let signer = Liar(all.custodians.clone());
    let liar = all.service().with_result_signer(Arc::new(signer));
    let refused = make_by(&all, liar, &order).await.unwrap_err();
    assert!(matches!(refused, Error::Acceptance(_)), "{refused}");
    all.wait(3);
    make(&all, &order).await.unwrap();
    assert_eq!(keys(&all).await, (2, vec![]));
    assert_eq!(report(&all, &order).await.left, 2);
}

#[tokio::test]
async fn threat_an_order_is_used_after_its_withdrawal() {
    let (all, order) = ordered(&[], |_| ()).await;
    // One was made and waits for custodians, one waits to be made.
    let made = make(&all, &order).await.unwrap();
    for who in ["robot", "mallory"] {
        let refused = withdraw(&all, &order, who).await.unwrap_err();
        assert!(matches!(refused, Error::DoesNotCount(_)), "{refused}");
    }
    let told = withdraw(&all, &order, "carol").await.unwrap();
    assert_eq!((told.state, told.left), ("withdrawn", 2));
    assert_eq!(told.standing.split(" at ").next(), Some("by carol"));
    assert_eq!(
        all.service().report(&made.ceremony).await.unwrap().state,
        "failed"
    );
    let refused = all.accept(&made.ceremony, "alice").await.unwrap_err();
    assert!(matches!(refused, Error::State { .. }), "{refused}");
    let refused = make(&all, &order).await.unwrap_err();
    assert!(refused.to_string().contains("is withdrawn"), "{refused}");
    // Once more it is as good as done.
    assert_eq!(
        withdraw(&all, &order, "bob").await.unwrap().state,
        "withdrawn"
    );
    assert_eq!(keys(&all).await, (1, vec![]));
}

#[tokio::test]
async fn threat_a_superuser_inserts_an_order_or_a_use() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    // An order that rests on another ceremony.
    let insert = "INSERT INTO standing_order (id, ceremony, ring, uses, not_before, not_after, accepted_at)
        SELECT '0123456789abcdef0123456789abcdef', ceremony, ring, 9, 0, 9999999999999, 0 FROM signing_key WHERE ring = 'records'";
    all.place.raw(insert).await.unwrap();
    let invented = "0123456789abcdef0123456789abcdef";
    assert_eq!(report(&all, invented).await.state, "invalid");
    let refused = make(&all, invented).await.unwrap_err();
    assert!(matches!(refused, Error::UnknownOrder(_)), "{refused}");
    // The row of one that says more than its transcript.
    all.tamper("standing_order", "UPDATE standing_order SET uses = 300")
        .await;
    for _ in 0..3 {
        make(&all, &order).await.unwrap();
    }
    let refused = make(&all, &order).await.unwrap_err();
    assert!(refused.to_string().contains("it has 3 use(s)"), "{refused}");
    // And a transcript that was enlarged.
    let sql = "UPDATE ceremony SET transcript = CAST(replace(CAST(transcript AS TEXT), 'uses\\\":3', 'uses\\\":9') AS BLOB) WHERE operation = 'order'";
    all.tamper("ceremony", sql).await;
    let refused = make(&all, &order).await.unwrap_err();
    assert!(matches!(refused, Error::Transcript(_)), "{refused}");
    let (count, believed) = keys(&all).await;
    assert_eq!((count, believed.len()), (4, 0));
}

/// The executor signs what it has made. What a file says of a token elsewhere it would sign unseen.
#[tokio::test]
async fn threat_a_key_under_an_order_comes_on_a_file() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    let snapshot = all.snapshot().await;
    let service = executor(&all);
    let id = service
        .propose_under_order(&order, &snapshot)
        .await
        .unwrap();
    let refused = service.export_execution(&id, &snapshot).await.unwrap_err();
    assert!(matches!(refused, Error::Unfit(_)), "{refused}");
    // Nobody holds it, and the order's executor goes on with it.
    assert!(all.store.held_executions().await.unwrap().is_empty());
    assert_eq!(make(&all, &order).await.unwrap().ceremony, id);
    assert_eq!(keys(&all).await, (2, vec![]));
}

#[tokio::test]
async fn threat_two_executors_at_once() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    let snapshot = all.snapshot().await;
    let (first, second) = (executor(&all), executor(&all));
    let (one, other) = tokio::join!(
        first.propose_under_order(&order, &snapshot),
        second.propose_under_order(&order, &snapshot),
    );
    // Both go on with the same use, or one of them has lost.
    let taken: Vec<String> = [one, other].into_iter().flatten().collect();
    assert!(!taken.is_empty());
    assert!(taken.iter().all(|id| *id == taken[0]));
    let token = all.token.executor();
    let (one, other) = tokio::join!(
        first.execute(&taken[0], Some(&token), &snapshot),
        second.execute(&taken[0], Some(&token), &snapshot),
    );
    assert_eq!(
        [one.is_ok(), other.is_ok()]
            .iter()
            .filter(|done| **done)
            .count(),
        1
    );
    assert_eq!(keys(&all).await, (2, vec![]));
    assert_eq!(report(&all, &order).await.left, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_an_executor_is_killed_at_each_step() {
    for (event, when) in [
        ("INSERT ON order_use", "TRUE"),
        ("UPDATE ON ceremony", "NEW.state = 'approved'"),
        ("UPDATE ON ceremony", "NEW.state = 'executing'"),
        ("UPDATE ON ceremony", "NEW.state = 'executed'"),
        ("UPDATE ON ceremony", "NEW.state = 'closed'"),
    ] {
        let (all, order) = ordered(&[RING], |_| ()).await;
        make(&all, &order).await.unwrap();
        all.break_at(event, when).await;
        make(&all, &order).await.unwrap_err();
        all.repair().await;
        // Longer than an executor may be under way.
        all.wait(3);
        let made = make(&all, &order).await.unwrap();
        assert_eq!(made.state, "closed", "{event} {when}");
        assert_eq!(keys(&all).await, (3, vec![]), "{event} {when}");
        assert_eq!(report(&all, &order).await.left, 1, "{event} {when}");
        make(&all, &order).await.unwrap();
        sound(&all).await;
    }
    for fault in [Fault::Before, Fault::After] {
        let (all, order) = ordered(&[RING], |_| ()).await;
        all.token.fail_generation(fault);
        make(&all, &order).await.unwrap_err();
        all.token.heal();
        all.wait(3);
        make(&all, &order).await.unwrap();
        assert_eq!(keys(&all).await, (2, vec![]), "{fault:?}");
        sound(&all).await;
    }
}
