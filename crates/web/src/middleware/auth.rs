//! Who is calling: a bearer access token (RFC 6750), the service's own or one of an OIDC issuer, or a client
//! certificate's SAN. A presented access token is the only thing that counts; a bad one is not made good by a certificate.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use trust::Time;

use crate::middleware::peer::Peer;
use crate::problem::{Code, Problem};
use access::oidc::{self, Oidc};
use access::{Credentials, Principal};

/// Longer ones of the service's own are nobody's; it bounds the hashing of a header.
const ACCESS_TOKEN_MAX: usize = 1_024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    Anonymous,
    Known(Principal),
    /// Credentials were presented and are not good, with the reason.
    Unknown(String),
    /// Credentials were presented, and whether they are good is not known now, with the reason.
    Undecided(String),
}

/// What the head of a request says of its caller. It cannot be printed: it may hold a token.
pub enum Presented {
    Caller(Caller),
    /// A token of an OIDC issuer, of which nothing is known yet. [`verify`] costs a signature.
    Token(String),
}

fn unknown(why: impl Into<String>) -> Presented {
    Presented::Caller(Caller::Unknown(why.into()))
}

fn known(principal: Principal) -> Presented {
    Presented::Caller(Caller::Known(principal))
}

/// By what is in memory. A bearer of three parts separated by dots is a token of an issuer, if there are any.
pub fn presented(
    headers: &HeaderMap,
    peer: &Peer,
    credentials: &Credentials,
    oidc: &Oidc,
    now: Time,
) -> Presented {
    let mut presented = headers.get_all(AUTHORIZATION).iter();
    match (presented.next(), presented.next()) {
        (None, _) if peer.sans.is_empty() => Presented::Caller(Caller::Anonymous),
        (None, _) => credentials
            .by_sans(peer.sans.iter().map(String::as_str), now)
            .map_or_else(
                |unmapped| unknown(unmapped.text()),
                |principal| known(principal.clone()),
            ),
        (Some(_), Some(_)) => unknown("several Authorization headers"),
        (Some(value), None) => match value.to_str().ok().and_then(bearer) {
            None => unknown("expected Authorization: Bearer and an access token"),
            Some(token) if token.len() > oidc::LONGEST => {
                unknown("the access token is longer than a token may be")
            }
            Some(token) if oidc.takes(token) => match oidc.recent(token) {
                Some(principal) => known(principal),
                None => Presented::Token(token.to_owned()),
            },
            Some(token) if token.len() > ACCESS_TOKEN_MAX => {
                unknown("expected Authorization: Bearer and an access token")
            }
            Some(token) => credentials.by_access_token(token, now).map_or_else(
                || unknown("the access token is unknown or expired"),
                |principal| known(principal.clone()),
            ),
        },
    }
}

/// Whom a token of an issuer stands for. Its keys may have to be read first.
pub async fn verify(oidc: &Oidc, token: &str) -> Caller {
    match oidc.verify(token).await {
        Ok(principal) => Caller::Known(principal),
        Err(oidc::Error::Refused(why)) => Caller::Unknown(why.to_string()),
        Err(oidc::Error::Unavailable(why)) => Caller::Undecided(why.to_string()),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, access_token) = value.split_once(' ')?;
    let good = scheme.eq_ignore_ascii_case("bearer") && !access_token.is_empty();
    good.then_some(access_token)
}

impl Caller {
    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Known(principal) => Some(&principal.name),
            Self::Anonymous | Self::Unknown(_) | Self::Undecided(_) => None,
        }
    }

    pub fn known(&self) -> Result<&Principal, Problem> {
        match self {
            Self::Known(principal) => Ok(principal),
            Self::Anonymous => Err(Problem::new(
                Code::Unauthenticated,
                "send an access token in Authorization: Bearer, or use a client certificate",
            )),
            Self::Unknown(why) => Err(Problem::new(Code::InvalidCredentials, why.clone())),
            Self::Undecided(why) => Err(Problem::new(Code::IssuerUnavailable, why.clone())),
        }
    }

    /// Asked before the body is read: who may not sign learns nothing about the ring.
    pub fn signer(&self, ring: &str) -> Result<&Principal, Problem> {
        let principal = self.known()?;
        if principal.may_sign(ring) {
            return Ok(principal);
        }
        Err(forbidden(principal, &format!("signer:{ring}")))
    }
}

fn forbidden(principal: &Principal, role: &str) -> Problem {
    Problem::new(
        Code::Forbidden,
        format!("{} does not have the role {role}", principal.name),
    )
}
