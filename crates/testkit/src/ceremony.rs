//! Ceremonies of an installation by the commands that sign themselves.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::custodian::Custodian;
use crate::installation::{Installation, text};
use crate::process::Said;

/// A ceremony that was held to its end.
#[derive(Debug, Clone)]
pub struct Held {
    pub ceremony: String,
    /// The keys that it is about.
    pub kids: Vec<String>,
}

impl Held {
    /// Of a ceremony about one key.
    pub fn kid(&self) -> Result<&str> {
        self.kids
            .first()
            .map(String::as_str)
            .context("a ceremony without a key")
    }
}

impl Installation {
    /// A request by the command of these words, whatever comes of it.
    pub fn try_propose(&self, words: &[&str], proposer: &Custodian, reason: &str) -> Result<Said> {
        let key = self.key(proposer);
        let more = ["--proposer", &proposer.id, "--key", &key];
        self.run(&[words, &more, &["--reason", reason]].concat())
    }

    /// Returns the ceremony's id.
    pub fn propose(&self, words: &[&str], proposer: &Custodian, reason: &str) -> Result<String> {
        let said = self.try_propose(words, proposer, reason)?;
        text(&self.succeeded(said, words)?, "ceremony")
    }

    /// `ceremony approve`, `accept` and the like with a custodian's key, whatever comes of it.
    pub fn try_vote(
        &self,
        verb: &str,
        ceremony: &str,
        kid: Option<&str>,
        custodian: &Custodian,
    ) -> Result<Said> {
        let key = self.key(custodian);
        let mut words = vec!["ceremony", verb, ceremony, "--key", &key];
        words.extend(kid.into_iter().flat_map(|kid| ["--kid", kid]));
        self.run(&words)
    }

    fn vote(&self, verb: &str, id: &str, kid: Option<&str>, voters: &[&Custodian]) -> Result<()> {
        for custodian in voters {
            let said = self.try_vote(verb, id, kid, custodian)?;
            self.succeeded(said, &["ceremony", verb, id])?;
        }
        Ok(())
    }

    /// From the request of these words to its end: proposed by one, approved and accepted by all others.
    pub fn hold(&self, words: &[&str], proposer: &str, reason: &str) -> Result<Held> {
        let (one, others): (Vec<_>, Vec<_>) =
            (self.custodians.iter()).partition(|custodian| custodian.id == proposer);
        let one = one.first().context("no custodian of this name")?;
        let id = self.propose(words, one, reason)?;
        self.vote("approve", &id, None, &others)?;
        let executed = self.chancery(&["ceremony", "execute", &id])?;
        let kids: Vec<String> = executed["kids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        self.vote("accept", &id, kids.first().map(String::as_str), &others)?;
        Ok(Held { ceremony: id, kids })
    }

    /// One key, published, under a quorum.
    pub fn generate(&self, ring: &str, proposer: &str, reason: &str) -> Result<Held> {
        let words = ["ceremony", "new", "generate", "--ring", ring];
        self.hold(&words, proposer, reason)
    }

    fn key(&self, custodian: &Custodian) -> String {
        let key = custodian.key_file();
        let key = key.strip_prefix(&self.plan.directory).unwrap_or(key);
        key.display().to_string()
    }
}
