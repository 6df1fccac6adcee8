//! Simulated years: nothing is found where nothing is wrong, and each fault is found by its name.

use calendar::facts::Request;
use calendar::picture::MOST_BYTES;
use calendar::simulate::{Change, Fault, FaultKind, Finding, What};
use calendar::words::{Reason, Trigger};
use calendar::{AssetFacts, Facts, KeyTypes, Limits, Order, Report, Span, Time, World, simulate};

use crate::support::{applied, asset, at, days, documents, facts, limit, now, order, policies};

/// `each` assets of every type, of different ages, and orders for their rings.
fn inventory(each: usize) -> (Vec<AssetFacts>, Vec<Order>) {
    let (mut assets, mut orders) = (Vec::new(), Vec::new());
    for key_type in KeyTypes::standard().iter() {
        for n in 0..each {
            let age = key_type.interval.as_seconds() * (n as u64 * 7 + 3) / (each as u64 * 7 + 10);
            let name = format!("{}/a{n}", key_type.name);
            let mut asset = asset(&name, key_type.name.as_str(), now() - Span::seconds(age));
            if key_type.name.as_str().ends_with("certificate") {
                let lifetime = Span::seconds(key_type.interval.as_seconds() * 3 / 2);
                asset.versions[0].expires_at = Some(asset.versions[0].created_at + lifetime);
            }
            assets.push(asset);
            orders.push(order(&format!("o{}", orders.len()), &name, 20));
        }
    }
    orders
        .iter_mut()
        .for_each(|order| order.not_after = at("2029-01-01"));
    (assets, orders)
}

fn world(assets: Vec<AssetFacts>, orders: Vec<Order>) -> World {
    World::standard(now(), facts(assets), orders)
}

fn run(world: World, horizon: Span) -> Report {
    simulate(world, horizon, 7).unwrap()
}

fn late(report: &Report) -> Vec<(String, Option<Reason>)> {
    let late = report.findings.iter().filter_map(|finding| match finding {
        Finding::Late { asset, reason, .. } => Some((asset.to_string(), *reason)),
        _ => None,
    });
    late.collect()
}

fn jwt() -> World {
    world(
        vec![asset("jwt_signing/a", "jwt_signing", now() - days(60))],
        vec![order("o", "jwt_signing/a", 20)],
    )
}

fn fault(kind: FaultKind, from: Time, until: Time) -> Fault {
    Fault { kind, from, until }
}

#[test]
fn a_year_of_every_key_type_passes_and_most_of_it_runs_by_itself() {
    let (assets, orders) = inventory(6);
    let report = run(world(assets, orders), days(365));
    assert!(report.passed, "{}", report.summary());
    assert_eq!(report.by_type.len(), 16, "{}", report.summary());
    let keks = report.by_type["master_encryption"];
    assert_eq!(
        (keks.automatic, keks.manual),
        (0, keks.rotations),
        "KEKs rotate by ceremony"
    );
    assert!(report.automatic_share() > 0.8, "{}", report.summary());
    assert_eq!(
        report.all.automatic + report.all.manual,
        report.all.rotations
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        (json["passed"].as_bool(), json["all"]["late"].as_u64()),
        (Some(true), Some(0))
    );
    let picture = report.svg();
    assert!(picture.len() < MOST_BYTES && picture.contains(">mesh_certificate<"));
}

#[test]
fn one_seed_gives_one_report() {
    let (assets, orders) = inventory(2);
    let mut world = world(assets, orders);
    world.failures = 200;
    world.replicas = vec![0, 1, -2];
    let of = |seed| simulate(world.clone(), days(200), seed).unwrap();
    assert_eq!(of(1), of(1));
    assert_ne!(of(1).rotations, of(2).rotations, "failures fall elsewhere");
    assert!(
        of(1).passed,
        "what fails once is tried again\n{}",
        of(1).summary()
    );
}

#[test]
fn what_is_published_can_be_asked_for_each_moment() {
    let report = run(jwt(), days(90));
    let name = "jwt_signing/a".parse().unwrap();
    let first = &report.rotations[0];
    let (published, promoted) = (first.published_at.unwrap(), first.promoted_at.unwrap());
    let second = Span::seconds(1);
    assert_eq!(report.published_at(&name, published - second), [1]);
    assert_eq!(report.published_at(&name, published), [1, 2]);
    assert_eq!(report.published_at(&name, promoted), [1, 2]);
    let archived = first.archived_at.unwrap();
    assert_eq!(archived, promoted + days(30));
    assert_eq!(report.published_at(&name, archived - second), [1, 2]);
    assert_eq!(report.published_at(&name, archived), [2]);
    assert_eq!(report.published_at(&name, Time::from_millis(0)), [0_u32; 0]);
}

