//! Policies that cannot be, and policies outside a framework.

use calendar::floors::{Deviation, Framework};
use calendar::policy::{Caches, PolicyError};
use calendar::words::{ApprovalClass, Trigger};
use calendar::{Grace, KeyTypes, Policies, Policy, PolicyDocument, Span};

use crate::support::{at, days, documents, now};

fn standard(key_type: &str) -> PolicyDocument {
    documents()
        .into_iter()
        .find(|each| each.key_type.as_str() == key_type)
        .unwrap()
}

fn errors(key_type: &str, change: impl Fn(&mut PolicyDocument)) -> Vec<PolicyError> {
    let mut document = standard(key_type);
    change(&mut document);
    Policy::check(&KeyTypes::standard(), document, Caches::default(), now())
        .err()
        .unwrap_or_default()
}

fn windows(text: &str) -> Vec<calendar::windows::Window> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_standard_policies_are_possible() {
    let policies = Policies::standard(&KeyTypes::standard(), Caches::default(), now()).unwrap();
    assert_eq!(policies.iter().count(), 16);
}

type Case = (
    &'static str,
    fn(&mut PolicyDocument),
    fn(&PolicyError) -> bool,
);

/// Each with one thing wrong, and refused for that alone.
#[test]
fn impossible_and_contradictory_policies_are_refused() {
    use PolicyError as E;
    let cases: &[Case] = &[
        ("jwt_signing", |d| d.v = 2, |e| matches!(e, E::Format(2))),
        (
            "jwt_signing",
            |d| d.version = 0,
            |e| matches!(e, E::VersionZero),
        ),
        (
            "jwt_signing",
            |d| d.key_type = "launch_code".parse().unwrap(),
            |e| matches!(e, E::UnknownType),
        ),
        (
            "jwt_signing",
            |d| d.interval = Span::days(8000),
            |e| matches!(e, E::Interval { .. } | E::OutsideFloor { .. }),
        ),
        (
            "jwt_signing",
            |d| d.overlap = days(31),
            |e| matches!(e, E::GraceShorterThanOverlap { .. }),
        ),
        (
            "jwt_signing",
            |d| d.interval = days(9),
            |e| matches!(e, E::IntervalTooShort { .. }),
        ),
        (
            "jwt_signing",
            |d| d.jitter = days(88),
            |e| matches!(e, E::IntervalTooShort { .. }),
        ),
        (
            "jwt_signing",
            |d| d.publish_safety = Span::minutes(19),
            |e| matches!(e, E::PublishSafetyUnderCaches { .. }),
        ),
        (
            "jwt_signing",
            |d| d.windows = windows(r#"[{"days":[],"from_minute":0,"until_minute":60}]"#),
            |e| matches!(e, E::Window(_)),
        ),
        (
            "mesh_certificate",
            |d| d.windows = windows(r#"[{"days":["sunday"],"from_minute":0,"until_minute":60}]"#),
            |e| matches!(e, E::WindowsTooRare { .. }),
        ),
        (
            "jwt_signing",
            |d| d.triggers.clear(),
            |e| matches!(e, E::NoTrigger | E::OutsideFloor { .. }),
        ),
        (
            "jwt_signing",
            |d| d.triggers.push(Trigger::Time),
            |e| matches!(e, E::TriggerTwice(Trigger::Time)),
        ),
        (
            "jwt_signing",
            |d| d.triggers.push(Trigger::Usage),
            |e| matches!(e, E::UsageWithoutLimit),
        ),
        (
            "jwt_signing",
            |d| d.usage_limit = Some(9),
            |e| matches!(e, E::LimitWithoutUsage),
        ),
        (
            "jwt_signing",
            |d| d.usage_limit = Some(0),
            |e| matches!(e, E::LimitZero),
        ),
        (
            "jwt_signing",
            |d| d.alerts.last = days(10),
            |e| matches!(e, E::AlertsOutOfOrder { .. }),
        ),
        (
            "jwt_signing",
            |d| d.approval = ApprovalClass::Automatic,
            |e| matches!(e, E::ConsentNeeded),
        ),
        (
            "master_encryption",
            |d| d.approval = ApprovalClass::StandingOrder,
            |e| matches!(e, E::CeremonyOnly),
        ),
        (
            "tls_certificate",
            |d| (d.lifetime, d.renew_before) = (Some(days(90)), Some(days(90))),
            |e| matches!(e, E::RenewBeforeLifetime { .. }),
        ),
        (
            "tls_certificate",
            |d| d.lifetime = Some(days(3)),
            |e| matches!(e, E::LifetimeTooShort { .. }),
        ),
    ];
    for (index, (key_type, change, expected)) in cases.iter().enumerate() {
        let errors = errors(key_type, change);
        assert!(
            !errors.is_empty() && errors.iter().all(expected),
            "case {index}: {errors:?}"
        );
    }
    assert_eq!(errors("jwt_signing", |_| {}), []);
}

#[test]
fn two_policies_for_one_type_are_refused() {
    let documents = vec![
        standard("signing"),
        standard("api_key"),
        standard("signing"),
    ];
    let refused =
        Policies::check(&KeyTypes::standard(), documents, Caches::default(), now()).unwrap_err();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].errors, [PolicyError::TwoForOneType]);
}

