//! What a rotation policy changes, in sentences: from what to what, and which rules it is outside of and until when.

use serde_json::{Map, Value};

use super::{JsonError, flatten};
use crate::request::RotationPolicy;
use crate::text;

/// Where the named exceptions from rules stand in a policy.
const DEVIATIONS: &str = "deviations";

/// Members that are told otherwise.
const TOLD: [&str; 3] = ["version", "key_type", DEVIATIONS];

pub(super) fn decided(order: &RotationPolicy) -> Vec<String> {
    let (of, version) = (&order.key_type, order.version);
    let replaced = order.replaced().map_or_else(
        || "(unreadable)".to_owned(),
        |replaced| replaced.to_string(),
    );
    let mut out = vec![format!(
        "the assets of the critical key type {of} rotate by version {version} of its policy from now on, in place of version {replaced}"
    )];
    let told = order.members().and_then(|[before, after]| {
        let mut told = changes(&before, &after).ok()?;
        told.extend(deviations(&before, &after));
        Some(told)
    });
    match told {
        Some(told) if told.is_empty() => {
            out.push("nothing is different but its version".to_owned());
        }
        Some(told) => out.extend(told),
        None => out.push("NOTE: one of the two policies cannot be read".to_owned()),
    }
    out
}

/// Each rule that is not what it was.
fn changes(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Result<Vec<String>, JsonError> {
    let rules = |policy: &Map<String, Value>| {
        let rules = policy.iter().filter(|(name, _)| !TOLD.contains(&&***name));
        let rules = rules.map(|(name, value)| (name.clone(), value.clone()));
        flatten(&Value::Object(rules.collect()))
    };
    let (before, after) = (rules(before)?, rules(after)?);
    let value = |rules: &[(String, String)], rule: &str| {
        let mut rules = rules.iter();
        rules
            .find(|(name, _)| name == rule)
            .map(|(_, value)| value.clone())
    };
    let mut out = Vec::new();
    for (rule, new) in &after {
        match value(&before, rule) {
            None => out.push(format!("{rule} was unset and is {new}")),
            Some(old) if old != *new => out.push(format!("{rule} changes from {old} to {new}")),
            Some(_) => {}
        }
    }
    let gone = before
        .iter()
        .filter(|(rule, _)| value(&after, rule).is_none());
    out.extend(gone.map(|(rule, old)| format!("{rule} was {old} and is unset")));
    Ok(out)
}

/// Each rule that the policy is outside of by name, and those that it was and is not any more.
fn deviations(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let all = |policy: &Map<String, Value>| match policy.get(DEVIATIONS) {
        Some(Value::Array(all)) => all.clone(),
        Some(other) => vec![other.clone()],
        None => Vec::new(),
    };
    let (then, now) = (all(before), all(after));
    let mut out = Vec::new();
    for each in &now {
        let known = match then.contains(each) {
            true => " as before",
            false => "",
        };
        let (rule, until) = (rule(each), said(each, "until"));
        let (who, why) = (said(each, "decided_by"), said(each, "reason"));
        out.push(format!(
            "OUTSIDE OF A RULE{known}: it deviates from {rule} until {until}, decided by {who}: {why}"
        ));
    }
    let gone = then
        .iter()
        .filter(|each| !now.iter().any(|kept| rule(kept) == rule(each)));
    out.extend(gone.map(|each| format!("it does not deviate from {} any more", rule(each))));
    out
}

fn rule(deviation: &Value) -> String {
    let (whose, which) = (said(deviation, "framework"), said(deviation, "paragraph"));
    format!("{whose} {which}")
}

fn said(deviation: &Value, member: &str) -> String {
    match deviation.get(member) {
        Some(Value::String(text)) => text::spelled_out(text),
        Some(other) => text::spelled_out(&other.to_string()),
        None => "(unset)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(before: &Value, after: &Value) -> String {
        let text = |value: &Value| String::from_utf8(crate::json::canonical(value).unwrap());
        let order = RotationPolicy {
            document: text(after).unwrap(),
            key_type: "signing".parse().unwrap(),
            replaces: text(before).unwrap(),
            version: 4,
        };
        decided(&order).join("\n")
    }

    fn deviation(paragraph: &str, until: &str) -> Value {
        json!({
            "decided_by": "ciso", "framework": "nist-sp-800-57", "paragraph": paragraph,
            "reason": "a \u{202e}migration", "until": until,
        })
    }

    #[test]
    fn a_review_says_from_what_to_what_and_which_rules_are_left() {
        let before = json!({
            "alerts": {"early": "30d"}, "deviations": [deviation("1", "2027"), deviation("2", "2027")],
            "interval": "90d", "key_type": "signing", "usage_limit": 5, "version": 3,
        });
        let after = json!({
            "alerts": {"early": "10d"}, "deviations": [deviation("1", "2027"), deviation("3", "2028")],
            "grace": "for-ever", "interval": "1200d", "key_type": "signing", "version": 4,
        });
        let text = told(&before, &after);
        for sentence in [
            "by version 4 of its policy from now on, in place of version 3",
            "interval changes from 90d to 1200d",
            "alerts.early changes from 30d to 10d",
            "grace was unset and is for-ever",
            "usage_limit was 5 and is unset",
            "RULE as before: it deviates from nist-sp-800-57 1 until 2027, decided by ciso: a \\u{202e}migration",
            "RULE: it deviates from nist-sp-800-57 3 until 2028",
            "it does not deviate from nist-sp-800-57 2 any more",
        ] {
            assert!(text.contains(sentence), "{sentence} in\n{text}");
        }
        let mut same = before.clone();
        same["version"] = json!(4);
        same["deviations"] = json!([]);
        let mut was = before;
        was["deviations"] = json!([]);
        assert!(told(&was, &same).contains("nothing is different but its version"));
    }
}
