//! One row of what `doctor` says.

use serde::Serialize;

/// Who else could have written there.
pub const CHECK: &str = "run `chancery log check` to see what was changed";

#[derive(Debug, Serialize)]
pub struct Check {
    pub what: &'static str,
    pub good: bool,
    pub found: String,
    /// What to do when it is not good, or what to know although it is.
    pub advice: String,
}

impl Check {
    /// For people: nothing, something to know, something that has to be done.
    pub fn mark(&self) -> &'static str {
        match (self.good, self.advice.is_empty()) {
            (true, true) => "ok",
            (true, false) => "note",
            (false, _) => "WRONG",
        }
    }
}

pub fn good(what: &'static str, found: impl Into<String>) -> Check {
    Check {
        what,
        good: true,
        found: found.into(),
        advice: String::new(),
    }
}

/// It stops neither `serve` nor a signature now.
pub fn note(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
    Check {
        advice: advice.into(),
        ..good(what, found)
    }
}

pub fn bad(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
    Check {
        good: false,
        ..note(what, found, advice)
    }
}
