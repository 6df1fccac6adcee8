//! Rotations that somebody asks for.

use calendar::admission::{Ask, Refusal, admit};
use calendar::{Facts, Word, plan};

use crate::support::{applied, asset, days, facts, now, policies};

fn there() -> Facts {
    facts(vec![
        asset("api/due", "api_key", now() - days(29)),
        asset("api/young", "api_key", now() - days(2)),
        asset("session/young", "session_encryption", now() - days(2)),
    ])
}

fn ask<'a>(key_type: &'a Word, force: bool, may_force: bool) -> Ask<'a> {
    Ask {
        key_type,
        asset: None,
        force,
        may_force,
    }
}

fn names(asked: Ask<'_>, facts: &Facts) -> Result<Vec<String>, Refusal> {
    let admitted = admit(asked, facts, &policies(), now())?;
    Ok(admitted
        .iter()
        .map(|asset| asset.name.to_string())
        .collect())
}

#[test]
fn an_event_for_an_unknown_type_is_refused() {
    let unknown: Word = "launch_code".parse().unwrap();
    assert_eq!(
        names(ask(&unknown, true, true), &there()),
        Err(Refusal::UnknownType(unknown.clone()))
    );
    let (known, other) = ("api_key".parse().unwrap(), "api/none".parse().unwrap());
    let asked = Ask {
        asset: Some(&other),
        ..ask(&known, true, true)
    };
    assert_eq!(names(asked, &there()), Err(Refusal::UnknownAsset));
}

#[test]
fn an_event_for_what_already_rotates_is_refused() {
    let facts = there();
    let plan = plan(&facts, &policies(), &[], now(), days(90));
    let (facts, _) = applied(&facts, &[], &plan);
    let key_type = "api_key".parse().unwrap();
    let refused = names(ask(&key_type, true, true), &facts).unwrap_err();
    assert!(
        matches!(&refused, Refusal::AlreadyRotates { event, .. } if event == "kr_api/due_2"),
        "{refused}"
    );
}

#[test]
fn force_without_right_is_refused() {
    let key_type = "api_key".parse().unwrap();
    assert_eq!(
        names(ask(&key_type, true, false), &there()),
        Err(Refusal::ForceWithoutRight)
    );
    assert_eq!(
        names(ask(&key_type, true, true), &there()).unwrap(),
        ["api/due", "api/young"]
    );
}

#[test]
fn without_force_only_what_is_due_begins() {
    let (api, session) = (
        "api_key".parse().unwrap(),
        "session_encryption".parse().unwrap(),
    );
    assert_eq!(
        names(ask(&api, false, false), &there()).unwrap(),
        ["api/due"]
    );
    let refused = names(ask(&session, false, false), &there()).unwrap_err();
    assert!(
        matches!(refused, Refusal::NotDue { next: Some(at) } if at > now() + days(20)),
        "{refused}"
    );
    let one: calendar::AssetName = "api/young".parse().unwrap();
    let asked = Ask {
        asset: Some(&one),
        ..ask(&api, false, false)
    };
    assert!(matches!(
        names(asked, &there()),
        Err(Refusal::NotDue { .. })
    ));
}

/// A ring before its first key: nothing is due, and nothing ever would be.
#[test]
fn what_has_no_version_yet_is_named_also_with_force() {
    let mut facts = facts(vec![asset("api/new", "api_key", now())]);
    facts.assets[0].versions.clear();
    let key_type = "api_key".parse().unwrap();
    let named = Refusal::NoVersion("api/new".parse().unwrap());
    for force in [false, true] {
        let refused = names(ask(&key_type, force, true), &facts);
        assert_eq!(refused, Err(named.clone()), "force {force}");
    }
    assert!(named.to_string().contains("first version is missing"));
}
