//! `[notify]`: who is told of ceremonies, and how.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::settings::{Invalid, Profile, Secret, duration, is_loopback};
use calendar::alerts::escalation::EscalationLevel;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::escalation::{AudienceContacts, Digest, Level};
use crate::event::EventKind;
use crate::notice::Audience;
use crate::template::Language;

/// What the recipient of a mail begins with who is a contact. No member's id does.
pub const PREFIX: &str = "contact/";

/// Longest name of a receiver.
const MAX_NAME: usize = 40;

/// Most receivers, and most addresses of one.
const MAX_RECEIVERS: usize = 32;
const MAX_ADDRESSES: usize = 64;

/// Shorter than the lease under which a receiver is served.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(25);

/// `[notify]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Base URL of the service as custodians reach it, for the commands and links in messages; `service.issuer` when
    /// left out.
    pub public_url: Option<String>,
    /// How long it is tried to deliver a message; then it is a dead letter.
    #[serde(with = "duration")]
    pub dead_after: Duration,
    /// How long messages are kept after they were made.
    #[serde(with = "duration")]
    pub retention: Duration,
    /// How many deliveries may wait for one receiver; what comes then is counted and not kept.
    pub most_waiting: u32,
    /// How long before a deadline of a ceremony it is told that it is near; at most a third of its time.
    #[serde(with = "duration")]
    pub deadline_near: Duration,
    /// How long an approved ceremony may wait for an executor: then there is none, which `doctor` and `/health/ready` tell too.
    #[serde(with = "duration")]
    pub executor_late: Duration,
    /// By name.
    pub receivers: BTreeMap<String, Receiver>,
    /// Who is told of alerts that nobody looks after, by level.
    pub escalation: BTreeMap<EscalationLevel, Level>,
    /// What is told once a week, to whom.
    pub digest: Digest,
    /// Who is told of incidents, by audience outside.
    pub audiences: BTreeMap<Audience, AudienceContacts>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: None,
            dead_after: Duration::from_secs(3 * 86_400),
            retention: Duration::from_secs(30 * 86_400),
            most_waiting: 1_000,
            deadline_near: Duration::from_secs(86_400),
            executor_late: Duration::from_secs(15 * 60),
            receivers: BTreeMap::new(),
            escalation: BTreeMap::new(),
            digest: Digest::default(),
            audiences: BTreeMap::new(),
        }
    }
}

/// `[notify.receivers.NAME]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Receiver {
    Webhook(Webhook),
    Mail(Mail),
    Alertmanager(Alertmanager),
}

/// An HTTP endpoint that gets signed messages (Standard Webhooks 1.0).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub url: String,
    /// `whsec_…`; two while they change, and each message is signed with both.
    pub secrets: Vec<Secret>,
    /// Whether the URL may lead to this machine or into a private network.
    #[serde(default)]
    pub allow_private: bool,
    /// Which events; all when left out.
    #[serde(default)]
    pub events: Vec<EventKind>,
    #[serde(default)]
    pub language: Language,
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    #[serde(with = "duration", default = "ten_seconds")]
    pub timeout: Duration,
}

/// A mail server, and who is written to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Host and port, such as `smtp.example:587`.
    pub server: String,
    #[serde(default)]
    pub security: Security,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub password: Option<Secret>,
    /// The sender's address.
    pub from: String,
    /// Addresses by the member's id in the roster.
    #[serde(default)]
    pub addresses: BTreeMap<String, String>,
    /// Addresses of others by a name, for levels of escalation, the digest and audiences outside: `MAIL/CONTACT` there.
    #[serde(default)]
    pub contacts: BTreeMap<String, String>,
    /// Whether the server may be on this machine or in a private network.
    #[serde(default)]
    pub allow_private: bool,
    #[serde(default)]
    pub events: Vec<EventKind>,
    #[serde(default)]
    pub language: Language,
    /// Of members who read another language than the others.
    #[serde(default)]
    pub languages: BTreeMap<String, Language>,
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    #[serde(with = "duration", default = "ten_seconds")]
    pub timeout: Duration,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// TLS from the first byte.
    Tls,
    /// It begins in the clear and must go over to TLS.
    #[default]
    Starttls,
    /// On this machine only.
    None,
}

/// An Alertmanager, which is told of conditions while they hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// Base URL; `/api/v2/alerts` is added.
    pub url: String,
    #[serde(default)]
    pub allow_private: bool,
    #[serde(default)]
    pub language: Language,
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    #[serde(with = "duration", default = "ten_seconds")]
    pub timeout: Duration,
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

impl Receiver {
    /// Whether it is sent this event.
    pub fn wants(&self, kind: EventKind) -> bool {
        let events = match self {
            Self::Webhook(webhook) => &webhook.events,
            Self::Mail(mail) => &mail.events,
            Self::Alertmanager(_) => return false,
        };
        events.is_empty() || events.contains(&kind) || kind == EventKind::Test
    }

