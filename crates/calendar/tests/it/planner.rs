//! What the planner gives: dates, reasons, consent, room.

use calendar::facts::{Limits, UsageFacts};
use calendar::plan::Why;
use calendar::words::{Reason, Step, Trigger};
use calendar::{Consent, Facts, Rotation, Span, plan};

use crate::support::{applied, asset, at, days, facts, first, limit, now, order, policies, with};

/// The whole way: facts, policies and an order in; dates, reasons, JSON and a table out.
#[test]
fn a_plan_of_ninety_days_from_end_to_end() {
    let assets = vec![
        asset("signing/atp-integrity", "signing", at("2026-10-01")),
        asset("kek/main", "master_encryption", at("2026-01-15")),
        asset("dek/tenant-data/42", "data_encryption", at("2026-11-01")),
        asset("mesh/api", "mesh_certificate", at("2026-12-01")),
        asset("license/site", "license_key", at("2026-12-01")),
    ];
    let orders = [order("o1", "signing/atp-integrity", 4)];
    let plan = plan(&facts(assets), &policies(), &orders, now(), days(90));

    let signing = first(&plan, "signing/atp-integrity");
    assert_eq!(signing.due, at("2026-12-30"));
    assert!(signing.promote_at.unwrap() <= signing.due);
    assert!(signing.slot + days(1) <= signing.promote_at.unwrap());
    assert!(signing.slot >= signing.due - days(9));
    assert_eq!(signing.consent, Consent::Order("o1".parse().unwrap()));
    assert_eq!(
        (signing.version, signing.trigger, signing.late),
        (2, Trigger::Time, None)
    );
    assert_eq!(signing.archive_at, None, "verifies for ever");

    let kek = first(&plan, "kek/main");
    assert_eq!(
        (&kek.consent, kek.waits),
        (&Consent::Ceremony, Some(Reason::Approval))
    );
    assert_eq!(kek.archive_at, kek.promote_at.map(|at| at + days(180)));
    let mesh = plan
        .rotations
        .iter()
        .filter(|each| each.key_type.as_str() == "mesh_certificate");
    assert!((90..=110).contains(&mesh.count()), "{}", plan.table(200));
    assert_eq!(plan.unplanned[0].why, Why::NoPolicy);
    assert_eq!(plan.conflicts, []);
    assert_eq!(plan.counts().late, 0);

    // Data keys are kept for ever, which is reported.
    assert!(
        plan.exceptions
            .iter()
            .any(|each| each.key_type.as_str() == "data_encryption")
    );
    let json = serde_json::to_value(&plan).unwrap();
    let of_signing = json["rotations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|each| each["asset"] == "signing/atp-integrity")
        .unwrap();
    let steps: Vec<&str> = of_signing["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| each["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        steps,
        Step::ALL
            .iter()
            .map(|step| step.as_str())
            .collect::<Vec<_>>()
    );
    assert_eq!(
        of_signing["reason"],
        "its interval is over: version 2 is due by 2026-12-30 00:00, under order o1"
    );
    let table = plan.table(3);
    assert!(
        table.starts_with("slot") && table.contains("more until 2027-03-01"),
        "{table}"
    );
}

#[test]
fn replicas_agree_on_the_jitter_and_assets_differ() {
    let assets: Vec<_> = (0..200)
        .map(|n| asset(&format!("token/t{n}"), "token_encryption", at("2026-10-15")))
        .collect();
    let there = facts(assets.clone());
    let mut reversed = assets;
    reversed.reverse();
    let (here, back) = (
        plan(&there, &policies(), &[], now(), days(90)),
        plan(&facts(reversed), &policies(), &[], now(), days(90)),
    );
    assert_eq!(
        here.rotations, back.rotations,
        "whatever order the assets come in"
    );
    let mut slots: Vec<_> = here.rotations.iter().map(|each| each.slot).collect();
    slots.dedup();
    assert!(slots.len() > 80, "{} hours", slots.len());
    for each in &here.rotations {
        assert!(
            each.slot + days(8) >= each.due - Span::hours(2)
                && each.promote_at.unwrap() <= each.due
        );
    }
}

#[test]
fn replicas_with_clocks_ten_minutes_apart_plan_the_same_slots() {
    let assets: Vec<_> = (0..300)
        .map(|n| {
            asset(
                &format!("token/t{n}"),
                "token_encryption",
                now() - days(60) - Span::minutes(n * 97),
            )
        })
        .collect();
    let facts = facts(assets);
    // Before and after a full hour, and a day.
    for early in [at("2026-12-01 10:55"), at("2026-12-01 23:55")] {
        let of = |now| plan(&facts, &policies(), &[], now, days(60)).rotations;
        let (one, other) = (of(early), of(early + Span::minutes(10)));
        let slots = |rotations: &[calendar::Rotation]| -> Vec<_> {
            let until = early + days(59);
            rotations
                .iter()
                .filter(|each| each.slot < until)
                .map(|each| (each.asset.clone(), each.version, each.slot))
                .collect()
        };
        assert_eq!(slots(&one), slots(&other));
    }
}

#[test]
fn planning_again_from_what_was_written_changes_nothing() {
    let mut all: Vec<_> = (0..100)
        .map(|n| asset(&format!("signing/r{n}"), "signing", at("2026-10-15")))
        .collect();
    all.extend((0..100).map(|n| {
        asset(
            &format!("mesh/m{n}"),
            "mesh_certificate",
            at("2026-12-01 05:00"),
        )
    }));
    let limits = Limits {
        token_per_hour: limit(1),
        team_per_hour: limit(3),
        ..Limits::default()
    };
    let facts = Facts {
        limits,
        ..facts(all)
    };
    let orders: Vec<_> = (0..100)
        .map(|n| order(&format!("o{n}"), &format!("signing/r{n}"), 2))
        .collect();
    let before = plan(&facts, &policies(), &orders, now(), days(90));
    let (facts, orders) = applied(&facts, &orders, &before);
    let after = plan(&facts, &policies(), &orders, now(), days(90));
    let essence = |plan: &calendar::Plan| -> Vec<_> {
        plan.rotations
            .iter()
            .map(|each| {
                (
                    each.asset.clone(),
                    each.version,
                    each.slot,
                    each.begins_at,
                    each.promote_at,
                    each.consent.clone(),
                )
            })
            .collect()
    };
    assert_eq!(essence(&before), essence(&after));
    assert!(after.rotations.iter().filter(|each| each.has_event).count() == 200);
}

#[test]
fn two_schedules_of_one_owner_do_not_meet_in_one_hour() {
    let mut assets: Vec<_> = (0..30)
        .map(|n| {
            asset(
                &format!("database_credential/u{n}"),
                "database_credential",
                at("2026-10-01 12:00"),
            )
        })
        .collect();
    for asset in &mut assets {
        asset.owner = Some("orders".parse().unwrap());
    }
    let plan = plan(&facts(assets), &policies(), &[], now(), days(90));
    let mut slots: Vec<_> = plan.rotations.iter().map(|each| each.slot).collect();
    slots.sort_unstable();
    let count = slots.len();
    slots.dedup();
    assert_eq!((slots.len(), count), (30, 30));
    assert_eq!((plan.conflicts.len(), plan.counts().late), (0, 0));
}

#[test]
fn a_large_import_moves_no_ring_of_the_same_owner_or_team() {
    let mut rings: Vec<_> = (0..5)
        .map(|n| {
            asset(
                &format!("signing/r{n}"),
                "jwt_signing",
                at("2026-10-15 12:00"),
            )
        })
        .collect();
    rings[0].owner = Some("orders".parse().unwrap());
    let limits = Limits {
        token_per_hour: limit(2),
        team_per_hour: limit(3),
        ..Limits::default()
    };
    let of = |assets| Facts {
        limits: limits.clone(),
        ..facts(assets)
    };
    let alone = plan(&of(rings.clone()), &policies(), &[], now(), days(90));
    let mut all = rings;
    all.extend((0..2_000).map(|n| {
        let mut one = asset(
            &format!("external/k{n}"),
            "jwt_signing",
            at("2026-10-15 12:00"),
        );
        one.owner = (n % 2 == 0).then(|| "orders".parse().unwrap());
        one
    }));
    let with = plan(&of(all), &policies(), &[], now(), days(90));
    let is_ring = |each: &&Rotation| each.asset.kind() == "signing";
    let rings: Vec<_> = with.rotations.iter().filter(is_ring).cloned().collect();
    assert_eq!(rings, alone.rotations);
    // One owner's assets of others have one hour each, as before.
    let owned = with
        .rotations
        .iter()
        .filter(|each| each.asset.kind() == "external" && each.owner.as_str() == "orders");
    let mut slots: Vec<_> = owned.map(|each| each.slot).collect();
    let count = slots.len();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), count);
}

