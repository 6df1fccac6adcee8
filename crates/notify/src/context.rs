//! What announcing and delivering have in common.

use base::Env;
use store::{Addressee, Store};
use trust::emergency::Unratified;
use trust::{MemberId, Roster};

use crate::event::EventKind;
use crate::render::Sender;
use crate::settings::{Receiver, Settings};

/// Handed in by the program.
pub struct Context {
    pub store: Store,
    pub env: Env,
    pub settings: Settings,
    pub sender: Sender,
    /// This replica.
    pub instance: String,
    /// Who the members are, as far as it was verified.
    pub roster: Box<dyn Fn() -> Option<Roster> + Send + Sync>,
    /// Emergency rotations that are not ratified, as far as it was verified.
    pub unratified: Box<dyn Fn() -> Vec<Unratified> + Send + Sync>,
    /// Looks a variable of the environment up.
    pub variable: Box<dyn Fn(&str) -> Option<String> + Send + Sync>,
}

impl Context {
    /// Who is told of an event, of those whom it concerns.
    pub fn addressees(&self, kind: EventKind, audience: &[MemberId]) -> Vec<Addressee> {
        let wanting = self.settings.receivers.iter();
        let wanting = wanting.filter(|(_, receiver)| receiver.wants(kind));
        let of = |(name, receiver): (&String, &Receiver)| match receiver {
            Receiver::Mail(mail) => {
                let known = audience.iter();
                let known = known.filter(|id| mail.addresses.contains_key(id.as_str()));
                known.map(|id| addressee(name, id.as_str())).collect()
            }
            _ => vec![addressee(name, "")],
        };
        wanting.flat_map(of).collect()
    }
}

fn addressee(receiver: &str, recipient: &str) -> Addressee {
    Addressee {
        receiver: receiver.to_owned(),
        recipient: recipient.to_owned(),
    }
}
