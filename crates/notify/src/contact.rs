//! Contacts: a webhook by its name, or an address of a mail receiver that is no member's.

use base::settings::Invalid;
use store::Addressee;

use crate::escalation::ladder;
use crate::notice::Audience;
use crate::settings::{PREFIX, Receiver, Settings};
use calendar::alerts::escalation::{EscalationLevel, Ladder};

/// Most contacts of one level, of one audience.
const MOST: usize = 16;

impl Settings {
    /// Whom these names mean; those that mean nobody are refused when the settings are read.
    fn addressees(&self, to: &[String]) -> Vec<Addressee> {
        let of = |name: &String| match name.split_once('/') {
            Some((receiver, contact)) => Addressee {
                receiver: receiver.to_owned(),
                recipient: format!("{PREFIX}{contact}"),
            },
            None => Addressee {
                receiver: name.clone(),
                recipient: String::new(),
            },
        };
        let known = to.iter().filter(|name| self.knows(name));
        known.map(of).collect()
    }

    fn knows(&self, name: &str) -> bool {
        match name.split_once('/') {
            Some((receiver, contact)) => match self.receivers.get(receiver) {
                Some(Receiver::Mail(mail)) => mail.contacts.contains_key(contact),
                _ => false,
            },
            None => matches!(self.receivers.get(name), Some(Receiver::Webhook(_))),
        }
    }

    /// Who is told when an alert reaches a level.
    pub fn of_level(&self, level: EscalationLevel) -> Vec<Addressee> {
        let level = self.escalation.get(&level);
        level.map_or(Vec::new(), |level| self.addressees(&level.to))
    }

    /// Who is told of a week.
    pub fn of_digest(&self) -> Vec<Addressee> {
        self.addressees(&self.digest.to)
    }

    /// Who an audience outside is.
    pub fn of_audience(&self, audience: Audience) -> Vec<Addressee> {
        let contacts = self.audiences.get(&audience);
        contacts.map_or(Vec::new(), |contacts| self.addressees(&contacts.to))
    }

    /// Whether an audience outside names this contact of a mail receiver.
    pub(crate) fn is_outside(&self, receiver: &str, contact: &str) -> bool {
        let audiences = self.audiences.values();
        let mut named = audiences.flat_map(|audience| &audience.to);
        named.any(|name| name.split_once('/') == Some((receiver, contact)))
    }

    /// After which times levels are told.
    pub fn ladder(&self) -> Ladder {
        // It was looked at when the settings were read.
        ladder(&self.escalation).unwrap_or_default()
    }

    /// That each name means somebody.
    pub(crate) fn check_contacts(&self) -> Result<(), Invalid> {
        ladder(&self.escalation)?;
        if self.digest.hour > 23 {
            return Err(Invalid::new("notify.digest", "hour: expected 0 to 23"));
        }
        let levels = self.escalation.iter();
        let levels = levels.map(|(level, one)| ("notify.escalation", level.as_str(), &one.to));
        let audiences = self.audiences.iter();
        let audiences =
            audiences.map(|(audience, one)| ("notify.audiences", audience.as_str(), &one.to));
        let digest = [("notify.digest", "to", &self.digest.to)];
        for (setting, about, to) in levels.chain(audiences).chain(digest) {
            if to.len() > MOST {
                let problem = format!("{about}: more than {MOST} contacts");
                return Err(Invalid::new(setting, problem));
            }
            if let Some(unknown) = to.iter().find(|name| !self.knows(name)) {
                let problem = format!(
                    "{about}: {unknown:?} is neither a webhook's name nor MAIL/CONTACT of [notify.receivers.MAIL.contacts]"
                );
                return Err(Invalid::new(setting, problem));
            }
        }
        // A webhook would also get what is for operations.
        let audiences = self.audiences.iter();
        let mut outside =
            audiences.flat_map(|(audience, one)| one.to.iter().map(move |to| (audience, to)));
        if let Some((audience, to)) = outside.find(|(_, to)| !to.contains('/')) {
            let audience = audience.as_str();
            let problem = format!(
                "{audience}: {to:?} is no MAIL/CONTACT; an audience outside is told by mail"
            );
            return Err(Invalid::new("notify.audiences", problem));
        }
        Ok(())
    }
}
