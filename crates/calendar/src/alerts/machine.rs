//! The state of one alert: pending, firing, resolved; acknowledged, silenced. Pure: what was, what is seen and the time make
//! what is, and what there is to tell of it.
//!
//! An alert does not flap. It fires when its condition has held for its hold time at two looks, or at once where that is
//! zero; it resolves when the condition has not held for so long at two looks; and each time that it comes back within a
//! day the second time is twice as long, up to a day. A clock that jumps forward makes a hold time shorter and never replaces
//! the second look; one that jumps back begins it anew.

use serde::{Deserialize, Serialize};

use super::escalation::{Escalation, Ladder};
use super::{AlertName, Severity};
use crate::time::{Span, Time};
use crate::words::words;

/// An alert that comes back within this time is the same trouble again.
pub const AGAIN: Span = Span::days(1);

/// The hold time of a resolution is not longer than this, however often it came back.
const LONGEST: Span = Span::days(1);

/// How long a silence is at most.
pub const LONGEST_SILENCE: Span = Span::days(30);

/// A condition as a rule found it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// The rule.
    pub name: AlertName,
    /// What it is about: an asset, a rotation, a job, a ring, a kid, a report.
    pub subject: String,
    /// From 1, the gravest last.
    pub level: u8,
    /// A sentence that stays the same while the level does.
    pub detail: String,
    /// Who said it, where it is no observation of the service's own: nobody hides what another says among many.
    pub by: Option<String>,
}

words! {
    /// What there is to tell of an alert.
    News {
        /// It fires, or fires on after a silence.
        Firing = "firing",
        /// It became graver.
        Raised = "raised",
        /// Somebody looks after it.
        Acknowledged = "acknowledged",
        /// Nothing is told of it for a while.
        Silenced = "silenced",
        /// It is over.
        Resolved = "resolved",
    }
}

/// Where it stands, with what exists there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its condition holds since then, and not yet for long enough. Nobody is told.
    Pending {
        /// Since when.
        since: Time,
    },
    /// It fires.
    Firing {
        /// Since when.
        since: Time,
        /// Since when its condition does not hold.
        clear_since: Option<Time>,
    },
    /// It is over.
    Resolved {
        /// When it began to fire.
        since: Time,
        /// When it ended.
        at: Time,
    },
}

/// Who looks after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// Since when.
    pub at: Time,
}

/// Nothing is told of it for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Who wanted that.
    pub by: String,
    /// Until when.
    pub until: Time,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The rule.
    pub name: AlertName,
    /// What it is about.
    pub subject: String,
    /// The highest level since it fires.
    pub level: u8,
    /// What the rule said at that level.
    pub detail: String,
    /// Where it stands.
    pub phase: Phase,
    /// Who looks after it.
    pub acknowledged: Option<Acknowledged>,
    /// Whether it is silenced.
    pub silence: Option<Silence>,
    /// How often it came back within a day.
    pub episode: u32,
    /// Whether it is told together with others, because there were many.
    pub together: bool,
    /// How far it has climbed.
    pub escalation: Escalation,
}

/// What becomes of an alert by a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is as it was.
    Stays,
    /// Its condition is over before it fired.
    Goes,
    /// It is so from now on.
    Becomes(Alert, Option<News>),
}

/// Why what a person wants of an alert is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing to look after.
    #[error("it is {0}")]
    NotFiring(&'static str),
    /// Somebody does so already.
    #[error("{by} acknowledged it at {at}")]
    Acknowledged {
        /// Who.
        by: String,
        /// When.
        at: Time,
    },
    /// It is not silenced.
    #[error("it is not silenced")]
    NotSilenced,
    /// A silence has an end that can be waited for.
    #[error("until: expected an instant in the future, at most {LONGEST_SILENCE} ahead")]
    Until,
}

impl Phase {
    /// Its word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Firing { .. } => "firing",
            Self::Resolved { .. } => "resolved",
        }
    }
}

impl Alert {
    /// How grave it is.
    pub fn severity(&self) -> Severity {
        self.name.severity(self.level)
    }

