//! The PKCS#11 attributes of a key that never leaves its token.

use serde::{Deserialize, Serialize};

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A private half signs.
    Sign,
    /// A secret key wraps other keys.
    Wrap,
}

/// The attributes a private or secret key is generated with. Every one is written out: what a token
/// would default is exactly what custodians should see.
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
    /// CKA_ENCRYPT; absent where it does not apply, on a private half.
    pub encrypt: Option<bool>,
    /// CKA_WRAP; absent where it does not apply, on a private half.
    pub wrap: Option<bool>,
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
            encrypt: None,
            wrap: None,
        }
    }

    /// The attributes of a key that wraps.
    pub fn wrapping_key() -> Self {
        Self {
            sign: false,
            unwrap: true,
            encrypt: Some(false),
            wrap: Some(true),
            ..Self::signing_key()
        }
    }

    /// Names the first attribute that a key of this use must not have so.
    pub fn unsafe_attribute(&self, used: Use) -> Option<&'static str> {
        let signs = used == Use::Sign;
        let (encrypt, wrap) = match used {
            Use::Sign => (None, None),
            Use::Wrap => (Some(false), Some(true)),
        };
        [
            // A session object would be gone with the session, and its signatures unverifiable.
            ("CKA_TOKEN", self.token),
            // Without it anybody who can open a session sees the object.
            ("CKA_PRIVATE", self.private),
            // A readable or extractable key can be copied to where no quorum reaches.
            ("CKA_SENSITIVE", self.sensitive),
            ("CKA_EXTRACTABLE", !self.extractable),
            ("CKA_SIGN", self.sign == signs),
            // One key, one use: a decryption or unwrapping oracle can forge RSA signatures.
            ("CKA_DECRYPT", !self.decrypt),
            ("CKA_UNWRAP", self.unwrap != signs),
            ("CKA_DERIVE", !self.derive),
            ("CKA_ENCRYPT", self.encrypt == encrypt),
            ("CKA_WRAP", self.wrap == wrap),
        ]
        .into_iter()
        .find_map(|(name, good)| (!good).then_some(name))
    }
}
