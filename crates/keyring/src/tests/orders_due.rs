//! An executor that does by itself what standing orders make due, when they do.

use std::time::Duration;

use testkit::token::Fault;

use super::installation::{Installation, LONG};
use super::standing_orders::{RING, by, executor, keys, order, ordered, report, sound, withdraw};
use crate::ceremony::{CeremonyService, Error, Round, Runner};

const DAY: i64 = 24 * 60;

fn runner_of(all: &Installation, service: CeremonyService) -> Runner {
    Runner::new(service, all.token.executor(), all.settings.clone())
}

fn runner(all: &Installation) -> Runner {
    runner_of(all, executor(all))
}

async fn look(runner: &mut Runner) -> Round {
    let round = runner.round(&|| false).await.unwrap();
    assert!(round.unavailable.is_none(), "{round:?}");
    round
}

async fn idle(runner: &mut Runner) {
    let round = look(runner).await;
    let done = (round.executed.len(), round.rotated.len());
    assert_eq!((done, round.orders.len()), ((0, 0), 0), "{round:?}");
}

async fn primary(all: &Installation) -> u32 {
    let snapshot = all.snapshot().await;
    snapshot.rings[RING].primary.as_ref().unwrap().number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_made_before_it_is_due_and_takes_over_when_it_is() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    let mut runner = runner(&all);
    // The first key signs for 90 days, of which two are over.
    idle(&mut runner).await;
    all.wait(86 * DAY);
    idle(&mut runner).await;
    all.wait(DAY);
    let round = look(&mut runner).await;
    assert_eq!(round.executed.len(), 1, "{round:?}");
    assert_eq!(round.executed[0].state, "closed");
    assert_eq!(primary(&all).await, 1);
    idle(&mut runner).await;
    all.wait(LONG);
    let round = look(&mut runner).await;
    assert_eq!(round.rotated.len(), 1, "{round:?}");
    assert_eq!(primary(&all).await, 2);
    idle(&mut runner).await;
    assert_eq!(report(&all, &order).await.left, 2);
    // The next one, by an executor that knows nothing of the first.
    all.wait(90 * DAY);
    let mut other = self::runner(&all);
    assert_eq!(look(&mut other).await.executed.len(), 1);
    assert_eq!(keys(&all).await, (3, vec![]));
    sound(&all).await;
}

#[tokio::test]
async fn an_executor_that_was_away_makes_one_key_and_not_all_that_were_due() {
    let (all, order) = ordered(&[RING], |input| {
        input.interval = Duration::from_secs(86_400);
        input.lifetime = Duration::from_secs(7 * 86_400);
        input.uses = 100;
    })
    .await;
    let mut runner = runner(&all);
    // For seven weeks after the first key's end.
    all.wait((88 + 49) * DAY);
    assert_eq!(look(&mut runner).await.executed.len(), 1);
    for _ in 0..3 {
        idle(&mut runner).await;
    }
    assert_eq!(report(&all, &order).await.left, 99);
    // Then once for each life of a key.
    for _ in 0..7 {
        all.wait(DAY);
        look(&mut runner).await;
    }
    assert_eq!(report(&all, &order).await.left, 98);
}

#[tokio::test]
async fn what_waits_for_custodians_is_not_made_a_second_time() {
    let (all, order) = ordered(&[], |_| ()).await;
    let mut runner = runner(&all);
    all.wait(89 * DAY);
    let round = look(&mut runner).await;
    assert_eq!(round.executed[0].state, "executed", "{round:?}");
    for _ in 0..3 {
        all.wait(DAY);
        idle(&mut runner).await;
    }
    assert_eq!(report(&all, &order).await.left, 2);
    for who in ["alice", "bob"] {
        all.accept(&round.executed[0].ceremony, who).await.unwrap();
    }
    idle(&mut runner).await;
    all.wait(LONG);
    assert_eq!(look(&mut runner).await.rotated.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_two_executors_at_once_take_a_use_once() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    all.wait(89 * DAY);
    let (mut one, mut two) = (runner(&all), runner(&all));
    let never = || false;
    let (first, second) = tokio::join!(one.round(&never), two.round(&never));
    drop((first, second));
    // Whoever lost looks again.
    look(&mut one).await;
    look(&mut two).await;
    assert_eq!(report(&all, &order).await.left, 2);
    assert_eq!(keys(&all).await, (2, vec![]));
    all.wait(LONG);
    let (first, second) = tokio::join!(one.round(&never), two.round(&never));
    let rotated = [first, second].map(|round| round.unwrap().rotated.len());
    assert_eq!(rotated.iter().sum::<usize>(), 1);
    assert_eq!(primary(&all).await, 2);
    sound(&all).await;
}

#[tokio::test]
async fn an_order_of_another_executor_is_left_to_it() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    all.wait(89 * DAY);
    for service in [by(&all, "second"), all.service()] {
        let mut other = runner_of(&all, service);
        idle(&mut other).await;
    }
    assert_eq!(report(&all, &order).await.left, 3);
}

#[tokio::test]
async fn a_use_that_was_asked_for_and_not_made_goes_on() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    let snapshot = all.snapshot().await;
    let id = executor(&all).propose_under_order(&order, &snapshot).await;
    let mut runner = runner(&all);
    let round = look(&mut runner).await;
    assert_eq!(round.executed[0].ceremony, id.unwrap());
    assert_eq!(report(&all, &order).await.left, 2);
}

#[tokio::test]
async fn fault_a_token_that_fails_does_not_use_an_order_up() {
    let (all, order) = ordered(&[RING], |input| input.uses = 20).await;
    all.wait(89 * DAY);
    let mut runner = runner(&all);
    for _ in 0..12 {
        all.token.fail_generation(Fault::Before);
        all.wait(3);
        runner.round(&|| false).await.unwrap();
    }
    // In half an hour two of them, and not twelve.
    let left = report(&all, &order).await.left;
    assert!((17..20).contains(&left), "{left}");
    all.token.heal();
    all.wait(120);
    assert_eq!(look(&mut runner).await.executed.len(), 1);
    assert_eq!(keys(&all).await, (2, vec![]));
}

#[tokio::test]
async fn a_withdrawn_order_is_not_used_and_a_paused_one_is_told() {
    let (all, order) = ordered(&[RING], |_| ()).await;
    all.wait(89 * DAY);
    withdraw(&all, &order, "carol").await.unwrap();
    let mut runner = runner(&all);
    idle(&mut runner).await;
    let broken = self::order(&all, |_| ()).await;
    let sql = "UPDATE ceremony SET transcript = CAST(replace(CAST(transcript AS TEXT), 'uses\\\":3', 'uses\\\":9') AS BLOB) WHERE operation = 'order'";
    all.tamper("ceremony", sql).await;
    let sound = self::order(&all, |_| ()).await;
    let round = look(&mut runner).await;
    // One whose transcript does not verify is told, once, and keeps no other waiting.
    assert_eq!(round.executed.len(), 1, "{round:?}");
    assert_eq!(round.orders.len(), 1);
    let told = &round.orders[0];
    assert!(told.is_news && told.order.to_string() == broken, "{told:?}");
    let again = look(&mut runner).await;
    assert!(!again.orders[0].is_news, "{again:?}");
    assert_eq!(report(&all, &sound).await.left, 2);
    let refused = executor(&all)
        .propose_under_order(&broken, &*all.snapshot().await)
        .await;
    assert!(matches!(refused, Err(Error::Transcript(_))), "{refused:?}");
}
