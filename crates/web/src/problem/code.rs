//! Every code a problem document can carry. Codes are an interface: they are added, never
//! renamed, and a golden file watches over them.

use std::time::Duration;

use axum::http::StatusCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    NotFound,
    MethodNotAllowed,
    UnsupportedMediaType,
    BodyTooLarge,
    BodyIncomplete,
    BodyTimeout,
    BadJson,
    BadMember,
    BadQuery,
    BadHeader,
    Unauthenticated,
    InvalidCredentials,
    Forbidden,
    UnknownRing,
    UnknownKey,
    UnknownCeremony,
    UnknownOrder,
    UnknownRotation,
    UnknownAlert,
    UnknownReport,
    NoCertificate,
    KeyRevoked,
    NoActiveKey,
    KeyMayNotSign,
    SigningStopped,
    WrongUsage,
    WrongAlgorithm,
    WrongHash,
    IdempotencyMismatch,
    RateLimited,
    Overloaded,
    DeadlineExceeded,
    TokenUnavailable,
    DatabaseUnavailable,
    LogUnavailable,
    IssuerUnavailable,
    NotInLog,
    Pruned,
    BadSignature,
    CeremonyState,
    CeremonyExpired,
    RotationState,
    AlertState,
    ReportState,
    RequestRefused,
    SignatureNotCounted,
    QuotaExceeded,
    UnknownAsset,
    UnknownKeyType,
    AssetsRefused,
    AssetState,
    PolicyRefused,
    PolicyVersion,
    CeremonyRequired,
    OutcomeUnknown,
    Internal,
}

impl Code {
    pub const ALL: [Self; 56] = [
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnsupportedMediaType,
        Self::BodyTooLarge,
        Self::BodyIncomplete,
        Self::BodyTimeout,
        Self::BadJson,
        Self::BadMember,
        Self::BadQuery,
        Self::BadHeader,
        Self::Unauthenticated,
        Self::InvalidCredentials,
        Self::Forbidden,
        Self::UnknownRing,
        Self::UnknownKey,
        Self::UnknownCeremony,
        Self::UnknownOrder,
        Self::UnknownRotation,
        Self::UnknownAlert,
        Self::UnknownReport,
        Self::NoCertificate,
        Self::KeyRevoked,
        Self::NoActiveKey,
        Self::KeyMayNotSign,
        Self::SigningStopped,
        Self::WrongUsage,
        Self::WrongAlgorithm,
        Self::WrongHash,
        Self::IdempotencyMismatch,
        Self::RateLimited,
        Self::Overloaded,
        Self::DeadlineExceeded,
        Self::TokenUnavailable,
        Self::DatabaseUnavailable,
        Self::LogUnavailable,
        Self::IssuerUnavailable,
        Self::NotInLog,
        Self::Pruned,
        Self::BadSignature,
        Self::CeremonyState,
        Self::CeremonyExpired,
        Self::RotationState,
        Self::AlertState,
        Self::ReportState,
        Self::RequestRefused,
        Self::SignatureNotCounted,
        Self::QuotaExceeded,
        Self::UnknownAsset,
        Self::UnknownKeyType,
        Self::AssetsRefused,
        Self::AssetState,
        Self::PolicyRefused,
        Self::PolicyVersion,
        Self::CeremonyRequired,
        Self::OutcomeUnknown,
        Self::Internal,
    ];

    pub const fn status(self) -> StatusCode {
        self.facts().0
    }