    /// `pending`, `firing`, `acknowledged` or `resolved`.
    pub fn state(&self) -> &'static str {
        match (self.phase, &self.acknowledged) {
            (Phase::Firing { .. }, Some(_)) => "acknowledged",
            (phase, _) => phase.word(),
        }
    }

    /// Whether nothing is told of it at this instant.
    pub fn is_silenced(&self, now: Time) -> bool {
        self.silence
            .as_ref()
            .is_some_and(|silence| silence.until > now)
    }

    /// Whether it fires.
    pub const fn is_firing(&self) -> bool {
        matches!(self.phase, Phase::Firing { .. })
    }

    /// One level higher, where its time has come and nobody looks after it. Never two at one look: after an outage, or a clock
    /// that jumped, each level has until the next look to do something. What may be over soon calls nobody else.
    pub fn climbs(self, ladder: &Ladder, now: Time) -> Self {
        let holds = matches!(
            self.phase,
            Phase::Firing {
                clear_since: None,
                ..
            }
        );
        if !holds || self.acknowledged.is_some() || self.is_silenced(now) {
            return self;
        }
        let Escalation { since, reached } = self.escalation;
        let due = ladder.reached(self.severity(), now.since(since));
        let escalation = Escalation {
            since,
            reached: due.min(reached.saturating_add(1)).max(reached),
        };
        Self { escalation, ..self }
    }

    /// How long its condition must not hold before it resolves.
    pub fn resolves_after(&self) -> Span {
        let hold = self.name.hold().resolve.as_seconds();
        let factor = 1_u64 << self.episode.min(20);
        Span::seconds(hold.saturating_mul(factor)).min(LONGEST)
    }

    /// Somebody looks after it. Of one that resolves meanwhile there is nothing to look after.
    pub fn acknowledge(self, by: &str, now: Time) -> Result<(Self, Option<News>), Refusal> {
        if !self.is_firing() {
            return Err(Refusal::NotFiring(self.phase.word()));
        }
        if let Some(Acknowledged { by, at }) = self.acknowledged {
            return Err(Refusal::Acknowledged { by, at });
        }
        let acknowledged = Some(Acknowledged {
            by: by.to_owned(),
            at: now,
        });
        let news = (!self.is_silenced(now)).then_some(News::Acknowledged);
        Ok((
            Self {
                acknowledged,
                ..self
            },
            news,
        ))
    }

    /// Nothing is told of it until then; a later silence replaces an earlier one.
    pub fn silence(
        self,
        by: &str,
        until: Time,
        now: Time,
    ) -> Result<(Self, Option<News>), Refusal> {
        if until <= now || until > now + LONGEST_SILENCE {
            return Err(Refusal::Until);
        }
        if matches!(self.phase, Phase::Resolved { .. }) {
            return Err(Refusal::NotFiring(self.phase.word()));
        }
        let silence = Some(Silence {
            by: by.to_owned(),
            until,
        });
        let news = self.is_firing().then_some(News::Silenced);
        Ok((Self { silence, ..self }, news))
    }

    /// It is told again; at once, if it fires and nobody looks after it.
    pub fn unsilence(self, now: Time) -> Result<(Self, Option<News>), Refusal> {
        match self.is_silenced(now) {
            true => Ok(self.heard(now)),
            false => Err(Refusal::NotSilenced),
        }
    }

    /// Without its silence.
    fn heard(self, now: Time) -> (Self, Option<News>) {
        let told = self.is_firing() && self.acknowledged.is_none();
        let heard = Self {
            silence: None,
            escalation: Escalation::from(now),
            ..self
        };
        (heard, told.then_some(News::Firing))
    }

    fn pending(condition: &Condition, now: Time) -> Self {
        Self {
            name: condition.name,
            subject: condition.subject.clone(),
            level: condition.level,
            detail: condition.detail.clone(),
            phase: Phase::Pending { since: now },
            acknowledged: None,
            silence: None,
            episode: 0,
            together: false,
            escalation: Escalation::from(now),
        }
    }

    /// Back within a day, it is the same trouble again.
    fn again(self, condition: &Condition, now: Time) -> Self {
        let episode = match self.phase {
            Phase::Resolved { at, .. } if now.since(at) < AGAIN => self.episode.saturating_add(1),
            _ => 0,
        };
        Self {
            episode,
            silence: self.silence.filter(|silence| silence.until > now),
            ..Self::pending(condition, now)
        }
    }

    fn fires(self, now: Time) -> (Self, Option<News>) {
        let phase = Phase::Firing {
            since: now,
            clear_since: None,
        };
        let escalation = Escalation::from(now);
        let fires = Self {
            phase,
            escalation,
            ..self
        };
        (fires, Some(News::Firing))
    }
}

