//! Policies over a real database: what is refused leaves no trace.

use calendar::floors::{Deviation, Framework};
use calendar::words::{ApprovalClass, Priority, Trigger};
use calendar::{Grace, Span};
use store::testing::place::Place;

use super::*;

const NOW: i64 = 1_795_000_000_000;

/// Of an installation without a genesis: no ceremony holds there.
fn pin() -> trust::Pin {
    trust::Pin {
        genesis: trust::Sha256Digest::of(b""),
        service: "chancery".parse().unwrap(),
        environment: "production".parse().unwrap(),
    }
}

fn now() -> Time {
    Time::from_millis(NOW)
}

async fn service() -> (Place, PolicyService) {
    let place = Place::sqlite().await;
    let service = PolicyService::new(place.store.clone(), Caches::default(), pin());
    (place, service)
}

/// Version 2 of the policy that a key type begins with.
fn next(key_type: &str) -> PolicyDocument {
    let types = KeyTypes::standard();
    PolicyDocument {
        version: 2,
        ..PolicyDocument::standard(types.get(key_type).unwrap())
    }
}

async fn set(service: &PolicyService, document: PolicyDocument) -> Result<PolicyVersion, Error> {
    service
        .set(document, "yearly review", ("olga", now()))
        .await
}

#[tokio::test]
async fn the_sixteen_have_their_policies_without_any_row() {
    let (_place, service) = service().await;
    let current = service.current(now()).await.unwrap();
    let views = current.views();
    assert_eq!(views.len(), 16);
    assert!(views.iter().all(|view| view.document.version == 1));
    assert!(
        views
            .iter()
            .all(|view| view.changed_by.is_none() && view.lapsed.is_empty())
    );
    let critical = views.iter().filter(|view| view.critical);
    let critical: Vec<&str> = critical
        .map(|view| view.document.key_type.as_str())
        .collect();
    assert_eq!(
        critical,
        ["database_encryption", "master_encryption", "signing"]
    );
    let versions = service.versions("api_key", None, 10).await.unwrap();
    assert_eq!(versions.len(), 1);
    assert!(current.view("launch_code").is_none());
}

#[tokio::test]
async fn versions_follow_each_other_and_each_has_its_leaf() {
    let (place, service) = service().await;
    let before = place.store.log_size().await.unwrap();
    let mut document = next("api_key");
    document.interval = Span::days(20);
    let version = set(&service, document.clone()).await.unwrap();
    assert_eq!((version.version, version.log_index), (2, Some(before)));
    let leaf = place.store.leaf(before).await.unwrap().unwrap();
    assert_eq!(leaf.kind, "policy");
    for part in [
        r#""action":"set""#,
        r#""asset":"policy/api_key""#,
        r#""version":2"#,
        r#""previous_version":1"#,
    ] {
        assert!(leaf.body.contains(part), "{part}: {}", leaf.body);
    }
    let current = service.current(now()).await.unwrap();
    let view = current.view("api_key").unwrap();
    assert_eq!(view.document, document);
    assert_eq!(view.changed_by.as_deref(), Some("olga"));
    // The same version again, one too many, and none.
    for wrong in [2, 4, 1, 0] {
        document.version = wrong;
        let refused = set(&service, document.clone()).await;
        assert!(
            matches!(refused, Err(Error::PolicyVersion { given, next: 3 }) if given == wrong),
            "{refused:?}"
        );
    }
    document.version = 3;
    set(&service, document).await.unwrap();
    let versions = service.versions("api_key", None, 10).await.unwrap();
    let numbers: Vec<u32> = versions.iter().map(|version| version.version).collect();
    assert_eq!(numbers, [3, 2, 1]);
    let below = service.versions("api_key", Some(3), 1).await.unwrap();
    assert_eq!(below[0].version, 2);
    assert_eq!(below.len(), 1);
    assert_eq!(place.store.log_size().await.unwrap(), before + 2);
}

