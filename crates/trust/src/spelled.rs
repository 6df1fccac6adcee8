//! Words of fixed vocabularies: one spelling for Display, FromStr and serde.

/// The text names nothing of the kind that was expected.
#[derive(Debug, thiserror::Error)]
#[error("unknown {what} {text:?}, expected one of {expected}")]
pub struct UnknownName {
    pub(crate) what: &'static str,
    pub(crate) text: String,
    pub(crate) expected: String,
}

/// Needs `ALL` and `name` of the type.
macro_rules! spelled {
    ($type:ident, $what:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::spelled::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let unknown = || crate::spelled::UnknownName {
                    what: $what,
                    text: text.chars().take(40).collect(),
                    expected: Self::ALL.map(Self::name).join(", "),
                };
                Self::ALL
                    .into_iter()
                    .find(|each| each.name() == text)
                    .ok_or_else(unknown)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use spelled;
