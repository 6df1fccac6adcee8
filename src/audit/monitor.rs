//! What a monitor decides: a log that it does not run, held against what it saw of it before.
//!
//! It remembers the last checkpoint, the right edge of its tree and the acts on keys. New entries
//! grow the remembered edge; if they lead to the root that is signed now, the log has only grown and
//! the entries are the ones in the tree. Nothing here fetches anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trust::format::V1;
use trust::leaf::Leaf;
use trust::tlog::checkpoint::Checkpoint;
use trust::tlog::merkle::{Frontier, leaf_hash};
use trust::tlog::note::Note;
use trust::tlog::policy::Witnessed;
use trust::{Kid, LOG_RING, Pin, PublicKey, Request, Sha256Digest, Time, Transcript};

use super::acts::{Act, Acts, acceptance, replay};
use super::finding::Findings;
use super::leaves::Clock;

/// What is remembered between rounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Every act that changed a key, in the order of the log.
    acts: Vec<Act>,
    /// The latest time of any leaf.
    clock: Time,
    /// The right edge of the tree.
    frontier: Vec<Sha256Digest>,
    genesis: Sha256Digest,
    /// The last good checkpoint, with its signatures: the evidence, should the log fork.
    note: String,
    origin: String,
    root: Sha256Digest,
    size: u64,
    v: V1,
}

#[derive(Debug, thiserror::Error)]
pub enum BadState {
    #[error("the state is not JSON of its form")]
    Json(#[from] serde_json::Error),
    #[error("the state does not hold together: its tree is not that of its checkpoint")]
    Root,
    #[error("the state is of the installation with the genesis {0}")]
    Genesis(Sha256Digest),
}

impl State {
    pub fn decode(bytes: &[u8], genesis: Sha256Digest) -> Result<Self, BadState> {
        let state: Self = serde_json::from_slice(bytes)?;
        if state.genesis != genesis {
            return Err(BadState::Genesis(state.genesis));
        }
        let frontier = Frontier::from_parts(state.size, &state.frontier);
        let note = Note::parse(state.note.as_bytes()).ok();
        let said = note.and_then(|note| Checkpoint::parse(&note.text).ok());
        let whole = said.is_some_and(|said| {
            (said.size, said.root, said.origin) == (state.size, state.root, state.origin.clone())
        });
        match frontier {
            Ok(frontier) if whole && frontier.root() == state.root => Ok(state),
            _ => Err(BadState::Root),
        }
    }

    pub fn encode(&self) -> Result<Vec<u8>, BadState> {
        Ok(serde_json::to_vec_pretty(self)?)
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn root(&self) -> Sha256Digest {
        self.root
    }
}

/// How a checkpoint stands to the one that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Same,
    /// It says that it has grown; its entries have to show that.
    Grown,
    Shrunk,
    /// Another root for the same size, or another log.
    Forked,
}

/// A key by its verified transcript.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub public: PublicKey,
    pub ring: String,
    pub prepared_at: Time,
    /// SHA-256 of the transcript without the log's proofs, as the log names it.
    pub digest: Sha256Digest,
}

impl Certificate {
    /// Verifies a transcript from the pinned genesis, for the installation that it is of.
    pub fn verify(bytes: &[u8], genesis: Sha256Digest, kid: &Kid) -> Result<Self, String> {
        // Whom it says it is for; the genesis says whether that is so.
        let request = Transcript::decode(bytes)
            .and_then(|transcript| Request::decode(transcript.record.request.as_bytes()))
            .map_err(|error| error.to_string())?;
        let pin = Pin {
            genesis,
            service: request.service,
            environment: request.environment,
        };
        let told = |error: trust::TranscriptError| crate::telemetry::chain(&error);
        let verified = trust::verify_transcript(bytes, &pin).map_err(told)?;
        let prepared_at = verified.statement().executed_at;
        let digest = verified.core_digest();
        let accepted = verified.into_accepted(kid).map_err(told)?;
        Ok(Self {
            public: accepted.public_key().clone(),
            ring: accepted.order().ring.to_string(),
            prepared_at,
            digest,
        })
    }
}

/// A key in a published set.
pub struct Published<'a> {
    pub kid: &'a Kid,
    /// Or why there is none.
    pub certificate: Result<&'a Certificate, &'a str>,
}

/// The log as far as one round has read it.
pub struct Watch {
    genesis: Sha256Digest,
    remembered: Option<State>,
    frontier: Frontier,
    clock: Clock,
    acts: Acts,
}

