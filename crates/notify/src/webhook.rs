//! Webhooks in the form of Standard Webhooks 1.0 (`spec/standard-webhooks.md` of standard-webhooks/standard-webhooks).

use aws_lc_rs::hmac;
use base::settings::Secret;
use base64ct::{Base64, Encoding as _};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret as _, SecretString};
use trust::Time;
use url::Url;
use zeroize::Zeroizing;

use crate::http;
use crate::retry::Outcome;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// Bytes of a secret (section "Signature scheme").
const SECRET: std::ops::RangeInclusive<usize> = 24..=64;

/// Signs under one secret.
pub struct Key(hmac::Key);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected whsec_ and 24 to 64 bytes in base64")]
pub struct NotASecret;

impl Key {
    /// `whsec_…`
    pub fn parse(text: &SecretString) -> Result<Self, NotASecret> {
        let text = text.expose_secret().trim();
        let encoded = text.strip_prefix(PREFIX).ok_or(NotASecret)?;
        let bytes = Zeroizing::new(Base64::decode_vec(encoded).map_err(|_| NotASecret)?);
        match SECRET.contains(&bytes.len()) {
            true => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))),
            false => Err(NotASecret),
        }
    }
}

/// `webhook-signature`: one for each secret, so that a receiver may have the old one or the new one.
pub fn signature(keys: &[Key], id: &str, seconds: i64, body: &str) -> String {
    let signed = format!("{id}.{seconds}.{body}");
    let one = |key: &Key| {
        let tag = hmac::sign(&key.0, signed.as_bytes());
        format!("v1,{}", Base64::encode_string(tag.as_ref()))
    };
    let all: Vec<String> = keys.iter().map(one).collect();
    all.join(" ")
}

/// The keys of a receiver, read anew, so that a file that is replaced counts from the next message on.
pub fn keys(
    secrets: &[Secret],
    variable: &(dyn Fn(&str) -> Option<String> + Send + Sync),
) -> Result<Vec<Key>, String> {
    let read = |secret: &Secret| {
        let text = secret.read(variable)?;
        Key::parse(&text).map_err(|error| format!("{secret:?}: {error}"))
    };
    secrets.iter().map(read).collect()
}

/// Posts a message; its id is the same on every attempt.
pub async fn send(
    client: &Client,
    url: &Url,
    keys: &[Key],
    id: &str,
    body: &str,
    now: Time,
) -> Outcome {
    let seconds = now.millis().div_euclid(1_000);
    let request = client
        .post(url.clone())
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds.to_string())
        .header("webhook-signature", signature(keys, id, seconds, body))
        .body(body.to_owned());
    http::send(request, now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<Key, NotASecret> {
        Key::parse(&SecretString::from(text.to_owned()))
    }

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the specification's reference libraries.
        let keys = [key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()];
        let made = signature(
            &keys,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(made, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_make_two_signatures() {
        let one = || key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let two = || key("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let both = signature(&[one(), two()], "msg_1", 1, "{}");
        let apart = [
            signature(&[one()], "msg_1", 1, "{}"),
            signature(&[two()], "msg_1", 1, "{}"),
        ];
        assert_eq!(both, apart.join(" "));
    }

    #[test]
    fn a_weak_or_misspelled_secret_is_refused_without_being_shown() {
        for wrong in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
            "whsec_!!!!",
        ] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
        assert!(!NotASecret.to_string().contains("c2hvcnQ"));
    }
}