#[test]
fn what_somebody_else_keeps_takes_nothing_of_the_token() {
    let assets: Vec<_> = (0..100)
        .map(|n| asset(&format!("external/k{n}"), "signing", at("2026-10-15 12:00")))
        .collect();
    let of = |token: u32| {
        let limits = Limits {
            token_per_hour: limit(token),
            ..Limits::default()
        };
        let facts = Facts {
            limits,
            ..facts(assets.clone())
        };
        plan(&facts, &policies(), &[], now(), days(90)).rotations
    };
    assert_eq!(of(1), of(1_000));
}

#[test]
fn of_what_is_overdue_emergencies_begin_first_then_the_important_then_what_is_due_first() {
    let policies = with(|document| {
        document.owner = "security".parse().unwrap();
        document.windows.clear();
    });
    let old = |name: &str, key_type: &str, age: u64| asset(name, key_type, now() - days(age));
    let mut leaked = old("x/leaked", "api_key", 20);
    leaked.request = Some(calendar::facts::Request {
        trigger: Trigger::Event,
        at: now() - Span::hours(3),
    });
    let assets = vec![
        old("x/young", "api_key", 40),
        old("x/old", "api_key", 60),
        leaked,
        old("x/critical", "database_encryption", 190),
        old("x/most", "database_encryption", 200),
    ];
    let limits = Limits {
        team_per_hour: limit(1),
        ..Limits::default()
    };
    let facts = Facts {
        limits,
        ..facts(assets)
    };
    let plan = plan(&facts, &policies, &[], now(), days(1));
    let mut order: Vec<_> = ["x/leaked", "x/most", "x/critical", "x/old", "x/young"]
        .map(|name| first(&plan, name).begins_at)
        .into();
    assert_eq!(order[0], Some(now()));
    let there = order.clone();
    order.sort_unstable();
    order.dedup();
    assert_eq!(order, there, "each an hour of its own, in this order");
    assert_eq!(plan.conflicts, [], "nobody has the hour of an emergency");
}

