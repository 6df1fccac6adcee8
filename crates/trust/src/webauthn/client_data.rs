//! Client data (WebAuthn Level 3 section 5.8.1): the JSON that a browser wrote about a page.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Most bytes that are read. What browsers write has about two hundred.
pub const MAX_CLIENT_DATA: usize = 4_096;

/// What is read of it. Unknown members are allowed, as the standard demands; known ones twice are not, since two readers
/// could read two meanings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientData {
    /// `webauthn.get` or `webauthn.create`.
    pub kind: String,
    /// Base64url of what the authenticator was asked to sign.
    pub challenge: String,
    /// The page that asked.
    pub origin: String,
    /// The page was in a frame of another site. Absent counts as false.
    pub cross_origin: bool,
    /// The page around that frame.
    pub top_origin: Option<String>,
}

/// Client data that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientDataError {
    /// Over 4096 bytes.
    #[error("it has more than {MAX_CLIENT_DATA} bytes")]
    Length,
    /// No JSON object with these members, each once.
    #[error("{0}")]
    Json(String),
}

impl ClientData {
    /// Reads UTF-8 JSON. Stricter than section 7.2 step 8 in two ways that no browser notices: a byte order mark and
    /// wrong UTF-8 are refused, not repaired.
    pub fn parse(bytes: &[u8]) -> Result<Self, ClientDataError> {
        if bytes.len() > MAX_CLIENT_DATA {
            return Err(ClientDataError::Length);
        }
        let Members(members) = serde_json::from_slice(bytes)
            .map_err(|error| ClientDataError::Json(error.to_string()))?;
        let member = |name: &str| members.iter().find(|(known, _)| known == name);
        let text = |name: &str| match member(name) {
            Some((_, Value::String(text))) => Ok(text.clone()),
            _ => Err(ClientDataError::Json(format!("{name}: expected a string"))),
        };
        Ok(Self {
            kind: text("type")?,
            challenge: text("challenge")?,
            origin: text("origin")?,
            cross_origin: match member("crossOrigin") {
                None => false,
                Some((_, Value::Bool(it))) => *it,
                Some(_) => {
                    let why = "crossOrigin: expected true or false".to_owned();
                    return Err(ClientDataError::Json(why));
                }
            },
            top_origin: match member("topOrigin") {
                None => None,
                Some(_) => Some(text("topOrigin")?),
            },
        })
    }
}

/// All members of an object, none of them twice.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(de::Error::custom(format!("{name}: duplicate member")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_data_is_one_object_whose_members_have_one_meaning() {
        let parse = |text: &str| ClientData::parse(text.as_bytes());
        let good = r#"{"type":"t","challenge":"c","origin":"o"}"#;
        let read = parse(good).unwrap();
        assert!(!read.cross_origin && read.top_origin.is_none());
        let more = r#" {"other":[{"deep":1.5}],"origin":"o","challenge":"c","crossOrigin":false,"type":"t"} "#;
        assert_eq!(parse(more).unwrap(), read);
        for bad in [
            r#"{"type":"t","challenge":"c"}"#,
            r#"{"type":"t","challenge":"c","origin":1}"#,
            r#"{"type":"t","challenge":"c","origin":"o","origin":"p"}"#,
            r#"{"type":"t","challenge":"c","origin":"o","x":1,"x":1}"#,
            r#"{"type":"t","challenge":"c","origin":"o","crossOrigin":"false"}"#,
            r#"{"type":"t","challenge":"c","origin":"o","crossOrigin":null}"#,
            r#"{"type":"t","challenge":"c","origin":"o","topOrigin":null}"#,
            r#"{"type":"t","challenge":"c","origin":"o","x":1e999}"#,
            r#"{"type":"t","challenge":"c","origin":"o","x":"\ud800"}"#,
            r#"{"type":"t","challenge":"c","origin":"o"} x"#,
            r#"["t"]"#,
            "\u{feff}{\"type\":\"t\",\"challenge\":\"c\",\"origin\":\"o\"}",
        ] {
            assert!(matches!(parse(bad), Err(ClientDataError::Json(_))), "{bad}");
        }
        assert!(ClientData::parse(&[good.as_bytes(), b"\xff"].concat()).is_err());
        assert_eq!(parse(&" ".repeat(4_097)), Err(ClientDataError::Length));
    }
}
