//! Alerts: of two who saw the same one writes, and a person and a look never undo each other.

use calendar::alerts::AlertName;
use calendar::alerts::escalation::Escalation;
use calendar::alerts::machine::{Acknowledged, Alert, News, Phase, Silence};
use trust::Time;

use super::super::*;
use super::conflicts::conflicts;
use super::place::Place;
use super::world::{NOW, leaf};

fn at(millis: i64) -> Time {
    Time::from_millis(NOW + millis)
}

fn instant(millis: i64) -> calendar::Time {
    calendar::Time::from_millis(NOW + millis)
}

fn id(number: u32) -> String {
    format!("al_{number:032}")
}

fn record(number: u32) -> AlertRecord {
    AlertRecord {
        id: id(number),
        alert: Alert {
            name: AlertName::RotationOverdue,
            subject: format!("external/a{number}"),
            level: 1,
            detail: "old".to_owned(),
            phase: Phase::Firing {
                since: instant(0),
                clear_since: None,
            },
            acknowledged: None,
            silence: None,
            episode: 0,
            together: number > 2,
            escalation: Escalation::from(instant(0)),
        },
        news: Some(News::Firing),
        news_number: 1,
        changed_at: at(0),
        version: 0,
        levels_told: 0,
    }
}

async fn write(place: &Place, records: &[AlertRecord]) -> usize {
    let writes: Vec<AlertWrite> = records.iter().cloned().map(AlertWrite::Put).collect();
    place.store.write_alerts(&writes).await.unwrap()
}

async fn read(place: &Place, number: u32) -> AlertRecord {
    place.store.alert(&id(number)).await.unwrap().unwrap()
}

fn marked(record: &AlertRecord) -> Change {
    Change::MarkAlert(Box::new(record.clone()))
}

pub async fn of_two_looks_at_once_one_fires_an_alert(place: Place) {
    let first = record(1);
    let second = AlertRecord {
        changed_at: at(5),
        ..first.clone()
    };
    assert_eq!(write(&place, std::slice::from_ref(&first)).await, 1);
    assert_eq!(write(&place, &[second, record(2)]).await, 1);
    let kept = read(&place, 1).await;
    assert_eq!(
        kept,
        AlertRecord {
            version: 1,
            ..first
        }
    );
    // By the same version twice: the second one is too late.
    let resolved = AlertRecord {
        alert: Alert {
            phase: Phase::Resolved {
                since: instant(0),
                at: instant(60_000),
            },
            ..kept.alert.clone()
        },
        news: Some(News::Resolved),
        news_number: 2,
        changed_at: at(60_000),
        ..kept
    };
    assert_eq!(write(&place, std::slice::from_ref(&resolved)).await, 1);
    assert_eq!(write(&place, std::slice::from_ref(&resolved)).await, 0);
    assert_eq!(read(&place, 1).await.version, 2);
    // One that ended lately is no new one for whoever did not know; one that ended long ago is.
    let soon = AlertRecord {
        changed_at: at(120_000),
        ..record(1)
    };
    assert_eq!(write(&place, &[soon]).await, 0);
    let later = AlertRecord {
        changed_at: at(2 * 86_400_000),
        ..record(1)
    };
    assert_eq!(write(&place, &[later]).await, 1);
    let again = read(&place, 1).await;
    assert_eq!((again.news_number, again.version), (3, 3));
    // A pending one goes; one that fires stays.
    let drop = AlertWrite::Drop {
        id: id(1),
        version: 3,
    };
    assert_eq!(place.store.write_alerts(&[drop]).await.unwrap(), 0);
}

