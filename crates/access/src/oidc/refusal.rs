//! Why a token is not believed. The texts are fixed: nothing of a token stands in an answer or in the service log.

/// What is wrong with a token, or with what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("the token is longer than a token may be")]
    TooLong,
    #[error("the token is not a compact JWS of strict JSON (RFC 7515, RFC 7519)")]
    Malformed,
    #[error("the token's issuer is not configured")]
    Issuer,
    #[error("the token is signed with an algorithm that its issuer is not configured for")]
    Algorithm,
    #[error("the token is of another type than expected (typ)")]
    Type,
    #[error("the token has critical header parameters, which are not supported (crit)")]
    Critical,
    #[error("the token does not name its key (kid)")]
    NoKid,
    #[error("the token names a key that its issuer does not publish")]
    UnknownKey,
    #[error("the token names a key that cannot be used with its algorithm")]
    UnfitKey,
    #[error("the token's signature is invalid")]
    Signature,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token's times are missing or invalid (exp, iat, nbf)")]
    Times,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token is valid for longer than its issuer is allowed")]
    Lifetime,
    #[error("the token is bound to a key of its holder, which is not supported (cnf)")]
    Bound,
    #[error("the token names no principal")]
    NoPrincipal,
    #[error("none of the token's claims is mapped to a role")]
    NoRole,
}

/// Why nothing can be said of a token now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unavailable {
    /// Somebody else's request is waiting for it.
    #[error("the keys of the token's issuer are being read")]
    Reading,
    #[error("the keys of the token's issuer are not known, or were read too long ago")]
    NoKeys,
}

/// There is no principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
