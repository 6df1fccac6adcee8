//! Facts for tests.

use std::num::NonZeroU32;

use calendar::facts::{OpenEvent, VersionFacts};
use calendar::policy::Caches;
use calendar::words::{EventState, VersionState};
use calendar::{
    AssetFacts, Facts, KeyTypes, Order, Plan, Policies, PolicyDocument, Rotation, Span, Time,
};

pub fn at(text: &str) -> Time {
    match text.len() {
        10 => format!("{text}T00:00:00.000Z"),
        16 => format!("{}:00.000Z", text.replace(' ', "T")),
        _ => text.to_owned(),
    }
    .parse()
    .unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A Tuesday, in the middle of an hour.
pub fn now() -> Time {
    at("2026-12-01 10:20")
}

/// An asset whose first version is the primary since `since`.
pub fn asset(name: &str, key_type: &str, since: Time) -> AssetFacts {
    AssetFacts {
        name: name.parse().unwrap(),
        key_type: key_type.parse().unwrap(),
        owner: None,
        versions: vec![VersionFacts {
            number: 1,
            created_at: since,
            expires_at: None,
            state: VersionState::Primary { since },
        }],
        usage: None,
        request: None,
        events: Vec::new(),
        held: false,
    }
}

pub fn facts(assets: Vec<AssetFacts>) -> Facts {
    Facts {
        assets,
        ..Facts::default()
    }
}

pub fn documents() -> Vec<PolicyDocument> {
    KeyTypes::standard()
        .iter()
        .map(PolicyDocument::standard)
        .collect()
}

pub fn policies() -> Policies {
    with(|_| {})
}

/// The standard policies, changed.
pub fn with(change: impl Fn(&mut PolicyDocument)) -> Policies {
    let mut documents = documents();
    documents.iter_mut().for_each(change);
    Policies::check(&KeyTypes::standard(), documents, Caches::default(), now()).unwrap()
}

pub fn order(id: &str, covers: &str, uses: u32) -> Order {
    Order {
        id: id.parse().unwrap(),
        covers: covers.parse().unwrap(),
        not_before: at("2026-01-01"),
        not_after: at("2027-12-31"),
        uses,
        used: 0,
        interval: Span::ZERO,
        windows: Vec::new(),
        paused: false,
    }
}

pub fn limit(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

pub fn days(n: u64) -> Span {
    Span::days(n)
}

/// The first rotation of an asset.
pub fn first<'a>(plan: &'a Plan, asset: &str) -> &'a Rotation {
    plan.rotations
        .iter()
        .find(|rotation| rotation.asset.as_str() == asset)
        .unwrap_or_else(|| panic!("{asset} is not in the plan\n{}", plan.table(100)))
}

/// What the engine writes: each asset's first rotation becomes an event.
pub fn applied(facts: &Facts, orders: &[Order], plan: &Plan) -> (Facts, Vec<Order>) {
    let (mut facts, mut orders) = (facts.clone(), orders.to_vec());
    for asset in &mut facts.assets {
        let rotation = plan.rotations.iter().find(|each| each.asset == asset.name);
        let Some(rotation) = rotation.filter(|_| asset.events.is_empty()) else {
            continue;
        };
        if let calendar::Consent::Order(id) = &rotation.consent {
            let order = orders.iter_mut().find(|order| order.id == *id).unwrap();
            order.used += 1;
        }
        asset.request = None;
        asset.events.push(OpenEvent {
            id: format!("kr_{}_{}", asset.name, rotation.version),
            version: rotation.version,
            trigger: rotation.trigger,
            state: EventState::Scheduled,
            slot: rotation.slot,
            due: rotation.due,
            consent: rotation.consent.clone(),
            published_at: None,
            promoted_at: None,
        });
    }
    (facts, orders)
}