    pub const fn name(self) -> &'static str {
        self.facts().1
    }

    pub const fn title(self) -> &'static str {
        self.facts().2
    }

    const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::NotFound => (S::NOT_FOUND, "not_found", "Resource not found"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
            ),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The content type must be application/json",
            ),
            Self::BodyTooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The body is too large",
            ),
            Self::BodyIncomplete => (S::BAD_REQUEST, "body_incomplete", "The body is incomplete"),
            Self::BodyTimeout => (
                S::REQUEST_TIMEOUT,
                "body_timeout",
                "The body was not received in time",
            ),
            Self::BadJson => (S::BAD_REQUEST, "bad_json", "The body is not strict JSON"),
            Self::BadMember => (S::BAD_REQUEST, "bad_member", "A member is invalid"),
            Self::BadQuery => (S::BAD_REQUEST, "bad_query", "A query parameter is invalid"),
            Self::BadHeader => (S::BAD_REQUEST, "bad_header", "A header is invalid"),
            Self::Unauthenticated => (
                S::UNAUTHORIZED,
                "unauthenticated",
                "Credentials are required",
            ),
            Self::InvalidCredentials => (
                S::UNAUTHORIZED,
                "invalid_credentials",
                "The credentials are unknown or expired",
            ),
            Self::Forbidden => (S::FORBIDDEN, "forbidden", "The caller lacks permission"),
            Self::UnknownRing => (S::NOT_FOUND, "unknown_ring", "Unknown ring"),
            Self::UnknownKey => (S::NOT_FOUND, "unknown_key", "Unknown key"),
            Self::UnknownCeremony => (S::NOT_FOUND, "unknown_ceremony", "Unknown ceremony"),
            Self::UnknownOrder => (S::NOT_FOUND, "unknown_order", "Unknown standing order"),
            Self::UnknownRotation => (S::NOT_FOUND, "unknown_rotation", "Unknown rotation"),
            Self::UnknownAlert => (S::NOT_FOUND, "unknown_alert", "Unknown alert"),
            Self::UnknownReport => (S::NOT_FOUND, "unknown_report", "Unknown report"),
            Self::NoCertificate => (S::NOT_FOUND, "no_certificate", "The key has no certificate"),
            Self::KeyRevoked => (S::GONE, "key_revoked", "The key was revoked"),
            Self::NoActiveKey => (S::CONFLICT, "no_active_key", "The ring has no active key"),
            Self::KeyMayNotSign => (
                S::CONFLICT,
                "key_may_not_sign",
                "The key is no longer active",
            ),
            Self::SigningStopped => (
                S::SERVICE_UNAVAILABLE,
                "signing_stopped",
                "Signing with the ring is stopped",
            ),
            Self::WrongUsage => (
                S::UNPROCESSABLE_ENTITY,
                "wrong_usage",
                "The ring's usage does not allow this format",
            ),
            Self::WrongAlgorithm => (
                S::UNPROCESSABLE_ENTITY,
                "wrong_algorithm",
                "The ring uses a different algorithm",
            ),
            Self::WrongHash => (
                S::UNPROCESSABLE_ENTITY,
                "wrong_hash",
                "The ring's algorithm uses a different hash",
            ),
            Self::IdempotencyMismatch => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency_mismatch",
                "The idempotency key was used for a different request",
            ),
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "rate_limited", "Too many requests"),
            Self::Overloaded => (
                S::SERVICE_UNAVAILABLE,
                "overloaded",
                "The service is overloaded",
            ),
            Self::DeadlineExceeded => (
                S::SERVICE_UNAVAILABLE,
                "deadline_exceeded",
                "The request deadline was exceeded",
            ),
            Self::TokenUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "token_unavailable",
                "The HSM is unavailable",
            ),
            Self::DatabaseUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "database_unavailable",
                "The database is unavailable",
            ),
            Self::LogUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "log_unavailable",
                "The transparency log is unavailable",
            ),
            Self::IssuerUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "issuer_unavailable",
                "The keys of the access token's issuer are unavailable",
            ),
            Self::NotInLog => (
                S::CONFLICT,
                "not_in_log",
                "The signature is valid but not in the log",
            ),
            Self::Pruned => (
                S::GONE,
                "pruned",
                "The leaf body was pruned after its retention period",
            ),
            Self::BadSignature => (
                S::UNPROCESSABLE_ENTITY,
                "bad_signature",
                "The signature is invalid",
            ),
            Self::CeremonyState => (
                S::CONFLICT,
                "ceremony_state",
                "The ceremony is in a different state",
            ),
            Self::CeremonyExpired => (
                S::CONFLICT,
                "ceremony_expired",
                "A deadline of the ceremony has passed",
            ),
            Self::RotationState => (
                S::CONFLICT,
                "rotation_state",
                "The rotation, or what rotates, is in a different state",
            ),
            Self::AlertState => (
                S::CONFLICT,
                "alert_state",
                "The alert is in a different state",
            ),
            Self::ReportState => (
                S::CONFLICT,
                "report_state",
                "The report is decided, or its name is taken",
            ),
            Self::RequestRefused => (
                S::UNPROCESSABLE_ENTITY,
                "request_refused",
                "No quorum can approve the request",
            ),
            Self::SignatureNotCounted => (
                S::UNPROCESSABLE_ENTITY,
                "signature_not_counted",
                "The signature does not count",
            ),
            Self::QuotaExceeded => (S::CONFLICT, "quota_exceeded", "The quota is exhausted"),
            Self::UnknownAsset => (S::NOT_FOUND, "unknown_asset", "Unknown asset"),
            Self::UnknownKeyType => (S::NOT_FOUND, "unknown_key_type", "Unknown key type"),
            Self::AssetsRefused => (
                S::UNPROCESSABLE_ENTITY,
                "assets_refused",
                "An asset was refused, so none was registered",
            ),
            Self::AssetState => (
                S::CONFLICT,
                "asset_state",
                "The asset is in a different state",
            ),
            Self::PolicyRefused => (
                S::UNPROCESSABLE_ENTITY,
                "policy_refused",
                "The rotation policy cannot be put in force",
            ),
            Self::PolicyVersion => (
                S::CONFLICT,
                "policy_version",
                "The version does not follow the policy in force",
            ),
            Self::CeremonyRequired => (
                S::CONFLICT,
                "ceremony_required",
                "Only a quorum of custodians decides this",
            ),
            Self::OutcomeUnknown => (
                S::SERVICE_UNAVAILABLE,
                "outcome_unknown",
                "The outcome of the request is unknown",
            ),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }

    /// How long a caller should wait where waiting helps.
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::DeadlineExceeded
            | Self::TokenUnavailable
            | Self::DatabaseUnavailable
            | Self::LogUnavailable
            | Self::IssuerUnavailable
            | Self::OutcomeUnknown => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// What a caller can do about a 5xx; fixed text, so that nothing of the inside shows.
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Overloaded
            | Self::TokenUnavailable
            | Self::DatabaseUnavailable
            | Self::LogUnavailable
            | Self::IssuerUnavailable => {
                Some("Nothing was signed or changed. Retry after the time given in Retry-After.")
            }
            // People decide when; nobody can say when that will be.
            Self::SigningStopped => Some(
                "Nothing was signed. Signing was stopped in an emergency and goes on when the custodians resume it.",
            ),
            // The work may have been finished after the answer was given up.
            Self::DeadlineExceeded | Self::OutcomeUnknown => {
                Some("The outcome is unknown. Retry with the same Idempotency-Key.")
            }
            Self::Internal => Some("Report the request ID to the operators."),
            _ => None,
        }
    }

    /// Value of WWW-Authenticate (RFC 6750 section 3).
    pub const fn challenge(self) -> Option<&'static str> {
        match self {
            Self::Unauthenticated => Some("Bearer realm=\"chancery\""),
            Self::InvalidCredentials => Some("Bearer realm=\"chancery\", error=\"invalid_token\""),
            _ => None,
        }
    }

    /// Whether it goes into the audit trail: somebody was told no for who they are, or for what
    /// the ring or key is for. Mistakes of form are not acts.
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Unauthenticated
                | Self::InvalidCredentials
                | Self::Forbidden
                | Self::KeyMayNotSign
                | Self::WrongUsage
                | Self::SignatureNotCounted
        )
    }
}
