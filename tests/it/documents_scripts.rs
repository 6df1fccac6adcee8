//! The scripts of docs/ceremonies, held as they are printed, by everybody who is in them: over HTTP, with real `ssh-keygen`.
//! What a reader fills in (URL, SHA256, KEY, ID, KID and so on) is filled in here; nothing else is changed.

use std::fs;

use crate::documents_story::{Reader, Section, kid_of, last_line};
use crate::support::process::{Running, until};

/// An installation with an administrator, three custodians and a witness, which serves.
pub struct Room {
    pub reader: Reader,
    url: String,
    genesis: String,
    _service: Running,
}

/// The first full id in what was printed.
pub fn id_of(said: &str) -> String {
    let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|c| c.is_ascii_hexdigit());
    let mut words = said.split_whitespace();
    words
        .find(is_id)
        .unwrap_or_else(|| panic!("{said}"))
        .to_owned()
}

impl Room {
    pub fn new() -> Self {
        let reader = Reader::new();
        let module = reader.runs("softhsm/init-token /var/lib/chancery/token chancery", &[]);
        reader.is_configured(&module);
        for who in [
            "adam", "ada", "berta", "berta-2", "carl", "dora", "frank", "gina", "rita", "rob",
            "wanda",
        ] {
            reader.runs(
                &format!("ssh-keygen -q -t ed25519 -C {who} -f {who} -N ''"),
                &[],
            );
        }
        let members = [
            "ada=ada.pub",
            "berta=berta.pub",
            "carl=carl.pub",
            "adam=adam.pub,administrator",
            "wanda=wanda.pub,witness",
        ];
        let members = members.map(|member| format!("--member {member}")).join(" ");
        let new = "chancery ceremony genesis new --service chancery --environment production";
        let draft = reader.runs(
            &format!("{new} {members} --threshold 2 --out genesis.draft"),
            &[],
        );
        let (_, namespace) = draft.split_once(" -n ").expect("a namespace");
        let namespace = namespace.split(' ').next().unwrap_or_default();
        let mut signatures = String::new();
        for who in ["ada", "berta", "carl", "adam", "wanda"] {
            let sign = format!("ssh-keygen -q -Y sign -n {namespace} -f {who} genesis.draft");
            reader.runs(&format!("{sign} && mv genesis.draft.sig {who}.sig"), &[]);
            signatures += &format!(" --signature {who}.sig");
        }
        let assemble = "chancery ceremony genesis assemble genesis.draft";
        let pinned = reader.runs(&format!("{assemble}{signatures} --out genesis.json"), &[]);
        let (_, digest) = pinned.split_once("genesis = \"").expect("the digest");
        let genesis = digest.trim_end_matches('"').to_owned();
        reader.edits(&"0".repeat(64), &genesis);
        for command in [
            "chancery migrate",
            "chancery ceremony genesis install genesis.json",
            "chancery ring create integrity --algorithm ES256 --apply",
            "chancery ring create log --algorithm Ed25519 --apply",
        ] {
            reader.runs(command, &[]);
        }
        reader.makes_the_logs_key();
        let service = reader.serves("chancery serve");
        reader.runs_when_due("chancery ring rotate log --apply", &[]);
        Self {
            url: format!("http://{}", reader.api),
            reader,
            genesis,
            _service: service,
        }
    }

    /// By the key of somebody.
    pub fn as_by(&self, who: &str, command: &str, values: &[(&str, &str)]) -> String {
        self.reader.runs(command, &self.values(who, values))
    }

