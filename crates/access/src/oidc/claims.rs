//! What a token claims, held against what its issuer is configured for. All of it is asked before the signature, which
//! costs more; nothing of it counts without.

use std::time::Duration;

use serde_json::{Map, Value};
use trust::{Algorithm, Sha256Digest, Time, base64url};

use super::refusal::Refusal;
use super::settings::IssuerSettings;
use super::token::UnverifiedToken;
use crate::{Principal, Role};

/// Longest name of a principal.
const LONGEST_NAME: usize = 64;

/// What a good signature makes of a token.
pub struct Claimed<'a> {
    pub algorithm: Algorithm,
    pub kid: &'a str,
    pub principal: Principal,
}

/// Whom the token would stand for.
pub fn check<'a>(
    issuer: &IssuerSettings,
    token: &'a UnverifiedToken<'_>,
    now: Time,
) -> Result<Claimed<'a>, Refusal> {
    let algorithm = algorithm(issuer, token)?;
    if token.header.contains_key("crit") {
        return Err(Refusal::Critical);
    }
    is_of_type(issuer, token)?;
    let kid = token.header_text("kid").filter(|kid| !kid.is_empty());
    let kid = kid.ok_or(Refusal::NoKid)?;
    let claims = &token.claims;
    if claims.get("iss").and_then(Value::as_str) != Some(issuer.issuer.as_str()) {
        return Err(Refusal::Issuer);
    }
    if !is_for(claims, &issuer.audience) {
        return Err(Refusal::Audience);
    }
    let ends = times(issuer, claims, now)?;
    // Whoever shows it would have to prove that the key is theirs (RFC 7800).
    if claims.contains_key("cnf") {
        return Err(Refusal::Bound);
    }
    let name = principal_name(issuer, claims).ok_or(Refusal::NoPrincipal)?;
    let roles = mapped(issuer, claims);
    if roles.is_empty() {
        return Err(Refusal::NoRole);
    }
    let principal = Principal {
        name: name.into(),
        roles: roles.into(),
        expires_at: Some(ends),
    };
    Ok(Claimed {
        algorithm,
        kid,
        principal,
    })
}

/// By name only: the key does not choose, and neither does the token beyond what is configured.
fn algorithm(issuer: &IssuerSettings, token: &UnverifiedToken<'_>) -> Result<Algorithm, Refusal> {
    let named = token.header_text("alg").ok_or(Refusal::Algorithm)?;
    let mut allowed = issuer.algorithms.iter().copied();
    let found = allowed.find(|algorithm| algorithm.is_named(named));
    found.ok_or(Refusal::Algorithm)
}

/// A token for another purpose of the same issuer (a logout token, a security event) is no access token.
fn is_of_type(issuer: &IssuerSettings, token: &UnverifiedToken<'_>) -> Result<(), Refusal> {
    let typ = match token.header.get("typ") {
        None => None,
        Some(Value::String(typ)) => Some(typ.to_ascii_lowercase()),
        Some(_) => return Err(Refusal::Type),
    };
    // RFC 7515 section 4.1.9: `application/` may be left out.
    let typ = typ.as_deref();
    let typ = typ.map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
    let good = match (&issuer.token_type, typ) {
        (Some(expected), Some(typ)) => expected.eq_ignore_ascii_case(typ),
        (Some(_), None) => false,
        (None, typ) => matches!(typ, None | Some("jwt" | "at+jwt")),
    };
    good.then_some(()).ok_or(Refusal::Type)
}

/// RFC 7519 section 4.1.3: a string, or an array of them.
fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(only)) => only == audience,
        Some(Value::Array(all)) => {
            all.iter().all(Value::is_string) && all.iter().any(|each| each == audience)
        }
        _ => false,
    }
}

/// Until when the token is good.
fn times(issuer: &IssuerSettings, claims: &Map<String, Value>, now: Time) -> Result<Time, Refusal> {
    let read = |member: &str| match claims.get(member) {
        None => Ok(None),
        Some(found) => {
            let seconds = found
                .as_u64()
                .and_then(|seconds| i64::try_from(seconds).ok());
            let millis = seconds.and_then(|seconds| seconds.checked_mul(1_000));
            // What lies beyond the years that there are is no instant.
            let at = millis.map(Time::from_millis);
            at.filter(|at| Some(at.millis()) == millis)
                .map(Some)
                .ok_or(Refusal::Times)
        }
    };
    let exp = read("exp")?.ok_or(Refusal::Times)?;
    let iat = read("iat")?.ok_or(Refusal::Times)?;
    let nbf = read("nbf")?.unwrap_or(iat);
    if exp <= iat {
        return Err(Refusal::Times);
    }
    let ends = exp + issuer.clock_skew;
    if ends <= now {
        return Err(Refusal::Expired);
    }
    let latest = now + issuer.clock_skew;
    if iat > latest || nbf > latest {
        return Err(Refusal::NotYet);
    }
    let lifetime: Duration = exp.since(iat);
    if lifetime > issuer.max_lifetime {
        return Err(Refusal::Lifetime);
    }
    Ok(ends)
}

/// `oidc:ISSUER:VALUE`, or `oidc:ISSUER:#DIGEST` where the value is too long for a name or has what a name may not
/// have. Two values never have one name, and no name is one of another issuer's or of the database's principals.
fn principal_name(issuer: &IssuerSettings, claims: &Map<String, Value>) -> Option<String> {
    let value = issuer.principal.find(claims)?.as_str()?;
    if value.is_empty() {
        return None;
    }
    let name = format!("oidc:{}:{value}", issuer.name);
    let printable = value.bytes().all(|byte| byte.is_ascii_graphic());
    if name.len() <= LONGEST_NAME && printable && !value.starts_with('#') {
        return Some(name);
    }
    let digest = base64url::encode(Sha256Digest::of(value.as_bytes()).as_bytes());
    Some(format!("oidc:{}:#{digest}", issuer.name))
}

/// The roles of all mappings that match.
fn mapped(issuer: &IssuerSettings, claims: &Map<String, Value>) -> Vec<Role> {
    let mut roles = Vec::new();
    for mapping in &issuer.map {
        if !mapping.value.is_empty() && mapping.claim.has(claims, &mapping.value) {
            for role in &mapping.roles {
                if !roles.contains(role) {
                    roles.push(role.clone());
                }
            }
        }
    }
    roles
}
