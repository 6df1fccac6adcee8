//! The executor that carries out what is approved; two of them; and one that died.

use std::time::Duration;

use testkit::token::Fault;
use trust::Purpose;

use super::installation::{Installation, LONG};
use crate::ceremony::{Error, Kind, Round, Runner};

fn runner(all: &Installation) -> Runner {
    Runner::new(all.service(), all.token.executor(), all.settings.clone())
}

async fn look(all: &Installation) -> Round {
    runner(all).round(&|| false).await.unwrap()
}

async fn approved() -> (Installation, String) {
    let all = Installation::new().await;
    all.create_ring("records").await;
    let id = all.approved("records", Installation::generation()).await;
    (all, id)
}

/// As if an executor that died, or works, had it for so long.
async fn held(all: &Installation, id: &str, time: Duration) {
    assert!(all.store.take_execution(id, "another", time).await.unwrap());
}

#[tokio::test]
async fn what_is_approved_is_carried_out_and_nothing_else() {
    let (all, kid) = Installation::open("records").await;
    all.propose("records", Installation::generation()).await;
    assert!(look(&all).await.executed.is_empty(), "it is only proposed");
    let one = all.propose("records", Installation::generation()).await;
    all.approve(&one, "alice").await.unwrap();
    assert!(look(&all).await.executed.is_empty(), "by one of two");
    all.approve(&one, "bob").await.unwrap();
    let revocation = all
        .approved("records", Installation::revocation(&kid))
        .await;
    let round = look(&all).await;
    let done: Vec<_> = round
        .executed
        .iter()
        .map(|report| report.ceremony.clone())
        .collect();
    assert_eq!(done.len(), 2, "{round:?}");
    assert!(done.contains(&one) && done.contains(&revocation));
    assert!(
        round.waits.is_empty() && round.findings.is_empty(),
        "{round:?}"
    );
    assert_eq!(
        all.state().await,
        "generate closed, generate proposed, generate executed, revoke executed | \
         present, present | records/1 revoked | pair, pair"
    );
    assert!(look(&all).await.executed.is_empty());
    assert!(all.store.held_executions().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_rejected_cancelled_or_is_too_late_is_not_carried_out() {
    for (purpose, who, word) in [
        (Some(Purpose::Reject), "alice", "rejected by alice"),
        (Some(Purpose::Cancel), "carol", "cancelled by carol"),
        (None, "", "execute_by was"),
    ] {
        let (all, id) = approved().await;
        match purpose {
            Some(purpose) => {
                all.object(&id, purpose, who).await.unwrap();
                assert!(look(&all).await.waits.is_empty(), "it is over");
                // The row says approved all the same: that is nobody's permission.
                let sql = format!("UPDATE ceremony SET state = 'approved' WHERE id = '{id}'");
                all.tamper("ceremony", &sql).await;
            }
            None => all.wait(121),
        }
        let leaves = all.store.log_size().await.unwrap();
        let mut runner = runner(&all);
        for _ in 0..3 {
            let round = runner.round(&|| false).await.unwrap();
            assert!(round.executed.is_empty());
            assert_eq!(round.waits.len(), 1);
            assert!(round.waits[0].why.contains(word), "{:?}", round.waits);
        }
        assert_eq!(
            all.store.log_size().await.unwrap(),
            leaves,
            "whoever asks again and again writes nothing"
        );
        assert_eq!(all.state().await, "generate approved | - | - | -");
    }
}

#[tokio::test]
async fn of_two_executors_at_once_exactly_one_carries_it_out() {
    let (all, id) = approved().await;
    let (one, two) = tokio::join!(all.execute(&id), all.execute(&id));
    let refused = match (one, two) {
        (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
        both => panic!("exactly one: {both:?}"),
    };
    assert_eq!(refused.kind(), Kind::Refused, "{refused:?}");
    let executed = "generate executed | present | - | pair";
    assert_eq!(all.state().await, executed);
    let (mut one, mut two) = (runner(&all), runner(&all));
    let next = all.approved("records", Installation::generation()).await;
    drop(next);
    let never = || false;
    let (one, two) = tokio::join!(one.round(&never), two.round(&never));
    let done =
        one.map_or(0, |round| round.executed.len()) + two.map_or(0, |round| round.executed.len());
    assert_eq!(done, 1);
    assert_eq!(
        all.state().await,
        "generate executed, generate executed | present, present | - | pair, pair"
    );
}

#[tokio::test]
async fn what_another_executor_has_is_left_to_it() {
    let (all, id) = approved().await;
    held(&all, &id, Duration::from_secs(3_600)).await;
    let refused = all.execute(&id).await.unwrap_err();
    assert!(matches!(refused, Error::Claimed), "{refused:?}");
    let round = look(&all).await;
    assert!(round.executed.is_empty() && round.waits.len() == 1);
    assert_eq!(all.state().await, "generate approved | - | - | -");
    let given = all.store.give_back_execution(&id, "another").await;
    assert!(given.unwrap());
    assert_eq!(look(&all).await.executed.len(), 1);
}

#[tokio::test]
async fn a_lease_that_ran_out_before_the_intent_keeps_nobody() {
    let (all, id) = approved().await;
    held(&all, &id, Duration::ZERO).await;
    assert_eq!(look(&all).await.executed.len(), 1);
    assert_eq!(all.state().await, "generate executed | present | - | pair");
}

/// What an executor that was killed leaves: its answer from the token is lost, its lease runs or has run out.
#[tokio::test]
async fn a_lease_that_ran_out_belongs_to_nobody_until_it_was_reconciled() {
    for (fault, after) in [
        (Fault::After, "generate executed | present | - | pair"),
        (Fault::Before, "generate failed | abandoned | - | -"),
    ] {
        let (all, id) = approved().await;
        all.token.fail_generation(fault);
        all.execute(&id).await.unwrap_err();
        held(&all, &id, Duration::from_secs(3_600)).await;
        // However old it is: its holder lives.
        all.wait(3);
        let found = all.reconcile().await;
        assert_eq!(
            found,
            ["in progress in another executor -> left unchanged; --alone resolves it"]
        );
        assert!(look(&all).await.findings.is_empty(), "and nobody looks");
        let renewed = all
            .store
            .renew_execution(&id, "another", Duration::ZERO)
            .await;
        assert!(renewed.unwrap());
        let taken = all.store.take_execution(&id, "third", Duration::ZERO).await;
        assert!(!taken.unwrap(), "nobody's");
        let round = look(&all).await;
        assert_eq!((round.findings.len(), round.executed.len()), (1, 0));
        assert_eq!(all.state().await, after);
        assert!(all.store.held_executions().await.unwrap().is_empty());
        assert!(look(&all).await.findings.is_empty());
    }
}

#[tokio::test]
async fn an_executor_that_is_told_to_stop_begins_nothing() {
    let (all, _) = approved().await;
    let round = runner(&all).round(&|| true).await.unwrap();
    assert!(round.executed.is_empty() && round.waits.is_empty());
    assert_eq!(all.state().await, "generate approved | - | - | -");
}

#[tokio::test]
async fn a_token_that_is_away_is_no_ceremonys_fault() {
    let (all, id) = approved().await;
    all.token.fail_generation(Fault::Before);
    let away = runner(&all).round(&|| false).await.unwrap();
    assert!(away.unavailable.is_some(), "{away:?}");
    assert!(away.waits.is_empty(), "{away:?}");
    all.wait(LONG);
    let round = look(&all).await;
    assert_eq!(round.findings.len(), 1, "it looks at what was left");
    let show = all.service().report(&id).await.unwrap();
    assert_eq!(show.state, "failed");
}

#[tokio::test]
async fn one_row_that_cannot_be_read_keeps_no_other_waiting() {
    let (all, unreadable) = approved().await;
    all.create_ring("others").await;
    all.wait(1);
    let next = all.approved("others", Installation::generation()).await;
    for sql in [
        "INSERT INTO signature_purpose (word) VALUES ('nonsense')".to_owned(),
        format!(
            "INSERT INTO ceremony_signature SELECT ceremony, 'nonsense', body, signature, received_at, 99999
             FROM ceremony_signature WHERE ceremony = '{unreadable}' LIMIT 1"
        ),
    ] {
        all.place.raw(&sql).await.unwrap();
    }
    let mut runner = runner(&all);
    let round = runner.round(&|| false).await.unwrap();
    assert_eq!(round.executed.len(), 1, "{round:?}");
    assert_eq!(round.executed[0].ceremony, next);
    assert_eq!(round.waits.len(), 1);
    assert_eq!(round.waits[0].ceremony.to_string(), unreadable);
    assert!(round.waits[0].is_news);
}
