//! Key sets as others publish them (RFC 7517 section 5): kids of any form, members that are not
//! known here, keys of other kinds beside those that can be used.
//!
//! A key that cannot be used is left out with a reason and does not spoil the others, as the RFC
//! says; whoever looks for it by its kid is told the reason.

use serde_json::{Map, Value};

use super::{Curve, PublicKey};
use crate::alg::Algorithm;
use crate::base64url;
use crate::json::{self, JsonError};
use crate::signature::Verifier;

/// Members of RFC 7518 section 6 that make a key private or symmetric.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A set that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignSet {
    /// What signatures can be verified with, in the order of the set.
    pub keys: Vec<ForeignKey>,
    /// The others.
    pub left_out: Vec<LeftOut>,
}

/// One usable key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// Any text, or none; not necessarily a thumbprint.
    pub kid: Option<String>,
    /// What the key is for, where the set says so.
    pub algorithm: Option<Algorithm>,
    /// Our own member, in sets of ours.
    pub usage: Option<String>,
    /// The key.
    pub public: PublicKey,
}

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its kid, if it has a readable one.
    pub kid: Option<String>,
    /// Which member, and why not: `keys[3].y: …`.
    pub why: String,
}

/// A set that is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// Not acceptable JSON.
    #[error("the key set cannot be read")]
    Json(#[from] JsonError),
    /// Something else than a set.
    #[error("the key set has no array \"keys\"")]
    NoKeys,
    /// A private or symmetric key stands in it, which somebody should know.
    #[error("{0}: a private or symmetric key does not belong in a set of public keys")]
    Private(String),
    /// Nothing in it can be used.
    #[error("the key set has no key that can verify a signature{}", list(.0))]
    Unusable(Vec<LeftOut>),
}

fn list(left_out: &[LeftOut]) -> String {
    let whys: Vec<&str> = left_out.iter().map(|key| key.why.as_str()).collect();
    match whys.is_empty() {
        true => String::new(),
        false => format!(": {}", whys.join("; ")),
    }
}

/// Reads a set. Duplicate members, floats and large integers are refused wherever they stand, since
/// two readers could see two different keys.
pub fn parse_set(bytes: &[u8]) -> Result<ForeignSet, SetError> {
    let document: Value = json::parse_strict(bytes)?;
    let keys = document.get("keys").and_then(Value::as_array);
    let mut set = ForeignSet::default();
    for (place, key) in keys.ok_or(SetError::NoKeys)?.iter().enumerate() {
        let path = format!("keys[{place}]");
        let kid = key.get("kid").and_then(Value::as_str).map(str::to_owned);
        let Some(members) = key.as_object() else {
            let why = format!("{path}: expected an object");
            set.left_out.push(LeftOut { kid, why });
            continue;
        };
        if let Some(name) = PRIVATE.iter().find(|name| members.contains_key(**name)) {
            return Err(SetError::Private(format!("{path}.{name}")));
        }
        match read(members) {
            Ok(key) => set.keys.push(key),
            Err(Unfit { member, what }) => {
                let why = format!("{path}.{member}: {what}");
                set.left_out.push(LeftOut { kid, why });
            }
        }
    }
    match set.keys.is_empty() {
        true => Err(SetError::Unusable(set.left_out)),
        false => Ok(set),
    }
}

impl ForeignSet {
    /// The keys that a signature under this kid may be by; kids need not be unique. A signature
    /// that names none can only be by the only key.
    pub fn named(&self, kid: Option<&str>) -> Vec<&ForeignKey> {
        match (kid, self.keys.as_slice()) {
            (None, [only]) if self.left_out.is_empty() => vec![only],
            (None, _) => Vec::new(),
            (Some(kid), all) => {
                let of_kid = |key: &&ForeignKey| key.kid.as_deref() == Some(kid);
                all.iter().filter(of_kid).collect()
            }
        }
    }

