//! Statements of stops: the rows that keep what members signed, held against the leaves that tell of them.

use std::collections::BTreeMap;

use trust::emergency::OpenStop;
use trust::leaf::ActLeaf;
use trust::request::DocumentRef;
use trust::stop::{VerifiedStop, roster_of, verify_stop};
use trust::stop_file::tells;
use trust::{Chains, MemberSignature, Pin, Sha256Digest, Trusted};

use store::StopRow;

/// The chain of rosters as it is, and as it was: each part is walked once.
pub struct Rosters<'a> {
    pin: &'a Pin,
    chain: Option<(&'a Chains, &'a Trusted)>,
    walked: BTreeMap<(u64, Sha256Digest), Option<Trusted>>,
}

impl<'a> Rosters<'a> {
    pub fn new(pin: &'a Pin, chain: Option<(&'a Chains, &'a Trusted)>) -> Self {
        Self {
            pin,
            chain,
            walked: BTreeMap::new(),
        }
    }

    /// The chain as it was under a roster.
    fn of(&mut self, roster: DocumentRef) -> Result<&Trusted, String> {
        let (chains, trusted) = self.chain.ok_or("no roster in the database verifies")?;
        if roster == trusted.roster_ref() {
            return Ok(trusted);
        }
        let named = (roster.version, roster.digest);
        let walked = self.walked.entry(named);
        let then = walked.or_insert_with(|| roster_of(chains, self.pin, roster));
        then.as_ref()
            .ok_or_else(|| "it names no roster of the chain".to_owned())
    }

    /// The statement of a stop, if a member signed it who might.
    pub fn statement(&mut self, row: &StopRow) -> Result<VerifiedStop, String> {
        if Sha256Digest::of(&row.body) != row.id {
            return Err("its body has another digest".to_owned());
        }
        let read = trust::stop::StopBody::decode(&row.body).map_err(|error| error.to_string())?;
        let signature = MemberSignature::decode(row.signature.as_bytes());
        let signature = signature.map_err(|error| error.to_string())?;
        let roster = self.of(read.roster)?;
        let verified = verify_stop(roster, &row.body, &signature);
        let verified = verified.map_err(|error| error.to_string())?;
        let line = (
            &verified.body.line.subject.to_string(),
            verified.body.line.sequence.cast_signed(),
        );
        if line != (&row.line.subject, row.line.seq) {
            return Err("its row has another place in the line".to_owned());
        }
        Ok(verified)
    }

    /// The same, if the row is the one that its leaf tells of.
    pub fn stop(&mut self, row: &StopRow, leaf: Option<&ActLeaf>) -> Result<VerifiedStop, String> {
        let leaf = leaf.ok_or("the log does not tell of it")?;
        let verified = self.statement(row)?;
        if !tells(leaf, &verified, Sha256Digest::of(row.signature.as_bytes())) {
            return Err("its leaf tells of another".to_owned());
        }
        match leaf.time <= verified.body.expires_at {
            true => Ok(verified),
            false => Err("it was taken after its expiry".to_owned()),
        }
    }
}

/// What the row of a stop says by itself, as the leaf that tells of it would.
pub fn unlogged(row: &StopRow, stop: &VerifiedStop) -> OpenStop {
    OpenStop {
        scope: stop.scope.clone(),
        digest: stop.digest,
        sequence: stop.body.line.sequence,
        index: row.index.unwrap_or(-1),
        since: row.at,
    }
}
