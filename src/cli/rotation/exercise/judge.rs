//! What the steps of a rotation, the leaves of the log and the keys are worth, by what was seen of them; nothing is asked for here.

use serde_json::Value;
use trust::Time;

use super::api::{Attempt, Key, Leaf, Rotation};
use super::report::{Check, StepVerdict, Verdict};

/// The steps of a rotation in their order.
pub const STEPS: [&str; 8] = [
    "pre-check",
    "generate",
    "publish",
    "test",
    "promote",
    "watch",
    "retire",
    "archive",
];

/// The kind of a signature's leaf (docs/LOG.md).
const SIGN: &str = "sign";

/// What was seen from outside.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The key that signed before.
    pub old: String,
    /// When every place showed the new key.
    pub shown_at: Option<Time>,
    /// Whether a signature by the new key was seen.
    pub new_signs: bool,
    /// The old and the new key at the end.
    pub old_key: Option<Key>,
    pub new_key: Option<Key>,
    /// Whether the transcript of the new key's ceremony is public.
    pub transcript: bool,
}

/// The verdict on each step. `wanted`: up to which step the test was to come.
pub fn steps(rotation: &Rotation, seen: &Seen, wanted: &str) -> Vec<StepVerdict> {
    let end = STEPS.iter().position(|step| *step == wanted);
    let end = end.unwrap_or(STEPS.len());
    let judged = STEPS.iter().enumerate();
    judged
        .map(|(place, step)| {
            let attempt = rotation.attempt(step);
            let (verdict, found) = match attempt {
                Some(attempt) if attempt.outcome.as_deref() == Some("done") => {
                    match evidence(step, attempt, rotation, seen) {
                        Ok(found) => (Verdict::Passed, found),
                        Err(why) => (Verdict::Failed, why),
                    }
                }
                other => not_done(step, other, rotation, place <= end),
            };
            let began = rotation.steps.iter().find(|one| one.step == *step);
            let ended = attempt.and_then(|attempt| attempt.ended_at);
            StepVerdict {
                step,
                verdict,
                seconds: began
                    .zip(ended)
                    .map(|(began, ended)| ended.since(began.started_at).as_secs()),
                attempts: attempt.map_or(0, |attempt| attempt.attempt),
                found,
            }
        })
        .collect()
}

fn not_done(
    step: &str,
    attempt: Option<&Attempt>,
    rotation: &Rotation,
    wanted: bool,
) -> (Verdict, String) {
    let waits = rotation.waits_for();
    match (step, attempt) {
        ("archive", None) if rotation.state == "done" => {
            let why = "the grace of the policy is for ever: it stays published and verifies";
            (Verdict::NotNeeded, why.to_owned())
        }
        ("archive", _) if rotation.is_in_grace() => (Verdict::Later, waits),
        (_, Some(attempt)) if attempt.why.is_some() => (
            if wanted {
                Verdict::Failed
            } else {
                Verdict::NotReached
            },
            attempt.why.clone().unwrap_or_default(),
        ),
        (_, Some(_)) if wanted => (Verdict::Failed, waits),
        (_, None) if wanted => (Verdict::NotReached, String::new()),
        _ => (Verdict::NotReached, String::new()),
    }
}

fn text<'a>(evidence: &'a Value, member: &str) -> &'a str {
    // Where probes were asked, what the step found stands beside what they said.
    let own = &evidence["step"][member];
    let found = if own.is_null() {
        &evidence[member]
    } else {
        own
    };
    found.as_str().unwrap_or_default()
}

