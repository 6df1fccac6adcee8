//! What of alerts is told: each change once, of many few messages, and again and again to an Alertmanager.

use std::time::Duration;

use calendar::alerts::AlertName;
use calendar::alerts::escalation::Escalation;
use calendar::alerts::machine::{Acknowledged, Alert, News, Phase, Silence};
use serde_json::Value;
use store::{AlertRecord, AlertWrite, DeliveryState};

use super::endpoint::{Answer, Endpoint, OK};
use super::world::{World, webhook};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

pub fn id(number: usize) -> String {
    format!("al_{number:032}")
}

impl World {
    fn instant(&self) -> calendar::Time {
        calendar::Time::from_millis(self.now().millis())
    }

    pub fn alert(&self, name: AlertName, number: usize) -> AlertRecord {
        AlertRecord {
            id: id(number),
            alert: Alert {
                name,
                subject: format!("external/a{number:05}"),
                level: 1,
                detail: "it is old".to_owned(),
                phase: Phase::Firing {
                    since: self.instant(),
                    clear_since: None,
                },
                acknowledged: None,
                silence: None,
                episode: 0,
                together: false,
                escalation: Escalation::from(self.instant()),
            },
            news: Some(News::Firing),
            news_number: 1,
            changed_at: self.now(),
            version: 0,
            levels_told: 0,
        }
    }

    pub async fn put(&self, records: &[AlertRecord]) {
        let writes: Vec<AlertWrite> = records.iter().cloned().map(AlertWrite::Put).collect();
        for some in writes.chunks(500) {
            let written = self.place.store.write_alerts(some).await.unwrap();
            assert_eq!(written, some.len());
        }
    }

    /// What became of it since, with its news.
    pub async fn becomes(&self, number: usize, news: News, change: impl Fn(&mut Alert)) {
        let was = self.place.store.alert(&id(number)).await.unwrap().unwrap();
        let mut alert = was.alert.clone();
        change(&mut alert);
        let record = AlertRecord {
            alert,
            news: Some(news),
            news_number: was.news_number + 1,
            changed_at: self.now(),
            ..was
        };
        self.put(&[record]).await;
    }

    pub async fn resolves(&self, number: usize) {
        let at = self.instant();
        self.becomes(number, News::Resolved, |alert| {
            if let Phase::Firing { since, .. } = alert.phase {
                alert.phase = Phase::Resolved { since, at };
            }
        })
        .await;
    }
}

pub fn bodies(endpoint: &Endpoint) -> Vec<Value> {
    let seen = endpoint.seen().into_iter();
    seen.map(|one| serde_json::from_str(&one.body).unwrap())
        .collect()
}

