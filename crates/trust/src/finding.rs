//! What an audit finds, each with a code that programs may rely on.

use std::collections::BTreeMap;

use serde::Serialize;

/// Findings of one code that are told one by one; the rest is counted.
const TOLD: usize = 100;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable; docs/LOG.md lists them.
    pub code: &'static str,
    pub what: String,
    /// The leaf concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<i64>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index {
            Some(index) => write!(f, "leaf {index}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Findings so far. Bounded, however much is wrong.
#[derive(Debug, Default)]
pub struct Findings {
    told: Vec<Finding>,
    counts: BTreeMap<&'static str, usize>,
    remarks: Vec<String>,
}

impl Findings {
    pub fn add(&mut self, code: &'static str, index: Option<i64>, what: impl Into<String>) {
        let count = self.counts.entry(code).or_default();
        *count += 1;
        if *count <= TOLD {
            let what = what.into();
            self.told.push(Finding { code, what, index });
        }
    }

    /// Whether there is one of this code already.
    pub fn has(&self, code: &str) -> bool {
        self.counts.contains_key(code)
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// What is worth knowing and not wrong.
    pub fn remark(&mut self, what: impl Into<String>) {
        self.remarks.push(what.into());
    }

    /// Findings and remarks, in the order in which they came.
    pub fn into_parts(self) -> (Vec<Finding>, Vec<String>) {
        let mut told = self.told;
        for (code, count) in self.counts {
            if count > TOLD {
                told.push(Finding {
                    code,
                    what: format!("and {} more", count - TOLD),
                    index: None,
                });
            }
        }
        (told, self.remarks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_much_is_wrong_the_report_stays_short() {
        let mut findings = Findings::default();
        for index in 0..10_000 {
            findings.add("leaf", Some(index), "changed");
        }
        findings.add("root", None, "another");
        let (told, _) = findings.into_parts();
        assert_eq!(told.len(), TOLD + 2);
        assert_eq!(told[TOLD + 1].what, "and 9900 more");
    }
}
