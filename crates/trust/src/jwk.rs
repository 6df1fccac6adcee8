//! Public keys, their JWK form and the kid.
//!
//! Sources: RFC 7517 (JWK), RFC 7518 section 6 (EC and RSA members), RFC 8037 section 2 (OKP),
//! RFC 7638 (thumbprint), RFC 5480 and RFC 8410 (SubjectPublicKeyInfo).

pub mod foreign;
mod spki_der;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::alg::{Algorithm, KeySpec};
use crate::base64url::{self, Base64Url};
use crate::digest::Sha256Digest;
use crate::ed25519;
use crate::json::{self, JsonError};
use crate::usage::Usage;

/// The name of a key everywhere: base64url of its RFC 7638 SHA-256 thumbprint, 43 characters.
/// Self-certifying, and the same after a restore.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kid(String);

/// The text is not a kid.
#[derive(Debug, thiserror::Error)]
#[error("expected a kid: 43 characters of base64url (RFC 7638 thumbprint)")]
pub struct NotAKid;

impl Kid {
    /// The 43 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a key without a public half.
    pub(crate) fn from_digest(digest: Sha256Digest) -> Self {
        Self(base64url::encode(digest.as_bytes()))
    }
}

impl FromStr for Kid {
    type Err = NotAKid;

    fn from_str(text: &str) -> Result<Self, NotAKid> {
        match base64url::decode(text) {
            Some(bytes) if bytes.len() == 32 => Ok(Self(text.to_owned())),
            _ => Err(NotAKid),
        }
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Kid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Kid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The curves that rings use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve {
    /// NIST P-256, coordinates of 32 bytes.
    P256,
    /// NIST P-384, coordinates of 48 bytes.
    P384,
}

impl Curve {
    /// Length of a coordinate in bytes (RFC 7518 section 6.2.1.2).
    pub fn coordinate_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    fn crv(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }
}

/// A public key of a ring: one of the shapes of [`KeySpec`], checked when it was read.
///
/// The fields are private so that a value of this type always has the right lengths and a minimal
/// encoding; whether an EC point lies on its curve is checked by [`crate::Verifier::new`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    material: Material,
    /// Hashed once, when the key is made.
    kid: Kid,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Material {
    Ec {
        curve: Curve,
        x: Vec<u8>,
        y: Vec<u8>,
    },
    /// Big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    Okp {
        x: [u8; 32],
    },
}

impl Material {
    /// RFC 7638 section 3.2: required members only, in lexicographic order, no white space.
    fn thumbprint(&self) -> Kid {
        let hashed = match self {
            Self::Ec { curve, x, y } => format!(
                r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                curve.crv(),
                base64url::encode(x),
                base64url::encode(y)
            ),
            Self::Rsa { n, e } => format!(
                r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
                base64url::encode(e),
                base64url::encode(n)
            ),
            Self::Okp { x } => {
                format!(
                    r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
                    base64url::encode(x)
                )
            }
        };
        Kid(base64url::encode(
            Sha256Digest::of(hashed.as_bytes()).as_bytes(),
        ))
    }
}

/// A public key that was refused.
#[derive(Debug, thiserror::Error)]
pub enum PublicKeyError {
    /// Not a DER SubjectPublicKeyInfo in its one encoding.
    #[error("not a SubjectPublicKeyInfo in DER")]
    Der,
    /// The kind of key is none that a ring can have.
    #[error("unsupported key type: {0}")]
    Unsupported(String),
    /// A member has the wrong length or a leading zero.
    #[error("{0} has the wrong length or form")]
    Form(&'static str),
    /// RSA with an exponent other than 65537, or a modulus of an unusual size.
    #[error("RSA keys must have a modulus of 2048, 3072 or 4096 bits and the exponent 65537")]
    Rsa,
    /// An Ed25519 point with which anybody can sign, or in a second spelling.
    #[error("the Ed25519 key is a point of small order or not canonically encoded")]
    SmallOrder,
    /// The JWK is not acceptable JSON, or has members that do not belong there.
    #[error("the JWK is invalid")]
    Json(#[from] JsonError),
    /// The JWK's kid is not the thumbprint of its key.
    #[error("the kid is not the key's thumbprint {0}")]
    Kid(Kid),
}

impl PublicKey {
    /// An EC key from its coordinates.
    pub fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, PublicKeyError> {
        if x.len() != curve.coordinate_len() {
            return Err(PublicKeyError::Form("x"));
        }
        if y.len() != curve.coordinate_len() {
            return Err(PublicKeyError::Form("y"));
        }
        Ok(Self::of(Material::Ec {
            curve,
            x: x.to_vec(),
            y: y.to_vec(),
        }))
    }

    /// An RSA key from modulus and exponent, big-endian without leading zeros.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, PublicKeyError> {
        if n.first() == Some(&0) {
            return Err(PublicKeyError::Form("n"));
        }
        let odd = n.last().is_some_and(|last| last & 1 == 1);
        let full = n.first().is_some_and(|first| first & 0x80 != 0);
        // 65537 is what every module generates; a small exponent is a well-known trap.
        if !matches!(n.len(), 256 | 384 | 512) || !full || !odd || e != [1, 0, 1] {
            return Err(PublicKeyError::Rsa);
        }
        Ok(Self::of(Material::Rsa {
            n: n.to_vec(),
            e: e.to_vec(),
        }))
    }

    /// An Ed25519 key from its 32 bytes. Refuses what no module generates: a point of small order,
    /// with which anybody can sign, and a second spelling, which would be a second kid.
    pub fn ed25519(x: &[u8]) -> Result<Self, PublicKeyError> {
        let x = x.try_into().map_err(|_| PublicKeyError::Form("x"))?;
        if !ed25519::may_be_a_key(&x) {
            return Err(PublicKeyError::SmallOrder);
        }
        Ok(Self::of(Material::Okp { x }))
    }

    /// Reads a DER SubjectPublicKeyInfo. Only the one encoding that [`Self::to_spki_der`] writes
    /// is accepted, so a key has one SPKI digest.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, PublicKeyError> {
        let key = spki_der::read(der)?;
        if key.to_spki_der() == der {
            Ok(key)
        } else {
            Err(PublicKeyError::Der)
        }
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn to_spki_der(&self) -> Vec<u8> {
        spki_der::write(self)
    }

    /// SHA-256 of [`Self::to_spki_der`].
    pub fn spki_digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.to_spki_der())
    }