    fn values<'a>(&'a self, who: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut values = vec![
            ("URL", self.url.as_str()),
            ("SHA256", self.genesis.as_str()),
            ("KEY", who),
        ];
        values.extend(more);
        values
    }

    /// Refused, and not because of how it is written.
    fn refuses(&self, who: &str, command: &str, values: &[(&str, &str)]) {
        let said = self.reader.tries(command, &self.values(who, values));
        assert_eq!(said.code, Some(3), "{command}: {said:?}");
    }

    fn fetches(&self, command: &str, values: &[(&str, &str)], until_it_has: &str) {
        let file = command.split_whitespace().nth(3).unwrap_or_default();
        until(command, || {
            self.as_by("", command, values);
            self.reader.read(file).contains(until_it_has)
        });
    }

    pub fn first_key(&self) -> String {
        let mut script = Section::whole("docs/ceremonies/first-key.md");
        let shown = self.as_by("", &script.next("chancery trust show"), &[]);
        assert!(
            shown.contains("administrator") && shown.contains("witness"),
            "{shown}"
        );
        let id =
            last_line(&self.as_by("adam", &script.next("chancery ceremony new generate"), &[]));
        let is = [("ID", id.as_str())];
        let review = script.next("chancery ceremony review ID");
        let approve = script.next("chancery ceremony approve ID");
        for who in ["ada", "berta"] {
            let seen = self.as_by(who, &review, &is);
            assert!(seen.contains(&id), "{seen}");
            self.as_by(who, &approve, &is);
        }
        self.as_by("wanda", &script.next("chancery ceremony note ID"), &is);
        self.as_by("carl", &script.next("chancery ceremony exception ID"), &is);
        let kid = kid_of(&self.as_by("", &script.next("chancery ceremony execute ID"), &is));
        let is = [("ID", id.as_str()), ("KID", kid.as_str())];
        let review = script.next("chancery ceremony review ID --result");
        let accept = script.next("chancery ceremony accept ID");
        for who in ["ada", "berta"] {
            assert!(self.as_by(who, &review, &is).contains(&kid));
            self.as_by(who, &accept, &is);
        }
        self.as_by("wanda", &script.next("chancery ceremony attest ID"), &is);
        self.as_by("", &script.next("curl -sS -o transcript.json"), &is);
        self.as_by("", &script.next("curl -sS -o attestations.json"), &is);
        let seen = self.as_by("", &script.next("chancery ceremony verify"), &is);
        for said in [
            "VALID",
            "witnessed    by wanda: the kid was",
            "decided by adam at",
            "wanda: seal",
        ] {
            assert!(seen.contains(said), "{said}: {seen}");
        }
        self.as_by("", &script.next("chancery ceremony record"), &is);
        let page = self.reader.read("record.html");
        assert!(page.contains(&kid) && page.contains("wanda attests this transcript"));
        let rotate = script.next("chancery ring rotate integrity --apply");
        self.reader.runs_when_due(&rotate, &[]);
        script.end();
        self.attests_a_file(&id);
        kid
    }

    /// The commands of docs/CEREMONY.md that need no service.
    fn attests_a_file(&self, id: &str) {
        let mut section = Section::of("docs/CEREMONY.md", "Notes, exceptions and witnesses");
        let is = [("ID", id)];
        // Closed: refused, and not because of how they are written.
        self.refuses("ada", &section.next("chancery ceremony note"), &is);
        self.refuses("ada", &section.next("chancery ceremony exception"), &is);
        // Once is enough.
        self.refuses("wanda", &section.next("chancery ceremony attest ID"), &is);
        self.reader.takes_away("attestations.json");
        let attest = section.next("chancery ceremony attest transcript.json");
        self.refuses("ada", &attest, &is);
        self.as_by("wanda", &attest, &is);
        let seen = self.as_by("", &section.next("chancery ceremony verify"), &is);
        assert!(seen.contains("witnessed    by wanda"), "{seen}");
        section.end();
        let mut section = Section::of("docs/CEREMONY.md", "The record for paper");
        self.reader.takes_away("record.html");
        self.as_by("", &section.next("chancery ceremony record"), &is);
        section.next("chancery ceremony verify");
        section.end();
    }

    fn rotation(&self, before: &str) -> String {
        let mut script = Section::whole("docs/ceremonies/rotation.md");
        let shown = self.as_by("", &script.next("chancery ring show"), &[]);
        assert!(shown.contains(before), "{shown}");
        let propose = script.next("chancery ceremony new generate");
        let rejected = last_line(&self.as_by("adam", &propose, &[]));
        let id = last_line(&self.as_by("adam", &propose, &[]));
        let is = [("ID", id.as_str())];
        let seen = self.as_by("ada", &script.next("chancery ceremony review ID"), &is);
        assert!(seen.contains(before), "{seen}");
        let reject = script.next("chancery ceremony reject ID");
        self.as_by("carl", &reject, &[("ID", &rejected)]);
        let approve = script.next("chancery ceremony approve ID");
        for who in ["ada", "berta"] {
            self.as_by(who, &approve, &is);
        }
        self.as_by("wanda", &script.next("chancery ceremony note ID"), &is);
        let kid = kid_of(&self.as_by("", &script.next("chancery ceremony execute ID"), &is));
        let is = [("ID", id.as_str()), ("KID", kid.as_str())];
        let review = script.next("chancery ceremony review ID --result");
        let accept = script.next("chancery ceremony accept ID");
        for who in ["ada", "berta"] {
            self.as_by(who, &review, &is);
            self.as_by(who, &accept, &is);
        }
        let plan = script.next("chancery ring rotate integrity");
        self.reader.runs_when_due(&plan, &[]);
        self.as_by(
            "",
            &script.next("chancery ring rotate integrity --apply"),
            &[],
        );
        self.as_by("wanda", &script.next("chancery ceremony attest ID"), &is);
        let fetch = script.next("curl -sS -o transcript.json");
        self.fetches(&fetch, &is, "tlog-proof");
        self.as_by("", &script.next("curl -sS -o attestations.json"), &is);
        self.as_by("", &script.next("chancery ceremony record"), &is);
        let page = self.reader.read("rotation.html");
        assert!(page.contains("<th>root</th>"), "{page}");
        script.end();
        kid
    }

    /// Another ceremony was open meanwhile; what it is called anew.
    fn roster_change(&self) -> String {
        let mut first = Section::whole("docs/ceremonies/first-key.md");
        first.next("chancery trust show");
        let old =
            last_line(&self.as_by("adam", &first.next("chancery ceremony new generate"), &[]));
        let mut script = Section::whole("docs/ceremonies/roster-change.md");
        // On the table, from the newcomer's hand.
        let fingerprint = script.next("ssh-keygen -lf dora.pub");
        self.as_by("", &script.next("chancery trust show"), &[]);
        let read = self.as_by("", &script.next("ssh-keygen -lf dora.pub"), &[]);
        assert_eq!(read, self.as_by("", &fingerprint, &[]));
        let id = id_of(&self.as_by("ada", &script.next("chancery trust new-roster"), &[]));
        let is = [("ID", id.as_str()), ("OLD", old.as_str())];
        self.as_by("ada", &script.next("chancery trust review ID --out"), &is);
        let seen = self.as_by("berta", &script.next("chancery trust review ID"), &is);
        assert!(seen.contains("dora"), "{seen}");
        let seen = self.as_by(
            "",
            &script.next("chancery ceremony review next-roster"),
            &is,
        );
        assert!(seen.contains(&id), "{seen}");
        self.as_by("dora", &script.next("chancery trust sign next-roster"), &is);
        let said = self.as_by("berta", &script.next("chancery trust sign ID"), &is);
        assert!(said.contains("effective"), "{said}");
        self.refuses("carl", &script.next("chancery trust reject ID"), &is);
        let shown = self.as_by("", &script.next("chancery trust show"), &is);
        assert!(shown.contains("dora"), "{shown}");
        let renewed =
            last_line(&self.as_by("adam", &script.next("chancery ceremony renew OLD"), &is));
        self.as_by("", &script.next("curl -sS -o chain.json"), &is);
        script.end();
        renewed
    }

    fn lost_custodian(&self, unknown: &str) {
        let mut script = Section::whole("docs/ceremonies/lost-custodian.md");
        let id = id_of(&self.as_by("ada", &script.next("chancery trust suspend"), &[]));
        let is = [("ID", id.as_str()), ("UNKNOWN", unknown)];
        self.as_by("carl", &script.next("chancery trust review ID"), &is);
        let said = self.as_by("carl", &script.next("chancery trust sign ID"), &is);
        assert!(!said.contains("open"), "{said}");
        let listed = self.as_by("ada", &script.next("chancery ceremony list"), &is);
        assert!(listed.contains(unknown), "{listed}");
        self.as_by(
            "carl",
            &script.next("chancery ceremony reject UNKNOWN"),
            &is,
        );
        let next = id_of(&self.as_by("ada", &script.next("chancery trust new-roster"), &is));
        let is = [("NEXT", next.as_str())];
        self.as_by("ada", &script.next("chancery trust review NEXT"), &is);
        self.as_by(
            "berta-2",
            &script.next("chancery trust sign next-keys"),
            &is,
        );
        // "The other custodians sign as in that script."
        let sign = "chancery trust sign ID --url URL --genesis SHA256 --key KEY";
        let said = self.as_by("carl", sign, &[("ID", &next)]);
        assert!(said.contains("effective"), "{said}");
        self.as_by("", &script.next("chancery trust show"), &is);
        script.end();
    }

    fn emergency(&self, kid: &str) {
        // A standby key, as there should be, which could sign by now.
        self.another_key();
        self.reader
            .runs_when_due("chancery ring rotate integrity", &[]);
        let mut script = Section::whole("docs/ceremonies/emergency.md");
        self.as_by("ada", &script.next("chancery emergency stop"), &[]);
        let state = self.as_by("adam", &script.next("chancery emergency state"), &[]);
        assert!(state.contains("integrity"), "{state}");
        let since = self.reader.runs("date -u +%Y-%m-%dT%H:%M:%S.000Z", &[]);
        let is = [("KID", kid), ("SINCE", since.as_str())];
        let id = last_line(&self.as_by("adam", &script.next("chancery ring revoke"), &is));
        let is = [("KID", kid), ("ID", id.as_str())];
        let review = script.next("chancery ceremony review ID");
        let approve = script.next("chancery ceremony approve ID");
        for who in ["ada", "carl"] {
            let seen = self.as_by(who, &review, &is);
            assert!(seen.contains(kid) && seen.contains("compromised"), "{seen}");
            self.as_by(who, &approve, &is);
        }
        self.as_by("wanda", &script.next("chancery ceremony exception ID"), &is);
        let said = self.as_by("", &script.next("chancery ceremony execute ID"), &is);
        assert!(said.contains("executed"), "{said}");
        let accept = script.next("chancery ceremony accept ID");
        for who in ["ada", "carl"] {
            self.as_by(who, &accept, &is);
        }
        let shown = self.as_by("", &script.next("chancery ring show"), &is);
        assert!(shown.contains("revoked"), "{shown}");
        let resume = script.next("chancery emergency resume");
        let go = id_of(&last_line(&self.as_by("adam", &resume, &[])));
        let goes = [("GO", go.as_str())];
        let review = script.next("chancery ceremony review GO");
        let approve = script.next("chancery ceremony approve GO");
        for who in ["ada", "carl"] {
            self.as_by(who, &review, &goes);
            self.as_by(who, &approve, &goes);
        }
        self.as_by("", &script.next("chancery ceremony execute GO"), &goes);
        let accept = script.next("chancery ceremony accept GO");
        for who in ["ada", "carl"] {
            self.as_by(who, &accept, &goes);
        }
        self.as_by("", &script.next("curl -sS -o transcript.json"), &is);
        self.as_by("", &script.next("chancery ceremony record"), &is);
        assert!(
            self.reader
                .read("emergency.html")
                .contains("decided by ada at")
        );
        script.end();
    }

    /// Its kid.
    pub fn another_key(&self) -> String {
        let mut script = Section::whole("docs/ceremonies/rotation.md");
        script.next("chancery ring show");
        let id =
            last_line(&self.as_by("adam", &script.next("chancery ceremony new generate"), &[]));
        let is = [("ID", id.as_str())];
        for who in ["ada", "carl"] {
            self.as_by(
                who,
                "chancery ceremony approve ID --url URL --genesis SHA256 --key KEY",
                &is,
            );
        }
        let kid = kid_of(&self.as_by("", "chancery ceremony execute ID", &is));
        let is = [("ID", id.as_str()), ("KID", kid.as_str())];
        for who in ["ada", "carl"] {
            let accept =
                "chancery ceremony accept ID --kid KID --url URL --genesis SHA256 --key KEY";
            self.as_by(who, accept, &is);
        }
        kid
    }

    fn recovery(&self) {
        let mut script = Section::whole("docs/ceremonies/recovery.md");
        let enrol = script.next("chancery trust new-recovery-roster");
        self.as_by("ada", &enrol, &[]);
        let seen = self.as_by(
            "rita",
            &script.next("chancery ceremony review recovery-roster"),
            &[],
        );
        assert!(seen.contains("rob"), "{seen}");
        let sign = script.next("chancery trust sign recovery-roster");
        let said = ["rita", "rob", "carl"].map(|who| self.as_by(who, &sign, &[]));
        assert!(said[2].contains("effective"), "{said:?}");
        let shown = self.as_by("", &script.next("chancery trust show"), &[]);
        assert!(shown.contains("rita"), "{shown}");
        self.reader.takes_away("next-roster");
        let recover = script.next("chancery trust new-roster --recover");
        let id = id_of(&self.as_by("rita", &recover, &[]));
        let is = [("ID", id.as_str())];
        self.as_by(
            "rob",
            &script.next("chancery ceremony review next-roster"),
            &is,
        );
        let sign = script.next("chancery trust sign next-roster");
        let said = ["rob", "frank", "gina"].map(|who| self.as_by(who, &sign, &is));
        assert!(said[2].contains("announced"), "{said:?}");
        let said = self.as_by("carl", &script.next("chancery trust veto ID"), &is);
        assert!(said.contains("rejected"), "{said}");
        self.as_by("", &script.next("chancery trust show"), &is);
        script.end();
    }
}

#[test]
fn case_c8_the_scripts_of_the_ceremonies_are_held_as_printed() {
    let room = Room::new();
    let first = room.first_key();
    let second = room.rotation(&first);
    let renewed = room.roster_change();
    room.lost_custodian(&renewed);
    room.emergency(&second);
    room.recovery();
    assert!(fs::exists(room.reader.file("rotation.html")).expect("a directory"));
}