#[test]
fn approaching_expiry_is_earlier_than_the_interval() {
    let mut short = asset("tls/short", "tls_certificate", at("2026-11-25"));
    short.versions[0].expires_at = Some(at("2026-12-25"));
    let mut long = asset("tls/long", "tls_certificate", at("2026-11-25"));
    long.versions[0].expires_at = Some(at("2027-02-23"));
    let policies = policies();
    let plan = plan(&facts(vec![short, long]), &policies, &[], now(), days(90));
    // A third of thirty days, and thirty days of ninety.
    assert_eq!(
        (
            first(&plan, "tls/short").due,
            first(&plan, "tls/short").trigger
        ),
        (at("2026-12-15"), Trigger::Expiry)
    );
    assert_eq!(first(&plan, "tls/long").due, at("2027-01-24"));
    let policy = policies.get(&"tls_certificate".parse().unwrap()).unwrap();
    let alerts = policy.expiry_alerts(at("2026-12-25"), days(30));
    assert_eq!(
        alerts,
        [at("2026-12-15"), at("2026-12-22"), at("2026-12-24")]
    );
}

#[test]
fn a_limit_of_uses_comes_before_the_interval() {
    let policies = with(|document| {
        if document.key_type.as_str() == "data_encryption" {
            document.triggers.push(Trigger::Usage);
            document.usage_limit = Some(1_000_000);
        }
    });
    let mut busy = asset("dek/busy", "data_encryption", at("2026-11-20"));
    busy.usage = Some(UsageFacts {
        counted_at: now(),
        uses: 500_000,
        per_day: 40_000,
    });
    let plan = plan(&facts(vec![busy]), &policies, &[], now(), days(30));
    let busy = first(&plan, "dek/busy");
    assert_eq!((busy.trigger, busy.due), (Trigger::Usage, now() + days(10)));
    assert!(plan.rotations.len() > 1, "and again, used as often");
}

#[test]
fn a_request_and_an_emergency_begin_at_once() {
    let mut asked = asset("token/asked", "token_encryption", at("2026-11-20"));
    asked.request = Some(calendar::facts::Request {
        trigger: Trigger::Manual,
        at: now(),
    });
    let mut stolen = asset("jwt_signing/stolen", "jwt_signing", at("2026-11-20"));
    stolen.request = Some(calendar::facts::Request {
        trigger: Trigger::Event,
        at: now(),
    });
    let mut facts = facts(vec![asked, stolen]);
    // A pause stops the one and not the other.
    let going = plan(&facts, &policies(), &[], now(), days(30));
    assert_eq!(first(&going, "token/asked").slot, at("2026-12-01 11:00"));
    let emergency = first(&going, "jwt_signing/stolen");
    assert_eq!(emergency.slot, at("2026-12-01 10:00"));
    assert_eq!(emergency.retire_at, emergency.promote_at, "no dual-running");
    facts.pause = Some(calendar::facts::Pause {
        since: now(),
        until: None,
    });
    let paused = plan(&facts, &policies(), &[], now(), days(30));
    assert_eq!(first(&paused, "token/asked").waits, Some(Reason::Paused));
    assert!(first(&paused, "jwt_signing/stolen").promote_at.is_some());
}

#[test]
fn windows_are_kept_for_beginning_and_promotion() {
    let policies = with(|document| {
        if document.key_type.as_str() == "database_encryption" {
            let saturday = r#"[{"days":["saturday"],"from_minute":120,"until_minute":300}]"#;
            document.windows = serde_json::from_str(saturday).unwrap();
        }
    });
    let plan = plan(
        &facts(vec![asset(
            "db/cards",
            "database_encryption",
            at("2026-07-10"),
        )]),
        &policies,
        &[],
        now(),
        days(90),
    );
    let rotation = first(&plan, "db/cards");
    assert_eq!(rotation.late, None);
    for instant in [rotation.slot, rotation.promote_at.unwrap()] {
        let hour = instant.minute_of_day() / 60;
        assert!(
            (2..5).contains(&hour) && (instant.day() + 3).rem_euclid(7) == 5,
            "{instant}"
        );
    }
    let notice = rotation.steps()[0].1.unwrap();
    assert_eq!(
        notice,
        rotation.slot - days(1),
        "notice goes out a day before"
    );
}