pub fn kinds(endpoint: &Endpoint) -> Vec<String> {
    let bodies = bodies(endpoint).into_iter();
    bodies
        .map(|body| body["type"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn each_change_of_an_alert_is_told_once_with_its_runbook_and_the_next_command() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let settings = webhook(&endpoint.address);
    let (mut one, mut two) = (
        world.replica("one", &settings),
        world.replica("two", &settings),
    );
    world
        .put(&[world.alert(AlertName::RotationOverdue, 1)])
        .await;
    one.round().await.unwrap();
    two.round().await.unwrap();
    // Started anew it tells nothing again.
    one = world.replica("one", &settings);
    world.pass(MINUTE);
    one.round().await.unwrap();
    let [told] = &bodies(&endpoint)[..] else {
        panic!("{:?}", kinds(&endpoint));
    };
    assert_eq!(told["type"], "alert.firing");
    let url = format!("https://keys.example/v1/alerts/{}", id(1));
    assert_eq!(told["data"]["url"], url);
    let facts = &told["data"]["facts"];
    let expected = serde_json::json!({
        "id": id(1), "name": "rotation-overdue", "severity": "warning",
        "runbook": "deploy/runbooks/rotation-overdue.md", "next": "chancery asset show external/a00001",
    });
    assert_eq!(facts["alert"], expected);
    assert_eq!(facts["reason"], "it is old");
    let by = Acknowledged {
        by: "olga".to_owned(),
        at: world.instant(),
    };
    world
        .becomes(1, News::Acknowledged, |alert| {
            alert.acknowledged = Some(by.clone());
        })
        .await;
    world.pass(MINUTE);
    one.round().await.unwrap();
    world.resolves(1).await;
    world.pass(MINUTE);
    one.round().await.unwrap();
    let all = ["alert.firing", "alert.acknowledged", "alert.resolved"];
    assert_eq!(kinds(&endpoint), all);
    assert_eq!(bodies(&endpoint)[1]["data"]["facts"]["by"], "olga");
}

#[tokio::test]
async fn a_crash_between_the_message_and_its_mark_tells_nothing_twice() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("one", &webhook(&endpoint.address));
    let record = world.alert(AlertName::JobFailed, 1);
    world.put(&[record]).await;
    notifier.round().await.unwrap();
    // As it was before the mark.
    let undo = "UPDATE alert SET news = 'firing'";
    world.place.raw(undo).await.unwrap();
    world.pass(MINUTE);
    notifier.round().await.unwrap();
    assert_eq!(kinds(&endpoint), ["alert.firing"]);
    assert!(
        world
            .place
            .store
            .untold_alerts(10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn threat_a_storm_of_ten_thousand_alerts_is_a_handful_of_messages() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("one", &webhook(&endpoint.address));
    let records: Vec<AlertRecord> = (0..10_000)
        .map(|number| {
            let mut record = world.alert(AlertName::RotationOverdue, number);
            record.alert.together = number >= 20;
            record
        })
        .collect();
    world.put(&records).await;
    for _ in 0..3 {
        notifier.round().await.unwrap();
        world.pass(MINUTE);
    }
    assert!(
        world
            .place
            .store
            .untold_alerts(10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(endpoint.seen().len(), 20 + 1);
    let many = bodies(&endpoint);
    let many = many
        .iter()
        .find(|body| body["data"]["facts"]["more_subjects"] != 0)
        .unwrap();
    let facts = &many["data"]["facts"];
    assert_eq!(facts["more_subjects"], 9_980 - 3);
    let next = "chancery alert list --name rotation-overdue";
    assert_eq!(facts["alert"]["next"], next);
    // They drain: of each that is told alone one message, of the others one when the last is over.
    let drain = format!(
        "UPDATE alert SET phase = 'resolved', resolved_at = {0}, news = 'resolved', news_number = 2, changed_at = {0},
            version = version + 1 WHERE id < '{1}'",
        world.now().millis(),
        id(9_999)
    );
    world.place.raw(&drain).await.unwrap();
    for _ in 0..3 {
        notifier.round().await.unwrap();
        world.pass(MINUTE);
    }
    assert_eq!(endpoint.seen().len(), 21 + 20, "one of the crowd is left");
    world.resolves(9_999).await;
    notifier.round().await.unwrap();
    assert_eq!(endpoint.seen().len(), 21 + 20 + 1);
    // More than a page ends at once: the message counts all of them.
    let burst: Vec<AlertRecord> = (20_000..22_500)
        .map(|number| {
            let mut record = world.alert(AlertName::JobFailed, number);
            record.alert.together = true;
            record.alert.phase = Phase::Resolved {
                since: world.instant(),
                at: world.instant(),
            };
            record.news = Some(News::Resolved);
            record
        })
        .collect();
    world.put(&burst).await;
    notifier.round().await.unwrap();
    let last = bodies(&endpoint).pop().unwrap();
    assert_eq!(last["data"]["facts"]["more_subjects"], 2_500 - 3);
    assert_eq!(endpoint.seen().len(), 21 + 20 + 2);
    assert_eq!(world.deliveries(DeliveryState::Waiting).await, []);
}

#[tokio::test]
async fn threat_a_receiver_is_down_slow_and_lying_for_a_day_and_gets_each_change_once() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("one", &webhook(&endpoint.address));
    world
        .put(&[world.alert(AlertName::RotationOverdue, 1)])
        .await;
    let bad = [
        Answer::Closed,
        Answer::Status("500 Internal Server Error", "", "<html>"),
        Answer::Silent,
    ];
    for hour in 0..24 {
        endpoint.answers(bad[hour % 3].clone());
        notifier.round().await.unwrap();
        if hour == 20 {
            world.resolves(1).await;
        }
        world.pass(HOUR);
    }
    let before = endpoint.seen().len();
    endpoint.answers(OK);
    for _ in 0..6 {
        notifier.round().await.unwrap();
        world.pass(HOUR);
    }
    let mut told = kinds(&endpoint).split_off(before);
    told.sort();
    assert_eq!(told, ["alert.firing", "alert.resolved"]);
    assert_eq!(world.deliveries(DeliveryState::Waiting).await, []);
}

fn alertmanager(endpoint: &Endpoint) -> String {
    format!(
        "[receivers.am]\nkind = \"alertmanager\"\nurl = \"http://{}/am\"\nallow_private = true\ntimeout = \"300ms\"\n",
        endpoint.address
    )
}

/// The alerts that it was told of last, by severity and whether they are over.
fn last(world: &World, endpoint: &Endpoint) -> Vec<(String, bool)> {
    let bodies = bodies(endpoint);
    let all = bodies.last().and_then(Value::as_array).unwrap();
    let mut all: Vec<(String, bool)> = all
        .iter()
        .map(|alert| {
            let severity = alert["labels"]["severity"].as_str().unwrap().to_owned();
            let ends = alert["endsAt"].as_str().unwrap();
            (severity, ends <= world.now().to_string().as_str())
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn an_alertmanager_is_told_each_minute_while_an_alert_fires_and_not_while_it_is_silenced() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("one", &alertmanager(&endpoint));
    world.put(&[world.alert(AlertName::Expiry, 1)]).await;
    // It is restarted and has forgotten everything: within a minute it knows again.
    for _ in 0..3 {
        notifier.round().await.unwrap();
        world.pass(MINUTE);
    }
    assert_eq!(endpoint.seen().len(), 3);
    let told = bodies(&endpoint);
    assert_eq!(told[0][0]["labels"], told[2][0]["labels"], "labels name it");
    assert_eq!(told[0][0]["labels"]["alertname"], "ChanceryExpiry");
    assert_eq!(told[0][0]["labels"]["subject"], "external/a00001");
    assert_eq!(
        told[0][0]["annotations"]["runbook_url"],
        "deploy/runbooks/expiry.md"
    );
    // Acknowledged it fires on; graver it is another one by its labels, and the lesser one is over.
    let by = Acknowledged {
        by: "olga".to_owned(),
        at: world.instant(),
    };
    world
        .becomes(1, News::Acknowledged, |alert| {
            alert.acknowledged = Some(by.clone());
        })
        .await;
    notifier.round().await.unwrap();
    assert_eq!(last(&world, &endpoint), [("warning".to_owned(), false)]);
    world
        .becomes(1, News::Raised, |alert| {
            (alert.level, alert.acknowledged) = (2, None);
        })
        .await;
    world.pass(MINUTE);
    notifier.round().await.unwrap();
    let both = [("critical".to_owned(), false), ("warning".to_owned(), true)];
    assert_eq!(last(&world, &endpoint), both);
    // Silenced it is over for the Alertmanager, and fires again when the silence ends.
    let until = world.instant() + calendar::Span::hours(1);
    let silence = Silence {
        by: "olga".to_owned(),
        until,
    };
    world
        .becomes(1, News::Silenced, |alert| {
            alert.silence = Some(silence.clone());
        })
        .await;
    world.pass(MINUTE);
    notifier.round().await.unwrap();
    assert_eq!(last(&world, &endpoint), [("critical".to_owned(), true)]);
    let quiet = endpoint.seen().len();
    world.pass(30 * MINUTE);
    notifier.round().await.unwrap();
    assert_eq!(endpoint.seen().len(), quiet);
    world.pass(30 * MINUTE);
    notifier.round().await.unwrap();
    assert_eq!(last(&world, &endpoint), [("critical".to_owned(), false)]);
    world.resolves(1).await;
    world.pass(MINUTE);
    notifier.round().await.unwrap();
    assert_eq!(last(&world, &endpoint), [("critical".to_owned(), true)]);
    let end = endpoint.seen().len();
    world.pass(MINUTE);
    notifier.round().await.unwrap();
    assert_eq!(endpoint.seen().len(), end);
}

#[tokio::test]
async fn of_many_alerts_an_alertmanager_is_told_as_of_one() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("one", &alertmanager(&endpoint));
    let records: Vec<AlertRecord> = (0..500)
        .map(|number| {
            let mut record = world.alert(AlertName::RotationOverdue, number);
            record.alert.together = number >= 20;
            record
        })
        .collect();
    world.put(&records).await;
    notifier.round().await.unwrap();
    assert_eq!(last(&world, &endpoint).len(), 20 + 1);
    // How many they are is kept up to date while they are.
    let says = |number: &str| {
        let told = bodies(&endpoint).pop().unwrap();
        let mut told = told.as_array().unwrap().iter();
        told.any(|alert| alert["annotations"]["summary"].to_string().contains(number))
    };
    assert!(says(": 480"));
    let more = (500..600).map(|number| {
        let mut record = world.alert(AlertName::RotationOverdue, number);
        record.alert.together = true;
        record
    });
    world.put(&more.collect::<Vec<_>>()).await;
    world.pass(MINUTE);
    notifier.round().await.unwrap();
    assert!(says(": 580"));
}

#[tokio::test]
async fn what_is_told_as_news_of_a_rotation_is_not_told_again_as_an_alert() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("one", &alertmanager(&endpoint));
    // As the look writes it: without news of its beginning.
    let failed = AlertRecord {
        news: None,
        ..world.alert(AlertName::RotationFailed, 1)
    };
    world.put(&[failed]).await;
    notifier.round().await.unwrap();
    assert!(endpoint.seen().is_empty());
}

#[tokio::test]
async fn threat_a_silence_of_one_alert_of_a_rotation_hides_another_one() {
    let world = World::new().await;
    let until = world.instant() + calendar::Span::hours(1);
    let mut delayed = world.alert(AlertName::RotationDelayed, 1);
    delayed.alert.subject = "kr_1".to_owned();
    delayed.alert.silence = Some(Silence {
        by: "olga".to_owned(),
        until,
    });
    world.put(&[delayed]).await;
    let silenced = crate::alerts::silenced_rotations(&world.place.store, world.now());
    let expected = (crate::EventKind::RotationLate, "kr_1".to_owned());
    assert_eq!(silenced.await.unwrap(), [expected].into());
}

#[tokio::test]
async fn an_alert_that_fires_again_is_told_again() {
    let world = World::new().await;
    let endpoint = Endpoint::start().await;
    let mut notifier = world.replica("one", &webhook(&endpoint.address));
    for _ in 0..2 {
        // As one whose row was forgotten meanwhile.
        let record = world.alert(AlertName::KeyStoreUnavailable, 1);
        world.put(&[record]).await;
        notifier.round().await.unwrap();
        world.place.raw("DELETE FROM alert").await.unwrap();
        world.pass(HOUR);
    }
    assert_eq!(kinds(&endpoint), ["alert.firing", "alert.firing"]);
}