#[tokio::test]
async fn impossible_and_contradictory_policies_are_refused_with_every_reason() {
    let (place, service) = service().await;
    let before = place.store.log_size().await.unwrap();
    let mut document = next("jwt_signing");
    document.interval = Span::days(4_000);
    document.overlap = Span::days(40);
    document.publish_safety = Span::minutes(1);
    document.triggers = vec![Trigger::Manual, Trigger::Manual, Trigger::Usage];
    document.approval = ApprovalClass::Automatic;
    let Err(Error::Policy(errors)) = set(&service, document.clone()).await else {
        panic!("accepted");
    };
    let reasons = policy_reasons(&errors).join("\n");
    for part in [
        "grace 30d is shorter than overlap 40d",
        "publish safety 1m is shorter than 20m",
        "trigger manual is named twice",
        "trigger usage without a usage limit",
        "without consent",
        "outside nist-sp-800-57 5.3.6 (1)",
        "outside pci-dss 3.7.4",
    ] {
        assert!(reasons.contains(part), "{part}: {reasons}");
    }
    let checked = service.check(document, now()).await;
    assert!(matches!(checked, Err(Error::Policy(again)) if again == errors));
    let unknown = PolicyDocument {
        key_type: "launch_code".parse().unwrap(),
        ..next("api_key")
    };
    let refused = set(&service, unknown).await;
    assert!(
        matches!(refused, Err(Error::UnknownKeyType(_))),
        "{refused:?}"
    );
    let silent = service.set(next("api_key"), "", ("olga", now())).await;
    assert!(matches!(silent, Err(Error::Refused(_))), "{silent:?}");
    assert_eq!(place.store.log_size().await.unwrap(), before);
}

#[tokio::test]
async fn threat_an_administrator_alone_changes_the_policy_of_a_critical_type() {
    let (place, service) = service().await;
    let before = place.store.log_size().await.unwrap();
    for critical in ["signing", "master_encryption", "database_encryption"] {
        let mut document = next(critical);
        // Naming it less important in the same document changes nothing.
        document.priority = Priority::Medium;
        let refused = set(&service, document).await.unwrap_err();
        assert!(matches!(refused, Error::CeremonyRequired(_)), "{refused}");
        assert!(
            refused.to_string().starts_with("ceremony required"),
            "{refused}"
        );
    }
    assert_eq!(place.store.log_size().await.unwrap(), before);
}