    /// What stands in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mail(_) => "mail",
            Self::Alertmanager(_) => "alertmanager",
        }
    }

    pub fn timeout(&self) -> Duration {
        match self {
            Self::Webhook(webhook) => webhook.timeout,
            Self::Mail(mail) => mail.timeout,
            Self::Alertmanager(alertmanager) => alertmanager.timeout,
        }
    }

    fn ca_file(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Webhook(webhook) => webhook.ca_file.as_mut(),
            Self::Mail(mail) => mail.ca_file.as_mut(),
            Self::Alertmanager(alertmanager) => alertmanager.ca_file.as_mut(),
        }
    }

    fn secrets(&mut self) -> Vec<&mut Secret> {
        match self {
            Self::Webhook(webhook) => webhook.secrets.iter_mut().collect(),
            Self::Mail(mail) => mail.password.iter_mut().collect(),
            Self::Alertmanager(_) => Vec::new(),
        }
    }
}

impl Settings {
    pub fn resolve(&mut self, base: &Path) {
        for receiver in self.receivers.values_mut() {
            for secret in receiver.secrets() {
                if let Secret::File(from) = secret {
                    from.file = base.join(&from.file);
                }
            }
            if let Some(file) = receiver.ca_file() {
                *file = base.join(&*file);
            }
        }
    }

    pub fn validate(&self, profile: Profile) -> Result<(), Invalid> {
        let invalid = |setting, problem: &str| Err(Invalid::new(setting, problem));
        if self.dead_after < Duration::from_secs(60) {
            return invalid("notify.dead_after", "must be at least one minute");
        }
        if self.retention < self.dead_after || self.retention <= self.deadline_near {
            return invalid(
                "notify.retention",
                "must be at least dead_after, and longer than deadline_near",
            );
        }
        if !(1..=100_000).contains(&self.most_waiting) {
            return invalid("notify.most_waiting", "expected 1 to 100000");
        }
        if let Some(url) = &self.public_url
            && !Url::parse(url).is_ok_and(|url| url.has_host() && is_plain(&url))
        {
            return invalid("notify.public_url", "expected an http or https URL");
        }
        if self.receivers.len() > MAX_RECEIVERS {
            return invalid("notify.receivers", "more than 32 receivers");
        }
        for (name, receiver) in &self.receivers {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
                let problem = "expected names of 1 to 40 lower-case letters, digits or hyphens";
                return invalid("notify.receivers", problem);
            }
            let checked = receiver.validate(profile);
            checked.map_err(|problem| {
                Invalid::new("notify.receivers", format!("{name}: {problem}"))
            })?;
        }
        self.check_contacts()
    }
}

impl Receiver {
    fn validate(&self, profile: Profile) -> Result<(), String> {
        let timeout = self.timeout();
        if timeout < Duration::from_millis(100) || timeout > LONGEST_TIMEOUT {
            return Err("timeout: expected 100 ms to 25 s".to_owned());
        }
        match self {
            Self::Webhook(webhook) => {
                let url = http_url(&webhook.url)?;
                if url.scheme() == "http" && !url.host_str().is_some_and(is_loopback) {
                    return Err("url: expected https; http only to this machine".to_owned());
                }
                if webhook.secrets.is_empty() || webhook.secrets.len() > 2 {
                    return Err("secrets: expected one, or two while they change".to_owned());
                }
                let mut secrets = webhook.secrets.iter();
                secrets.try_for_each(|secret| not_inline(secret, profile))
            }
            Self::Mail(mail) => mail.validate(profile),
            Self::Alertmanager(alertmanager) => {
                let url = http_url(&alertmanager.url)?;
                let inside = alertmanager.allow_private || url.host_str().is_some_and(is_loopback);
                match url.scheme() == "https" || inside {
                    true => Ok(()),
                    false => Err("url: expected https, or allow_private = true".to_owned()),
                }
            }
        }
    }
}

impl Mail {
    /// Host and port.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        let (host, port) = self.server.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then_some((host, port.parse().ok()?))
    }

    fn validate(&self, profile: Profile) -> Result<(), String> {
        let (host, _) = self
            .host_and_port()
            .ok_or("server: expected HOST:PORT".to_owned())?;
        if self.security == Security::None && !is_loopback(host) {
            return Err("security: \"none\" only on this machine".to_owned());
        }
        if self.user.is_some() != self.password.is_some() {
            return Err("user and password: expected both or neither".to_owned());
        }
        let addresses = self.addresses.len() + self.contacts.len();
        if addresses == 0 || addresses > MAX_ADDRESSES {
            return Err("addresses and contacts: expected 1 to 64".to_owned());
        }
        let addresses = self.addresses.values().chain(self.contacts.values());
        let addresses = addresses.chain([&self.from]);
        for address in addresses {
            address
                .parse::<lettre::Address>()
                .map_err(|_| format!("{address:?} is not a mail address"))?;
        }
        for member in self.addresses.keys().chain(self.languages.keys()) {
            member
                .parse::<trust::Name>()
                .map_err(|_| format!("addresses: {member:?} is no member's id"))?;
        }
        for contact in self.contacts.keys() {
            let named = contact.parse::<trust::Name>();
            named.map_err(|_| format!("contacts: {contact:?} is no name"))?;
        }
        let mut password = self.password.iter();
        password.try_for_each(|secret| not_inline(secret, profile))
    }

    /// Of a member, or of a contact.
    pub fn address(&self, recipient: &str) -> Option<&String> {
        match recipient.strip_prefix(PREFIX) {
            Some(contact) => self.contacts.get(contact),
            None => self.addresses.get(recipient),
        }
    }
}