    /// Why a key under this kid cannot be used.
    pub fn why_left_out(&self, kid: &str) -> Option<&str> {
        let mut all = self.left_out.iter();
        let found = all.find(|key| key.kid.as_deref() == Some(kid));
        found.map(|key| key.why.as_str())
    }
}

/// A member that keeps a key from being used.
struct Unfit {
    member: &'static str,
    what: String,
}

fn unfit(member: &'static str, what: impl Into<String>) -> Unfit {
    let what = what.into();
    Unfit { member, what }
}

fn read(members: &Map<String, Value>) -> Result<ForeignKey, Unfit> {
    if text(members, "use")?.is_some_and(|word| word != "sig") {
        return Err(unfit("use", "the key is not for signatures"));
    }
    match members.get("key_ops") {
        None => (),
        Some(Value::Array(operations)) if operations.iter().any(|each| each == "verify") => (),
        Some(_) => return Err(unfit("key_ops", "the key is not for verification")),
    }
    let kind = required(members, "kty")?;
    let public = match (kind, text(members, "crv")?) {
        ("EC", Some("P-256")) => ec(members, Curve::P256)?,
        ("EC", Some("P-384")) => ec(members, Curve::P384)?,
        ("OKP", Some("Ed25519")) => {
            PublicKey::ed25519(&bytes(members, "x")?).map_err(|e| unfit("x", e.to_string()))?
        }
        ("RSA", _) => PublicKey::rsa(&bytes(members, "n")?, &bytes(members, "e")?)
            .map_err(|e| unfit("n", e.to_string()))?,
        ("EC" | "OKP", crv) => {
            let what = format!("curve {} is not supported", crv.unwrap_or("(none)"));
            return Err(unfit("crv", what));
        }
        (other, _) => return Err(unfit("kty", format!("{other:?} is not supported"))),
    };
    let spec = public.spec();
    let algorithm = match text(members, "alg")? {
        None => None,
        Some(alg) => {
            let mut all = Algorithm::ALL.into_iter();
            let named = all.find(|each| each.is_named(alg));
            let named = named.ok_or_else(|| unfit("alg", format!("{alg:?} is not supported")))?;
            if !named.allows(spec) {
                return Err(unfit("alg", format!("{alg} does not fit a key of {spec}")));
            }
            Some(named)
        }
    };
    // A point beside its curve would otherwise be noticed with the first signature only.
    let any = Algorithm::ALL.into_iter().find(|each| each.allows(spec));
    if let Some(any) = any {
        Verifier::new(&public, any).map_err(|e| unfit("x", e.to_string()))?;
    }
    Ok(ForeignKey {
        kid: text(members, "kid")?.map(str::to_owned),
        algorithm,
        usage: text(members, "usage")?.map(str::to_owned),
        public,
    })
}

fn ec(members: &Map<String, Value>, curve: Curve) -> Result<PublicKey, Unfit> {
    let (x, y) = (bytes(members, "x")?, bytes(members, "y")?);
    for (member, given) in [("x", &x), ("y", &y)] {
        if given.len() != curve.coordinate_len() {
            let what = format!(
                "expected {} bytes, got {}",
                curve.coordinate_len(),
                given.len()
            );
            return Err(unfit(member, what));
        }
    }
    PublicKey::ec(curve, &x, &y).map_err(|e| unfit("x", e.to_string()))
}

fn text<'a>(
    members: &'a Map<String, Value>,
    member: &'static str,
) -> Result<Option<&'a str>, Unfit> {
    match members.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(unfit(member, "expected a string")),
    }
}

fn required<'a>(members: &'a Map<String, Value>, member: &'static str) -> Result<&'a str, Unfit> {
    text(members, member)?.ok_or_else(|| unfit(member, "missing"))
}

