//! One witness, asked over HTTP. What it answers is believed as far as its signature carries.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{Client, StatusCode, Url, redirect};
use trust::tlog::cosignature::{self, CosignatureError};
use trust::tlog::note::{Note, NoteError, NoteSignature, VerifierKey};
use trust::tlog::witness::{AddCheckpoint, parse_conflict};
use trust::{Sha256Digest, Time};

/// Bytes of an answer that are read: a checkpoint with many signatures.
const MOST_BYTES: usize = 64 * 1024;

/// How far a witness's clock may be from ours. A later time cannot be true yet; an earlier one
/// would prove that the checkpoint existed before it was signed.
const SKEW_MILLIS: i64 = 5 * 60 * 1000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is not a valid witness URL: use https, or http on loopback")]
    Address(String),
    #[error("the HTTP client could not be created")]
    Client(#[source] reqwest::Error),
    #[error("the witness is unavailable")]
    Unreachable(#[source] reqwest::Error),
    #[error("the response is longer than {MOST_BYTES} bytes")]
    TooLong,
    #[error("the witness responded with {0}")]
    Status(u16),
    #[error("the witness responded with 409 without a tree size")]
    NoSize,
    #[error("the response does not consist of signature lines")]
    Lines(#[source] NoteError),
    #[error("the response contains no cosignature by {0}")]
    Unsigned(String),
    #[error("the cosignature is invalid")]
    Cosignature(#[source] CosignatureError),
    #[error("the cosignature timestamp {0} is out of range")]
    Time(Time),
}

impl Error {
    /// For a figure's label.
    pub fn why(&self) -> &'static str {
        match self {
            Self::Address(_) | Self::Client(_) | Self::Unreachable(_) => "unreachable",
            Self::Status(_) | Self::TooLong | Self::NoSize | Self::Lines(_) => "answer",
            Self::Unsigned(_) | Self::Cosignature(_) | Self::Time(_) => "cosignature",
        }
    }
}

/// What a witness said to a checkpoint.
#[derive(Debug)]
pub enum Answer {
    /// The line is verified.
    Cosigned(NoteSignature),
    /// 409: it goes on from another size.
    At(u64),
    /// 422: the tree did not only grow, it says.
    Inconsistent,
}

pub struct Remote {
    key: VerifierKey,
    http: Client,
    add: String,
    base: String,
}

impl Remote {
    pub fn new(key: VerifierKey, url: &str, timeout: Duration) -> Result<Self, Error> {
        let base = checked(url)?;
        let http = Client::builder()
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(Error::Client)?;
        Ok(Self {
            key,
            http,
            add: format!("{base}/add-checkpoint"),
            base,
        })
    }

    /// `now` is asked when the answer is there; `signed` is when the log signed the checkpoint.
    pub async fn add(
        &self,
        request: &AddCheckpoint,
        signed: Time,
        now: impl Fn() -> Time,
    ) -> Result<Answer, Error> {
        let post = self.http.post(&self.add).body(request.to_string());
        let (status, body) = answer(post).await?;
        match status {
            StatusCode::OK => {
                let line = judge(&body, &request.note.text, &self.key, signed, now())?;
                Ok(Answer::Cosigned(line))
            }
            StatusCode::CONFLICT => Ok(Answer::At(parse_conflict(&body).ok_or(Error::NoSize)?)),
            StatusCode::UNPROCESSABLE_ENTITY => Ok(Answer::Inconsistent),
            other => Err(Error::Status(other.as_u16())),
        }
    }

    /// The last checkpoint that it cosigned of a log, as it serves it; none where it has none, or
    /// serves it somewhere else.
    pub async fn latest(&self, origin: &str) -> Result<Option<Vec<u8>>, Error> {
        let hash = Sha256Digest::of(origin.as_bytes());
        let get = self.http.get(format!("{}/{hash}/checkpoint", self.base));
        match answer(get).await? {
            (StatusCode::OK, body) => Ok(Some(body)),
            (other, _) if other.is_client_error() => Ok(None),
            (other, _) => Err(Error::Status(other.as_u16())),
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(StatusCode, Vec<u8>), Error> {
    let mut response = request.send().await.map_err(Error::Unreachable)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Error::Unreachable)? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(Error::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}

/// The submission prefix without its last slash. What is sent there is public, but who answers
/// decides whether the log is halted, so it has to be who it is thought to be.
fn checked(url: &str) -> Result<String, Error> {
    let refused = || Error::Address(url.to_owned());
    let parsed = Url::parse(url).map_err(|_| refused())?;
    let host = parsed.host_str().ok_or_else(refused)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost"
        || bare
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
    let scheme = match parsed.scheme() {
        "https" => true,
        "http" => loopback,
        _ => false,
    };
    let plain = parsed.query().is_none()
        && parsed.fragment().is_none()
        && parsed.username().is_empty()
        && parsed.password().is_none();
    match scheme && plain {
        true => Ok(parsed.as_str().trim_end_matches('/').to_owned()),
        false => Err(refused()),
    }
}

/// The witness's line, if what it states can be. Lines of other keys are ignored; if the witness
/// sends several they all have to check, and the first one counts.
fn judge(
    lines: &[u8],
    text: &str,
    key: &VerifierKey,
    signed: Time,
    now: Time,
) -> Result<NoteSignature, Error> {
    let note = Note {
        text: text.to_owned(),
        signatures: NoteSignature::parse_lines(lines).map_err(Error::Lines)?,
    };
    let mut good = None;
    for line in note.by(key) {
        let alone = Note {
            text: note.text.clone(),
            signatures: vec![line.clone()],
        };
        let stated = cosignature::verify(&alone, key).transpose();
        let at = match stated.map_err(Error::Cosignature)? {
            Some(stated) => stated.at(),
            None => continue,
        };
        let earliest = signed.millis().saturating_sub(SKEW_MILLIS);
        // What is stated is a second, and counts as its end.
        let latest = now.millis().saturating_add(SKEW_MILLIS + 999);
        if !(earliest..=latest).contains(&at.millis()) {
            return Err(Error::Time(at));
        }
        good.get_or_insert_with(|| line.clone());
    }
    good.ok_or_else(|| Error::Unsigned(key.to_string()))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    const TEXT: &str = "log.example\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    const SIGNED: i64 = 1_800_000_000;

    fn witness(seed: u8) -> (Ed25519KeyPair, VerifierKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let key = VerifierKey::cosigner("w", public).unwrap();
        (pair, key)
    }

    fn line(seed: u8, text: &str, seconds: i64) -> NoteSignature {
        let (pair, key) = witness(seed);
        let seconds = u64::try_from(seconds).unwrap();
        let signature = pair.sign(&cosignature::message(text, seconds));
        cosignature::build(&key, seconds, signature.as_ref()).unwrap()
    }

    fn judged(lines: &str) -> Result<NoteSignature, Error> {
        let signed = Time::from_millis(SIGNED * 1000);
        let now = Time::from_millis((SIGNED + 10) * 1000);
        judge(lines.as_bytes(), TEXT, &witness(1).1, signed, now)
    }

    #[test]
    fn a_cosignature_is_taken_for_what_it_states() {
        let good = line(1, TEXT, SIGNED);
        assert_eq!(judged(&good.to_string()).unwrap(), good);
        // Strangers are ignored, before it and after it.
        let stranger = line(2, "another text\n", SIGNED);
        let among = format!("{stranger}{good}{stranger}");
        assert_eq!(judged(&among).unwrap(), good);
        assert!(matches!(
            judged(&stranger.to_string()),
            Err(Error::Unsigned(_))
        ));
        // One that does not check refuses the answer, wherever it stands.
        let bad = line(1, "another text\n", SIGNED);
        for lines in [
            format!("{bad}"),
            format!("{good}{bad}"),
            format!("{bad}{good}"),
        ] {
            assert!(matches!(judged(&lines), Err(Error::Cosignature(_))));
        }
        for (seconds, taken) in [
            (SIGNED - 301, false),
            (SIGNED - 300, true),
            (SIGNED + 310, true),
            (SIGNED + 311, false),
            (1, false),
        ] {
            let outcome = judged(&line(1, TEXT, seconds).to_string());
            assert_eq!(outcome.is_ok(), taken, "{seconds}: {outcome:?}");
            assert!(taken || matches!(outcome, Err(Error::Time(_))));
        }
        for lines in ["", "\n", "nonsense\n", "— w AAAA\n"] {
            assert!(matches!(judged(lines), Err(Error::Lines(_))), "{lines:?}");
        }
    }

    #[test]
    fn witnesses_are_asked_where_nobody_can_stand_between() {
        for (url, base) in [
            ("https://w.example", "https://w.example"),
            ("https://w.example/prefix/", "https://w.example/prefix"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://localhost:1/a", "http://localhost:1/a"),
        ] {
            assert_eq!(checked(url).unwrap(), base);
        }
        for url in [
            "http://w.example",
            "http://127.0.0.1.w.example",
            "http://localhost.w.example",
            "http://10.0.0.1",
            "https://user@w.example",
            "https://w.example/?q",
            "https://w.example/#f",
            "ftp://w.example",
            "w.example",
            "",
        ] {
            assert!(matches!(checked(url), Err(Error::Address(_))), "{url}");
        }
    }
}
