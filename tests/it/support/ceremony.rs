//! Ceremonies of other kinds than a birth, and votes by the commands that sign themselves.

use super::custodian::Custodian;
use super::installation::{Installation, member, text};
use super::process::Said;

impl Installation {
    /// A request by the first custodian, by the command of these words.
    pub fn propose_words(&self, words: &[&str]) -> String {
        let said = self.try_propose_words(words);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        member(&said.json(), "ceremony")
    }

    pub fn try_propose_words(&self, words: &[&str]) -> Said {
        let ada = &self.custodians[0];
        let key = ["--key", text(ada.key_file())];
        let more = ["--proposer", &ada.id, "--reason", "test", key[0], key[1]];
        self.try_chancery(words.iter().copied().chain(more))
    }

    /// `ceremony approve` or `accept` with the custodian's key, whatever comes of it.
    pub fn try_vote(&self, verb: &str, id: &str, custodian: &Custodian) -> Said {
        let key = text(custodian.key_file());
        if verb != "accept" {
            return self.try_chancery(["ceremony", verb, id, "--key", key]);
        }
        let show = self.chancery(["ceremony", "show", id]).json();
        let kid = show["kids"][0].as_str().map(|kid| ["--kid", kid]);
        let words = ["ceremony", verb, id, "--key", key].into_iter();
        self.try_chancery(words.chain(kid.into_iter().flatten()))
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
        let id = self.propose_words(words);
        self.vote_all("approve", &id);
        self.chancery(["ceremony", "execute", &id]);
        self.vote_all("accept", &id);
        id
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
        let pin = std::fs::read_to_string(self.file("token/pin")).expect("the PIN");
        let mut tool = std::process::Command::new("pkcs11-tool");
        tool.env("SOFTHSM2_CONF", self.file("token/softhsm2.conf"))
            .env("PIN", pin.trim());
        tool.args(["--module", &self.module(), "--token-label", "chancery-test"]);
        tool.args(["--login", "--pin", "env:PIN"]).args(arguments);
        super::process::run(&mut tool, b"")
    }

    /// Path of the token's library, as the configuration has it.
    pub fn module(&self) -> String {
        let text = std::fs::read_to_string(self.file("chancery.toml")).expect("the configuration");
        let rest = text.split_once("module-path=").expect("a module").1;
        rest.split('&').next().expect("a path").to_owned()
    }
}
