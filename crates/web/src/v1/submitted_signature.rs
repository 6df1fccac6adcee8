//! A member's signature in a body: armored text of `ssh-keygen`, or an object of a passkey.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use utoipa::ToSchema;

/// As it is handed on: the text that was sent, or the object as JSON.
#[derive(Debug)]
pub struct SubmittedSignature(String);

impl SubmittedSignature {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// By `ssh-keygen -Y sign`, armored; or by a passkey.
#[derive(ToSchema)]
#[schema(as = MemberSignature)]
#[serde(untagged)]
#[expect(dead_code, reason = "what the documentation shows")]
pub enum SignatureForm {
    Armored(String),
    Passkey(PasskeyForm),
}

/// An assertion: the members of the browser's answer under the names of the documents, or the JSON of its
/// `PublicKeyCredential.toJSON()` as it is.
#[derive(ToSchema)]
#[schema(as = PasskeySignature)]
#[expect(dead_code, reason = "what the documentation shows")]
pub struct PasskeyForm {
    /// `webauthn`.
    kind: String,
    /// Base64url, as all that follow.
    authenticator_data: String,
    /// `clientDataJSON`.
    client_data: String,
    credential_id: String,
    signature: String,
}

impl<'de> Deserialize<'de> for SubmittedSignature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = SubmittedSignature;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or an object of a passkey")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(SubmittedSignature(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let value = serde_json::Value::deserialize(MapAccessDeserializer::new(map))?;
                Ok(SubmittedSignature(value.to_string()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