/// What a step says of itself against what was seen.
fn evidence(
    step: &str,
    attempt: &Attempt,
    rotation: &Rotation,
    seen: &Seen,
) -> Result<String, String> {
    let said = &attempt.evidence;
    let made = rotation.made.as_deref().unwrap_or_default();
    let same = |member: &str, expected: &str| match text(said, member) {
        found if found == expected && !found.is_empty() => Ok(()),
        found => Err(format!(
            "its evidence says {member} {found:?}, expected {expected:?}"
        )),
    };
    match step {
        "pre-check" => {
            same("primary", &seen.old)?;
            Ok("the key that signs is the ring's primary".to_owned())
        }
        "generate" => {
            same("kid", made)?;
            match (made != seen.old, seen.transcript) {
                (false, _) => Err("the new key is the old one".to_owned()),
                (_, false) => Err("the transcript of the key's ceremony is not public".to_owned()),
                _ => Ok(format!("{made}, its transcript is public")),
            }
        }
        "publish" => {
            same("kid", made)?;
            let Some(published) = rotation.published_at else {
                return Err("the rotation does not say since when".to_owned());
            };
            match seen.shown_at {
                Some(at) => Ok(format!("since {published}; all places showed it by {at}")),
                None => Err("not every place that verifiers fetch from showed the key".to_owned()),
            }
        }
        "test" => {
            same("kid", made)?;
            Ok("it is in the ring's key set".to_owned())
        }
        "promote" => {
            same("kid", made)?;
            match (rotation.promoted_at, seen.shown_at) {
                (None, _) => Err("the rotation does not say when".to_owned()),
                (_, Some(_)) if seen.new_signs => {
                    Ok("it signs, and verifiers had it before".to_owned())
                }
                (_, None) => Err("it was promoted and not every place shows it".to_owned()),
                _ => Err("no signature by the new key was seen".to_owned()),
            }
        }
        "watch" => {
            let used = &said["usage"]["signatures_of_the_old_key_since"];
            Ok(match used.as_i64() {
                Some(count) => format!("{count} signatures of the old key since"),
                None => "the old key's use is in its evidence".to_owned(),
            })
        }
        "retire" => match seen.old_key.as_ref().map(|key| key.state.as_str()) {
            Some(state @ ("retired" | "archived" | "revoked")) => {
                let role = seen.new_key.as_ref().and_then(|key| key.role.as_deref());
                match role {
                    Some("primary") => Ok(format!("the old key is {state}, the new one signs")),
                    _ => Err(format!(
                        "the old key is {state}, and the new one is no primary"
                    )),
                }
            }
            Some(state) => Err(format!("the old key is {state}")),
            None => Err("the old key is not known any more".to_owned()),
        },
        _ => Ok("the old key left the key sets".to_owned()),
    }
}

/// Which leaves are looked at, as they come: those of a rotation and of its old key, without the signatures of that key before its
/// end, which are many.
pub struct Wanted<'a> {
    rotation: &'a str,
    old: &'a str,
    ended: bool,
}

impl<'a> Wanted<'a> {
    pub fn of(rotation: &'a Rotation, old: &'a str) -> Self {
        Self {
            rotation: &rotation.id,
            old,
            ended: false,
        }
    }

    pub fn takes(&mut self, leaf: &Leaf) -> bool {
        let of_old = leaf.kid.as_deref() == Some(self.old);
        match leaf.kind.as_str() {
            SIGN => self.ended && of_old,
            "rotation" => leaf.reference.as_deref() == Some(self.rotation),
            _ => {
                self.ended |= of_old && leaf.action.as_deref() == Some("retire");
                of_old
            }
        }
    }
}

