//! What happens to the log itself: a wrong clock that is corrected, leaves that are lost.

use serde_json::json;
use trust::evidence::Certified;
use trust::request::{ClockCorrection, LostLeaves, NewOrigin, Operation};
use trust::*;

use super::{Story, encoded};
use crate::support::{log, minute};

impl Story {
    /// A ceremony on the log that begins in this minute, and the digest of its request.
    pub fn add_log_act(&mut self, at: u64, operation: Operation) -> (String, Sha256Digest) {
        self.world.clock = at;
        let request = self.world.request_for(operation);
        let transcript = encoded(&self.world.done(&request));
        self.world.clock = 0;
        (transcript, Sha256Digest::of(&request.encode().unwrap()))
    }

    /// In minute `at` it is found that these leaves were written by minute `bound`.
    pub fn correct(&mut self, at: u64, bound: u64, first: u64, last: u64) -> &mut Self {
        let correction = ClockCorrection {
            bound: minute(bound),
            first,
            last,
            origin: self.origin.clone(),
        };
        let operation = Operation::ClockCorrection(correction);
        let (transcript, request) = self.add_log_act(at, operation);
        let leaf = json!({
            "kind": "log", "action": "clock-correction", "actor": "test", "time": minute(at + 11),
            "ref": request, "digest": Sha256Digest::of(transcript.as_bytes()),
            "first": first, "last": last, "bound": minute(bound), "origin": self.origin,
        });
        let index = self.leaf(leaf);
        self.corrections.push((index, transcript));
        self
    }

    /// In minute `at` the log begins anew with its first `size` leaves.
    pub fn begin_again(&mut self, at: u64, origin: &str, size: usize) -> &mut Self {
        let old = std::mem::replace(&mut self.origin, origin.to_owned());
        let checkpoint = log::checkpoint(&old, &self.log_key, &self.leaves);
        let lost = (size < self.leaves.len()).then(|| LostLeaves {
            first: size as u64,
            last: self.leaves.len() as u64 - 1,
        });
        let operation = Operation::NewOrigin(NewOrigin {
            lost,
            origin: origin.to_owned(),
            previous_checkpoint: checkpoint.to_string(),
            previous_origin: old.clone(),
            root: log::root(&self.leaves[..size]),
            size: size as u64,
        });
        let (transcript, request) = self.add_log_act(at, operation);
        let old_size = self.leaves.len();
        let survivors = self.leaves[..size].to_vec();
        let whole = std::mem::replace(&mut self.leaves, survivors);
        self.before.push((old, whole));
        let leaf = json!({
            "kind": "log", "action": "new-origin", "actor": "test", "time": minute(at + 11),
            "ref": request, "digest": Sha256Digest::of(transcript.as_bytes()),
            "origin": origin, "first": size, "last": old_size,
        });
        let index = self.leaf(leaf);
        self.origins.push((index, transcript));
        self
    }

    pub(super) fn certified(&self, acts: &[(usize, String)]) -> Vec<Certified> {
        // Proven in the newest tree in which the ceremony's leaf stands.
        let certified = |(index, transcript): &(usize, String)| {
            let digest = Sha256Digest::of(transcript.as_bytes()).to_string();
            let told = |leaves: &&Vec<String>| {
                let leaf = leaves.get(*index);
                leaf.is_some_and(|leaf| leaf.contains(&digest))
            };
            let now = (&self.origin, &self.leaves);
            let before = self.before.iter().map(|(origin, leaves)| (origin, leaves));
            let mut all = std::iter::once(now).chain(before.rev());
            let tree = all.find(|(_, leaves)| told(leaves)).unwrap_or(now);
            Certified {
                leaf: tree.1[*index].clone(),
                proof: log::proof(tree.0, &self.log_key, tree.1, *index).to_string(),
                transcript: transcript.clone(),
            }
        };
        acts.iter().map(certified).collect()
    }

    /// The file with the signature's leaf proven under an earlier origin, where it was lost.
    pub fn with_lost(&self, number: usize) -> evidence::Evidence {
        let (origin, leaves) = &self.before[number];
        let mut file = self.file_without_leaf();
        file.leaf = leaves[self.signed].clone();
        file.proof = log::proof(origin, &self.log_key, leaves, self.signed).to_string();
        file
    }
}