impl Watch {
    /// Goes on from what is remembered, or begins.
    pub fn resume(genesis: Sha256Digest, state: Option<State>) -> Result<Self, BadState> {
        let mut watch = Self {
            genesis,
            remembered: None,
            frontier: Frontier::new(),
            clock: Clock::default(),
            acts: Acts::default(),
        };
        if let Some(state) = state {
            let frontier = Frontier::from_parts(state.size, &state.frontier);
            watch.frontier = frontier.map_err(|_| BadState::Root)?;
            watch.clock = Clock::new(state.clock);
            for act in &state.acts {
                watch.acts.of_keys(&Arc::new(act.clone()));
            }
            watch.remembered = Some(state);
        }
        Ok(watch)
    }

    pub fn remembered(&self) -> Option<&State> {
        self.remembered.as_ref()
    }

    /// How many entries were read.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub fn standing(&self, now: &Checkpoint) -> Standing {
        let Some(before) = &self.remembered else {
            return Standing::Grown;
        };
        if now.origin != before.origin {
            Standing::Forked
        } else if now.size < before.size {
            Standing::Shrunk
        } else if now.size > before.size {
            Standing::Grown
        } else if now.root == before.root {
            Standing::Same
        } else {
            Standing::Forked
        }
    }

    /// The next entry.
    pub fn entry(&mut self, body: &[u8], findings: &mut Findings) {
        let index = self.frontier.size() as i64;
        self.frontier.push(leaf_hash(body));
        let time = match Leaf::parse(body) {
            Ok(Leaf::Signature(leaf)) => leaf.time,
            Ok(Leaf::Act(leaf)) => {
                let time = leaf.time;
                self.acts.of_keys(&Arc::new(Act { index, leaf: *leaf }));
                time
            }
            // Counted with the tree; what it says is for a later version to know.
            Ok(Leaf::Unknown(leaf)) => leaf.time,
            Err(error) => {
                let what = format!("the leaf cannot be read: {error}");
                findings.add("unreadable", Some(index), what);
                return;
            }
        };
        let before = self.clock.at();
        if self.clock.tick(time) {
            let what = format!("{time} is behind {before}, which an earlier leaf tells");
            findings.add("backdated", Some(index), what);
        }
    }

    /// Whether what was read is the tree of the checkpoint.
    pub fn ends_in(&self, now: &Checkpoint) -> bool {
        self.frontier.size() == now.size && self.frontier.root() == now.root
    }

    /// The rings that the log tells of.
    pub fn rings(&self) -> BTreeSet<String> {
        let acts = self.acts.keys.values().flatten();
        acts.filter_map(|act| act.leaf.ring.clone()).collect()
    }

    /// Keys of the log that its acts tell of: one that was revoked is in no set and has signed.
    pub fn log_keys(&self) -> Vec<Kid> {
        let of_log = |act: &Act| act.leaf.ring.as_deref() == Some(LOG_RING);
        let keys = self.acts.keys.iter();
        keys.filter(|(_, acts)| acceptance(acts).is_some_and(of_log))
            .map(|(kid, _)| kid.clone())
            .collect()
    }

    /// Every published key was accepted by a ceremony that the log tells of, and lives.
    pub fn published(&self, keys: &[Published<'_>], findings: &mut Findings) {
        for key in keys {
            self.key(key, findings);
        }
    }

    fn key(&self, key: &Published<'_>, findings: &mut Findings) {
        let kid = key.kid;
        let certificate = match key.certificate {
            Ok(certificate) => certificate,
            Err(why) => {
                let what = format!("key {kid} is published without a ceremony: {why}");
                findings.add("key_unlogged", None, what);
                return;
            }
        };
        let acts = self.acts.keys.get(kid).map_or(&[][..], Vec::as_slice);
        let Some(accepted) = acceptance(acts) else {
            let what = format!("key {kid} is published, and no leaf says that it was accepted");
            findings.add("key_unlogged", None, what);
            return;
        };
        let digest = accepted.leaf.digest;
        if digest.is_some_and(|digest| digest != certificate.digest) {
            let what = format!("key {kid} is published with another transcript than was accepted");
            findings.add("key_unlogged", Some(accepted.index), what);
        }
        match replay(kid, certificate.prepared_at, acts) {
            Err((index, error)) => {
                let what = format!("the life of key {kid} in the log: {error}");
                findings.add("history", Some(index), what);
            }
            Ok(history) if history.life().revocation.is_some() => {
                let revocation = |act: &&Arc<Act>| act.leaf.previous_kid.as_ref() == Some(kid);
                let index = acts.iter().rfind(revocation).map(|act| act.index);
                let what = format!("key {kid} is published, and the log says that it was revoked");
                findings.add("revoked_in_jwks", index, what);
            }
            Ok(_) => {}
        }
    }

    /// A log that says nothing for so long was stopped or is hidden. Where witnesses are asked for,
    /// their clocks count too.
    pub fn fresh(
        &self,
        witnessed: Option<&Witnessed>,
        max_age: Duration,
        now: Time,
        findings: &mut Findings,
    ) {
        let mut last = vec![("the newest leaf", Some(self.clock.at()))];
        if let Some(witnessed) = witnessed {
            if witnessed.complete {
                last.push(("the quorum of witnesses", witnessed.at));
            } else {
                let what = "the checkpoint has not the cosignatures that the policy asks for";
                findings.add("witnesses", None, what);
            }
        }
        for (who, at) in last {
            if let Some(at) = at.filter(|at| *at + max_age < now) {
                findings.add("stale", None, format!("{who} is of {at}"));
            }
        }
    }

    /// What to remember, once the tree of the checkpoint was read to its end.
    pub fn state(&self, now: &Checkpoint, note: &str) -> State {
        let by_place: BTreeMap<i64, &Act> = self
            .acts
            .keys
            .values()
            .flatten()
            .map(|act| (act.index, act.as_ref()))
            .collect();
        State {
            acts: by_place.into_values().cloned().collect(),
            clock: self.clock.at(),
            frontier: self.frontier.hashes().to_vec(),
            genesis: self.genesis,
            note: note.to_owned(),
            origin: now.origin.clone(),
            root: now.root,
            size: now.size,
            v: V1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: &[u8] = b"genesis";

    fn leaf(millis: i64, kid: &str, action: &str) -> Vec<u8> {
        let time = Time::from_millis(millis);
        let kind = if action == "accepted" {
            "ceremony"
        } else {
            "key"
        };
        let (kid, more) = match action {
            "revoke" => (
                "",
                format!("\"previous_kid\":\"{kid}\",\"reason\":\"unspecified\","),
            ),
            _ => (kid, String::new()),
        };
        let kid = match kid {
            "" => String::new(),
            kid => format!("\"kid\":\"{kid}\","),
        };
        format!(
            "{{\"action\":\"{action}\",\"actor\":\"a\",{kid}\"kind\":\"{kind}\",{more}\"ring\":\"atp\",\"time\":\"{time}\",\"v\":1}}"
        )
        .into_bytes()
    }

    fn checkpoint(watch: &Watch) -> Checkpoint {
        Checkpoint {
            origin: "log.example".to_owned(),
            size: watch.size(),
            root: watch.frontier.root(),
        }
    }

    /// A log of these leaves, read and remembered.
    fn seen(leaves: &[Vec<u8>]) -> (Watch, State) {
        let genesis = Sha256Digest::of(GENESIS);
        let mut watch = Watch::resume(genesis, None).unwrap();
        let mut findings = Findings::default();
        leaves
            .iter()
            .for_each(|leaf| watch.entry(leaf, &mut findings));
        assert!(findings.into_parts().0.is_empty());
        let state = {
            let now = checkpoint(&watch);
            watch.state(&now, &format!("{}\n\u{2014} x AAAAAAA=\n", now.body()))
        };
        (watch, state)
    }

    fn codes(findings: Findings) -> Vec<&'static str> {
        let (told, _) = findings.into_parts();
        told.into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn what_is_remembered_comes_back_and_a_touched_state_does_not() {
        let kid = "A".repeat(43);
        let (_, state) = seen(&[leaf(1, &kid, "accepted"), leaf(2, &kid, "rotate")]);
        let bytes = state.encode().unwrap();
        let genesis = Sha256Digest::of(GENESIS);
        assert_eq!(State::decode(&bytes, genesis).unwrap(), state);
        let other = State::decode(&bytes, Sha256Digest::of(b"another"));
        assert!(matches!(other, Err(BadState::Genesis(_))));
        let text = String::from_utf8(bytes).unwrap();
        let touched = text.replace("\"size\": 2", "\"size\": 1");
        assert_ne!(touched, text);
        assert!(State::decode(touched.as_bytes(), genesis).is_err());
    }

    #[test]
    fn a_log_that_shrank_or_forked_is_told_from_one_that_grew() {
        let kid = "A".repeat(43);
        let leaves = [leaf(1, &kid, "accepted"), leaf(2, &kid, "rotate")];
        let (watch, state) = seen(&leaves);
        let now = checkpoint(&watch);
        let resumed = Watch::resume(Sha256Digest::of(GENESIS), Some(state.clone())).unwrap();
        assert_eq!(resumed.standing(&now), Standing::Same);
        for (changed, standing) in [
            (
                Checkpoint {
                    size: 1,
                    ..now.clone()
                },
                Standing::Shrunk,
            ),
            (
                Checkpoint {
                    root: Sha256Digest::of(b"x"),
                    ..now.clone()
                },
                Standing::Forked,
            ),
            (
                Checkpoint {
                    origin: "other".to_owned(),
                    ..now.clone()
                },
                Standing::Forked,
            ),
            (
                Checkpoint {
                    size: 3,
                    ..now.clone()
                },
                Standing::Grown,
            ),
        ] {
            assert_eq!(resumed.standing(&changed), standing);
        }
        // Grown from what was seen, and from something else.
        let third = leaf(3, &kid, "revoke");
        let (grown, _) = seen(&[leaves[0].clone(), leaves[1].clone(), third.clone()]);
        let (forked, _) = seen(&[leaves[1].clone(), leaves[0].clone(), third.clone()]);
        for (log, ends) in [(grown, true), (forked, false)] {
            let mut watch = Watch::resume(Sha256Digest::of(GENESIS), Some(state.clone())).unwrap();
            watch.entry(&third, &mut Findings::default());
            assert_eq!(watch.ends_in(&checkpoint(&log)), ends);
        }
    }

    #[test]
    fn leaves_that_are_garbled_or_backdated_are_told() {
        let (mut watch, _) = seen(&[leaf(10_000_000, &"A".repeat(43), "accepted")]);
        let mut findings = Findings::default();
        watch.entry(b"{}", &mut findings);
        watch.entry(
            &leaf(10_000_000 - 300_000, &"E".repeat(43), "accepted"),
            &mut findings,
        );
        watch.entry(
            &leaf(10_000_000 - 300_001, &"I".repeat(43), "accepted"),
            &mut findings,
        );
        assert_eq!(codes(findings), ["unreadable", "backdated"]);
    }

    #[test]
    fn a_published_key_has_its_ceremony_in_the_log_and_lives() {
        // The base point, as good a public key as any.
        let mut point = [0x66; 32];
        point[0] = 0x58;
        let public = PublicKey::ed25519(&point).unwrap();
        let kid = public.kid();
        let certificate = Certificate {
            public,
            ring: "atp".to_owned(),
            prepared_at: Time::from_millis(0),
            digest: Sha256Digest::of(b"transcript"),
        };
        let accepted = |digest: &[u8]| {
            let text = String::from_utf8(leaf(1, kid.as_str(), "accepted")).unwrap();
            let digest = Sha256Digest::of(digest);
            let digest = format!("\"digest\":\"{digest}\",\"kid\"");
            text.replacen("\"kid\"", &digest, 1).into_bytes()
        };
        let good = accepted(b"transcript");
        let known: Result<&Certificate, &str> = Ok(&certificate);
        for (leaves, certificate, expected) in [
            (vec![good.clone()], known, vec![]),
            // A leaf of an older program.
            (vec![leaf(1, kid.as_str(), "accepted")], known, vec![]),
            (vec![], known, vec!["key_unlogged"]),
            (
                vec![leaf(1, kid.as_str(), "rotate")],
                known,
                vec!["key_unlogged"],
            ),
            (
                vec![good.clone()],
                Err("no transcript"),
                vec!["key_unlogged"],
            ),
            (vec![accepted(b"another")], known, vec!["key_unlogged"]),
            (
                vec![good.clone(), leaf(2, kid.as_str(), "revoke")],
                known,
                vec!["revoked_in_jwks"],
            ),
            (
                vec![good, leaf(2, kid.as_str(), "retire")],
                known,
                vec!["history"],
            ),
        ] {
            let (watch, _) = seen(&leaves);
            let mut findings = Findings::default();
            let key = Published {
                kid: &kid,
                certificate,
            };
            watch.published(&[key], &mut findings);
            assert_eq!(codes(findings), expected);
        }
    }

    #[test]
    fn silence_is_told() {
        let (watch, _) = seen(&[leaf(10_000, &"A".repeat(43), "accepted")]);
        let max_age = Duration::from_secs(1);
        let mut findings = Findings::default();
        watch.fresh(None, max_age, Time::from_millis(11_000), &mut findings);
        assert_eq!(codes(findings), Vec::<&str>::new());
        let mut findings = Findings::default();
        watch.fresh(None, max_age, Time::from_millis(11_001), &mut findings);
        assert_eq!(codes(findings), ["stale"]);
    }
}