#[test]
fn a_verifier_that_keeps_documents_longer_than_it_was_told_is_found() {
    let mut world = jwt();
    world.verifiers[0].max_age = Span::hours(30);
    let report = run(world, days(90));
    let found = report
        .findings
        .iter()
        .any(|finding| matches!(finding, Finding::CannotCheck { version: 2, .. }));
    assert!(found && !report.passed, "{}", report.summary());
}

#[test]
fn a_verifier_that_is_shown_old_signatures_needs_the_grace() {
    let mut world = jwt();
    world.verifiers[0].oldest_signature = days(40);
    let report = run(world.clone(), days(120));
    let found = report
        .findings
        .iter()
        .any(|finding| matches!(finding, Finding::CannotCheck { version: 1, .. }));
    assert!(
        found,
        "version 1 left the set after thirty days\n{}",
        report.summary()
    );
    world.verifiers[0].oldest_signature = days(28);
    assert!(run(world, days(120)).passed);
}

#[test]
fn replicas_with_wrong_clocks_do_nothing_or_are_found() {
    let mut world = jwt();
    for document in &mut world.policies {
        if document.key_type.as_str() == "jwt_signing" {
            document.publish_safety = Span::minutes(20);
        }
    }
    world.replicas = vec![0, 600];
    // By the rule the one that is ten minutes ahead does nothing.
    assert!(run(world.clone(), days(300)).passed);
    // Without it some step is taken ten minutes early.
    world.tolerance = Span::hours(1);
    let early = (0..20)
        .map(|seed| simulate(world.clone(), days(300), seed).unwrap())
        .any(|report| {
            report
                .findings
                .iter()
                .any(|finding| matches!(finding, Finding::PromotedEarly { .. }))
        });
    assert!(early);
    // If no clock agrees with the database nothing happens, and it is said why.
    (world.replicas, world.tolerance) = (vec![600, -600], Span::seconds(2));
    assert_eq!(
        late(&run(world, days(60))),
        [("jwt_signing/a".to_owned(), Some(Reason::Clock))]
    );
}

#[test]
fn a_short_outage_of_the_token_makes_nothing_late_and_a_long_one_says_so() {
    let slot = run(jwt(), days(60)).rotations[0].slot;
    let mut world = jwt();
    world.faults = vec![fault(
        FaultKind::Token,
        slot - Span::hours(1),
        slot + Span::hours(3),
    )];
    let report = run(world.clone(), days(60));
    assert!(report.rotations[0].generated_at.unwrap() >= slot + Span::hours(3));
    let due = report.rotations[0].due;
    world.faults = vec![fault(
        FaultKind::Token,
        slot - Span::hours(1),
        due + days(1),
    )];
    let report = run(world, days(60));
    assert_eq!(
        late(&report),
        [("jwt_signing/a".to_owned(), Some(Reason::Token))],
        "{}",
        report.summary()
    );
}

#[test]
fn each_outage_is_named_by_what_was_out() {
    let slot = run(jwt(), days(60)).rotations[0].slot;
    for (kind, reason) in [
        (FaultKind::Database, Reason::Database),
        (FaultKind::Witness, Reason::Witness),
        (FaultKind::Executor, Reason::Executor),
        (FaultKind::ProbesSilent, Reason::Propagation),
        (FaultKind::ProbeLies, Reason::ProbeContradicts),
        (FaultKind::Paused, Reason::Paused),
    ] {
        let mut world = jwt();
        world.faults = vec![fault(kind, slot - Span::minutes(1), slot + days(12))];
        let report = run(world, days(90));
        assert_eq!(
            late(&report),
            [("jwt_signing/a".to_owned(), Some(reason))],
            "{kind}\n{}",
            report.summary()
        );
        let others = report
            .findings
            .iter()
            .filter(|finding| !matches!(finding, Finding::Late { .. }));
        assert_eq!(
            others.count(),
            0,
            "late, and nothing else: {}",
            report.summary()
        );
    }
}