/// What stands in the table is nobody's decision: the figures that the key type begins with stay in force.
#[tokio::test]
async fn threat_a_superuser_writes_a_policy_of_a_critical_type_into_the_database() {
    let (place, service) = service().await;
    // Leaves that the rows name.
    place.open_ring("one").await;
    place.open_ring("two").await;
    let interval = |current: &CurrentPolicies, key_type: &str| {
        let policy = current.policies.get(&key_type.parse().unwrap());
        policy.unwrap().interval()
    };
    let write = async |key_type: &str, index: i64| {
        let mut document = next(key_type);
        document.interval = Span::days(720);
        let text = String::from_utf8(trust::json::canonical(&document).unwrap()).unwrap();
        let sql = format!(
            "INSERT INTO rotation_policy VALUES ('{key_type}', 2, '{text}', 'why', 'nobody', {NOW}, {index})"
        );
        place.raw(&sql).await.unwrap();
    };
    let before = service.current(now()).await.unwrap();
    assert_eq!(interval(&before, "signing"), Span::days(90));
    assert_eq!(service.faults().await.unwrap(), Vec::<String>::new());
    write("signing", 0).await;
    write("master_encryption", 1).await;
    let current = service.current(now()).await.unwrap();
    assert_eq!(interval(&current, "signing"), Span::days(90));
    assert_eq!(interval(&current, "master_encryption"), Span::days(365));
    let view = current.view("signing").unwrap();
    assert_eq!((view.document.version, view.changed_by), (1, None));
    assert!(view.lapsed[0].contains("no ceremony of which the log tells decided version 2"));
    assert_eq!(service.faults().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_deviation_permits_until_it_ends_and_is_told_then() {
    let (_place, service) = service().await;
    let mut document = next("api_key");
    document.interval = Span::days(900);
    let refused = set(&service, document.clone()).await;
    assert!(matches!(refused, Err(Error::Policy(_))), "{refused:?}");
    document.deviations = vec![Deviation {
        framework: Framework::Nist80057,
        paragraph: "5.3.6 (3)".to_owned(),
        reason: "the partner cannot change its keys before".to_owned(),
        decided_by: "ciso".to_owned(),
        until: planned(now()) + Span::days(30),
    }];
    set(&service, document.clone()).await.unwrap();
    let current = service.current(now()).await.unwrap();
    let view = current.view("api_key").unwrap();
    assert_eq!((view.exceptions.len(), view.lapsed.len()), (1, 0));
    // It stays in force, and what is wrong is told.
    let later = Time::from_millis(NOW + 31 * 86_400_000);
    let current = service.current(later).await.unwrap();
    let view = current.view("api_key").unwrap();
    assert_eq!(view.document, document);
    assert!(view.lapsed[0].contains("ended at"), "{:?}", view.lapsed);
    assert!(current.policies.get(&document.key_type).is_some());
    // Nobody can say so again.
    document.version = 3;
    let again = service.set(document, "again", ("olga", later)).await;
    assert!(matches!(again, Err(Error::Policy(_))), "{again:?}");
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_refused() {
    let (place, service) = service().await;
    let two = [
        set(&service, next("api_key")),
        set(&service, next("api_key")),
    ];
    let [one, other] = two;
    let (one, other) = tokio::join!(one, other);
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let versions = service.versions("api_key", None, 10).await.unwrap();
    assert_eq!(versions.len(), 2);
    drop(place);
}

#[tokio::test]
async fn a_key_type_is_added_once_and_has_its_policy() {
    let (_place, service) = service().await;
    let mut own = KeyTypes::standard().get("api_key").unwrap().clone();
    let taken = service.add_type(own.clone(), ("olga", now())).await;
    assert!(matches!(taken, Err(Error::State(_))), "{taken:?}");
    own.name = "license_key".parse().unwrap();
    own.grace = Grace::For(Span::hours(1));
    let wrong = service.add_type(own.clone(), ("olga", now())).await;
    assert!(matches!(wrong, Err(Error::Policy(_))), "{wrong:?}");
    own.grace = Grace::For(Span::days(7));
    service
        .add_type(own.clone(), ("olga", now()))
        .await
        .unwrap();
    let again = service.add_type(own, ("olga", now())).await;
    assert!(matches!(again, Err(Error::State(_))), "{again:?}");
    let current = service.current(now()).await.unwrap();
    assert_eq!(current.view("license_key").unwrap().document.version, 1);
    let mut document = current.view("license_key").unwrap().document;
    document.version = 2;
    document.interval = Span::days(60);
    set(&service, document).await.unwrap();
}

/// Of what was wrong nothing is remembered.
#[tokio::test]
async fn a_fault_that_is_repaired_is_over_for_a_service_that_runs() {
    let (place, service) = service().await;
    place.open_ring("one").await;
    let document = String::from_utf8(trust::json::canonical(&next("signing")).unwrap()).unwrap();
    let row = format!(
        "INSERT INTO rotation_policy VALUES ('signing', 2, '{document}', 'why', 'mallory', 0, 0)"
    );
    for _ in 0..2 {
        assert_eq!(service.faults().await.unwrap(), [""; 0]);
        place.raw(&row).await.unwrap();
        for _ in 0..2 {
            let faults = service.faults().await.unwrap();
            assert!(faults[0].contains("decided version 2"), "{faults:?}");
        }
        let versions = service.versions("signing", None, 10).await.unwrap();
        let undecided: Vec<bool> = versions.iter().map(|version| version.undecided).collect();
        assert_eq!(undecided, [true, false]);
        let sql = "DROP TRIGGER IF EXISTS rotation_policy_no_delete";
        place.raw(sql).await.unwrap();
        place.raw("DELETE FROM rotation_policy").await.unwrap();
    }
}
