//! Pictures of plans.

use calendar::picture::{MOST_BYTES, MOST_ROWS};
use calendar::plan;

use crate::support::{asset, days, facts, now, policies};

/// As far as a parser would complain: each element is closed, each ampersand is an entity.
fn well_formed(svg: &str) {
    let mut open = Vec::new();
    for part in svg.split('<').skip(1) {
        let (tag, _) = part.split_once('>').expect("a tag that does not end");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.to_owned()));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap().to_owned());
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert!(open.is_empty(), "{open:?}");
    for entity in svg.split('&').skip(1) {
        assert!(
            ["amp;", "lt;", "gt;", "quot;", "#39;"]
                .iter()
                .any(|known| entity.starts_with(known))
        );
    }
}

#[test]
fn few_assets_have_a_row_each_and_many_a_row_for_their_type() {
    let few: Vec<_> = (0..5)
        .map(|n| asset(&format!("api/k{n}"), "api_key", now() - days(n)))
        .collect();
    let svg = plan(&facts(few), &policies(), &[], now(), days(90)).svg();
    well_formed(&svg);
    assert!(svg.contains(">api/k3<") && !svg.contains(">api_key<"));
    let many: Vec<_> = (0..3_000)
        .map(|n| asset(&format!("api/k{n}"), "api_key", now() - days(n % 30)))
        .collect();
    let svg = plan(&facts(many), &policies(), &[], now(), days(90)).svg();
    well_formed(&svg);
    assert!(svg.contains(">api_key<") && !svg.contains("api/k3"));
    assert!(svg.matches("<g ").count() <= MOST_ROWS + 1);
    assert!(svg.len() < MOST_BYTES, "{}", svg.len());
}

#[test]
fn a_plan_without_rotations_has_a_picture() {
    let plan = plan(&facts(Vec::new()), &policies(), &[], now(), days(90));
    well_formed(&plan.svg());
    assert!(plan.table(10).starts_with("slot"));
}