#[test]
fn a_week_without_replicas_leaves_a_backlog_that_is_worked_off() {
    let assets: Vec<_> = (0..200)
        .map(|n| {
            asset(
                &format!("api/k{n}"),
                "api_key",
                now() - days(n % 29) - Span::hours(n % 24),
            )
        })
        .collect();
    let mut world = world(assets, Vec::new());
    world.facts.limits = Limits {
        team_per_hour: limit(3),
        ..Limits::default()
    };
    world.faults = vec![fault(
        FaultKind::Replicas,
        now() + days(20),
        now() + days(27),
    )];
    let report = run(world, days(60));
    let late = late(&report);
    assert!(!late.is_empty() && late.len() < 100, "{}", late.len());
    assert!(late.iter().all(|(_, reason)| reason.is_some()), "{late:?}");
    let too_many = report
        .findings
        .iter()
        .any(|finding| matches!(finding, Finding::TooMany { .. }));
    assert!(!too_many, "{}", report.summary());
    let last = report
        .rotations
        .iter()
        .filter_map(|each| each.promoted_at.filter(|at| *at > each.due))
        .max();
    assert!(last.unwrap() < now() + days(31));
}

#[test]
fn an_order_that_runs_out_in_the_middle_waits_for_a_ceremony() {
    let assets: Vec<_> = (0..10)
        .map(|n| {
            asset(
                &format!("jwt_signing/tenants/{n}"),
                "jwt_signing",
                now() - days(60),
            )
        })
        .collect();
    let mut world = world(assets, vec![order("six", "jwt_signing/tenants", 6)]);
    let held = run(world.clone(), days(60));
    assert!(
        held.passed,
        "ceremonies take three days\n{}",
        held.summary()
    );
    assert_eq!((held.all.automatic, held.all.manual), (6, 4));
    world.ceremony = None;
    let never = run(world.clone(), days(60));
    let late_ones = late(&never);
    assert_eq!(late_ones.len(), 4);
    assert!(
        late_ones
            .iter()
            .all(|(_, reason)| *reason == Some(Reason::Approval)),
        "{late_ones:?}"
    );
    // A second order that is approved in time has the rest.
    world.changes = vec![Change {
        at: now() + days(1),
        what: What::Order(order("rest", "jwt_signing/tenants", 9)),
    }];
    let second = run(world, days(60));
    assert!(
        second.passed && second.all.automatic == 10,
        "{}",
        second.summary()
    );
}

#[test]
fn a_withdrawn_order_leaves_its_ring_to_ceremonies() {
    let mut world = jwt();
    world.changes = vec![Change {
        at: now() + Span::hours(1),
        what: What::Withdraw("o".parse().unwrap()),
    }];
    let report = run(world, days(60));
    assert_eq!(
        (report.all.automatic, report.all.manual),
        (0, 1),
        "{}",
        report.summary()
    );
}

#[test]
fn a_stricter_policy_makes_old_keys_overdue_and_that_is_named() {
    let mut stricter = documents();
    for document in &mut stricter {
        if document.key_type.as_str() == "token_encryption" {
            document.interval = days(30);
        }
    }
    let mut world = world(
        vec![asset("token/a", "token_encryption", now() - days(20))],
        Vec::new(),
    );
    world.changes = vec![Change {
        at: now() + days(40),
        what: What::Policies(stricter),
    }];
    let report = run(world.clone(), days(90));
    assert_eq!(
        late(&report),
        [("token/a".to_owned(), Some(Reason::Backlog))]
    );
    // One that cannot be is refused before anything is simulated.
    let mut impossible = documents();
    impossible[0].interval = Span::ZERO;
    world.changes = vec![Change {
        at: now() + days(40),
        what: What::Policies(impossible),
    }];
    assert!(simulate(world, days(90), 1).is_err());
}

#[test]
fn two_assets_of_one_owner_in_one_hour_are_found() {
    let mut both: Vec<_> = (0..2)
        .map(|n| {
            asset(
                &format!("database_credential/u{n}"),
                "database_credential",
                now() - days(60),
            )
        })
        .collect();
    both.iter_mut()
        .for_each(|asset| asset.owner = Some("orders".parse().unwrap()));
    assert!(run(world(both.clone(), Vec::new()), days(90)).passed);
    // Given the same hour by hand.
    let given = facts(both);
    let plan = calendar::plan(&given, &policies(), &[], now(), days(90));
    let (mut given, _) = applied(&given, &[], &plan);
    let slot = given.assets[0].events[0].slot;
    given.assets[1].events[0].slot = slot;
    let report = run(World::standard(now(), given, Vec::new()), days(90));
    let found = report.findings.iter().any(|finding| matches!(finding, Finding::TooMany { hour, rotations: 2, limit: 1, .. } if *hour == slot));
    assert!(found, "{}", report.summary());
}

