//! Reports of compromise over real databases, the levels of an alert that nobody looks after, and the weekly digest.

use calendar::Span;
use calendar::alerts::escalation::EscalationLevel as Level;
use calendar::alerts::rules::KeyStoreFacts;
use calendar::alerts::storm::MOST_ALONE_OF_ONE;
use calendar::weekly::{Weekday, Weekly};
use notify::{Audience, Text};
use store::testing::place::Place;
use store::{JobRow, RotationPause};

use super::world::{World, asset, at, register};
use crate::alerts::watch::Sources;
use crate::alerts::{AlertFilter, AlertView};
use crate::compromise::{CompromiseReport, LONGEST_EVIDENCE, MOST_A_DAY, Target};
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::notices::NoticeDecision;

const ASSET: &str = "external/partner";

fn never(_: &JobRow, _: &RotationPause) -> bool {
    false
}

async fn look(engine: &Engine) -> usize {
    let assets = engine.assets_in_use().await.unwrap();
    let sources = Sources {
        assets: Some(&assets),
        key_store: Some(KeyStoreFacts::default()),
        usage: true,
        is_paused: never,
    };
    engine.look_at_alerts(&sources).await.unwrap().written
}

async fn firing(engine: &Engine) -> Vec<AlertView> {
    let page = engine.alerts(&AlertFilter::default(), None, 1_000).await;
    let alerts = page.unwrap().alerts.into_iter();
    alerts
        .filter(|one| one.name.as_str() == "compromise-reported")
        .collect()
}

fn report(name: &str) -> CompromiseReport {
    CompromiseReport {
        report: name.to_owned(),
        target: Target::Asset(ASSET.parse().unwrap()),
        source: "secret scanner".to_owned(),
        reason: "it is in a public repository".to_owned(),
        evidence: Some("commit 1\r\nBcc: eve@evil.example\n{{url}}".to_owned()),
        compromised_since: None,
    }
}

async fn world(place: Place) -> World {
    let world = World::new(place, 0);
    let since = world.now() - Span::days(5);
    world.elsewhere().assets.push(asset(ASSET, since));
    register(&world.store, (ASSET, "api_key"), since, world.now()).await;
    world
}

async fn leaves(world: &World) -> Vec<String> {
    let leaves = world.store.leaves(0, 1_000).await.unwrap().into_iter();
    let bodies = leaves.filter(|leaf| leaf.kind == "alert");
    let bodies = bodies.map(|leaf| serde_json::from_str::<serde_json::Value>(&leaf.body).unwrap());
    bodies
        .map(|body| body["action"].as_str().unwrap_or("-").to_owned())
        .collect()
}

