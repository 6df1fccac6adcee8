//! Ceremonies of other kinds than a birth, and votes by the commands that sign themselves.

use super::custodian::Custodian;
use super::installation::{Installation, member, must};
use super::process::Said;

impl Installation {
    /// A request by the first custodian, by the command of these words.
    pub fn propose_words(&self, words: &[&str]) -> String {
        let said = self.try_propose_words(words);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        member(&said.json(), "ceremony")
    }

    pub fn try_propose_words(&self, words: &[&str]) -> Said {
        self.is_changed();
        must(self.made.try_propose(words, &self.custodians[0], "test")).into()
    }

    /// `ceremony approve` or `accept` with the custodian's key, whatever comes of it.
    pub fn try_vote(&self, verb: &str, id: &str, custodian: &Custodian) -> Said {
        self.is_changed();
        let kid = (verb == "accept").then(|| self.only_kid_of(id)).flatten();
        must(self.made.try_vote(verb, id, kid.as_deref(), custodian)).into()
    }

    /// The same by both signers, which has to count.
    pub fn vote_all(&self, verb: &str, id: &str) {
        for custodian in self.signers() {
            let said = self.try_vote(verb, id, custodian);
            assert_eq!(said.code, Some(0), "{verb}: {said:?}");
        }
    }

    /// From the request to its end.
    pub fn hold_words(&self, words: &[&str]) -> String {
        self.is_changed();
        must(self.made.hold(words, &self.custodians[0].id, "test")).ceremony
    }

    /// Revokes a key; it takes effect with the execution.
    pub fn revoke(&self, ring: &str, kid: &str, more: &[&str]) -> String {
        let words = ["ring", "revoke", ring, "--kid", kid, "--apply"];
        self.hold_words(&[&words, more].concat())
    }

    pub fn ceremony_state(&self, id: &str) -> String {
        member(&self.chancery(["ceremony", "show", id]).json(), "state")
    }

    /// `sqlite:…` of this installation, if it is on SQLite.
    pub fn sqlite_url(&self) -> String {
        self.is_changed();
        format!("sqlite:{}", self.file("chancery.db").display())
    }

    /// `pkcs11-tool` at this installation's token, logged in: a hand that goes past the service.
    pub fn token_tool(&self, arguments: &[&str]) -> Said {
        self.is_changed();
        must(self.made.token_tool(arguments)).into()
    }
}
