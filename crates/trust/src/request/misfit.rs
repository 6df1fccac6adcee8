//! Whether a request is one that a standing order permits.

use std::time::Duration;

use crate::place::{Pkcs11Place, Place};
use crate::time::Time;

use super::Request;
use super::operation::{Generate, Operation};
use super::standing_order::{OrderPlace, StandingOrder};

/// Why a request is not one that an order permits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// An order only makes keys.
    #[error("only a generation of a key happens under a standing order")]
    Operation,
    /// A use that it does not have.
    #[error("it has {uses} use(s), this is use {number}")]
    Use {
        /// The use of the request.
        number: u32,
        /// How many there are.
        uses: u32,
    },
    /// Before its beginning, or before the interval between uses.
    #[error("this use is not before {0}")]
    Early(Time),
    /// After its end.
    #[error("it ends at {0}")]
    Late(Time),
    /// On another day, or at another time of day.
    #[error("{0} is outside its window")]
    Window(Time),
    /// A ring's first key is approved and accepted by itself.
    #[error("the first key of a ring is not made under a standing order")]
    First,
    /// A member differs.
    #[error("{0} differs from the order")]
    Differs(&'static str),
}

impl StandingOrder {
    /// Where key `number` of its ring is made, as every generation under it has it.
    pub fn label(&self, request: &Request, number: u32) -> String {
        format!(
            "{}/{}/{}/{number}",
            request.service, request.environment, self.ring
        )
    }

    /// Why a request for use `number` is not one that this order permits at `now`; none if it is.
    pub fn misfit(&self, request: &Request, number: u32, now: Time) -> Option<Misfit> {
        let Operation::Generate(generate) = &request.operation else {
            return Some(Misfit::Operation);
        };
        if !(1..=self.uses).contains(&number) {
            let uses = self.uses;
            return Some(Misfit::Use { number, uses });
        }
        if let Some(what) = self.difference(request, generate) {
            return Some(Misfit::Differs(what));
        }
        // By its predecessor, and by the line of its ring, which every key of the ring has moved.
        let begins = request.lines.iter().any(|line| line.previous.is_none());
        if generate.predecessor.is_none() || begins {
            return Some(Misfit::First);
        }
        let earliest = self.earliest(number);
        if request.created_at < earliest || now < earliest {
            return Some(Misfit::Early(earliest));
        }
        if request.execute_by > self.not_after || now > self.not_after {
            return Some(Misfit::Late(self.not_after));
        }
        (!self.window.contains(now)).then_some(Misfit::Window(now))
    }

    /// The first member of a generation that this order does not have so.
    fn difference(&self, request: &Request, found: &Generate) -> Option<&'static str> {
        let OrderPlace::Pkcs11(token) = &self.place;
        let Place::Pkcs11(Pkcs11Place {
            cka_id: _,
            label,
            template,
            token_label,
            token_serial,
        }) = &found.place
        else {
            return Some("the kind of place");
        };
        let activate_at = found.publish_at + Duration::from_secs(self.activate_after_seconds);
        let retire_at = activate_at + Duration::from_secs(self.lifetime_seconds);
        [
            ("the ring", found.ring == self.ring),
            ("the purpose", found.purpose == self.purpose),
            ("the usage", found.usage == self.usage),
            ("the token", *token_serial == token.token_serial),
            ("the token", *token_label == token.token_label),
            ("the template", *template == token.template),
            ("the label", *label == self.label(request, found.number)),
            ("publish_at", found.publish_at == request.created_at),
            ("activate_at", found.activate_at == activate_at),
            ("retire_at", found.retire_at == retire_at),
        ]
        .into_iter()
        .find_map(|(what, same)| (!same).then_some(what))
    }
}
