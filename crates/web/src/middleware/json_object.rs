//! JSON objects, and nothing else that serde would take for a struct: an array of its members in
//! their order is a second spelling of a request, which nobody described.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A `T` that was written as an object.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OnlyMap<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        from.deserialize_map(OnlyMap(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        format: String,
        items: Option<Vec<u8>>,
    }

    fn read(text: &str) -> Result<Asked, trust::JsonError> {
        trust::json::parse_strict::<Object<Asked>>(text.as_bytes()).map(|Object(asked)| asked)
    }

    #[test]
    fn an_array_is_no_object() {
        assert!(read(r#"["jws", null]"#).is_err());
        assert!(read(r#""jws""#).is_err());
        let asked = read(r#"{"format": "jws", "items": [1]}"#).unwrap();
        assert_eq!((asked.format.as_str(), asked.items), ("jws", Some(vec![1])));
    }

    #[test]
    fn members_are_still_strict_and_named() {
        let error = read(r#"{"format": "jws", "other": 1}"#).unwrap_err();
        assert!(error.to_string().contains("other"), "{error}");
        assert!(read(r#"{"format": "jws", "format": "raw"}"#).is_err());
        let error = read(r#"{"format": 7}"#).unwrap_err();
        assert!(error.to_string().contains("format"), "{error}");
    }
}
