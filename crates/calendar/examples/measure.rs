//! How long plans of 100 000 assets and a simulated year of 5 000 take: `cargo run --release -p calendar --example measure`.
//!
//! Prints medians of five; with a directory as its argument it also writes the two pictures there.

use std::time::Instant;

use calendar::facts::VersionFacts;
use calendar::policy::Caches;
use calendar::words::{ApprovalClass, VersionState};
use calendar::{
    AssetFacts, Facts, KeyTypes, Limits, Order, Policies, PolicyDocument, Span, Time, World, plan,
    simulate,
};

/// Assets of all sixteen types as an installation has them: few masters, many data keys.
fn assets(count: usize, now: Time) -> Vec<AssetFacts> {
    let types = KeyTypes::standard();
    let shares: [(&str, usize); 16] = [
        ("master_encryption", 1),
        ("data_encryption", 500),
        ("signing", 10),
        ("jwt_signing", 20),
        ("api_signature", 20),
        ("token_encryption", 40),
        ("database_encryption", 20),
        ("file_encryption", 20),
        ("session_encryption", 20),
        ("tls_certificate", 80),
        ("mesh_certificate", 10),
        ("client_certificate", 40),
        ("database_credential", 80),
        ("service_bus_key", 30),
        ("api_key", 59),
        ("webhook_secret", 50),
    ];
    let mut assets = Vec::with_capacity(count);
    for (name, share) in shares {
        let Some(key_type) = types.get(name) else {
            continue;
        };
        for n in 0..(count * share).div_ceil(1_000) {
            // Ages spread over the interval, the same in each run.
            let interval = key_type.interval.as_seconds();
            let age = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % (interval * 9 / 10);
            let since = now - Span::seconds(age);
            let lifetime = name
                .ends_with("certificate")
                .then_some(Span::seconds(interval * 3 / 2));
            let Ok(asset) = format!("{name}/a{n}").parse() else {
                continue;
            };
            assets.push(AssetFacts {
                name: asset,
                key_type: key_type.name.clone(),
                owner: None,
                versions: vec![VersionFacts {
                    number: 1,
                    created_at: since,
                    expires_at: lifetime.map(|lifetime| since + lifetime),
                    state: VersionState::Primary { since },
                }],
                usage: None,
                request: None,
                events: Vec::new(),
                held: false,
            });
        }
    }
    assets
}

/// An order for each ring, for a year and a half.
fn orders(assets: &[AssetFacts], now: Time) -> Vec<Order> {
    let types = KeyTypes::standard();
    let rings = assets.iter().enumerate().filter(|(_, asset)| {
        let key_type = types.get(asset.key_type.as_str());
        key_type.is_some_and(|each| each.approval == ApprovalClass::StandingOrder)
    });
    rings
        .filter_map(|(index, asset)| {
            Some(Order {
                id: format!("o{index}").parse().ok()?,
                covers: asset.name.clone(),
                not_before: now - Span::days(1),
                not_after: now + Span::days(550),
                uses: 10,
                used: 0,
                interval: Span::ZERO,
                windows: Vec::new(),
                paused: false,
            })
        })
        .collect()
}

fn median(mut seconds: Vec<f64>) -> String {
    seconds.sort_by(f64::total_cmp);
    let at = |index: usize| seconds.get(index).copied().unwrap_or(0.0);
    format!("{:.3} s (from {:.3} to {:.3})", at(2), at(0), at(4))
}

/// Plans of what is all overdue, as after an outage of years: the first hours with room are far away. In windows there are few.
fn backlogs(facts: &Facts, orders: &[Order], now: Time) {
    let types = KeyTypes::standard();
    let later = now + Span::days(1_000);
    let weekly = r#"[{"days":["saturday"],"from_minute":0,"until_minute":240}]"#;
    for (what, windows) in [("", "[]"), (", in windows", weekly)] {
        let documents = types.iter().map(|key_type| {
            let mut document = PolicyDocument::standard(key_type);
            // A window each week is too seldom for what rotates each day.
            if document.interval >= Span::days(30) {
                document.windows = serde_json::from_str(windows).unwrap_or_default();
            }
            document
        });
        let documents = documents.collect();
        let policies = match Policies::check(&types, documents, Caches::default(), later) {
            Ok(policies) => policies,
            Err(refused) => {
                println!("a plan of what is overdue{what}: {refused:?}");
                continue;
            }
        };
        for days in [1, 90] {
            let mut seconds = Vec::new();
            let mut count = 0;
            for _ in 0..5 {
                let begun = Instant::now();
                let plan = plan(facts, &policies, orders, later, Span::days(days));
                seconds.push(begun.elapsed().as_secs_f64());
                count = plan.rotations.len();
            }
            println!(
                "plan of {days} days with {count} rotations, all overdue{what}: {}",
                median(seconds)
            );
        }
    }
}

fn main() {
    let now = Time::from_hour(498_864); // 2026-11-28
    let limit = |n: u32| std::num::NonZeroU32::new(n).unwrap_or(std::num::NonZeroU32::MIN);
    let limits = Limits {
        token_per_hour: limit(60),
        team_per_hour: limit(200),
        ..Limits::default()
    };
    let all = assets(100_000, now);
    let all_orders = orders(&all, now);
    let facts = Facts {
        assets: all,
        pause: None,
        limits: limits.clone(),
    };
    let types = KeyTypes::standard();
    let Ok(policies) = Policies::standard(&types, Caches::default(), now) else {
        return;
    };
    let mut seconds = Vec::new();
    let mut counts = None;
    for _ in 0..5 {
        let begun = Instant::now();
        let plan = plan(&facts, &policies, &all_orders, now, Span::days(90));
        seconds.push(begun.elapsed().as_secs_f64());
        counts = Some((plan.counts(), plan.conflicts.len(), plan.svg()));
    }
    let Some((counts, conflicts, ninety)) = counts else {
        return;
    };
    println!(
        "plan of ninety days, {} assets: {}",
        facts.assets.len(),
        median(seconds)
    );
    println!(
        "  {counts:?}, {conflicts} conflicts, picture {} bytes",
        ninety.len()
    );

    backlogs(&facts, &all_orders, now);

    let few = assets(5_000, now);
    let few_orders = orders(&few, now);
    let world = World::standard(
        now,
        Facts {
            assets: few,
            pause: None,
            limits,
        },
        few_orders,
    );
    let mut seconds = Vec::new();
    let mut last = None;
    for seed in 0..5 {
        let begun = Instant::now();
        let report = simulate(world.clone(), Span::days(365), seed);
        seconds.push(begun.elapsed().as_secs_f64());
        last = report.ok();
    }
    let Some(report) = last else {
        return;
    };
    println!("a year, {} assets: {}", report.assets, median(seconds));
    println!("{}", report.summary());
    if let Some(directory) = std::env::args().nth(1) {
        for (name, picture) in [("ninety-days.svg", &ninety), ("year.svg", &report.svg())] {
            if let Err(error) = std::fs::write(format!("{directory}/{name}"), picture) {
                println!("{name}: {error}");
            }
        }
    }
}