#[test]
fn a_policy_outside_a_floor_needs_a_deviation_with_an_end() {
    let long = |document: &mut PolicyDocument| document.interval = days(4 * 365);
    let refused = errors("signing", long);
    assert!(
        matches!(
            &refused[..],
            [PolicyError::OutsideFloor {
                framework: Framework::Nist80057,
                paragraph: "5.3.6 (1)",
                ..
            }]
        ),
        "{refused:?}"
    );
    let deviation = |until: &str| Deviation {
        framework: Framework::Nist80057,
        paragraph: "5.3.6 (1)".to_owned(),
        reason: "the archive's readers are upgraded in spring".to_owned(),
        decided_by: "security lead".to_owned(),
        until: at(until),
    };
    let mut document = standard("signing");
    long(&mut document);
    document.deviations = vec![deviation("2027-06-01")];
    let policy = Policy::check(&KeyTypes::standard(), document, Caches::default(), now()).unwrap();
    assert_eq!(policy.exceptions().len(), 1);
    assert_eq!(
        policy.exceptions()[0].deviation,
        Some(deviation("2027-06-01"))
    );
    let ended = errors("signing", |document| {
        long(document);
        document.deviations = vec![deviation("2026-12-01")];
    });
    assert!(
        matches!(&ended[..], [PolicyError::DeviationEnded { .. }]),
        "{ended:?}"
    );
    let nothing = errors("signing", |document| {
        document.deviations = vec![Deviation {
            paragraph: "1.1".to_owned(),
            ..deviation("2027-06-01")
        }];
    });
    assert!(
        matches!(&nothing[..], [PolicyError::DeviationFromNothing { .. }]),
        "{nothing:?}"
    );
    let unnamed = errors("signing", |document| {
        long(document);
        document.deviations = vec![Deviation {
            decided_by: " ".to_owned(),
            ..deviation("2027-06-01")
        }];
    });
    assert_eq!(unnamed, [PolicyError::DeviationUnnamed]);
}

#[test]
fn public_certificates_live_as_long_as_the_ballot_says_at_the_time() {
    let errors_at = |now| {
        let mut document = standard("tls_certificate");
        (document.lifetime, document.publicly_trusted) = (Some(days(150)), true);
        Policy::check(&KeyTypes::standard(), document, Caches::default(), now)
            .err()
            .map(|errors| errors.len())
    };
    assert_eq!(errors_at(at("2026-12-01")), None);
    assert_eq!(errors_at(at("2027-03-14")), None);
    assert_eq!(errors_at(at("2027-03-15")), Some(1));
    assert_eq!(errors_at(at("2029-03-15")), Some(2));
}

#[test]
fn an_expiry_alone_defines_a_period_and_nothing_does_not() {
    let no_date = errors("api_key", |document| {
        document.triggers = vec![Trigger::Manual]
    });
    let frameworks = no_date.iter().map(|error| match error {
        PolicyError::OutsideFloor { framework, .. } => *framework,
        other => panic!("{other}"),
    });
    assert_eq!(
        frameworks.collect::<Vec<_>>(),
        [Framework::PciDss, Framework::Iso27001]
    );
    assert_eq!(errors("client_certificate", |_| {}), []);
    let month = errors("webhook_secret", |document| {
        document.grace = Grace::For(days(31))
    });
    assert!(matches!(
        &month[..],
        [PolicyError::OutsideFloor {
            framework: Framework::Chancery,
            ..
        }]
    ));
}

#[test]
fn documents_are_strict_and_come_back_as_they_were() {
    let document = standard("jwt_signing");
    let text = serde_json::to_string(&document).unwrap();
    assert_eq!(
        serde_json::from_str::<PolicyDocument>(&text).unwrap(),
        document
    );
    let more = text.replacen('{', r#"{"surprise":1,"#, 1);
    assert!(
        serde_json::from_str::<PolicyDocument>(&more)
            .unwrap_err()
            .to_string()
            .contains("surprise")
    );
    for (from, to) in [
        ("\"90d\"", "\"2160h\""),
        ("\"90d\"", "\"-1d\""),
        ("\"90d\"", "90"),
    ] {
        assert!(
            serde_json::from_str::<PolicyDocument>(&text.replacen(from, to, 1)).is_err(),
            "{to}"
        );
    }
}
