//! What a policy must be: possible, without contradiction, inside the floors.

use crate::floors::{Effect, FLOORS, Figures, Floor, Framework};
use crate::key_type::{Grace, KeyClass, KeyType, KeyTypes};
use crate::time::{Span, Time};
use crate::windows::{NeverOpens, OpenHours};
use crate::words::{ApprovalClass, Trigger};

use super::{Exception, Policy, PolicyDocument, VERSION};

/// The shortest interval: what is spread by the hour cannot rotate each hour.
pub const SHORTEST_INTERVAL: Span = Span::hours(6);

/// The longest interval.
pub const LONGEST_INTERVAL: Span = Span::days(20 * 366);

/// How long verifiers keep what is published: the longest that any cache may serve it, and how much their clocks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    /// JWKS max-age, stale times included.
    pub max_age: Span,
    /// Clock skew.
    pub skew: Span,
}

impl Caches {
    /// Where any cache serves what is published at most so long, stale times included.
    pub fn serving(longest: std::time::Duration) -> Self {
        Self {
            max_age: Span::seconds(longest.as_secs()),
            ..Self::default()
        }
    }
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            max_age: Span::minutes(15),
            skew: Span::minutes(5),
        }
    }
}

/// Why a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message says it, the fields are its figures"
)]
pub enum PolicyError {
    #[error("format version {0}, expected 1")]
    Format(u8),
    #[error("version 0: versions begin at 1")]
    VersionZero,
    #[error("there is no such key type")]
    UnknownType,
    #[error("there is another policy for this key type")]
    TwoForOneType,
    #[error("interval {given} is not between {shortest} and {longest}")]
    Interval {
        given: Span,
        shortest: Span,
        longest: Span,
    },
    #[error(
        "grace {grace} is shorter than overlap {overlap}: the old version would end while a roll-back needs it"
    )]
    GraceShorterThanOverlap { grace: Span, overlap: Span },
    #[error(
        "interval {interval} is not longer than publish safety {publish_safety} + overlap {overlap} + jitter {jitter} + 1h: one rotation would begin before the other ended"
    )]
    IntervalTooShort {
        interval: Span,
        publish_safety: Span,
        overlap: Span,
        jitter: Span,
    },
    #[error("publish safety {given} is shorter than {floor}: verifiers keep old documents so long")]
    PublishSafetyUnderCaches { given: Span, floor: Span },
    #[error("window: {0}")]
    Window(#[from] NeverOpens),
    #[error("windows are up to {gap} apart, and interval {interval} leaves {room}")]
    WindowsTooRare {
        gap: Span,
        interval: Span,
        room: Span,
    },
    #[error("no trigger: it would never rotate")]
    NoTrigger,
    #[error("trigger {0} is named twice")]
    TriggerTwice(Trigger),
    #[error("trigger usage without a usage limit")]
    UsageWithoutLimit,
    #[error("a usage limit without the trigger usage")]
    LimitWithoutUsage,
    #[error("usage limit 0")]
    LimitZero,
    #[error("alerts {warning}, {critical}, {last} are not one after the other")]
    AlertsOutOfOrder {
        warning: Span,
        critical: Span,
        last: Span,
    },
    #[error("renewal {renew_before} before expiry, of a lifetime of {lifetime}")]
    RenewBeforeLifetime { renew_before: Span, lifetime: Span },
    #[error(
        "lifetime {lifetime} leaves less than publish safety + overlap {needed} after a renewal at two thirds"
    )]
    LifetimeTooShort { lifetime: Span, needed: Span },
    #[error("keys of this class rotate by ceremony only")]
    CeremonyOnly,
    #[error(
        "a new version without consent: keys of this class need a standing order or a ceremony"
    )]
    ConsentNeeded,
    #[error("outside {} {paragraph}: {given}, allowed is {allowed}", .framework.as_str())]
    OutsideFloor {
        framework: Framework,
        paragraph: &'static str,
        given: String,
        allowed: String,
    },
    #[error("the deviation from {} {paragraph} ended at {until}", .framework.as_str())]
    DeviationEnded {
        framework: Framework,
        paragraph: String,
        until: Time,
    },
    #[error("a deviation from {} {paragraph}, which is no rule of this class", .framework.as_str())]
    DeviationFromNothing {
        framework: Framework,
        paragraph: String,
    },
    #[error("a deviation without a reason or without a name")]
    DeviationUnnamed,
}

