//! Mail by SMTP: one connection for each message, plain text, no attachment.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};
use trust::Time;

use crate::address::resolve;
use crate::facts::shown;
use crate::retry::Outcome;
use crate::settings::{Mail, Security};
use crate::template::Text;

/// RFC 3834: nobody's absence answers it.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Everything about one message; `id` is the same on every attempt.
pub struct Letter<'a> {
    pub id: &'a str,
    /// The member's id, or a contact.
    pub recipient: &'a str,
    pub text: &'a Text,
    /// When it happened, which does not change either.
    pub date: Time,
}

/// The message as it is handed over.
pub fn message(mail: &Mail, letter: &Letter<'_>) -> Result<Message, String> {
    let parsed = |address: &str| {
        let parsed = address.parse::<Address>();
        parsed.map_err(|_| format!("{:?} is no mail address", shown(address)))
    };
    let from = parsed(&mail.from)?;
    let to = mail.address(letter.recipient);
    let to = parsed(to.ok_or_else(|| format!("no address of {}", shown(letter.recipient)))?)?;
    let date = Duration::from_millis(u64::try_from(letter.date.millis()).unwrap_or(0));
    let id = format!("<{}.{}@{}>", letter.id, letter.recipient, from.domain());
    Message::builder()
        .message_id(Some(id))
        .date(UNIX_EPOCH + date)
        .from(Mailbox::new(None, from))
        .to(Mailbox::new(None, to))
        .subject(letter.text.subject.clone())
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN)
        .body(letter.text.body.clone())
        .map_err(|error| format!("cannot write the mail: {error}"))
}

fn tls(mail: &Mail, host: &str) -> Result<Tls, String> {
    if mail.security == Security::None {
        return Ok(Tls::None);
    }
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = &mail.ca_file {
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(authority(path)?);
    }
    let parameters = builder
        .build_rustls()
        .map_err(|error| format!("cannot set up TLS: {error}"))?;
    Ok(match mail.security {
        Security::Tls => Tls::Wrapper(parameters),
        _ => Tls::Required(parameters),
    })
}

fn authority(path: &Path) -> Result<Certificate, String> {
    let pem = std::fs::read(path);
    let pem = pem.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Certificate::from_pem(&pem)
        .map_err(|_| format!("{}: expected certificates in PEM", path.display()))
}

/// What can be found wrong without a connection.
pub fn check(mail: &Mail) -> Result<(), String> {
    let (host, _) = mail.host_and_port().ok_or("server: expected HOST:PORT")?;
    tls(mail, host).map(drop)
}

/// Hands it to the server. The password is never told of: neither by us nor by a server that repeats it.
pub async fn send(mail: &Mail, password: Option<&SecretString>, letter: &Letter<'_>) -> Outcome {
    match tokio::time::timeout(mail.timeout, hand_over(mail, password, letter)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::failed("the mail server did not answer in time"),
    }
}

async fn hand_over(mail: &Mail, password: Option<&SecretString>, letter: &Letter<'_>) -> Outcome {
    let message = match message(mail, letter) {
        Ok(message) => message,
        // Nothing that time would change.
        Err(why) => return Outcome::Refused { why },
    };
    let transport = match transport(mail, password).await {
        Ok(transport) => transport,
        Err(why) => return Outcome::failed(why),
    };
    match transport.send(message).await {
        Ok(_) => Outcome::Acknowledged,
        Err(error) => failed(&error, password),
    }
}

async fn transport(
    mail: &Mail,
    password: Option<&SecretString>,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let (host, port) = mail.host_and_port().ok_or("server: expected HOST:PORT")?;
    let found = resolve(host, port, mail.allow_private).await;
    let found = found.map_err(|error| format!("cannot reach the mail server: {error}"))?;
    let address = found.first().ok_or("the mail server has no address")?;
    // By its address, which was looked at; TLS still asks for the host's name.
    let mut builder =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
            .port(port)
            .timeout(Some(mail.timeout))
            .hello_name(ClientId::Domain(domain(mail).to_owned()))
            .tls(tls(mail, host)?);
    if let (Some(user), Some(password)) = (&mail.user, password) {
        let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
        builder = builder
            .credentials(credentials)
            .authentication(vec![Mechanism::Plain, Mechanism::Login]);
    }
    Ok(builder.build())
}

fn domain(mail: &Mail) -> &str {
    mail.from
        .rsplit_once('@')
        .map_or("localhost", |(_, domain)| domain)
}

fn failed(error: &lettre::transport::smtp::Error, password: Option<&SecretString>) -> Outcome {
    let code = error.status().map(u16::from);
    let text = match (code, password) {
        // What a server says after it saw a password may hold it, in one spelling or another.
        (Some(code), Some(_)) => format!("the mail server answered {code}"),
        (Some(code), None) => {
            let said = trust::error_chain(error);
            format!("the mail server answered {code}: {}", shown(&said))
        }
        (None, Some(_)) if !(error.is_timeout() || error.is_tls()) => {
            "cannot speak to the mail server".to_owned()
        }
        (None, _) => format!(
            "cannot speak to the mail server: {}",
            shown(&trust::error_chain(error))
        ),
    };
    match code {
        // This address, for good.
        Some(550 | 551 | 553) => Outcome::Refused { why: text },
        // Of this message.
        Some(450 | 452 | 552 | 554) => Outcome::Failed {
            why: text,
            retry_after: None,
            everything: false,
        },
        _ => Outcome::failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        toml::from_str(
            "server = \"localhost:25\"\nfrom = \"keys@keys.example\"\naddresses = { berta = \"berta@people.example\" }",
        )
        .unwrap()
    }

    #[test]
    fn a_header_cannot_be_put_into_a_mail() {
        let text = Text {
            subject: "about\r\nBcc: eve@evil.example\r\n\r\nbody".to_owned(),
            body: "one\r\n.\r\nMAIL FROM:<eve@evil.example>\r\n".to_owned(),
        };
        let letter = Letter {
            id: "msg_1",
            recipient: "berta",
            text: &text,
            date: Time::from_millis(1_795_000_000_000),
        };
        let made = message(&mail(), &letter).unwrap().formatted();
        let made = String::from_utf8(made).unwrap();
        let (head, _) = made.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> = head
            .lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| Some(line.split_once(':')?.0))
            .collect();
        assert!(!names.contains(&"Bcc"), "{head}");
        assert!(
            head.contains("Message-ID: <msg_1.berta@keys.example>"),
            "{head}"
        );
        assert!(head.contains("Auto-Submitted: auto-generated"), "{head}");
        let unknown = Letter {
            recipient: "eve",
            ..letter
        };
        assert!(message(&mail(), &unknown).is_err());
    }
}
