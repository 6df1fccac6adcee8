//! What a request must satisfy whoever signs it.

use crate::alg::{Algorithm, KeySpec};
use crate::name::LOG_RING;
use crate::place::Unfit;
use crate::subject::{Line, Subject};
use crate::template::Use;
use crate::text;
use crate::time::Time;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::merkle::empty_root;
use crate::tlog::note::Note;

use super::{
    Destroy, Generate, KeyPurpose, LostLeaves, NewOrigin, Operation, OrderError, Request,
    RevocationReason, Revoke, Usage,
};

/// Most keys that one ceremony destroys.
const MOST_KEYS: usize = 100;

/// Most copies of a key.
const MOST_LOCATIONS: usize = 16;

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
    #[error(
        "operation.generate.place.pkcs11.template: {0} has the wrong value for this kind of key"
    )]
    Template(&'static str),
    /// Numbers start at 1, and exactly the first key has no predecessor.
    #[error("operation.generate.number: {0} is inconsistent with the given predecessor")]
    Number(u32),
    /// The first act on a ring makes its first key.
    #[error("operation.generate.predecessor: the first ceremony of a ring has none")]
    Predecessor,
    /// Numbers start at 1.
    #[error("operation.{0}.number: numbers start at 1")]
    NumberZero(&'static str),
    /// A text is empty, too long, or has characters that do not print.
    #[error("{0}: expected 1 to {1} printable characters")]
    Text(&'static str, usize),
    /// `compromised_since` belongs to the reason `compromised` and to no other.
    #[error("operation.revoke.compromised_since is inconsistent with the given reason")]
    CompromisedSince,
    /// The lines are not those of the operation's subjects.
    #[error("lines: must list the subjects of the operation in order")]
    Lines,
    /// Sequence numbers start at 1, and exactly the first ceremony of a line has none before it.
    #[error("lines: sequence {0} of {1} is inconsistent with the given previous ceremony")]
    Sequence(u64, Subject),
    /// A request has a proposer, or stands under an order.
    #[error("exactly one of proposer and order is required")]
    Proposer,
    /// The usage does not go with the ring or the purpose.
    #[error("operation.generate.usage: {0} is not allowed for this ring or purpose")]
    Usage(Usage),
    /// None, too many, not in ascending order, or one that is nowhere or twice at one location.
    #[error(
        "operation.destroy.keys: expected 1 to {MOST_KEYS} keys in ascending order of kid, each \
         with 1 to {MOST_LOCATIONS} different locations"
    )]
    Keys,
    /// Leaves that cannot be meant.
    #[error("operation.{0}: the range of leaves is invalid or has a different root")]
    Range(&'static str),
    /// No name of a log, or not the one that is meant.
    #[error("operation.{0}: {1}")]
    Origin(&'static str, &'static str),
    /// What no quorum can order in advance.
    #[error("operation.order.{0}")]
    StandingOrder(#[from] OrderError),
    /// In an emergency, what no quorum can approve.
    #[error("operation.{0}")]
    Emergency(&'static str),
    /// Of a rotation policy, what no quorum can approve.
    #[error("operation.rotation-policy.{0}")]
    RotationPolicy(&'static str),
    /// The log's ring, whose signing is never stopped.
    #[error("operation.{0}.ring: not of the ring log")]
    LogRing(&'static str),
}

impl Request {
    /// Refuses what no quorum can approve: instants out of order, a key that can leave its device,
    /// an algorithm that does not take the key.
    pub fn check(&self) -> Result<(), RequestError> {
        self.check_lines()?;
        if self.proposer.is_some() == self.order.is_some() {
            return Err(RequestError::Proposer);
        }
        printable("reason", &self.reason, 1000)?;
        if let Some(ticket) = &self.ticket {
            printable("ticket", ticket, 200)?;
        }
        ordered("created_at", self.created_at, "approve_by", self.approve_by)?;
        ordered("approve_by", self.approve_by, "execute_by", self.execute_by)?;
        match &self.operation {
            Operation::Generate(order) => {
                order.check()?;
                // By its line and not by its number, which a birth that failed uses up.
                let first = self.lines.iter().any(|line| line.previous.is_none());
                match first && order.predecessor.is_some() {
                    true => Err(RequestError::Predecessor),
                    false => Ok(()),
                }
            }
            Operation::Destroy(order) => order.check(),
            Operation::Revoke(order) => {
                from_one("revoke", order.number)?;
                // What is not known yet cannot be said: a verdict would trust everything till then.
                if let Some(since) = order.compromised_since {
                    ordered("compromised_since", since, "created_at", self.created_at)?;
                }
                order.check()
            }
            Operation::ClockCorrection(order) => {
                printable("operation.clock-correction.origin", &order.origin, 200)?;
                log_name("clock-correction", &order.origin)?;
                if order.first > order.last {
                    return Err(RequestError::Range("clock-correction"));
                }
                ordered("bound", order.bound, "created_at", self.created_at)
            }
            Operation::NewOrigin(order) => order.check(),
            Operation::Order(order) => Ok(order.check(self.nonce, self.created_at)?),
            Operation::Resume(order) => order.check(&self.lines),
            Operation::EmergencyRotation(order) => order.check(self.created_at),
            Operation::Ratification(order) => order.check(),
            Operation::RotationPolicy(order) => order.check(),
        }
    }

    fn check_lines(&self) -> Result<(), RequestError> {
        let subjects = self.operation.subjects();
        let named = self.lines.iter().map(|line| &line.subject);
        if self.lines.is_empty() || !named.eq(&subjects) {
            return Err(RequestError::Lines);
        }
        let wrong =
            |line: &&Line| line.sequence == 0 || (line.sequence == 1) != line.previous.is_none();
        match self.lines.iter().find(wrong) {
            Some(line) => Err(RequestError::Sequence(line.sequence, line.subject.clone())),
            None => Ok(()),
        }
    }
}

impl Generate {
    fn check(&self) -> Result<(), RequestError> {
        if let KeyPurpose::Sign {
            algorithm,
            key_spec,
        } = self.purpose
            && !algorithm.allows(key_spec)
        {
            return Err(RequestError::KeySpec(algorithm, key_spec));
        }
        let wraps = self.purpose.used() == Use::Wrap;
        let of_the_log = self.ring.as_str() == LOG_RING;
        if wraps != (self.usage == Usage::Wrap) || of_the_log != (self.usage == Usage::Log) {
            return Err(RequestError::Usage(self.usage));
        }
        // A first key may have a higher number: a birth that failed uses its number up.
        if self.number == 0 || (self.number == 1 && self.predecessor.is_some()) {
            return Err(RequestError::Number(self.number));
        }
        fit(self.place.unfit(self.purpose.used()))?;
        ordered(
            "publish_at",
            self.publish_at,
            "activate_at",
            self.activate_at,
        )?;
        ordered("activate_at", self.activate_at, "retire_at", self.retire_at)
    }
}

impl Destroy {
    fn check(&self) -> Result<(), RequestError> {
        let ascending = self.keys.windows(2).all(|pair| pair[0].kid < pair[1].kid);
        if !(1..=MOST_KEYS).contains(&self.keys.len()) || !ascending {
            return Err(RequestError::Keys);
        }
        for key in &self.keys {
            from_one("destroy", key.number)?;
            let one_of_each = key
                .locations
                .iter()
                .enumerate()
                .all(|(number, location)| !key.locations[..number].contains(location));
            if !(1..=MOST_LOCATIONS).contains(&key.locations.len()) || !one_of_each {
                return Err(RequestError::Keys);
            }
            for location in &key.locations {
                fit(location.unfit())?;
            }
        }
        Ok(())
    }
}

impl NewOrigin {
    /// The last checkpoint of the old log. Its signatures are not checked.
    pub fn end(&self) -> Option<Checkpoint> {
        let note = Note::parse(self.previous_checkpoint.as_bytes()).ok()?;
        let checkpoint = Checkpoint::parse(&note.text).ok()?;
        (checkpoint.origin == self.previous_origin).then_some(checkpoint)
    }

    fn check(&self) -> Result<(), RequestError> {
        printable("operation.new-origin.origin", &self.origin, 200)?;
        printable(
            "operation.new-origin.previous_origin",
            &self.previous_origin,
            200,
        )?;
        for origin in [&self.origin, &self.previous_origin] {
            log_name("new-origin", origin)?;
        }
        let wrong = |what| RequestError::Origin("new-origin", what);
        if self.origin == self.previous_origin {
            return Err(wrong("the new origin equals the previous one"));
        }
        let none = "previous_checkpoint is not a checkpoint of the previous origin";
        let checkpoint = self.end().ok_or(wrong(none))?;
        let lost = match checkpoint.size.checked_sub(self.size) {
            None => return Err(RequestError::Range("new-origin")),
            Some(0) => None,
            Some(_) => Some(LostLeaves {
                first: self.size,
                last: checkpoint.size - 1,
            }),
        };
        // Where nothing was lost, or nothing is left, there is one root that can be meant.
        let all = lost.is_some() || self.root == checkpoint.root;
        let none = self.size != 0 || self.root == empty_root();
        match lost == self.lost && all && none {
            true => Ok(()),
            false => Err(RequestError::Range("new-origin")),
        }
    }
}

/// What a note can have as the name of a key (c2sp.org/signed-note).
fn log_name(operation: &'static str, name: &str) -> Result<(), RequestError> {
    match name.contains(|character: char| character.is_whitespace() || character == '+') {
        true => Err(RequestError::Origin(
            operation,
            "an origin must not contain whitespace or \"+\"",
        )),
        false => Ok(()),
    }
}

fn fit(unfit: Option<Unfit>) -> Result<(), RequestError> {
    match unfit {
        None => Ok(()),
        Some(Unfit::Template(attribute)) => Err(RequestError::Template(attribute)),
        Some(Unfit::Text(member, most)) => Err(RequestError::Text(member, most)),
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
pub(super) fn from_one(operation: &'static str, number: u32) -> Result<(), RequestError> {
    match number {
        0 => Err(RequestError::NumberZero(operation)),
        _ => Ok(()),
    }
}

pub(super) fn ordered(
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