impl Policy {
    /// Checks a document as of `now`; all that is wrong is told at once.
    pub fn check(
        types: &KeyTypes,
        document: PolicyDocument,
        caches: Caches,
        now: Time,
    ) -> Result<Self, Vec<PolicyError>> {
        let Some(key_type) = types.get(document.key_type.as_str()) else {
            return Err(vec![PolicyError::UnknownType]);
        };
        let mut errors = Vec::new();
        form(&document, &mut errors);
        spans(&document, key_type, caches, &mut errors);
        let open = windows(&document, &mut errors);
        consent(&document, key_type, &mut errors);
        let reported = floors(&document, key_type, now, &mut errors);
        match (open, errors.is_empty()) {
            (Some(open), true) => Ok(Self {
                document,
                key_type: key_type.clone(),
                open,
                reported,
            }),
            _ => Err(errors),
        }
    }
}

fn form(document: &PolicyDocument, errors: &mut Vec<PolicyError>) {
    if document.v != VERSION {
        errors.push(PolicyError::Format(document.v));
    }
    if document.version == 0 {
        errors.push(PolicyError::VersionZero);
    }
    let triggers = &document.triggers;
    if triggers.is_empty() {
        errors.push(PolicyError::NoTrigger);
    }
    let twice = triggers.iter().enumerate();
    let twice = twice
        .filter(|(index, trigger)| triggers.iter().take(*index).any(|other| other == *trigger));
    errors.extend(twice.map(|(_, trigger)| PolicyError::TriggerTwice(*trigger)));
    match (document.usage_limit, triggers.contains(&Trigger::Usage)) {
        (Some(0), _) => errors.push(PolicyError::LimitZero),
        (Some(_), false) => errors.push(PolicyError::LimitWithoutUsage),
        (None, true) => errors.push(PolicyError::UsageWithoutLimit),
        _ => {}
    }
    let alerts = document.alerts;
    if !(alerts.warning > alerts.critical
        && alerts.critical > alerts.last
        && alerts.last > Span::ZERO)
    {
        errors.push(PolicyError::AlertsOutOfOrder {
            warning: alerts.warning,
            critical: alerts.critical,
            last: alerts.last,
        });
    }
}

fn spans(
    document: &PolicyDocument,
    key_type: &KeyType,
    caches: Caches,
    errors: &mut Vec<PolicyError>,
) {
    let PolicyDocument {
        interval,
        publish_safety,
        overlap,
        jitter,
        ..
    } = *document;
    if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
        errors.push(PolicyError::Interval {
            given: interval,
            shortest: SHORTEST_INTERVAL,
            longest: LONGEST_INTERVAL,
        });
    }
    match document.grace {
        Grace::For(grace) if grace < overlap => {
            errors.push(PolicyError::GraceShorterThanOverlap { grace, overlap })
        }
        _ => {}
    }
    // Begun earliest, `jitter` and an hour before it has to, the next rotation must not meet the end of this one.
    if interval
        <= publish_safety
            .plus(overlap)
            .plus(jitter)
            .plus(Span::hours(1))
    {
        errors.push(PolicyError::IntervalTooShort {
            interval,
            publish_safety,
            overlap,
            jitter,
        });
    }
    let floor = caches.max_age.plus(caches.skew);
    if key_type.published && publish_safety < floor {
        errors.push(PolicyError::PublishSafetyUnderCaches {
            given: publish_safety,
            floor,
        });
    }
    if let Some(lifetime) = document.lifetime {
        if let Some(renew_before) = document.renew_before.filter(|before| *before >= lifetime) {
            errors.push(PolicyError::RenewBeforeLifetime {
                renew_before,
                lifetime,
            });
        }
        let needed = publish_safety.plus(overlap);
        if lifetime.divided(3) < needed {
            errors.push(PolicyError::LifetimeTooShort { lifetime, needed });
        }
    }
}

