//! The token and the executor are away while a rotation of a ring runs.

use std::time::Duration;

use calendar::words::Reason;
use keyring::ceremony::Runner;
use testkit::token::Fault;
use token::Error as TokenError;

use super::faults::ends_once;
use super::rings::{DAY, Ring, executed};

/// Longer than an executor may be under way.
const AWAY: Duration = Duration::from_secs(180);

/// After the first use that came to nothing.
const PAUSE: Duration = Duration::from_secs(15 * 60);

async fn left(ring: &Ring) -> u32 {
    let service = ring.service();
    let (orders, _) = service.orders((i64::MAX, ""), 10).await.unwrap();
    orders[0].left
}

/// Its generation did not happen, or it did and the answer was lost. The engine sees of it that the executor does not come. What
/// was born is adopted as soon as somebody can look; what was not is asked for again, after a pause and under another number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_the_token_is_away_while_a_rotation_runs() {
    for (fault, uses_left) in [(Fault::Before, 1), (Fault::After, 2)] {
        let ring = Ring::new().await;
        ring.order(3).await;
        let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
        ring.wait(87 * DAY);
        let id = ring.checked(&scheduler).await.id;
        let waits = async || ring.waits_for(&scheduler, &id).await;
        assert_eq!(waits().await, Some(Reason::Executor));
        ring.token.fail_generation(fault);
        let round = runner.round(&|| false).await.unwrap();
        assert!(round.unavailable.is_some(), "{round:?}");
        assert_eq!(waits().await, Some(Reason::Executor));
        let row = ring.row(&id).await;
        let (ceremony, detail) = (row.ceremony.unwrap(), row.detail.unwrap());
        assert!(detail.contains(&ceremony), "{detail}");
        assert_eq!((row.state.as_str(), ring.primary().await), ("waiting", 1));
        let found = async |runner: &mut Runner| {
            ring.wait(AWAY);
            let round = runner.round(&|| false).await.unwrap();
            assert!(round.executed.is_empty(), "{round:?}");
            let [found] = &round.findings[..] else {
                panic!("{round:?}");
            };
            found.action.clone()
        };
        if fault == Fault::Before {
            let action = found(&mut runner).await;
            assert_eq!(action, "abandoned; propose it again");
            assert_eq!(waits().await, Some(Reason::Retry));
            ring.wait(PAUSE);
            assert_eq!(waits().await, Some(Reason::Executor));
            assert_eq!(executed(&mut runner).await, 1);
        } else {
            // It is there, and nobody can prove it yet: nothing is concluded, and no use is taken.
            ring.token.fail_signing(TokenError::Stopped);
            for _ in 0..2 {
                let action = found(&mut runner).await;
                assert!(action.contains("reconcile again"), "{action}");
                assert_eq!(waits().await, Some(Reason::Executor));
            }
            ring.token.heal();
            let action = found(&mut runner).await;
            assert_eq!(action, "adopted and accepted");
        }
        ends_once(&ring, &scheduler, &id).await;
        assert_eq!(executed(&mut runner).await, 0);
        assert_eq!(left(&ring).await, uses_left, "{fault:?}");
    }
}

/// It goes on, and people may hold a ceremony meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_token_that_fails_at_each_generation_does_not_use_the_order_of_a_rotation_up() {
    let ring = Ring::new().await;
    ring.order(20).await;
    let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
    ring.wait(87 * DAY);
    let id = ring.checked(&scheduler).await.id;
    let waits = async || ring.waits_for(&scheduler, &id).await;
    // In two hours: at once, and after 15, 45 and 105 minutes.
    for _ in 0..24 {
        waits().await;
        ring.token.fail_generation(Fault::Before);
        let round = runner.round(&|| false).await.unwrap();
        assert!(round.executed.is_empty(), "{round:?}");
        ring.wait(Duration::from_secs(300));
    }
    assert_eq!(left(&ring).await, 16);
    ring.token.heal();
    assert_eq!(executed(&mut runner).await, 0);
    assert_eq!(waits().await, Some(Reason::Retry));
    let detail = ring.row(&id).await.detail.unwrap();
    let command = format!("chancery ceremony new generate --ring records --ticket {id}");
    assert!(
        detail.contains("in a row: 4") && detail.contains(&command),
        "{detail}"
    );
    ring.wait(Duration::from_secs(2 * 3_600));
    assert_eq!(waits().await, Some(Reason::Executor));
    assert_eq!(executed(&mut runner).await, 1);
    ends_once(&ring, &scheduler, &id).await;
    assert_eq!(left(&ring).await, 15);
}

/// The last use is lost with an executor that was away for a day: its rotation says so, and goes on under the next order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_standing_order_runs_out_under_a_rotation() {
    let ring = Ring::new().await;
    ring.order(1).await;
    let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
    ring.wait(87 * DAY);
    let event = ring.checked(&scheduler).await;
    let (id, first) = (event.id, event.order.unwrap());
    let waits = async || ring.waits_for(&scheduler, &id).await;
    assert_eq!(waits().await, Some(Reason::Executor));
    ring.wait(DAY + AWAY);
    for _ in 0..3 {
        assert_eq!(waits().await, Some(Reason::OrderUsedUp));
        ring.wait(AWAY);
        assert_eq!(executed(&mut runner).await, 0);
    }
    let row = ring.checked(&scheduler).await;
    assert_eq!((&row.id, row.state.as_str()), (&id, "waiting"));
    let detail = row.detail.unwrap();
    let command = format!("chancery ceremony new generate --ring records --ticket {id}");
    assert!(
        detail.contains(&first) && detail.contains(&command),
        "{detail}"
    );
    ring.order(1).await;
    assert_eq!(waits().await, Some(Reason::Executor));
    assert_ne!(ring.row(&id).await.order, Some(first));
    assert_eq!(executed(&mut runner).await, 1);
    ends_once(&ring, &scheduler, &id).await;
    assert_eq!(left(&ring).await, 0);
}
