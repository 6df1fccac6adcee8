//! Faults that the planner has to name: what is late, what waits, what cannot be.

use calendar::facts::{Limits, Pause};
use calendar::plan::{Resource, Why};
use calendar::words::Reason;
use calendar::{Consent, Facts, Span, plan};

use crate::support::{applied, asset, at, days, facts, first, limit, now, order, policies};

#[test]
fn a_leap_day_is_a_day() {
    let leap = at("2028-02-29 12:00");
    let facts = facts(vec![asset("session/web", "session_encryption", leap)]);
    let plan = plan(&facts, &policies(), &[], at("2028-03-01"), days(60));
    assert_eq!(first(&plan, "session/web").due, at("2028-03-30 12:00"));
    let year = asset("file/backups", "file_encryption", leap);
    let plan = calendar::plan(
        &self::facts(vec![year]),
        &policies(),
        &[],
        at("2029-01-01"),
        days(90),
    );
    assert_eq!(first(&plan, "file/backups").due, at("2029-02-28 12:00"));
}

#[test]
fn a_clock_that_jumps_moves_no_slot() {
    let facts = facts(
        (0..50)
            .map(|n| asset(&format!("api/k{n}"), "api_key", at("2026-11-20")))
            .collect(),
    );
    let of = |now| plan(&facts, &policies(), &[], now, days(365)).rotations;
    let firsts = |rotations: &[calendar::Rotation]| {
        let mut firsts: Vec<_> = rotations
            .iter()
            .filter(|each| each.version == 2)
            .map(|each| (each.asset.clone(), each.slot))
            .collect();
        firsts.sort();
        firsts
    };
    let expected = firsts(&of(now()));
    // Back before the versions were made, and forward past all that was due.
    for wrong in [at("2026-11-01"), at("2026-06-01"), at("2027-06-01")] {
        assert_eq!(firsts(&of(wrong)), expected, "{wrong}");
    }
    // At the ends of time nothing overflows.
    for wrong in [
        calendar::Time::from_millis(0),
        calendar::Time::from_millis(i64::MAX),
    ] {
        plan(&facts, &policies(), &[], wrong, days(365));
    }
}

#[test]
fn paused_over_a_due_date_is_late_and_says_so() {
    let mut facts = facts(vec![asset("api/k", "api_key", now() - days(29))]);
    facts.pause = Some(Pause {
        since: now() - days(5),
        until: Some(now() + days(3)),
    });
    let known = plan(&facts, &policies(), &[], now(), days(30));
    let late = first(&known, "api/k").late.unwrap();
    assert_eq!(late.reason, Reason::Paused);
    assert_eq!(late.by, Some(Span::seconds(2 * 86_400 + 3_600 + 2_400)));
    facts.pause = Some(Pause {
        since: now() - days(5),
        until: None,
    });
    let unknown = plan(&facts, &policies(), &[], now(), days(30));
    let rotation = first(&unknown, "api/k");
    assert_eq!(
        (rotation.begins_at, rotation.waits),
        (None, Some(Reason::Paused))
    );
    assert_eq!(rotation.late.unwrap().by, None);
    // A pause that is over before the slot changes nothing.
    facts.pause = Some(Pause {
        since: now() - days(5),
        until: Some(now()),
    });
    facts.assets = vec![asset("api/k", "api_key", now() - days(10))];
    assert_eq!(
        first(&plan(&facts, &policies(), &[], now(), days(30)), "api/k").late,
        None
    );
}

#[test]
fn a_backlog_after_a_week_begins_in_the_first_hours_with_room() {
    let mut assets: Vec<_> = (0..400)
        .map(|n| asset(&format!("api/k{n}"), "api_key", now() - days(30 + n % 7)))
        .collect();
    assets.push(asset(
        "db/critical",
        "database_encryption",
        now() - days(185),
    ));
    assets.push(asset("mesh/daily", "mesh_certificate", now() - days(8)));
    let limits = Limits {
        team_per_hour: limit(50),
        ..Limits::default()
    };
    let facts = Facts {
        limits,
        ..facts(assets)
    };
    let plan = plan(&facts, &policies(), &[], now(), days(30));
    let overdue: Vec<_> = plan
        .rotations
        .iter()
        .filter(|each| each.slot.hour() < now().hour())
        .collect();
    assert_eq!(overdue.len(), 402, "missed rotations of one asset are one");
    for each in &overdue {
        let late = each.late.unwrap_or_else(|| panic!("{each:?}"));
        assert_eq!(late.reason, Reason::Backlog);
        assert!(each.begins_at.unwrap() >= now());
    }
    assert_eq!(
        first(&plan, "db/critical").begins_at,
        Some(now()),
        "the important first"
    );
    assert_eq!(plan.conflicts, []);
    let cleared = plan.backlog_cleared_at().unwrap();
    assert_eq!(cleared.hour() - now().hour(), 7, "400 at 50 an hour");
}