/// Whether the log tells of the rotation: its beginning, its promotion and its end, and no signature by the old key behind that
/// key's.
pub fn leaves(leaves: &[Leaf], rotation: &Rotation, old: &str) -> Vec<Check> {
    let own: Vec<&Leaf> = leaves
        .iter()
        .filter(|leaf| leaf.kind == "rotation" && leaf.reference.as_ref() == Some(&rotation.id))
        .collect();
    let of = |action: &str| {
        own.iter()
            .find(|leaf| leaf.action.as_deref() == Some(action))
    };
    let mut expected = vec!["begin"];
    if rotation.promoted_at.is_some() {
        expected.push("promote");
    }
    if rotation.is_over() {
        expected.push(&rotation.state);
    }
    let missing: Vec<&str> = expected
        .iter()
        .copied()
        .filter(|action| of(action).is_none())
        .collect();
    let found = match missing.is_empty() {
        true => format!("{} leaves: {}", own.len(), expected.join(", ")),
        false => format!("the log does not tell of: {}", missing.join(", ")),
    };
    let mut checks = vec![Check::of("leaves", missing.is_empty(), found)];
    // A replica follows a promotion by seconds and signs with the secondary key so long; a retired key signs nothing.
    let retired = leaves.iter().find(|leaf| {
        leaf.kind != SIGN
            && leaf.kid.as_deref() == Some(old)
            && leaf.action.as_deref() == Some("retire")
    });
    if rotation.retired_at.is_some() {
        let behind = |leaf: &&Leaf| {
            let at = retired.map_or(i64::MAX, |retired| retired.index);
            leaf.kind == SIGN && leaf.index > at && leaf.kid.as_deref() == Some(old)
        };
        let late = leaves.iter().filter(behind).count();
        let found = match retired {
            Some(leaf) => format!(
                "{late} signatures by the old key behind its end, leaf {}",
                leaf.index
            ),
            None => "the log does not tell of the old key's end".to_owned(),
        };
        let passed = late == 0 && retired.is_some();
        checks.push(Check::of("old-key-ended", passed, found));
    }
    checks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const T: &str = "2026-11-30T10:00:00.000Z";

    fn rotation() -> Rotation {
        let step = |name: &str, evidence: Value| {
            json!({"step": name, "attempt": 1, "started_at": T, "ended_at": "2026-11-30T10:00:07.000Z", "outcome": "done",
                   "why": null, "evidence": evidence})
        };
        serde_json::from_value(json!({
            "id": "kr_1", "state": "done", "made": "new", "published_at": T, "promoted_at": T, "retired_at": T, "ended_at": T,
            "waits": null, "detail": null, "look_at": null,
            "steps": [
                step("pre-check", json!({"primary": "old"})),
                step("generate", json!({"kid": "new"})),
                step("publish", json!({"kid": "new"})),
                step("test", json!({"kid": "new"})),
                step("promote", json!({"step": {"kid": "new"}, "said": []})),
                step("watch", json!({"usage": {"signatures_of_the_old_key_since": 2}})),
                step("retire", json!({"kid": "old"})),
            ],
        }))
        .unwrap()
    }

    fn seen() -> Seen {
        let key = |kid: &str, state: &str| {
            Some(Key {
                kid: kid.to_owned(),
                state: state.to_owned(),
                role: (state == "active").then(|| "primary".to_owned()),
            })
        };
        Seen {
            old: "old".to_owned(),
            shown_at: Some(T.parse().unwrap()),
            new_signs: true,
            old_key: key("old", "retired"),
            new_key: key("new", "active"),
            transcript: true,
        }
    }

    fn verdicts(rotation: &Rotation, seen: &Seen) -> Vec<(&'static str, Verdict)> {
        let all = steps(rotation, seen, "retire");
        all.iter().map(|step| (step.step, step.verdict)).collect()
    }

    #[test]
    fn a_rotation_that_went_well_passes_with_its_durations() {
        let all = steps(&rotation(), &seen(), "retire");
        let passed = |step: &StepVerdict| step.verdict == Verdict::Passed;
        assert_eq!(all.iter().filter(|step| passed(step)).count(), 7, "{all:?}");
        assert_eq!(all[7].verdict, Verdict::NotNeeded);
        assert_eq!(all[0].seconds, Some(7));
    }

    #[test]
    fn what_is_not_as_it_says_fails_its_step() {
        let cases: [(&str, fn(&mut Seen)); 6] = [
            ("pre-check", |seen| seen.old = "another".to_owned()),
            ("generate", |seen| seen.transcript = false),
            ("publish", |seen| seen.shown_at = None),
            ("promote", |seen| seen.new_signs = false),
            ("retire", |seen| seen.old_key = None),
            ("retire", |seen| seen.new_key = None),
        ];
        for (step, change) in cases {
            let mut changed = seen();
            change(&mut changed);
            let all = verdicts(&rotation(), &changed);
            assert!(all.contains(&(step, Verdict::Failed)), "{step}: {all:?}");
        }
    }

    #[test]
    fn the_end_of_a_grace_comes_later_and_a_step_that_never_came_was_not_reached() {
        let mut waiting = rotation();
        waiting.state = "waiting".to_owned();
        waiting.ended_at = None;
        waiting.detail = Some("until 2026-12-30T10:00".to_owned());
        assert!(verdicts(&waiting, &seen()).contains(&("archive", Verdict::Later)));
        waiting.retired_at = None;
        waiting.steps.truncate(5);
        let all = verdicts(&waiting, &seen());
        assert_eq!(all[5], ("watch", Verdict::NotReached));
    }

    #[test]
    fn a_log_that_tells_nothing_of_the_end_fails() {
        let leaf = |index: i64, kind: &str, action: &str| {
            let kid = match kind {
                SIGN => Some(action),
                "key" => Some("old"),
                _ => None,
            };
            Leaf {
                index,
                kind: kind.to_owned(),
                kid: kid.map(str::to_owned),
                action: (kind != SIGN).then(|| action.to_owned()),
                reference: (kind == "rotation").then(|| "kr_1".to_owned()),
            }
        };
        let mut all = vec![
            leaf(1, "rotation", "begin"),
            leaf(2, SIGN, "old"),
            leaf(3, "rotation", "promote"),
            leaf(4, "key", "retire"),
            leaf(5, "rotation", "done"),
        ];
        let good = leaves(&all, &rotation(), "old");
        assert!(good.iter().all(|check| check.verdict == Verdict::Passed));
        all.push(leaf(6, SIGN, "old"));
        all.push(leaf(7, SIGN, "new"));
        let late = leaves(&all, &rotation(), "old");
        assert_eq!(late[1].verdict, Verdict::Failed, "{late:?}");
        let one = rotation();
        let mut wanted = Wanted::of(&one, "old");
        all.retain(|leaf| wanted.takes(leaf));
        let kept: Vec<i64> = all.iter().map(|leaf| leaf.index).collect();
        assert_eq!(kept, [1, 3, 4, 5, 6], "what is not looked at is not kept");
        assert_eq!(leaves(&all, &one, "old"), late);
        all.retain(|leaf| leaf.action.as_deref() != Some("done"));
        let untold = leaves(&all, &rotation(), "old");
        assert!(untold[0].found.contains("done"), "{untold:?}");
    }
}