pub async fn a_report_calls_people_until_somebody_decides(place: Place) {
    let world = world(place).await;
    let (one, two) = (world.replica("one").await, world.replica("two").await);
    // To two replicas at once: it is one report.
    let (asked, same) = (report("finding-1"), report("finding-1"));
    let (first, second) = tokio::join!(
        one.report_compromise(&asked, "scanner"),
        two.report_compromise(&same, "scanner")
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.0, second.0);
    assert!(first.1 != second.1, "one of them was first");
    let draft = first.0.draft.clone().unwrap();
    assert_eq!((draft.operation, draft.ring), ("declaration", None));
    assert_eq!(leaves(&world).await, ["report-compromise"]);
    let other = CompromiseReport {
        reason: "something else".to_owned(),
        ..report("finding-1")
    };
    let taken = one.report_compromise(&other, "scanner").await;
    assert!(matches!(taken, Err(Error::ReportOther(_))), "{taken:?}");
    // The same name is another report of somebody else, and each has its alert.
    let siem = one.report_compromise(&report("finding-1"), "siem").await;
    let siem = siem.unwrap().0;
    look(&one).await;
    let all = firing(&one).await;
    assert_eq!(all.len(), 2);
    let of_siem = all.iter().find(|alert| alert.id == siem.alert).unwrap();
    assert_eq!(
        (of_siem.subject.as_str(), of_siem.severity.as_str()),
        (siem.id.as_str(), "critical")
    );
    let detail = &of_siem.detail;
    let begins = format!("{ASSET}: siem reported it at ");
    assert!(detail.starts_with(&begins), "{detail}");
    let why = ("olga", "a test key");
    let dismissed = one.dismiss_compromise(&first.0.id, why).await.unwrap();
    assert_eq!((dismissed.state, dismissed.draft), ("dismissed", None));
    look(&one).await;
    world.wait(Span::minutes(1));
    look(&one).await;
    let open: Vec<String> = firing(&one).await.into_iter().map(|one| one.id).collect();
    assert_eq!(
        open,
        std::slice::from_ref(&siem.alert),
        "the other one is open"
    );
    let declared = one
        .declare_compromise(&siem.id, ("olga", "it is real"))
        .await;
    let declared = declared.unwrap();
    let rotation = declared.decision.unwrap().rotation.unwrap();
    let event = one.event(&rotation).await.unwrap();
    assert_eq!(
        (event.asset.as_str(), event.cause.as_str()),
        (ASSET, "event")
    );
    for late in [
        one.declare_compromise(&siem.id, why).await,
        two.dismiss_compromise(&siem.id, why).await,
    ] {
        assert!(matches!(late, Err(Error::ReportDecided { .. })), "{late:?}");
    }
    // Over when that has been so for a minute.
    look(&one).await;
    world.wait(Span::minutes(1));
    look(&one).await;
    assert!(firing(&one).await.is_empty());
    assert_eq!(
        leaves(&world).await[2..],
        ["dismiss-compromise", "declare-compromise"]
    );
    let page = one.compromise_reports(None, 1).await.unwrap();
    let rest = one.compromise_reports(page.next.as_deref(), 10).await;
    let rest = rest.unwrap();
    assert_eq!((page.reports.len(), rest.reports.len()), (1, 1));
}