#[test]
fn ten_thousand_due_in_one_hour_are_done_within_the_limits() {
    let assets: Vec<_> = (0..10_000)
        .map(|n| {
            asset(
                &format!("dek/tenant/{n}"),
                "data_encryption",
                now() - days(60),
            )
        })
        .collect();
    let mut world = World::standard(
        now(),
        Facts {
            assets,
            ..Facts::default()
        },
        Vec::new(),
    );
    world.facts.limits = Limits {
        team_per_hour: limit(100),
        ..Limits::default()
    };
    let report = run(world, days(40));
    assert_eq!(report.all.rotations, 10_000);
    assert!(report.passed, "{}", report.summary());
}

#[test]
fn a_rotation_that_is_rolled_back_fails_no_verifier() {
    let promoted = run(jwt(), days(60)).rotations[0].promoted_at.unwrap();
    let name: calendar::AssetName = "jwt_signing/a".parse().unwrap();
    let mut world = jwt();
    world.changes = vec![Change {
        at: promoted + Span::hours(5),
        what: What::RollBack(name.clone()),
    }];
    let report = run(world.clone(), days(80));
    assert!(
        report.passed && report.rotations[0].rolled_back,
        "{}",
        report.summary()
    );
    assert_eq!(
        report.published_at(&name, promoted + days(1)),
        [1, 2],
        "what the new one signed can be checked"
    );
    // After the overlap it is too late, and the rotation stands.
    world.changes[0].at = promoted + days(2);
    assert!(!run(world, days(80)).rotations[0].rolled_back);
}

#[test]
fn an_emergency_with_a_standby_takes_less_than_an_hour_through_a_pause() {
    let mut stolen = asset("jwt_signing/a", "jwt_signing", now() - days(10));
    let mut standby = stolen.versions[0];
    standby.number = 2;
    standby.state = calendar::words::VersionState::Prepared {
        published_at: Some(now() - days(9)),
    };
    stolen.versions.push(standby);
    let mut world = world(vec![stolen], Vec::new());
    let at = now() + days(3);
    let request = Request {
        trigger: Trigger::Event,
        at,
    };
    world.changes = vec![Change {
        at,
        what: What::Request("jwt_signing/a".parse().unwrap(), request),
    }];
    world.faults = vec![fault(FaultKind::Paused, now(), now() + days(9))];
    let report = run(world, days(20));
    let emergency = &report.rotations[0];
    assert_eq!(
        (emergency.version, emergency.consent.is_automatic()),
        (2, false)
    );
    assert!(
        emergency.promoted_at.unwrap() <= at + Span::hours(1),
        "{emergency:?}"
    );
    assert_eq!(
        report.published_at(&"jwt_signing/a".parse().unwrap(), at + Span::hours(1)),
        [2],
        "the stolen one is gone"
    );
    let early = report
        .findings
        .iter()
        .any(|finding| !matches!(finding, Finding::Late { .. }));
    assert!(!early, "{}", report.summary());
}

#[test]
fn a_held_asset_is_late_by_a_persons_hand() {
    let mut world = jwt();
    let name: calendar::AssetName = "jwt_signing/a".parse().unwrap();
    world.changes = vec![Change {
        at: now() + days(1),
        what: What::Hold(name.clone(), true),
    }];
    assert_eq!(
        late(&run(world.clone(), days(60))),
        [("jwt_signing/a".to_owned(), Some(Reason::Held))]
    );
    world.changes.push(Change {
        at: now() + days(2),
        what: What::Hold(name, false),
    });
    assert!(run(world, days(60)).passed);
}

#[test]
fn a_leap_day_in_the_middle_changes_nothing() {
    let start = at("2028-01-15 08:00");
    let assets = vec![
        asset("session/web", "session_encryption", start - days(3)),
        asset("mesh/api", "mesh_certificate", start),
    ];
    let report = simulate(
        World::standard(start, facts(assets), Vec::new()),
        days(120),
        1,
    )
    .unwrap();
    assert!(report.passed, "{}", report.summary());
    let on_leap_day = report
        .rotations
        .iter()
        .filter(|each| each.slot.date() == "2028-02-29");
    assert!(on_leap_day.count() >= 1);
}

#[test]
fn a_world_is_a_strict_document() {
    let world = jwt();
    let text = serde_json::to_string(&world).unwrap();
    assert_eq!(serde_json::from_str::<World>(&text).unwrap(), world);
    assert!(serde_json::from_str::<World>(&text.replacen('{', r#"{"surprise":1,"#, 1)).is_err());
}