pub async fn what_a_person_does_to_an_alert_has_its_leaf_and_is_not_undone(place: Place) {
    write(&place, &[record(1)]).await;
    let seen = read(&place, 1).await;
    let acknowledged = AlertRecord {
        alert: Alert {
            acknowledged: Some(Acknowledged {
                by: "olga".to_owned(),
                at: instant(1),
            }),
            silence: Some(Silence {
                by: "olga".to_owned(),
                until: instant(9_000),
            }),
            ..seen.alert.clone()
        },
        news: Some(News::Acknowledged),
        news_number: 2,
        ..seen.clone()
    };
    let before = place.store.log_size().await.unwrap();
    let leaf = leaf("alert");
    place
        .store
        .commit(&marked(&acknowledged), &leaf)
        .await
        .unwrap();
    assert_eq!(place.store.log_size().await.unwrap(), before + 1);
    let kept = read(&place, 1).await;
    assert_eq!(kept.alert, acknowledged.alert);
    // Whoever saw what was before changes nothing, neither a person nor a look.
    conflicts(&place, marked(&acknowledged), Subject::Alert).await;
    assert_eq!(
        write(&place, &[AlertRecord { version: 1, ..seen }]).await,
        0
    );
    assert_eq!(read(&place, 1).await, kept);
    // Nobody acknowledges what is not there.
    conflicts(&place, marked(&record(7)), Subject::Alert).await;
    let silenced = place.store.silenced_alerts(at(8_999), 10).await.unwrap();
    assert_eq!(silenced.len(), 1);
    let over = place.store.silenced_alerts(at(9_000), 10).await.unwrap();
    assert_eq!(over, []);
}

pub async fn open_alerts_are_counted_by_where_they_stand(place: Place) {
    let mut all: Vec<AlertRecord> = (1..=6).map(record).collect();
    all[1].alert.level = 2;
    let by = || "olga".to_owned();
    let acknowledged = Acknowledged {
        by: by(),
        at: instant(0),
    };
    all[2].alert.acknowledged = Some(acknowledged.clone());
    // A silence that is over is none; one that runs is told before who looks after it.
    for (number, until) in [(3, 10), (4, 11)] {
        all[number].alert.acknowledged = Some(acknowledged.clone());
        all[number].alert.silence = Some(Silence {
            by: by(),
            until: instant(until),
        });
    }
    all[5].alert.phase = Phase::Resolved {
        since: instant(0),
        at: instant(5),
    };
    assert_eq!(write(&place, &all).await, 6);
    let mut counted = place.store.open_alerts_counted(at(10)).await.unwrap();
    counted.sort_by(|a, b| (a.level, &a.state).cmp(&(b.level, &b.state)));
    let counted: Vec<_> = counted
        .iter()
        .map(|some| (some.name, some.level, some.state.as_str(), some.count))
        .collect();
    let name = Some(AlertName::RotationOverdue);
    assert_eq!(
        counted,
        [
            (name, 1, "acknowledged", 2),
            (name, 1, "firing", 1),
            (name, 1, "silenced", 1),
            (name, 2, "firing", 1),
        ]
    );
}

pub async fn news_of_an_alert_wait_until_they_are_told(place: Place) {
    write(&place, &[record(1), record(2), record(3), record(4)]).await;
    let untold = place.store.untold_alerts(10).await.unwrap();
    assert_eq!(untold.len(), 4);
    // What there is to tell since stays.
    let raised = AlertRecord {
        news: Some(News::Raised),
        news_number: 2,
        ..untold[1].clone()
    };
    write(&place, &[raised]).await;
    place.store.told_alerts(&untold).await.unwrap();
    let left = place.store.untold_alerts(10).await.unwrap();
    let left: Vec<_> = left.iter().map(|one| (one.id.clone(), one.news)).collect();
    assert_eq!(left, [(id(2), Some(News::Raised))]);
    let alone = place.store.alerts_alone(10).await.unwrap();
    assert_eq!(alone.len(), 2);
    let together = place.store.alerts_together(at(0)).await.unwrap();
    let expected = AlertCrowd {
        name: AlertName::RotationOverdue,
        count: 2,
        since: at(0),
        level: 1,
        subject: "external/a3".to_owned(),
    };
    assert_eq!(together, [expected]);
}