pub async fn threat_ten_thousand_reports_of_one_principal_are_a_hundred(place: Place) {
    // What is refused is the same on both engines.
    let storm = if place.is_sqlite() { 10_000 } else { 1_000 };
    let world = world(place).await;
    let engine = world.replica("one").await;
    let mut kept = 0;
    for number in 0..storm {
        let asked = report(&format!("f{number}"));
        match engine.report_compromise(&asked, "scanner").await {
            Ok(_) => kept += 1,
            Err(Error::ReportQuota) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(kept, MOST_A_DAY);
    assert_eq!(leaves(&world).await.len(), 100);
    // Another principal is heard all the same, and on the next day this one again.
    let siem = engine.report_compromise(&report("f"), "siem").await;
    assert!(siem.is_ok(), "{siem:?}");
    world.wait(Span::days(1));
    let again = engine.report_compromise(&report("g"), "scanner").await;
    assert!(again.is_ok(), "{again:?}");
    look(&engine).await;
    let all = firing(&engine).await;
    assert_eq!(all.len(), 102);
    // What the other one says is told for itself.
    let siem = siem.unwrap().0.id;
    let alone = all.iter().filter(|alert| !alert.together);
    let alone: Vec<&str> = alone.map(|alert| alert.subject.as_str()).collect();
    assert_eq!(alone.len(), MOST_ALONE_OF_ONE + 1);
    assert!(alone.contains(&siem.as_str()));
}

pub async fn threat_an_acknowledged_or_silenced_report_hides_another_about_the_same(place: Place) {
    let world = world(place).await;
    let engine = world.replica("one").await;
    let filed = async |name: &str, by: &str| {
        let filed = engine.report_compromise(&report(name), by).await;
        look(&engine).await;
        filed.unwrap().0.alert
    };
    let state = async |id: &str| engine.alert(id).await.unwrap();
    let first = filed("finding-1", "vendor").await;
    engine
        .acknowledge_alert(&first, "olga", None)
        .await
        .unwrap();
    let until = world.now() + Span::days(7);
    let why = ("olga", "nonsense");
    engine.silence_alert(&first, until, why).await.unwrap();
    // The same principal, and another.
    for (name, by) in [("finding-2", "vendor"), ("finding-1", "siem")] {
        let id = filed(name, by).await;
        assert_eq!(state(&id).await.state, "firing");
        let untold = world.store.untold_alerts(100).await.unwrap();
        assert!(untold.iter().any(|one| one.id == id), "{untold:?}");
    }
    assert_eq!(state(&first).await.state, "acknowledged");
}

pub async fn a_report_that_cannot_be_read_ends_no_alert_and_stops_no_other(place: Place) {
    let world = world(place).await;
    let engine = world.replica("one").await;
    let report_it = async |name: &str| {
        let filed = engine.report_compromise(&report(name), "scanner").await;
        filed.unwrap().0
    };
    let first = report_it("finding-1").await;
    look(&engine).await;
    let broken = "UPDATE compromise_report SET received_at = 9000000000000000";
    world.place.raw(broken).await.unwrap();
    let second = report_it("finding-2").await;
    for _ in 0..3 {
        world.wait(Span::minutes(2));
        look(&engine).await;
    }
    let mut open: Vec<String> = firing(&engine)
        .await
        .into_iter()
        .map(|one| one.subject)
        .collect();
    open.sort();
    let mut expected = [first.id, second.id];
    expected.sort();
    assert_eq!(open, expected);
}

pub async fn what_is_no_report_is_refused_and_leaves_nothing(place: Place) {
    let world = world(place).await;
    let engine = world.replica("one").await;
    let unknown = "A".repeat(43);
    let with = |change: &dyn Fn(&mut CompromiseReport)| {
        let mut changed = report("finding-1");
        change(&mut changed);
        changed
    };
    let long = "x".repeat(LONGEST_EVIDENCE + 1);
    for (what, wrong) in [
        (
            "unknown key",
            with(&|one| one.target = Target::Key(unknown.parse().unwrap())),
        ),
        (
            "unknown asset",
            with(&|one| one.target = Target::Asset("external/no".parse().unwrap())),
        ),
        ("source", with(&|one| one.source = "a\r\nBcc: b".to_owned())),
        ("reason", with(&|one| one.reason = String::new())),
        ("evidence", with(&|one| one.evidence = Some(long.clone()))),
        ("report", with(&|one| one.report = "x".repeat(101))),
        (
            "compromised_since",
            with(&|one| one.compromised_since = Some(world.now() + Span::days(1))),
        ),
    ] {
        let refused = engine.report_compromise(&wrong, "scanner").await;
        let error = refused.expect_err(what);
        assert!(error.is_refusal(), "{what}: {error}");
    }
    assert!(leaves(&world).await.is_empty());
    assert!(
        engine
            .compromise_reports(None, 10)
            .await
            .unwrap()
            .reports
            .is_empty()
    );
}

pub async fn levels_are_reached_over_restarts_and_by_two_replicas(place: Place) {
    let world = world(place).await;
    let engine = world.replica("one").await;
    let asked = report("finding-1");
    engine.report_compromise(&asked, "scanner").await.unwrap();
    look(&engine).await;
    let level = async |engine: &Engine| {
        let alert = firing(engine).await.remove(0);
        let climbed = alert.escalation.unwrap();
        (climbed.level, climbed.next.map(|next| next.level))
    };
    assert_eq!(
        level(&engine).await,
        (Some(Level::Operations), Some(Level::Security))
    );
    world.wait(Span::minutes(15));
    // Another process, and a second one beside it that looks at the same time.
    let (one, two) = (world.replica("one").await, world.replica("two").await);
    let (first, second) = tokio::join!(look(&one), look(&two));
    assert_eq!(first + second, 1);
    let expected = (Some(Level::Security), Some(Level::IncidentResponse));
    assert_eq!(level(&two).await, expected);
    let id = firing(&one).await.remove(0).id;
    one.acknowledge_alert(&id, "olga", None).await.unwrap();
    world.wait(Span::hours(3));
    assert_eq!(look(&one).await, 0);
    assert_eq!(level(&one).await, (Some(Level::Security), None));
}

pub async fn a_digest_is_made_once_also_after_an_outage(place: Place) {
    let world = world(place).await;
    let monday = Weekly::new(Weekday::Monday, 7).unwrap();
    world.until(at("2026-11-30T07:00:00.000Z"));
    let (one, two) = (world.replica("one").await, world.replica("two").await);
    let (first, second) = tokio::join!(one.make_digest(monday), two.make_digest(monday));
    assert!(first.unwrap() != second.unwrap());
    let told = async || world.store.untold_digest().await.unwrap();
    let slot = |day: &str| -> trust::Time { format!("{day}T07:00:00.000Z").parse().unwrap() };
    assert_eq!(told().await.unwrap().slot, slot("2026-11-30"));
    world.store.told_digest(slot("2026-11-30")).await.unwrap();
    // Down for three weeks: the last one is made up for, and no other.
    world.wait(Span::days(20));
    let asked = report("finding-1");
    one.report_compromise(&asked, "scanner").await.unwrap();
    look(&one).await;
    assert!(one.make_digest(monday).await.unwrap());
    assert!(!two.make_digest(monday).await.unwrap());
    let digest = told().await.unwrap();
    assert_eq!(digest.slot, slot("2026-12-14"));
    let lines: Vec<String> = serde_json::from_str(&digest.body).unwrap();
    let text = lines.join("\n");
    for part in [
        "Week       2026-12-07 07:00 to 2026-12-14 07:00",
        "1 critical",
        "critical compromise-reported cr_",
        "Next week  1 rotations",
        "external/partner version 2",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    world.store.told_digest(digest.slot).await.unwrap();
    assert_eq!(told().await, None);
}

pub async fn whether_an_audience_is_told_is_decided_once_with_its_leaf(place: Place) {
    let world = world(place).await;
    let engine = world.replica("one").await;
    let text = Text {
        subject: "Incident".to_owned(),
        body: "What happened".to_owned(),
    };
    let decision = |text: Option<Text>| NoticeDecision {
        incident: "cr_1".to_owned(),
        audience: Audience::Regulator,
        text,
        reason: "article 33".to_owned(),
    };
    let not = engine.decide_notice(&decision(None), "olga").await.unwrap();
    assert_eq!(
        (not.decision, not.audience.as_str(), not.delivery),
        ("do-not-notify", "regulator", None)
    );
    world.wait(Span::minutes(1));
    let spaced = NoticeDecision {
        incident: "cr_1: x".to_owned(),
        ..decision(None)
    };
    let refused = engine.decide_notice(&spaced, "olga").await;
    assert!(matches!(refused, Err(Error::NoticeIncident)), "{refused:?}");
    let told = engine
        .decide_notice(&decision(Some(text.clone())), "emil")
        .await;
    assert_eq!(told.unwrap().decision, "notify");
    // Nobody has written a message of it: it is decided again, and no other text is.
    let again = engine
        .decide_notice(&decision(Some(text.clone())), "ada")
        .await
        .unwrap();
    assert_eq!(
        (again.by.as_str(), again.delivery),
        ("emil", Some("no-message"))
    );
    let other = Text {
        body: "something else".to_owned(),
        ..text
    };
    for again in [Some(other), None] {
        let refused = engine.decide_notice(&decision(again), "olga").await;
        assert!(
            matches!(refused, Err(Error::NoticeDecided { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(leaves(&world).await, ["do-not-notify", "notify", "notify"]);
    let page = engine.notices(None, 10).await.unwrap();
    let by: Vec<&str> = page.notices.iter().map(|one| one.by.as_str()).collect();
    assert_eq!(by, ["emil", "olga"]);
}