/// What becomes of an alert, or of none that was there, when its condition is seen or not.
pub fn step(was: Option<Alert>, seen: Option<&Condition>, now: Time) -> Step {
    match (was, seen) {
        (None, None) => Step::Stays,
        (None, Some(condition)) => begins(Alert::pending(condition, now), now),
        (Some(was), seen) => goes_on(was, seen, now),
    }
}

fn begins(pending: Alert, now: Time) -> Step {
    match pending.name.hold().fire {
        Span::ZERO => {
            let (alert, news) = pending.fires(now);
            told(alert, news, now)
        }
        _ => Step::Becomes(pending, None),
    }
}

fn goes_on(was: Alert, seen: Option<&Condition>, now: Time) -> Step {
    // A silence that has ended is told of before anything else is decided.
    let ended = was.silence.is_some() && !was.is_silenced(now);
    let (alert, news) = match ended {
        true => was.heard(now),
        false => (was, None),
    };
    let as_it_was = |alert: Alert| match ended {
        true => Step::Becomes(alert, news),
        false => Step::Stays,
    };
    match (alert.phase, seen) {
        (Phase::Resolved { .. }, None) => as_it_was(alert),
        (Phase::Resolved { .. }, Some(condition)) => begins(alert.again(condition, now), now),
        (Phase::Pending { .. }, None) => Step::Goes,
        (Phase::Pending { since }, Some(condition)) => {
            let alert = Alert {
                level: condition.level,
                detail: condition.detail.clone(),
                ..alert
            };
            // A clock that went back begins anew.
            if since > now {
                let phase = Phase::Pending { since: now };
                return Step::Becomes(Alert { phase, ..alert }, None);
            }
            match now.since(since) >= alert.name.hold().fire {
                true => {
                    let (alert, news) = alert.fires(now);
                    told(alert, news, now)
                }
                false => as_it_was(alert),
            }
        }
        (Phase::Firing { since, clear_since }, None) => match clear_since {
            Some(clear) if clear <= now => match now.since(clear) >= alert.resolves_after() {
                true => {
                    let phase = Phase::Resolved { since, at: now };
                    told(Alert { phase, ..alert }, Some(News::Resolved), now)
                }
                false => as_it_was(alert),
            },
            // Not seen for the first time, or the clock went back.
            _ => {
                let phase = Phase::Firing {
                    since,
                    clear_since: Some(now),
                };
                Step::Becomes(Alert { phase, ..alert }, news)
            }
        },
        (Phase::Firing { since, clear_since }, Some(condition)) => {
            let raised = condition.level > alert.level;
            if !raised && clear_since.is_none() {
                return as_it_was(alert);
            }
            let phase = Phase::Firing {
                since,
                clear_since: None,
            };
            let alert = Alert { phase, ..alert };
            if !raised {
                return Step::Becomes(alert, news);
            }
            // Whoever looked after the lesser one, or silenced it, did not know of this.
            let alert = Alert {
                level: condition.level,
                detail: condition.detail.clone(),
                acknowledged: None,
                silence: None,
                escalation: Escalation::from(now),
                ..alert
            };
            told(alert, Some(News::Raised), now)
        }
    }
}

/// What is silenced is not told.
fn told(alert: Alert, news: Option<News>, now: Time) -> Step {
    let news = news.filter(|_| !alert.is_silenced(now));
    Step::Becomes(alert, news)
}
