//! How settings spell algorithms and roles.

/// Algorithms as a JWS header names them.
pub mod algorithms {
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer, de::Error as _};
    use trust::Algorithm;

    pub fn serialize<S: Serializer>(all: &[Algorithm], out: S) -> Result<S::Ok, S::Error> {
        let words: Vec<_> = all.iter().map(|each| each.jws_alg()).collect();
        words.serialize(out)
    }

    /// HMAC and `none` are no algorithms here, so that no key of an issuer can be taken for a secret.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Algorithm>, D::Error> {
        let words = Vec::<String>::deserialize(from)?;
        let named = words.iter().map(|word| {
            let mut all = Algorithm::ALL.into_iter();
            let found = all.find(|each| each.jws_alg() == word);
            found.ok_or_else(|| {
                let what = "is none of ES256, ES384, RS256, PS256, EdDSA";
                D::Error::custom(format!("{word:?} {what}"))
            })
        });
        named.collect()
    }
}

/// Roles as `chancery access grant --role` takes them.
pub mod roles {
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer, de::Error as _};

    use crate::Role;

    pub fn serialize<S: Serializer>(all: &[Role], out: S) -> Result<S::Ok, S::Error> {
        let words: Vec<_> = all.iter().map(Role::to_string).collect();
        words.serialize(out)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Role>, D::Error> {
        let words = Vec::<String>::deserialize(from)?;
        let named = words
            .iter()
            .map(|word| word.parse().map_err(D::Error::custom));
        named.collect()
    }
}