fn not_inline(secret: &Secret, profile: Profile) -> Result<(), String> {
    match (secret, profile) {
        (Secret::Inline(_), Profile::Production) => Err(
            "secrets must be { file = \"…\" } or { env = \"…\" } in the production profile"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

fn is_plain(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
}

/// Nothing in it is secret: it is shown.
fn http_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| url.has_host() && is_plain(url))
        .ok_or_else(|| "url: expected an http or https URL without user or password".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(), String> {
        let settings: Settings = toml::from_str(text).map_err(|error| error.to_string())?;
        let checked = settings.validate(Profile::Production);
        checked.map_err(|error| error.to_string())
    }

    const MAIL: &str = "[receivers.people]\nkind = \"mail\"\nfrom = \"keys@keys.example\"\n";

    #[test]
    fn what_would_leak_or_never_arrive_is_refused() {
        let webhook = "[receivers.ops]\nkind = \"webhook\"\nsecrets = [{ file = \"a\" }]\n";
        let mail = format!("{MAIL}server = \"mail.example:587\"\n");
        for (text, problem) in [
            (format!("{webhook}url = \"http://hooks.example/\""), "https"),
            (format!("{webhook}url = \"https://a:b@hooks.example/\""), "without user"),
            (
                "[receivers.ops]\nkind = \"webhook\"\nurl = \"https://a.example\"\nsecrets = [\"whsec_AAAA\"]".to_owned(),
                "file",
            ),
            (
                format!("{mail}security = \"none\"\naddresses = {{ ada = \"ada@a.example\" }}"),
                "this machine",
            ),
            (format!("{mail}addresses = {{ ada = \"ada@a.example\\nBcc: x@y.example\" }}"), "mail address"),
            (format!("{mail}addresses = {{ \"a b\" = \"ada@a.example\" }}"), "member"),
            ("[receivers.\"a b\"]\nkind = \"alertmanager\"\nurl = \"https://a.example\"".to_owned(), "names"),
            ("[receivers.a]\nkind = \"alertmanager\"\nurl = \"http://a.example\"".to_owned(), "allow_private"),
            ("retention = \"1h\"".to_owned(), "dead_after"),
            ("[escalation.security]\nto = [\"ops\"]".to_owned(), "neither a webhook"),
            ("[escalation.boss]\nto = []".to_owned(), "boss"),
            (
                "[escalation.operations]\nafter = \"20m\"".to_owned(),
                "security: expected a time not shorter",
            ),
            ("[digest]\nhour = 24".to_owned(), "hour"),
            ("[audiences.press]\nto = []".to_owned(), "press"),
            (
                format!("{webhook}url = \"https://hooks.example/\"\n[audiences.partners]\nto = [\"ops\"]"),
                "told by mail",
            ),
            (format!("{mail}contacts = {{ \"a/b\" = \"a@a.example\" }}"), "no name"),
            (
                format!("{mail}contacts = {{ desk = \"d@a.example\" }}\n[digest]\nto = [\"people/ada\"]"),
                "MAIL/CONTACT",
            ),
        ] {
            let refused = read(&text).expect_err(&text);
            assert!(refused.contains(problem), "{text}: {refused}");
        }
        let good = format!("{mail}addresses = {{ ada = \"ada@a.example\" }}\nlanguage = \"de\"");
        assert_eq!(read(&good), Ok(()));
        let level = "[escalation.security]\nafter = \"20m\"\nto = [\"people/desk\"]\n";
        let good = format!("{level}{mail}contacts = {{ desk = \"desk@a.example\" }}");
        assert_eq!(read(&good), Ok(()));
        let settings: Settings = toml::from_str(&good).unwrap();
        let [desk] = &settings.of_level(EscalationLevel::Security)[..] else {
            panic!("one");
        };
        let Some(Receiver::Mail(people)) = settings.receivers.get("people") else {
            panic!("a mail receiver");
        };
        let address = people.address(&desk.recipient).map(String::as_str);
        assert_eq!(address, Some("desk@a.example"));
        // A member of the same name is somebody else.
        assert_eq!(people.address("desk"), None);
    }
}