fn windows(document: &PolicyDocument, errors: &mut Vec<PolicyError>) -> Option<OpenHours> {
    let open = match OpenHours::of(&document.windows) {
        Ok(open) => open,
        Err(never) => {
            errors.push(PolicyError::Window(never));
            return None;
        }
    };
    // A rotation waits for a window to begin, and for another to promote.
    let gap = open.longest_gap().unwrap_or(Span::ZERO);
    let busy = document
        .publish_safety
        .plus(document.overlap)
        .plus(document.jitter);
    let room = document.interval.minus(busy);
    if gap > Span::ZERO && gap.plus(gap).plus(Span::hours(2)) > room {
        errors.push(PolicyError::WindowsTooRare {
            gap,
            interval: document.interval,
            room,
        });
        return None;
    }
    Some(open)
}

fn consent(document: &PolicyDocument, key_type: &KeyType, errors: &mut Vec<PolicyError>) {
    // KEKs can never be routine; a signature key without anybody's consent would be no quorum's.
    match (key_type.class, document.approval) {
        (KeyClass::KeyWrapping, ApprovalClass::Automatic | ApprovalClass::StandingOrder) => {
            errors.push(PolicyError::CeremonyOnly);
        }
        (KeyClass::PrivateSignature, ApprovalClass::Automatic) => {
            errors.push(PolicyError::ConsentNeeded)
        }
        _ => {}
    }
}

fn floors(
    document: &PolicyDocument,
    key_type: &KeyType,
    now: Time,
    errors: &mut Vec<PolicyError>,
) -> Vec<Exception> {
    let triggers = &document.triggers;
    let figures = Figures {
        class: key_type.class,
        interval: document.interval,
        grace: document.grace,
        public_lifetime: document.lifetime.filter(|_| document.publicly_trusted),
        defined: triggers.contains(&Trigger::Time) || triggers.contains(&Trigger::Expiry),
    };
    let of_this_type: Vec<&Floor> = FLOORS
        .iter()
        .filter(|floor| applies(floor, key_type))
        .collect();
    for deviation in &document.deviations {
        let (framework, paragraph) = (deviation.framework, deviation.paragraph.clone());
        if deviation.reason.trim().is_empty() || deviation.decided_by.trim().is_empty() {
            errors.push(PolicyError::DeviationUnnamed);
        }
        if !of_this_type.iter().any(|floor| deviation.is_from(floor)) {
            errors.push(PolicyError::DeviationFromNothing {
                framework,
                paragraph,
            });
        }
    }
    let mut reported = Vec::new();
    for floor in of_this_type {
        let Some(outside) = floor.outside(&figures, now) else {
            continue;
        };
        let deviation = document
            .deviations
            .iter()
            .find(|deviation| deviation.is_from(floor));
        match deviation {
            Some(deviation) if deviation.until <= now => errors.push(PolicyError::DeviationEnded {
                framework: floor.framework,
                paragraph: deviation.paragraph.clone(),
                until: deviation.until,
            }),
            None if floor.effect == Effect::Refused => errors.push(PolicyError::OutsideFloor {
                framework: floor.framework,
                paragraph: floor.paragraph,
                given: outside.given,
                allowed: outside.allowed,
            }),
            deviation => reported.push(Exception {
                key_type: document.key_type.clone(),
                framework: floor.framework,
                paragraph: floor.paragraph.to_owned(),
                outside,
                deviation: deviation.cloned(),
            }),
        }
    }
    reported
}

/// The rule of the webhooks' transition is not one of other passwords.
fn applies(floor: &Floor, key_type: &KeyType) -> bool {
    let webhooks_only = floor.framework == Framework::Chancery;
    floor.classes.contains(&key_type.class)
        && (!webhooks_only || key_type.name.as_str() == "webhook_secret")
}