#[test]
fn what_is_overdue_stays_so_when_its_event_has_an_hour_that_comes() {
    let assets = (0..400)
        .map(|n| asset(&format!("api/k{n}"), "api_key", now() - days(40)))
        .collect();
    let limits = Limits {
        team_per_hour: limit(50),
        ..Limits::default()
    };
    let facts = Facts {
        limits,
        ..facts(assets)
    };
    let before = plan(&facts, &policies(), &[], now(), days(30));
    assert_eq!(before.counts().overdue, 400);
    // As the engine writes them: each event has the hour that it was given for its beginning.
    let (mut facts, _) = applied(&facts, &[], &before);
    for (asset, rotation) in facts.assets.iter_mut().map(|asset| {
        let name = asset.name.clone();
        (asset, first(&before, name.as_str()))
    }) {
        asset.events[0].slot = rotation.begins_at.unwrap();
    }
    let after = plan(&facts, &policies(), &[], now(), days(30));
    assert_eq!(after.counts().overdue, 400);
    assert_eq!(after.backlog_cleared_at(), before.backlog_cleared_at());
    // Promoted is not overdue, however late.
    for asset in facts.assets.iter_mut().take(100) {
        asset.events[0].published_at = Some(now() - days(1));
        asset.events[0].promoted_at = Some(now());
    }
    let promoted = plan(&facts, &policies(), &[], now(), days(30));
    assert_eq!(promoted.counts().overdue, 300);
}

#[test]
fn ten_thousand_due_in_one_hour_are_spread_and_what_has_no_room_is_named() {
    let assets: Vec<_> = (0..10_000)
        .map(|n| {
            asset(
                &format!("dek/tenant/{n}"),
                "data_encryption",
                at("2026-10-01 12:00"),
            )
        })
        .collect();
    let limits = Limits {
        team_per_hour: limit(50),
        ..Limits::default()
    };
    let plan = plan(
        &Facts {
            limits,
            ..facts(assets)
        },
        &policies(),
        &[],
        now(),
        days(90),
    );
    let counts = plan.counts();
    assert_eq!((counts.rotations, plan.conflicts.len()), (10_000, 0));
    let mut per_hour = std::collections::BTreeMap::new();
    for each in &plan.rotations {
        *per_hour.entry(each.slot).or_insert(0) += 1;
    }
    assert_eq!(per_hour.values().max(), Some(&50));
    // A week of hours and the hour that the work may take, at fifty an hour; the others are late, and it is said why.
    assert_eq!(counts.late, 10_000 - 170 * 50);
    assert!(
        plan.rotations
            .iter()
            .filter_map(|each| each.late)
            .all(|late| late.reason == Reason::Capacity)
    );
}

#[test]
fn an_order_that_runs_out_in_the_middle_leaves_the_rest_to_a_ceremony() {
    let assets: Vec<_> = (0..10)
        .map(|n| {
            asset(
                &format!("jwt_signing/tenants/{n}"),
                "jwt_signing",
                at("2026-10-01"),
            )
        })
        .collect();
    let orders = [order("six", "jwt_signing/tenants", 6)];
    let facts = facts(assets);
    let before = plan(&facts, &policies(), &orders, now(), days(60));
    let under = |plan: &calendar::Plan| {
        plan.rotations
            .iter()
            .filter(|each| matches!(each.consent, Consent::Order(_)))
            .count()
    };
    assert_eq!(under(&before), 6);
    let rest: Vec<_> = before
        .rotations
        .iter()
        .filter(|each| each.consent == Consent::Ceremony)
        .collect();
    assert_eq!(rest.len(), 4);
    assert!(
        rest.iter()
            .all(|each| each.waits == Some(Reason::OrderUsedUp))
    );
    // The first six by date have the uses, also when it is planned again.
    let last = before
        .rotations
        .iter()
        .filter(|each| each.consent != Consent::Ceremony)
        .map(|each| each.due)
        .max();
    assert!(rest.iter().all(|each| Some(each.due) >= last));
    let (facts, orders) = applied(&facts, &orders, &before);
    assert_eq!(
        under(&plan(&facts, &policies(), &orders, now(), days(60))),
        6
    );
}

