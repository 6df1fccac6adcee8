//! What frameworks ask of a policy, as data: each rule with its paragraph.
//!
//! The figures of SP 800-57 are those of part 1 revision 5, table 1 (section 5.3.6), which calls itself a rough guide; of
//! a range the longer end is taken. Frameworks that name no figure ask that a period is defined. What stands here is what a
//! policy is held against, no claim of conformity: that is an auditor's.

use serde::{Deserialize, Serialize};

use crate::key_type::{Grace, KeyClass};
use crate::time::{Span, Time};
use crate::words::words;

words! {
    /// Where a rule comes from.
    Framework {
        /// NIST SP 800-57 part 1 revision 5.
        Nist80057 = "nist-sp-800-57",
        /// PCI DSS 4.0.1.
        PciDss = "pci-dss",
        /// ISO/IEC 27001:2022.
        Iso27001 = "iso-27001",
        /// CA/Browser Forum Baseline Requirements, by ballot SC-081v3.
        CabForum = "cabf-br",
        /// This service's own.
        Chancery = "chancery",
    }
}

/// What a rule limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A key is used for new things no longer than this.
    Interval(Span),
    /// What a key made can be read no longer than this after the end of its use.
    Grace(Span),
    /// A publicly trusted certificate is valid no longer than this.
    PublicLifetime(Span),
    /// A period is defined: by time or by expiry.
    Defined,
}

/// What follows from a policy outside a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is refused, unless a deviation is recorded.
    Refused,
    /// It is accepted and appears in every report.
    Reported,
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Where it comes from.
    pub framework: Framework,
    /// Its paragraph.
    pub paragraph: &'static str,
    /// The classes it holds for.
    pub classes: &'static [KeyClass],
    /// What it limits.
    pub limit: Limit,
    /// What follows.
    pub effect: Effect,
    /// Since when it holds, in milliseconds since the epoch; 0 for always.
    pub from_millis: i64,
}

use KeyClass::{Authentication, Certificate, DataEncryption, KeyWrapping, PrivateSignature};

const YEAR: u64 = 365;
const EVERY: &[KeyClass] = &[
    PrivateSignature,
    DataEncryption,
    KeyWrapping,
    Authentication,
    Certificate,
];

const fn rule(
    framework: Framework,
    paragraph: &'static str,
    classes: &'static [KeyClass],
    limit: Limit,
) -> Floor {
    Floor {
        framework,
        paragraph,
        classes,
        limit,
        effect: Effect::Refused,
        from_millis: 0,
    }
}

const fn public_lifetime(days: u64, from_millis: i64) -> Floor {
    let limit = Limit::PublicLifetime(Span::days(days));
    Floor {
        from_millis,
        ..rule(Framework::CabForum, "6.3.2", &[Certificate], limit)
    }
}

/// All rules.
pub const FLOORS: &[Floor] = &[
    rule(
        Framework::Nist80057,
        "5.3.6 (1)",
        &[PrivateSignature],
        Limit::Interval(Span::days(3 * YEAR)),
    ),
    rule(
        Framework::Nist80057,
        "5.3.6 (3)",
        &[Authentication],
        Limit::Interval(Span::days(2 * YEAR)),
    ),
    rule(
        Framework::Nist80057,
        "5.3.6 (6)",
        &[DataEncryption],
        Limit::Interval(Span::days(2 * YEAR)),
    ),
    rule(
        Framework::Nist80057,
        "5.3.6 (7)",
        &[KeyWrapping],
        Limit::Interval(Span::days(2 * YEAR)),
    ),
    // The recipient's period: three years after the originator's. Data keys kept for ever are outside it: that is re-encrypted,
    // or accepted with open eyes.
    Floor {
        effect: Effect::Reported,
        ..rule(
            Framework::Nist80057,
            "5.3.6 (6)",
            &[DataEncryption, KeyWrapping],
            Limit::Grace(Span::days(3 * YEAR)),
        )
    },
    rule(Framework::PciDss, "3.7.4", EVERY, Limit::Defined),
    rule(Framework::Iso27001, "A.8.24", EVERY, Limit::Defined),
    public_lifetime(200, 1_773_532_800_000), // 2026-03-15
    public_lifetime(100, 1_805_068_800_000), // 2027-03-15
    public_lifetime(47, 1_868_227_200_000),  // 2029-03-15
    // Both secrets of a webhook are valid for a month at most.
    rule(
        Framework::Chancery,
        "webhook transition",
        &[Authentication],
        Limit::Grace(Span::days(30)),
    ),
];

/// A policy's figures that rules look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub class: KeyClass,
    pub interval: Span,
    pub grace: Grace,
    /// The validity of the certificates, where they are publicly trusted.
    pub public_lifetime: Option<Span>,
    /// Whether a period is defined.
    pub defined: bool,
}

impl Floor {
    /// What is outside this rule at `now`, in words: the figure given and the figure allowed.
    pub(crate) fn outside(&self, figures: &Figures, now: Time) -> Option<Outside> {
        if !self.classes.contains(&figures.class) || now.millis() < self.from_millis {
            return None;
        }
        let outside = |given: String, allowed: Span| Outside {
            given,
            allowed: allowed.to_string(),
        };
        match self.limit {
            Limit::Interval(most) => {
                (figures.interval > most).then(|| outside(figures.interval.to_string(), most))
            }
            Limit::Grace(most) => match figures.grace {
                Grace::For(grace) if grace <= most => None,
                grace => Some(outside(grace.to_string(), most)),
            },
            Limit::PublicLifetime(most) => {
                let given = figures
                    .public_lifetime
                    .filter(|lifetime| *lifetime > most)?;
                Some(outside(given.to_string(), most))
            }
            Limit::Defined => (!figures.defined).then(|| Outside {
                given: "no period".to_owned(),
                allowed: "a period by time or by expiry".to_owned(),
            }),
        }
    }
}

/// By how much a policy is outside a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outside {
    /// What the policy says.
    pub given: String,
    /// What the rule allows.
    pub allowed: String,
}

/// A named exception from a rule, with an end. It appears in every report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// Whose rule.
    pub framework: Framework,
    /// Which paragraph.
    pub paragraph: String,
    /// Why.
    pub reason: String,
    /// Who decided it.
    pub decided_by: String,
    /// It does not count from then on.
    pub until: Time,
}

impl Deviation {
    /// Whether it is from `floor`.
    pub fn is_from(&self, floor: &Floor) -> bool {
        self.framework == floor.framework && self.paragraph == floor.paragraph
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_public_lifetimes_are_those_of_the_ballot() {
        let dates: Vec<String> = FLOORS
            .iter()
            .filter(|floor| floor.from_millis > 0)
            .map(|floor| Time::from_millis(floor.from_millis).date())
            .collect();
        assert_eq!(dates, ["2026-03-15", "2027-03-15", "2029-03-15"]);
    }

    #[test]
    fn each_rule_names_its_paragraph() {
        assert!(
            FLOORS
                .iter()
                .all(|floor| !floor.paragraph.is_empty() && !floor.classes.is_empty())
        );
    }
}
