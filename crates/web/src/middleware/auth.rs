//! Who is calling: a bearer access token (RFC 6750) or a client certificate's SAN. A presented
//! access token is the only thing that counts; a bad one is not made good by a certificate.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use trust::Time;

use crate::middleware::peer::Peer;
use crate::problem::{Code, Problem};
use access::{Credentials, Principal};

/// Longer ones are nobody's; it bounds the hashing of a header.
const ACCESS_TOKEN_MAX: usize = 1_024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    Anonymous,
    Known(Principal),
    /// Credentials were presented and are not good, with the reason.
    Unknown(&'static str),
}

/// The place for JWTs of a configured OIDC issuer is here: an access token of three parts
/// separated by dots would be verified instead of looked up.
pub fn authenticate(
    headers: &HeaderMap,
    peer: &Peer,
    credentials: &Credentials,
    now: Time,
) -> Caller {
    let mut presented = headers.get_all(AUTHORIZATION).iter();
    match (presented.next(), presented.next()) {
        (None, _) if peer.sans.is_empty() => Caller::Anonymous,
        (None, _) => credentials
            .by_sans(peer.sans.iter().map(String::as_str), now)
            .map_or_else(
                |unmapped| Caller::Unknown(unmapped.text()),
                |principal| Caller::Known(principal.clone()),
            ),
        (Some(_), Some(_)) => Caller::Unknown("several Authorization headers"),
        (Some(value), None) => match value.to_str().ok().and_then(bearer) {
            None => Caller::Unknown("expected Authorization: Bearer and an access token"),
            Some(access_token) => credentials.by_access_token(access_token, now).map_or(
                Caller::Unknown("the access token is unknown or expired"),
                |principal| Caller::Known(principal.clone()),
            ),
        },
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, access_token) = value.split_once(' ')?;
    let good = scheme.eq_ignore_ascii_case("bearer")
        && !access_token.is_empty()
        && access_token.len() <= ACCESS_TOKEN_MAX;
    good.then_some(access_token)
}

impl Caller {
    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Known(principal) => Some(&principal.name),
            Self::Anonymous | Self::Unknown(_) => None,
        }
    }

    pub fn known(&self) -> Result<&Principal, Problem> {
        match self {
            Self::Known(principal) => Ok(principal),
            Self::Anonymous => Err(Problem::new(
                Code::Unauthenticated,
                "send an access token in Authorization: Bearer, or use a client certificate",
            )),
            Self::Unknown(why) => Err(Problem::new(Code::InvalidCredentials, *why)),
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