pub async fn alerts_are_read_in_pages_and_forgotten_when_they_are_old(place: Place) {
    let mut records: Vec<AlertRecord> = (1..=5).map(record).collect();
    for (record, millis) in records.iter_mut().zip(0..) {
        let since = instant(millis * 10);
        record.alert.phase = match millis {
            0 | 1 => Phase::Resolved {
                since,
                at: instant(millis * 10 + 5),
            },
            _ => Phase::Firing {
                since,
                clear_since: None,
            },
        };
    }
    assert_eq!(write(&place, &records).await, 5);
    let store = &place.store;
    let ids = |rows: &[AlertRecord]| {
        let ids = rows.iter().map(|one| one.id.clone());
        ids.collect::<Vec<_>>()
    };
    let first = store.open_alerts("", 2).await.unwrap();
    assert_eq!(ids(&first), [id(3), id(4)]);
    let rest = store.open_alerts(&id(4), 2).await.unwrap();
    assert_eq!(ids(&rest), [id(5)]);
    let newest = store.alerts_before((i64::MAX, ""), 2).await.unwrap();
    assert_eq!(ids(&newest), [id(5), id(4)]);
    let place_of = (NOW + 30, id(4));
    let older = store
        .alerts_before((place_of.0, &place_of.1), 10)
        .await
        .unwrap();
    assert_eq!(ids(&older), [id(3), id(2), id(1)]);
    let open = async |rules: &[(AlertName, u8)], state| {
        let behind = (place_of.0, place_of.1.as_str());
        let rows = store.open_alerts_of(rules, state, behind, 10);
        ids(&rows.await.unwrap())
    };
    let rule = [(AlertName::RotationOverdue, 1)];
    assert_eq!(open(&rule, None).await, [id(3)]);
    assert_eq!(open(&rule, Some("firing")).await, [id(3)]);
    assert!(open(&rule, Some("acknowledged")).await.is_empty());
    assert!(
        open(&[(AlertName::RotationOverdue, 2)], None)
            .await
            .is_empty()
    );
    assert!(open(&[(AlertName::Expiry, 1)], None).await.is_empty());
    assert!(open(&[], None).await.is_empty());
    let resolved = store.resolved_alerts((NOW, ""), 10).await.unwrap();
    assert_eq!(ids(&resolved), [id(1), id(2)]);
    assert_eq!(store.forget_alerts(at(6), 10).await.unwrap(), 1);
    assert_eq!(store.forget_alerts(at(6), 10).await.unwrap(), 0);
    assert_eq!(store.forget_alerts(at(1_000), 10).await.unwrap(), 1);
    assert_eq!(ids(&store.open_alerts("", 10).await.unwrap()).len(), 3);
}

pub async fn a_level_is_marked_as_told_of_the_time_that_the_alert_fires(place: Place) {
    let climbed = |reached| {
        let mut record = record(1);
        record.alert.escalation.reached = reached;
        record
    };
    write(&place, &[climbed(2)]).await;
    let untold = async || place.store.untold_escalations(at(0), 10).await.unwrap();
    let seen = untold().await;
    assert_eq!((seen.len(), seen[0].levels_told), (1, 0));
    // It climbs while it is told, and that is not undone.
    let higher = AlertRecord {
        version: 1,
        ..climbed(3)
    };
    assert_eq!(write(&place, &[higher]).await, 1);
    place.store.told_escalations(&seen).await.unwrap();
    let again = untold().await;
    assert_eq!((again[0].levels_told, again[0].version), (2, 2));
    // Whoever looks after it spares the next level.
    let acknowledged = AlertRecord {
        alert: Alert {
            acknowledged: Some(Acknowledged {
                by: "olga".to_owned(),
                at: instant(1),
            }),
            ..again[0].alert.clone()
        },
        ..again[0].clone()
    };
    assert_eq!(write(&place, std::slice::from_ref(&acknowledged)).await, 1);
    assert!(untold().await.is_empty());
    // It fires again later, and nobody was told of that.
    let later = AlertRecord {
        alert: Alert {
            phase: Phase::Firing {
                since: instant(9),
                clear_since: None,
            },
            acknowledged: None,
            ..acknowledged.alert
        },
        version: 3,
        ..acknowledged
    };
    assert_eq!(write(&place, &[later]).await, 1);
    assert_eq!(untold().await[0].levels_told, 0);
    // Late word of the time before marks nothing.
    place.store.told_escalations(&again).await.unwrap();
    assert_eq!(untold().await[0].levels_told, 0);
}

pub async fn an_end_is_told_if_its_beginning_was_told_meanwhile(place: Place) {
    let store = &place.store;
    for (number, told, news) in [(1, true, Some(News::Resolved)), (2, false, None)] {
        write(&place, &[record(number)]).await;
        let seen = read(&place, number).await;
        // Between the look and what it writes.
        if told {
            store
                .told_alerts(std::slice::from_ref(&seen))
                .await
                .unwrap();
        }
        let over = AlertRecord {
            alert: Alert {
                phase: Phase::Resolved {
                    since: instant(0),
                    at: instant(9),
                },
                ..seen.alert.clone()
            },
            news: Some(News::Resolved),
            news_number: 2,
            ..seen
        };
        assert_eq!(write(&place, &[over]).await, 1);
        assert_eq!(read(&place, number).await.news, news);
    }
}