#[test]
fn an_order_that_does_not_fit_says_why() {
    let facts = facts(vec![asset("signing/a", "signing", at("2026-10-01"))]);
    let why = |change: fn(&mut calendar::Order)| {
        let mut order = order("o", "signing/a", 5);
        change(&mut order);
        let plan = plan(&facts, &policies(), &[order], now(), days(60));
        first(&plan, "signing/a").waits
    };
    assert_eq!(why(|_| {}), None);
    assert_eq!(why(|order| order.paused = true), Some(Reason::OrderPaused));
    assert_eq!(why(|order| order.used = 5), Some(Reason::OrderUsedUp));
    assert_eq!(
        why(|order| order.not_after = at("2026-12-15")),
        Some(Reason::OrderEnded)
    );
    assert_eq!(
        why(|order| (order.used, order.interval) = (4, days(365))),
        Some(Reason::OrderInterval)
    );
    assert_eq!(
        why(|order| order.covers = "signing/b".parse().unwrap()),
        Some(Reason::Approval)
    );
}

#[test]
fn overlapping_orders_are_used_one_after_the_other() {
    let facts = facts(vec![asset(
        "api_signature/a",
        "api_signature",
        at("2026-10-01"),
    )]);
    let mut early = order("early", "api_signature/a", 1);
    early.not_after = at("2027-06-30");
    let late = order("late", "api_signature/a", 9);
    for orders in [[early.clone(), late.clone()], [late, early]] {
        let plan = plan(&facts, &policies(), &orders, now(), days(365));
        let used: Vec<_> = plan
            .rotations
            .iter()
            .map(|each| each.consent.clone())
            .collect();
        let under = |id: &str| Consent::Order(id.parse().unwrap());
        assert_eq!(used[..3], [under("early"), under("late"), under("late")]);
    }
}

#[test]
fn what_cannot_be_planned_is_named() {
    let mut none = asset("signing/new", "signing", now());
    none.versions.clear();
    let mut two = asset("signing/damaged", "signing", now());
    two.versions.push(two.versions[0]);
    let mut last = asset("signing/last", "signing", now());
    last.versions[0].number = u32::MAX;
    let unknown = asset("nuclear/codes", "launch_code", now());
    let client = asset("client/partner", "client_certificate", now());
    let again = asset("client/partner", "client_certificate", now());
    let plan = plan(
        &facts(vec![none, two, last, unknown, client, again]),
        &policies(),
        &[],
        now(),
        days(90),
    );
    let why: Vec<_> = plan
        .unplanned
        .iter()
        .map(|each| (each.asset.as_str(), each.why))
        .collect();
    assert_eq!(
        why,
        [
            ("client/partner", Why::NoDate),
            ("client/partner", Why::NameTwice),
            ("nuclear/codes", Why::NoPolicy),
            ("signing/damaged", Why::TwoPrimaries),
            ("signing/last", Why::NoNumber),
            ("signing/new", Why::NoPrimary),
        ]
    );
}

#[test]
fn a_collision_that_was_decided_before_is_named() {
    let mut assets: Vec<_> = (0..2)
        .map(|n| {
            asset(
                &format!("database_credential/u{n}"),
                "database_credential",
                at("2026-10-01"),
            )
        })
        .collect();
    for asset in &mut assets {
        asset.owner = Some("orders".parse().unwrap());
    }
    let facts = facts(assets);
    let before = plan(&facts, &policies(), &[], now(), days(90));
    let (mut facts, _) = applied(&facts, &[], &before);
    let slot = facts.assets[0].events[0].slot;
    facts.assets[1].events[0].slot = slot;
    let after = plan(&facts, &policies(), &[], now(), days(90));
    assert_eq!(after.conflicts.len(), 1);
    assert_eq!(
        after.conflicts[0].resource,
        Resource::Owner("orders".parse().unwrap())
    );
    assert_eq!(
        (after.conflicts[0].hour, after.conflicts[0].rotations),
        (slot, 2)
    );
}

#[test]
fn a_certificate_that_lives_shorter_than_a_rotation_takes_is_named_and_does_not_fill_the_plan() {
    let mut brief = asset("mesh/brief", "mesh_certificate", now());
    brief.versions[0].expires_at = Some(now() + Span::minutes(10));
    let plan = plan(&facts(vec![brief]), &policies(), &[], now(), days(2));
    assert!(plan.rotations.len() <= 50, "{}", plan.rotations.len());
    let late: Vec<_> = plan
        .rotations
        .iter()
        .map(|each| each.late.map(|late| late.reason))
        .collect();
    assert!(
        late.iter().all(|reason| *reason == Some(Reason::TooShort)),
        "{late:?}"
    );
}
