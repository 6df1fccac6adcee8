//! What a request must satisfy whoever signs it.

use crate::alg::{Algorithm, KeySpec};
use crate::text;
use crate::time::Time;

use super::{Generate, Operation, Request, RevocationReason, Revoke};

/// A request that no quorum can approve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The instants are not in order.
    #[error("{earlier} ({earlier_at}) is not before {later} ({later_at})")]
    Order {
        /// The member that should be earlier.
        earlier: &'static str,
        /// Its value.
        earlier_at: Time,
        /// The member that should be later.
        later: &'static str,
        /// Its value.
        later_at: Time,
    },
    /// The algorithm does not take such a key.
    #[error("operation.generate: {0} does not take {1} keys")]
    KeySpec(Algorithm, KeySpec),
    /// The private key would not be safe, or not a signing key.
    #[error("operation.generate.template: {0} is not as a signing key needs it")]
    Template(&'static str),
    /// Numbers start at 1, and exactly the first key has no predecessor.
    #[error("operation.generate.number: {0} does not go with the predecessor given")]
    Number(u32),
    /// Numbers start at 1.
    #[error("operation.{0}.number: numbers start at 1")]
    NumberZero(&'static str),
    /// A text is empty, too long, or has characters that do not print.
    #[error("{0}: expected 1 to {1} printable characters")]
    Text(&'static str, usize),
    /// `compromised_since` belongs to the reason `compromised` and to no other.
    #[error("operation.revoke.compromised_since does not go with the reason given")]
    CompromisedSince,
    /// Sequence numbers start at 1, and exactly the first ceremony has no previous transcript.
    #[error("sequence {0} does not go with the previous transcript given")]
    Sequence(u64),
}

impl Request {
    /// Refuses what no quorum can approve: instants out of order, a key that can leave the token,
    /// an algorithm that does not take the key.
    pub fn check(&self) -> Result<(), RequestError> {
        if self.sequence == 0 || (self.sequence == 1) != self.previous_transcript.is_none() {
            return Err(RequestError::Sequence(self.sequence));
        }
        printable("reason", &self.reason, 1000)?;
        if let Some(ticket) = &self.ticket {
            printable("ticket", ticket, 200)?;
        }
        ordered("created_at", self.created_at, "approve_by", self.approve_by)?;
        ordered("approve_by", self.approve_by, "execute_by", self.execute_by)?;
        match &self.operation {
            Operation::Generate(order) => order.check(),
            Operation::Destroy(order) => {
                from_one("destroy", order.number)?;
                printable("operation.destroy.token_serial", &order.token_serial, 64)?;
                printable("operation.destroy.token_label", &order.token_label, 64)
            }
            Operation::Revoke(order) => {
                from_one("revoke", order.number)?;
                // What is not known yet cannot be said: a verdict would trust everything till then.
                if let Some(since) = order.compromised_since {
                    ordered("compromised_since", since, "created_at", self.created_at)?;
                }
                order.check()
            }
        }
    }
}

impl Generate {
    fn check(&self) -> Result<(), RequestError> {
        if !self.algorithm.allows(self.key_spec) {
            return Err(RequestError::KeySpec(self.algorithm, self.key_spec));
        }
        if let Some(attribute) = self.template.unsafe_attribute() {
            return Err(RequestError::Template(attribute));
        }
        // A first key may have a higher number: a birth that failed uses its number up.
        if self.number == 0 || (self.number == 1 && self.predecessor.is_some()) {
            return Err(RequestError::Number(self.number));
        }
        printable("operation.generate.token_serial", &self.token_serial, 64)?;
        printable("operation.generate.token_label", &self.token_label, 64)?;
        printable("operation.generate.label", &self.label, 100)?;
        ordered(
            "publish_at",
            self.publish_at,
            "activate_at",
            self.activate_at,
        )?;
        ordered("activate_at", self.activate_at, "retire_at", self.retire_at)
    }
}

impl Revoke {
    fn check(&self) -> Result<(), RequestError> {
        let compromised = self.reason == RevocationReason::Compromised;
        if compromised == self.compromised_since.is_some() {
            Ok(())
        } else {
            Err(RequestError::CompromisedSince)
        }
    }
}

/// Key 0 of a ring there is none: whoever reads such a request has been shown another key.
fn from_one(operation: &'static str, number: u32) -> Result<(), RequestError> {
    match number {
        0 => Err(RequestError::NumberZero(operation)),
        _ => Ok(()),
    }
}

fn ordered(
    earlier: &'static str,
    earlier_at: Time,
    later: &'static str,
    later_at: Time,
) -> Result<(), RequestError> {
    if earlier_at <= later_at {
        return Ok(());
    }
    Err(RequestError::Order {
        earlier,
        earlier_at,
        later,
        later_at,
    })
}

fn printable(member: &'static str, text: &str, most: usize) -> Result<(), RequestError> {
    if text::is_plain(text, most) {
        Ok(())
    } else {
        Err(RequestError::Text(member, most))
    }
}
