//! The PKCS#11 attributes of a private key: as ordered, and as read back.

use serde::{Deserialize, Serialize};

use crate::alg::KeySpec;
use crate::bytes16::CkaId;
use crate::name::Name;

/// The attributes a private key is generated with. Every one is written out: what a token would
/// default is exactly what custodians should see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// CKA_TOKEN: the key outlives the session.
    pub token: bool,
    /// CKA_PRIVATE: the key is seen only after login.
    pub private: bool,
    /// CKA_SENSITIVE: the key's value cannot be read.
    pub sensitive: bool,
    /// CKA_EXTRACTABLE: the key can be wrapped and taken away.
    pub extractable: bool,
    /// CKA_MODIFIABLE: attributes can be changed later.
    pub modifiable: bool,
    /// CKA_SIGN
    pub sign: bool,
    /// CKA_DECRYPT
    pub decrypt: bool,
    /// CKA_UNWRAP
    pub unwrap: bool,
    /// CKA_DERIVE
    pub derive: bool,
}

impl Template {
    /// The attributes of a signing key.
    pub fn signing_key() -> Self {
        Self {
            token: true,
            private: true,
            sensitive: true,
            extractable: false,
            modifiable: false,
            sign: true,
            decrypt: false,
            unwrap: false,
            derive: false,
        }
    }

    /// Names the first attribute that a signing key must not have so.
    pub fn unsafe_attribute(&self) -> Option<&'static str> {
        [
            // A session object would be gone with the session, and its signatures unverifiable.
            ("CKA_TOKEN", self.token),
            // Without it anybody who can open a session sees the object.
            ("CKA_PRIVATE", self.private),
            // A readable or extractable key can be copied to where no quorum reaches.
            ("CKA_SENSITIVE", self.sensitive),
            ("CKA_EXTRACTABLE", !self.extractable),
            ("CKA_SIGN", self.sign),
            // One key, one use: a decryption or unwrapping oracle can forge RSA signatures.
            ("CKA_DECRYPT", !self.decrypt),
            ("CKA_UNWRAP", !self.unwrap),
            ("CKA_DERIVE", !self.derive),
        ]
        .into_iter()
        .find_map(|(name, good)| (!good).then_some(name))
    }
}

/// What the token said about a key after generating it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadBack {
    /// Serial number of the token.
    pub token_serial: String,
    /// Label of the token.
    pub token_label: String,
    /// CKA_ID
    pub cka_id: CkaId,
    /// CKA_LABEL
    pub label: String,
    /// From CKA_KEY_TYPE, CKA_EC_PARAMS or CKA_MODULUS_BITS.
    pub key_spec: KeySpec,
    /// The attributes that were ordered.
    pub template: Template,
    /// CKA_ALWAYS_SENSITIVE; absent if the token does not tell.
    pub always_sensitive: Option<bool>,
    /// CKA_NEVER_EXTRACTABLE; absent if the token does not tell.
    pub never_extractable: Option<bool>,
    /// CKA_LOCAL: generated on the token, not imported; absent if the token does not tell.
    pub local: Option<bool>,
}

/// Ring and number of a key as its label on the token: `ring.number`.
pub fn label(ring: &Name, number: u32) -> String {
    format!("{ring}.{number}")
}
