//! Who may name whom: a new crate or module is entered here.

/// The modules of a crate by floors, lowest first: a module names those of lower floors, and no other of its own; its
/// tests may name `testing`, what the tests of the whole crate share.
pub const MODULES: &[(&str, &[&[&str]])] = &[
    (
        "src",
        &[
            &["config"],
            &["telemetry"],
            &["cli"],
            &["reload", "start"],
            &["executor"],
        ],
    ),
    // What there is below those that act on it.
    (
        "crates/rotation/src",
        &[
            &["error", "key_type_labels", "settings", "times"],
            &["policies"],
            &["inventory"],
            &["drivers"],
            &["engine"],
            &["facts"],
            &["alerts"],
            &["compromise", "digest"],
            &["measured", "notices"],
            &["jobs"],
            &["tests"],
        ],
    ),
    (
        "crates/keyring/src",
        &[
            &["keys"],
            &["rotation", "signing", "usage", "verification"],
            &["ceremony"],
            &["tests"],
        ],
    ),
    (
        "crates/web/src",
        &[
            &["problem", "services", "settings"],
            &["middleware"],
            &["v1"],
            &["listener"],
            &["testing"],
        ],
    ),
];

/// What the crates may build on: those of this workspace that are below them, and foreign ones that
/// no other may name.
pub const CRATES: &[(&str, &[&str], &[&str])] = &[
    ("crates/trust", &[], &[]),
    // Pure, like `trust`, and a stranger to it: an auditor has no use for a calendar.
    ("crates/calendar", &[], &["croner"]),
    ("crates/base", &["trust"], &[]),
    ("hsm", &[], &["cryptoki"]),
    // Optional: for its feature `testing`.
    (
        "crates/store",
        &["base", "calendar", "testkit", "trust"],
        &["sqlx"],
    ),
    ("crates/token", &["hsm", "trust"], &[]),
    (
        "crates/access",
        &["base", "store", "trust"],
        &["jsonwebtoken", "reqwest"],
    ),
    (
        "crates/log",
        &["base", "calendar", "store", "trust"],
        &["object_store", "reqwest"],
    ),
    (
        "crates/notify",
        &["base", "calendar", "store", "trust"],
        &["lettre", "reqwest"],
    ),
    (
        "crates/keyring",
        &[
            "access", "base", "calendar", "log", "store", "token", "trust",
        ],
        &[],
    ),
    (
        "crates/rotation",
        &[
            "base", "calendar", "keyring", "log", "notify", "store", "trust",
        ],
        &["csv", "reqwest"],
    ),
    (
        "crates/web",
        &[
            "access", "base", "calendar", "keyring", "log", "rotation", "store", "token", "trust",
        ],
        &[
            "axum",
            "hyper",
            "hyper-util",
            "rustls",
            "tokio-rustls",
            "tower",
            "tower-http",
            "utoipa",
            "utoipa-axum",
            "utoipa-swagger-ui",
        ],
    ),
    // What an auditor and a witness run stands on the rules alone, and takes the clock from `base`.
    (
        "crates/verify",
        &["base", "trust"],
        &["clap", "comfy-table", "reqwest", "rustls"],
    ),
    (
        "crates/witness",
        &["base", "trust"],
        &["axum", "axum-server", "clap", "hyper-util", "tower-http"],
    ),
    ("crates/testkit", &["token", "trust"], &[]),
    (
        "demo",
        &["base", "testkit", "trust", "verify"],
        &["clap", "rustls"],
    ),
    (
        ".",
        &[
            "access", "base", "calendar", "keyring", "log", "notify", "rotation", "store", "token",
            "trust", "verify", "web", "witness",
        ],
        // The library of a stranger: what operators test is what others see.
        &["clap", "jsonwebtoken", "rustls"],
    ),
];

/// A PKCS#11 library blocks, and its worker answers to nobody but its own process.
pub const NOT_IN_HSM: &[&str] = &["tokio", "axum", "reqwest"];

/// What `trust` may build on: an auditor reads this list.
pub const TRUST_DEPENDENCIES: &[&str] = &[
    "aws-lc-rs",
    "base16ct",
    "base64ct",
    // CMS and X.509, for RFC 3161 tokens.
    "cms",
    "der",
    "jiff",
    // The lower s of an ECDSA signature, and nothing else.
    "p256",
    "p384",
    "serde",
    "serde_json",
    "serde_json_canonicalizer",
    "spki",
    "ssh-key",
    "thiserror",
    "x509-cert",
];

/// What `calendar` may build on: nothing that does anything.
pub const CALENDAR_DEPENDENCIES: &[&str] = &["croner", "jiff", "serde", "serde_json", "thiserror"];

/// The crates that are functions of their arguments.
pub const PURE: &[&str] = &["trust", "calendar"];

/// What would make a pure crate depend on where and when it runs.
pub const IMPURE: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "net"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "SystemTime"],
    &["std", "time", "Instant"],
    &["jiff", "Timestamp", "now"],
    &["jiff", "Zoned", "now"],
    &["aws_lc_rs", "rand"],
    &["tokio"],
];
