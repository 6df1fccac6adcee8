//! Bearer tokens of OIDC issuers, for programs and people: who an issuer says that somebody is, as far as the
//! configuration says what that is worth here. An issuer gives names and roles; it never replaces a custodian's signature.

mod address;
mod claims;
mod fetch;
mod issuer;
mod keys;
mod pointer;
mod recent;
mod refusal;
mod settings;
mod token;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use base::{Env, Tasks};
use trust::Sha256Digest;

use crate::Principal;
use recent::Recent;
use token::UnverifiedToken;

pub use fetch::FetchError;
pub use issuer::{Issuer, Standing};
pub use keys::{KeySet, KeySetError};
pub use refusal::{Error, Refusal, Unavailable};
pub use settings::{IssuerSettings, Mapping, OidcSettings, Settings};
pub use token::{LONGEST, is_jws};

/// The issuers that are configured.
pub struct Oidc {
    issuers: Vec<Arc<Issuer>>,
    recent: Recent,
    env: Env,
}

impl Oidc {
    /// Of settings that were validated. Nobody is asked yet.
    pub fn new(settings: &OidcSettings, env: &Env) -> Self {
        let issuers = settings.issuer.iter();
        Self {
            issuers: issuers
                .map(|issuer| Arc::new(Issuer::new(issuer.clone(), env.clone())))
                .collect(),
            recent: Recent::default(),
            env: env.clone(),
        }
    }

    /// Reads the keys of all, now and from time to time.
    pub fn start(&self, tasks: &mut Tasks) {
        for issuer in &self.issuers {
            let name = format!("OIDC keys of {}", issuer.settings().name);
            tasks.start(name, Arc::clone(issuer), |issuer| {
                Box::pin(async move { issuer.follow().await })
            });
        }
    }

    /// Whether a token could be of one of the issuers: otherwise it is looked up as the service's own.
    pub fn takes(&self, access_token: &str) -> bool {
        !self.issuers.is_empty() && is_jws(access_token)
    }

    pub fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// Whom a token stands for that was verified before; costs no more than the look-up of the service's own.
    pub fn recent(&self, token: &str) -> Option<Principal> {
        self.recent.get(&name_of(token), self.env.now())
    }

    /// Who is said to have made a token.
    pub fn issuer_of(&self, token: &str) -> Result<&Arc<Issuer>, Refusal> {
        self.named_by(&UnverifiedToken::parse(token)?)
    }

    fn named_by(&self, token: &UnverifiedToken<'_>) -> Result<&Arc<Issuer>, Refusal> {
        let named = token.claims.get("iss").and_then(|iss| iss.as_str());
        let mut issuers = self.issuers.iter();
        let found = issuers.find(|issuer| Some(issuer.settings().issuer.as_str()) == named);
        found.ok_or(Refusal::Issuer)
    }

    /// Whom a token stands for.
    pub async fn verify(&self, token: &str) -> Result<Principal, Error> {
        let unverified = UnverifiedToken::parse(token)?;
        let issuer = self.named_by(&unverified)?;
        let verified = issuer.verify(&unverified).await?;
        let principal = verified.principal.clone();
        let (issuer, now) = (Arc::clone(issuer), self.env.now());
        self.recent.put(name_of(token), issuer, verified, now);
        Ok(principal)
    }
}

fn name_of(token: &str) -> Sha256Digest {
    Sha256Digest::of(token.as_bytes())
}