fn bytes(members: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, Unfit> {
    let text = required(members, member)?;
    base64url::decode(text).ok_or_else(|| unfit(member, "expected base64url without padding"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 8037 appendix A.2.
    fn okp() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    /// RFC 7517 appendix A.1.
    fn ec() -> Value {
        json!({"kty": "EC", "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})
    }

    fn with(mut key: Value, member: &str, value: Value) -> Value {
        key[member] = value;
        key
    }

    fn parse(keys: &[Value]) -> Result<ForeignSet, SetError> {
        parse_set(json!({"keys": keys, "issuer": "x"}).to_string().as_bytes())
    }

    #[test]
    fn case_v10_sets_of_others_are_read() {
        let foreign = with(with(ec(), "kid", json!("2024-01")), "x5t", json!("x"));
        let foreign = with(foreign, "key_ops", json!(["sign", "verify"]));
        let edwards = with(with(okp(), "alg", json!("Ed25519")), "kid", json!("ed"));
        let older = with(with(okp(), "alg", json!("EdDSA")), "use", json!("sig"));
        let set = parse(&[foreign, edwards, older]).unwrap();
        assert_eq!((set.keys.len(), set.left_out.len()), (3, 0));
        assert_eq!(set.named(Some("2024-01")), [&set.keys[0]]);
        assert_eq!(set.keys[1].algorithm, Some(Algorithm::Ed25519));
        assert_eq!(set.keys[2].algorithm, Some(Algorithm::Ed25519));
        assert!(set.named(None).is_empty() && set.named(Some("other")).is_empty());
        // A single key needs no name.
        let set = parse(&[ec()]).unwrap();
        assert_eq!(set.named(None), [&set.keys[0]]);
    }

    #[test]
    fn case_v10_what_cannot_be_used_is_named_and_spoils_nothing_else() {
        for (bad, expected) in [
            (with(ec(), "use", json!("enc")), "keys[0].use: "),
            (
                with(ec(), "key_ops", json!(["encrypt"])),
                "keys[0].key_ops: ",
            ),
            (with(ec(), "kty", json!("AKP")), "keys[0].kty: "),
            (with(ec(), "kty", json!("RSA")), "keys[0].n: missing"),
            (with(ec(), "crv", json!("P-521")), "keys[0].crv: "),
            (
                with(ec(), "crv", json!("P-384")),
                "keys[0].x: expected 48 bytes, got 32",
            ),
            (
                with(ec(), "y", json!("AQ==")),
                "keys[0].y: expected base64url",
            ),
            (with(ec(), "y", json!("AQ")), "keys[0].y: expected 32 bytes"),
            (with(ec(), "y", ec()["x"].clone()), "keys[0].x: "),
            (with(ec(), "x", json!(null)), "keys[0].x: expected a string"),
            (with(ec(), "alg", json!("ES512")), "keys[0].alg: "),
            (with(ec(), "alg", json!("ES384")), "keys[0].alg: "),
            (json!(7), "keys[0]: expected an object"),
        ] {
            let bad = match bad.is_object() {
                true => with(bad, "kid", json!("k")),
                false => bad,
            };
            let set = parse(&[bad.clone(), okp()]).unwrap();
            assert_eq!((set.keys.len(), set.left_out.len()), (1, 1), "{bad}");
            let why = &set.left_out[0].why;
            assert!(why.starts_with(expected), "{bad}: {why}");
            assert!(set.why_left_out("k").is_some() == bad.is_object(), "{bad}");
            // Where nothing else is there, it is the whole answer.
            let error = parse(&[bad]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        for private in PRIVATE {
            let error = parse(&[okp(), with(okp(), private, json!("AQ"))]).unwrap_err();
            let expected = format!("keys[1].{private}: a private");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        for bad in [
            r#"{}"#,
            r#"{"keys":{}}"#,
            r#"{"keys":[]}"#,
            "[]",
            "x",
            r#"{"keys":[],"keys":[]}"#,
        ] {
            assert!(parse_set(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