    /// Reads a JWK strictly: known public members only, exact lengths, and a `kid`, if there is
    /// one, that is the thumbprint. Private members are unknown members.
    pub fn from_jwk_json(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        let jwk: JwkDocument = json::parse_strict(bytes)?;
        jwk.into_key()
    }

    /// The point or the modulus, in the form of [`crate::sshkey::SshKey::material`]: a modulus is an SSH mpint, whose
    /// first bit is no sign.
    pub(crate) fn material(&self) -> Vec<u8> {
        match &self.material {
            Material::Ec { x, y, .. } => [&[4], x.as_slice(), y].concat(),
            Material::Rsa { n, .. } => [&[0], n.as_slice()].concat(),
            Material::Okp { x } => x.to_vec(),
        }
    }

    fn of(material: Material) -> Self {
        let kid = material.thumbprint();
        Self { material, kid }
    }

    /// The kid: RFC 7638 thumbprint with SHA-256.
    pub fn kid(&self) -> Kid {
        self.kid.clone()
    }

    /// The key's shape.
    pub fn spec(&self) -> KeySpec {
        match &self.material {
            Material::Ec {
                curve: Curve::P256, ..
            } => KeySpec::P256,
            Material::Ec {
                curve: Curve::P384, ..
            } => KeySpec::P384,
            Material::Rsa { n, .. } if n.len() == 256 => KeySpec::Rsa2048,
            Material::Rsa { n, .. } if n.len() == 384 => KeySpec::Rsa3072,
            Material::Rsa { .. } => KeySpec::Rsa4096,
            Material::Okp { .. } => KeySpec::Ed25519,
        }
    }

