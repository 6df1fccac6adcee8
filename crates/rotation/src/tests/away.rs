//! The token and the executor are away while a rotation of a ring runs.

use std::time::Duration;

use calendar::words::Reason;
use testkit::token::Fault;
use token::Error as TokenError;

use super::faults::ends_once;
use super::rings::{DAY, Ring, executed};

/// Longer than an executor may be under way.
const AWAY: Duration = Duration::from_secs(180);

async fn left(ring: &Ring) -> u32 {
    let service = ring.service();
    let (orders, _) = service.orders((i64::MAX, ""), 10).await.unwrap();
    orders[0].left
}

/// Its generation did not happen, or it did, the answer was lost and nobody can look. The engine sees of it that the executor does not
/// come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_the_token_is_away_while_a_rotation_runs() {
    for (fault, uses_left) in [(Fault::Before, 1), (Fault::After, 2)] {
        let ring = Ring::new().await;
        ring.order(3).await;
        let (scheduler, mut runner) = (ring.scheduler(), ring.runner());
        ring.wait(87 * DAY);
        let id = ring.checked(&scheduler).await.id;
        ring.waits_for(&scheduler, &id).await;
        ring.token.fail_generation(fault);
        if fault == Fault::After {
            ring.token.fail_signing(TokenError::Stopped);
        }
        let round = runner.round(&|| false).await.unwrap();
        assert!(round.unavailable.is_some(), "{round:?}");
        let mut looks = 0;
        loop {
            let waits = ring.waits_for(&scheduler, &id).await;
            assert_eq!(waits, Some(Reason::Executor), "{fault:?}");
            let row = ring.row(&id).await;
            let (ceremony, detail) = (row.ceremony.unwrap(), row.detail.unwrap());
            assert!(detail.contains(&ceremony), "{fault:?}: {detail}");
            assert_eq!((row.state.as_str(), ring.primary().await), ("waiting", 1));
            ring.wait(AWAY);
            let round = runner.round(&|| false).await.unwrap();
            if !round.executed.is_empty() {
                assert_eq!(round.executed.len(), 1, "{round:?}");
                break;
            }
            looks += 1;
            assert!(looks < 4, "{round:?}");
            if looks == 2 {
                ring.token.heal();
            }
        }
        assert_eq!(executed(&mut runner).await, 0, "{fault:?}");
        ends_once(&ring, &scheduler, &id).await;
        assert_eq!(left(&ring).await, uses_left, "{fault:?}");
    }
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
