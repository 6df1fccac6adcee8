//! What holds in every world: random inventories, policies, orders, limits, faults.

use calendar::facts::{Limits, Pause, UsageFacts};
use calendar::policy::Caches;
use calendar::simulate::{Change, Fault, FaultKind, Finding, What};
use calendar::words::Trigger;
use calendar::{
    AssetFacts, Consent, Facts, Grace, KeyTypes, Order, Plan, Policies, PolicyDocument, Rotation,
    Span, World, plan, simulate,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{applied, asset, at, days, documents, limit, now, order};

/// An installation: facts, policies, orders.
#[derive(Clone, Debug)]
struct Installation {
    facts: Facts,
    documents: Vec<PolicyDocument>,
    orders: Vec<Order>,
}

impl Installation {
    fn policies(&self) -> Policies {
        Policies::check(
            &KeyTypes::standard(),
            self.documents.clone(),
            Caches::default(),
            now(),
        )
        .unwrap()
    }
}

/// One of the sixteen policies, changed within what is possible.
fn policy(document: PolicyDocument) -> impl Strategy<Value = PolicyDocument> {
    let published = document.publish_safety >= days(1);
    let safety = if published { 21_u64..3_000 } else { 0..60 };
    (2_u64..10, safety, 0_u64..10, any::<bool>()).prop_map(
        move |(jitter, safety, overlap, windows)| {
            let mut document = document.clone();
            let interval = document.interval.as_seconds();
            document.jitter = Span::hours(interval / 3_600 / 10 * jitter / 10);
            document.publish_safety =
                Span::minutes(safety).min(Span::seconds(interval / 20).max(Span::minutes(21)));
            let longest = match document.grace {
                Grace::For(grace) => grace,
                Grace::Forever => days(7),
            };
            document.overlap = longest.min(Span::seconds(interval / 100 * overlap));
            if windows && interval >= 90 * 86_400 {
                let some =
                    r#"[{"days":["tuesday","saturday"],"from_minute":60,"until_minute":300}]"#;
                document.windows = serde_json::from_str(some).unwrap();
            }
            document
        },
    )
}

fn assets(most: usize) -> impl Strategy<Value = Vec<AssetFacts>> {
    let types: Vec<_> = KeyTypes::standard().iter().cloned().collect();
    let one = (select(types), 0_u64..1_100, 0_u8..4, 0_u8..4, any::<bool>());
    vec(one, 1..most).prop_map(|all| {
        let assets = all
            .into_iter()
            .enumerate()
            .map(|(n, (key_type, age, owner, scope, used))| {
                let since = now() - Span::seconds(key_type.interval.as_seconds() / 1_000 * age);
                // Some are scopes of one ring, so that an order covers several.
                let name = match scope {
                    0 => format!("{}/shared/{n}", key_type.name),
                    _ => format!("{}/a{n}", key_type.name),
                };
                let mut asset = asset(&name, key_type.name.as_str(), since);
                asset.owner = (owner < 2).then(|| format!("owner{owner}").parse().unwrap());
                if key_type.name.as_str().ends_with("certificate") {
                    asset.versions[0].expires_at =
                        Some(since + Span::seconds(key_type.interval.as_seconds() * 3 / 2));
                }
                asset.usage = used.then(|| UsageFacts {
                    counted_at: now() - days(1),
                    uses: age,
                    per_day: age / 7,
                });
                asset
            });
        assets.collect()
    })
}

fn orders() -> impl Strategy<Value = Vec<Order>> {
    let kinds = select(vec!["signing", "jwt_signing", "api_signature"]);
    vec(
        (kinds, 0_u32..30, 0_u64..200, 0_u32..3, any::<bool>()),
        0..12,
    )
    .prop_map(|all| {
        let orders =
            all.into_iter()
                .enumerate()
                .map(|(n, (kind, uses, ends, interval, paused))| {
                    let covers = if n % 2 == 0 {
                        format!("{kind}/shared")
                    } else {
                        format!("{kind}/a{}", n / 2)
                    };
                    let mut order = order(&format!("o{n}"), &covers, uses);
                    order.not_after = now() + days(ends);
                    order.interval = days(u64::from(interval) * 20);
                    order.paused = paused && n % 3 == 0;
                    order
                });
        orders.collect()
    })
}

fn installations(most: usize) -> impl Strategy<Value = Installation> {
    let policies: Vec<_> = documents()
        .into_iter()
        .map(|document| policy(document).boxed())
        .collect();
    (assets(most), policies, orders(), 1_u32..6, 1_u32..9).prop_map(
        |(assets, documents, orders, token, team)| {
            let limits = Limits {
                token_per_hour: limit(token),
                team_per_hour: limit(team),
                ..Limits::default()
            };
            Installation {
                facts: Facts {
                    assets,
                    pause: None,
                    limits,
                },
                documents,
                orders,
            }
        },
    )
}

fn essence(plan: &Plan) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
    let all = plan.rotations.iter();
    all.map(|each| {
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
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// No hour has more than it can, what is late says why, and each rotation keeps to its policy.
    #[test]
    fn plans_keep_to_limits_and_policies(world in installations(60), pause in proptest::option::of(0_u64..40)) {
        let mut facts = world.facts.clone();
        facts.pause = pause.map(|until| Pause { since: now() - days(1), until: (until > 3).then(|| now() + days(until)) });
        let policies = world.policies();
        let plan = plan(&facts, &policies, &world.orders, now(), days(120));
        prop_assert_eq!(&plan.conflicts, &[]);
        let mut versions = std::collections::HashMap::new();
        for each in &plan.rotations {
            let policy = policies.get(&each.key_type).unwrap();
            if let (Some(begins_at), Some(promote_at)) = (each.begins_at, each.promote_at) {
                prop_assert!(begins_at >= each.slot);
                prop_assert!(promote_at >= begins_at + policy.publish_safety(), "published before it is used");
                prop_assert!(policy.open_hours().at(promote_at.hour()));
                prop_assert_eq!(each.retire_at, Some(promote_at + policy.overlap()));
                prop_assert!(each.archive_at.is_none_or(|at| Some(at) >= each.retire_at));
            }
            let in_time = each.promote_at.is_some_and(|at| at <= each.due);
            prop_assert_eq!(in_time, each.late.is_none(), "{:?}", each);
            let before = versions.insert(each.asset.clone(), each.version);
            prop_assert_eq!(each.version, before.map_or(2, |before| before + 1));
        }
        // No order gives more than it has.
        for order in &world.orders {
            let under = plan.rotations.iter().filter(|each| each.consent == Consent::Order(order.id.clone()));
            prop_assert!(under.count() <= order.uses as usize);
        }
    }

    /// Replicas plan the same: whatever order the rows come in, with clocks ten minutes apart that find the same overdue, and
    /// again from what was written.
    #[test]
    fn replicas_agree(world in installations(40), minutes in 0_u64..1_440) {
        let policies = world.policies();
        let of = |facts: &Facts, orders: &[Order], at| plan(facts, &policies, orders, at, days(60));
        let time = now() + Span::minutes(minutes);
        let one = of(&world.facts, &world.orders, time);
        let mut reversed = world.clone();
        reversed.facts.assets.reverse();
        reversed.orders.reverse();
        prop_assert_eq!(&one, &of(&reversed.facts, &reversed.orders, time));

        let other = of(&world.facts, &world.orders, time + Span::minutes(10));
        let firsts = |plan: &Plan| -> Vec<_> {
            let firsts = plan.rotations.iter().filter(|each| each.version == 2 && each.slot < time + days(59));
            let mut firsts: Vec<_> = firsts.map(|each| (each.asset.clone(), each.slot, each.consent.clone())).collect();
            firsts.sort();
            firsts
        };
        // What one clock finds overdue and the other does not goes on from another hour, and may have taken a place before.
        let between = (time.hour()..(time + Span::minutes(10)).hour()).collect::<Vec<_>>();
        if !one.rotations.iter().any(|each| between.contains(&each.slot.hour())) {
            prop_assert_eq!(firsts(&one), firsts(&other));
        }

        let (facts, orders) = applied(&world.facts, &world.orders, &one);
        prop_assert_eq!(essence(&one), essence(&of(&facts, &orders, time)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What somebody else keeps, however much it is and of which types, moves no rotation of this installation.
    #[test]
    fn what_somebody_else_keeps_is_in_nobodys_way(world in installations(40), others in assets(60)) {
        let policies = world.policies();
        let of = |facts: &Facts| plan(facts, &policies, &world.orders, now(), days(90));
        let mut all = world.facts.clone();
        all.assets.extend(others.into_iter().enumerate().map(|(n, mut other)| {
            other.name = format!("external/a{n}").parse().unwrap();
            other
        }));
        let with = of(&all);
        let own: Vec<_> = with.rotations.into_iter().filter(|each| !each.asset.is_external()).collect();
        prop_assert_eq!(own, of(&world.facts).rotations);
    }

    /// Of what is overdue and has the same limits, emergencies begin first, then the important, then what is due first.
    #[test]
    fn the_urgent_begins_first(world in installations(60), leaked in vec(any::<proptest::sample::Index>(), 0..4)) {
        let mut facts = world.facts.clone();
        for (n, asset) in facts.assets.iter_mut().enumerate() {
            asset.name = format!("x/a{n}").parse().unwrap();
        }
        for index in leaked {
            let index = index.index(facts.assets.len());
            facts.assets[index].request = Some(calendar::facts::Request { trigger: Trigger::Event, at: now() - days(1) });
        }
        let policies = world.policies();
        let plan = plan(&facts, &policies, &world.orders, now(), days(30));
        let overdue: Vec<_> = plan.rotations.iter().filter(|each| each.slot.hour() < now().hour()).collect();
        let urgency = |each: &Rotation| {
            let policy = policies.get(&each.key_type).unwrap();
            (each.trigger != Trigger::Event, policy.priority(), each.due)
        };
        let limits = |each: &Rotation| {
            let policy = policies.get(&each.key_type).unwrap();
            (each.owner.clone(), policy.owner().clone(), policy.key_type().uses_token(), policy.open_hours().clone())
        };
        for one in &overdue {
            for other in &overdue {
                if limits(one) == limits(other) && urgency(one) < urgency(other) {
                    prop_assert!(one.begins_at <= other.begins_at, "{:?}\n{:?}", one, other);
                }
            }
        }
    }
}

/// Faults, and what people do, over two hundred days.
fn troubles() -> impl Strategy<Value = (Vec<Fault>, Vec<(u64, u8, usize)>, u32)> {
    let kinds = select(FaultKind::ALL.to_vec());
    let faults = vec((kinds, 0_u64..190, 1_u64..250), 0..6).prop_map(|all| {
        let faults = all.into_iter().map(|(kind, from, hours)| {
            let from = now() + days(from) + Span::minutes(hours * 7);
            Fault {
                kind,
                from,
                until: from + Span::hours(hours),
            }
        });
        faults.collect()
    });
    (
        faults,
        vec((0_u64..4_800, 0_u8..5, 0_usize..14), 0..8),
        0_u32..300,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever happens: one primary, nothing promoted before its caches, a way back until the last step, every signature can be
    /// checked, nothing rotates twice, no limit is passed; and what is late has a reason.
    #[test]
    fn simulated_worlds_keep_the_invariants(world in installations(15), (faults, people, failures) in troubles(), seed in any::<u64>()) {
        let mut simulated = World::standard(now(), world.facts.clone(), world.orders.clone());
        simulated.policies = world.documents.clone();
        (simulated.faults, simulated.failures) = (faults, failures);
        simulated.replicas = vec![0, 600, -600];
        simulated.changes = people.iter().filter_map(|(hours, what, n)| {
            let asset = world.facts.assets.get(*n)?.name.clone();
            let at = now() + Span::hours(*hours);
            let what = match what {
                0 => What::RollBack(asset),
                1 => What::Hold(asset, hours % 2 == 0),
                2 => What::Request(asset, calendar::facts::Request { trigger: Trigger::Manual, at }),
                3 => What::Request(asset, calendar::facts::Request { trigger: Trigger::Event, at }),
                _ => What::Withdraw(format!("o{n}").parse().ok()?),
            };
            Some(Change { at, what })
        }).collect();
        let report = simulate(simulated.clone(), days(200), seed).unwrap();
        for finding in &report.findings {
            let named = matches!(finding, Finding::Late { reason: Some(_), .. } | Finding::Expired { .. });
            prop_assert!(named, "{:?}\n{}", finding, report.summary());
        }
        prop_assert_eq!(report, simulate(simulated, days(200), seed).unwrap());
    }

    /// Without faults, with room and with ceremonies in time, everything young is in time.
    #[test]
    fn simulated_worlds_without_trouble_pass(mut world in installations(15), seed in any::<u64>()) {
        world.facts.limits = Limits::default();
        world.facts.assets.retain(|asset| {
            let interval = KeyTypes::standard().get(asset.key_type.as_str()).unwrap().interval;
            asset.versions[0].created_at + Span::seconds(interval.as_seconds() / 2) > now()
        });
        for asset in &mut world.facts.assets {
            asset.owner = None;
        }
        let mut simulated = World::standard(now(), world.facts, Vec::new());
        simulated.policies = world.documents;
        let report = simulate(simulated, days(200), seed).unwrap();
        prop_assert!(report.passed, "{}", report.summary());
    }
}

#[test]
fn the_worlds_are_not_empty() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut rotations, mut late, mut under_orders) = (0, 0, 0);
    for _ in 0..20 {
        let world = installations(60).new_tree(&mut runner).unwrap().current();
        let plan = plan(
            &world.facts,
            &world.policies(),
            &world.orders,
            at("2026-12-01"),
            days(120),
        );
        let counts = plan.counts();
        rotations += counts.rotations;
        late += counts.late;
        under_orders += counts.under_orders;
    }
    assert!(
        rotations > 1_000 && late > 20 && under_orders > 10,
        "{rotations} {late} {under_orders}"
    );
}
