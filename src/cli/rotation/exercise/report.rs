//! What a test of rotation found.

use std::collections::BTreeMap;

use serde::Serialize;
use trust::Time;

use verify::output::table;

use super::load_report::LoadReport;
use super::plot;

/// How something was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Passed,
    Failed,
    /// It comes by itself, after the end of the test.
    Later,
    /// The policy has no such step.
    NotNeeded,
    /// The test ended before.
    NotReached,
}

/// A step of the rotation, from its first attempt to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepVerdict {
    pub step: &'static str,
    pub verdict: Verdict,
    /// Whole seconds, by the service's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    pub attempts: u32,
    pub found: String,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub check: &'static str,
    pub verdict: Verdict,
    pub found: String,
}

/// Signatures that the test made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Signatures {
    pub made: u64,
    /// Requests without a signature.
    pub failed: u64,
    /// Signatures that a verifier did not accept.
    pub rejected: u64,
    pub by_kid: BTreeMap<String, u64>,
    /// The first few things that went wrong.
    pub trouble: Vec<String>,
}

/// A test with all that it found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `rotation`, `roll-back` or `zero-downtime`.
    pub test: &'static str,
    pub passed: bool,
    pub url: String,
    pub environment: String,
    pub ring: String,
    pub asset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
    /// The key that signed before.
    pub old_kid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_kid: Option<String>,
    /// By the clock of the program that tests.
    pub began_at: Time,
    pub ended_at: Time,
    /// Where verifiers fetched key sets.
    pub key_sets: Vec<String>,
    pub steps: Vec<StepVerdict>,
    pub checks: Vec<Check>,
    pub signatures: Signatures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadReport>,
    /// How the installation was left.
    pub left: String,
}

/// Troubles that a report has at most.
const MOST_TROUBLES: usize = 20;

impl Check {
    pub fn of(check: &'static str, passed: bool, found: impl Into<String>) -> Self {
        let verdict = match passed {
            true => Verdict::Passed,
            false => Verdict::Failed,
        };
        Self {
            check,
            verdict,
            found: found.into(),
        }
    }
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Later => "later",
            Self::NotNeeded => "not needed",
            Self::NotReached => "not reached",
        }
    }
}

impl Signatures {
    /// The same trouble again is not told again.
    pub fn tell(&mut self, trouble: String) {
        if self.trouble.len() < MOST_TROUBLES && !self.trouble.contains(&trouble) {
            self.trouble.push(trouble);
        }
    }
}

impl Report {
    /// Whether nothing failed, by what it has.
    pub fn holds(&self) -> bool {
        let good = |verdict: Verdict| verdict != Verdict::Failed;
        self.steps.iter().all(|step| good(step.verdict))
            && self.checks.iter().all(|check| good(check.verdict))
    }

    /// For people.
    pub fn text(&self) -> String {
        let rotation = self.rotation.as_deref().unwrap_or("none was begun");
        let new = self.new_kid.as_deref().unwrap_or("none");
        let mut text = format!(
            "{} test of {} in {}: {}\n\nrotation     {rotation}\nold key      {}\nnew key      {new}\nkey sets     {}\nfrom         {}\nuntil        {}\n",
            self.test,
            self.asset,
            self.environment,
            if self.passed { "passed" } else { "FAILED" },
            self.old_kid,
            self.key_sets.join(", "),
            self.began_at,
            self.ended_at,
        );
        let Signatures {
            made,
            failed,
            rejected,
            ..
        } = self.signatures;
        text.push_str(&format!(
            "signatures   {made} made, {failed} requests failed, {rejected} not accepted\n"
        ));
        for (kid, count) in &self.signatures.by_kid {
            text.push_str(&format!("             {count} by {kid}\n"));
        }
        text.push('\n');
        let seconds = |step: &StepVerdict| step.seconds.map(|s| format!("{s} s"));
        if !self.steps.is_empty() {
            let rows = self.steps.iter().map(|step| {
                [
                    step.step.to_owned(),
                    step.verdict.word().to_owned(),
                    seconds(step).unwrap_or_default(),
                    step.attempts.to_string(),
                    step.found.clone(),
                ]
            });
            text.push_str(&table(
                &["step", "verdict", "took", "attempts", "found"],
                rows,
            ));
            text.push_str("\n\n");
        }
        let rows = self.checks.iter().map(|check| {
            [
                check.check.to_owned(),
                check.verdict.word().to_owned(),
                check.found.clone(),
            ]
        });
        text.push_str(&table(&["check", "verdict", "found"], rows));
        text.push('\n');
        if let Some(load) = &self.load {
            text.push('\n');
            text.push_str(&plot::text(load));
        }
        for trouble in &self.signatures.trouble {
            text.push_str(&format!("\ntrouble      {trouble}"));
        }
        text.push_str(&format!("\nleft         {}", self.left));
        text
    }
}
