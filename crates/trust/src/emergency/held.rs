//! Who decided a ceremony that takes effect by its leaf, and under which rosters. A transcript shows neither when it was
//! made nor whom the log had suspended by then: the log does.

use crate::digest::Sha256Digest;
use crate::json::JsonError;
use crate::leaf::{ActKind, ActLeaf};
use crate::logged_quorum::{Decision, Suspended, Undecided};
use crate::order_log::ORDERED;
use crate::time::Time;
use crate::transcript::{Transcript, VerifiedTranscript};

/// What the log has to bear out of a resume, a ratification, a standing order or a rotation policy. The rosters may be former
/// ones, and whoever left may have kept a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldUnder {
    /// How many documents the chain had.
    pub documents: u64,
    /// Later, nothing is accepted under a former chain.
    pub execute_by: Time,
    /// SHA-256 of the request.
    request: Sha256Digest,
    /// SHA-256 of the transcript as it was carried out, without acceptances.
    execution: Sha256Digest,
    decision: Decision,
}

impl HeldUnder {
    /// Of a transcript that verifies.
    pub fn of(bytes: &[u8], verified: &VerifiedTranscript) -> Result<Self, JsonError> {
        Ok(Self {
            documents: verified.trusted().length(),
            execute_by: verified.request().execute_by,
            request: verified.statement().request_digest,
            execution: Transcript::decode(bytes)?.execution_digest()?,
            decision: verified.decision(),
        })
    }

    /// SHA-256 of the request, which names the ceremony.
    pub fn ceremony(&self) -> Sha256Digest {
        self.request
    }

    /// Whether a leaf tells that just this was carried out: whoever may write there could have told of it before anybody
    /// had approved it.
    pub fn is_execution(&self, act: &ActLeaf) -> bool {
        act.kind == ActKind::Ceremony
            && matches!(
                &*act.action,
                "resumed" | "ratified" | "policy-set" | ORDERED
            )
            && act.digest == Some(self.execution)
            && act.reference.as_deref() == Some(&*self.request.to_string())
    }

    /// Whether enough of those who decided it counted by the log. `executed` is the leaf that tells of its execution,
    /// `effect` that by which it takes effect.
    pub fn check(
        &self,
        executed: Option<i64>,
        effect: i64,
        suspensions: &[Suspended],
    ) -> Result<(), Undecided> {
        self.decision.check(executed, effect, suspensions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logged_quorum::Quorum;

    #[test]
    fn threat_an_execution_is_told_before_anybody_approved_it() {
        let nobody = Quorum {
            members: Vec::new(),
            by_passkey: Vec::new(),
            needed: 0,
            keys: 0,
        };
        let held = HeldUnder {
            documents: 1,
            execute_by: Time::from_millis(0),
            request: Sha256Digest::of(b"request"),
            execution: Sha256Digest::of(b"execution"),
            decision: Decision {
                proposer: None,
                approved: nobody.clone(),
                accepted: nobody,
            },
        };
        let told = |action: &str, digest: &[u8]| {
            let leaf = ActLeaf {
                digest: Some(Sha256Digest::of(digest)),
                reference: Some(held.ceremony().to_string()),
                ..ActLeaf::new(ActKind::Ceremony, action, "test", Time::from_millis(0))
            };
            held.is_execution(&leaf)
        };
        assert!(told("resumed", b"execution"));
        assert!(!told("resumed", b"another"));
        assert!(!told("accepted", b"execution"));
    }
}