    /// The JWK that verifiers get for a key of a ring that signs with `algorithm`.
    pub fn to_jwk(&self, algorithm: Algorithm, usage: Usage, kid: &Kid) -> Jwk {
        let mut jwk = Jwk {
            kty: "EC",
            r#use: "sig",
            key_ops: ["verify"],
            alg: Some(algorithm.jws_alg()),
            kid: kid.clone(),
            usage,
            crv: None,
            x: None,
            y: None,
            n: None,
            e: None,
        };
        match &self.material {
            Material::Ec { curve, x, y } => {
                jwk.crv = Some(curve.crv());
                jwk.x = Some(Base64Url(x.clone()));
                jwk.y = Some(Base64Url(y.clone()));
            }
            Material::Rsa { n, e } => {
                jwk.kty = "RSA";
                jwk.n = Some(Base64Url(n.clone()));
                jwk.e = Some(Base64Url(e.clone()));
            }
            Material::Okp { x } => {
                jwk.kty = "OKP";
                jwk.crv = Some("Ed25519");
                jwk.x = Some(Base64Url(x.to_vec()));
                // Libraries disagree on `EdDSA` and `Ed25519`; without `alg` all of them work.
                jwk.alg = None;
            }
        }
        jwk
    }
}

/// A public key as verifiers see it (RFC 7517). The order of the members is stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    kty: &'static str,
    r#use: &'static str,
    key_ops: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<&'static str>,
    kid: Kid,
    /// Ours: what the ring's keys are used for. JOSE readers ignore what they do not know.
    usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<Base64Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<Base64Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<Base64Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<Base64Url>,
}

impl Jwk {
    /// The kid inside.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }
}

/// What may stand in a JWK that is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JwkDocument {
    kty: String,
    #[serde(rename = "use")]
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<Kid>,
    #[serde(rename = "usage")]
    _usage: Option<Usage>,
    crv: Option<String>,
    x: Option<Base64Url>,
    y: Option<Base64Url>,
    n: Option<Base64Url>,
    e: Option<Base64Url>,
}

impl JwkDocument {
    fn into_key(self) -> Result<PublicKey, PublicKeyError> {
        if self.r#use.is_some_and(|word| word != "sig") {
            return Err(PublicKeyError::Form("use"));
        }
        if self.key_ops.is_some_and(|ops| ops != ["verify"]) {
            return Err(PublicKeyError::Form("key_ops"));
        }
        let kind = (self.kty.as_str(), self.crv.as_deref());
        let key = match (kind, self.x, self.y, self.n, self.e) {
            (("EC", Some("P-256")), Some(x), Some(y), None, None) => {
                PublicKey::ec(Curve::P256, &x.0, &y.0)?
            }
            (("EC", Some("P-384")), Some(x), Some(y), None, None) => {
                PublicKey::ec(Curve::P384, &x.0, &y.0)?
            }
            (("RSA", None), None, None, Some(n), Some(e)) => PublicKey::rsa(&n.0, &e.0)?,
            (("OKP", Some("Ed25519")), Some(x), None, None, None) => PublicKey::ed25519(&x.0)?,
            ((kty, crv), ..) => {
                let what = format!("kty {kty:?} with crv {crv:?} and these members");
                return Err(PublicKeyError::Unsupported(what));
            }
        };
        if let Some(alg) = self.alg {
            let fits = |a: &Algorithm| a.jws_alg() == alg && a.allows(key.spec());
            if !Algorithm::ALL.iter().any(fits) {
                return Err(PublicKeyError::Form("alg"));
            }
        }
        match self.kid {
            Some(kid) if kid != key.kid() => Err(PublicKeyError::Kid(key.kid())),
            _ => Ok(key),
        }
    }
}
