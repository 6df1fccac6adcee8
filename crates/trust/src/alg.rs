//! Algorithms and key shapes. The algorithm belongs to the ring; it is never guessed from a key's
//! size or taken from a message.

use crate::spelled::spelled;

/// How a ring signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4).
    Es256,
    /// ECDSA on P-384 with SHA-384 (RFC 7518 section 3.4).
    Es384,
    /// RSASSA-PSS with SHA-256, MGF1-SHA-256 and a 32-byte salt (RFC 7518 section 3.5).
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 section 3.3).
    Rs256,
    /// Ed25519 (RFC 8032, RFC 8037).
    Ed25519,
}

/// The shape of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeySpec {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
    /// Edwards25519.
    Ed25519,
}

/// A hash function, named as in HTTP and in the IANA registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// `sha-256`
    Sha256,
    /// `sha-384`
    Sha384,
    /// `sha-512`
    Sha512,
}

impl Algorithm {
    /// Every algorithm, in a stable order.
    pub const ALL: [Self; 5] = [
        Self::Es256,
        Self::Es384,
        Self::Ps256,
        Self::Rs256,
        Self::Ed25519,
    ];

    /// The `alg` of a JWS header. Ed25519 is `EdDSA` there (RFC 8037), which every library reads.
    pub fn jws_alg(self) -> &'static str {
        match self {
            Self::Ed25519 => "EdDSA",
            other => other.name(),
        }
    }

    /// Whether an `alg` of somebody else means this one: `EdDSA` (RFC 8037) and `Ed25519` (RFC
    /// 9864) are the same.
    pub fn is_named(self, alg: &str) -> bool {
        alg == self.jws_alg() || alg == self.name()
    }

    /// The algorithm that a key of this shape signs with, where there is only one.
    pub fn only_for(spec: KeySpec) -> Option<Self> {
        let mut all = Self::ALL.into_iter().filter(|each| each.allows(spec));
        let first = all.next();
        first.filter(|_| all.next().is_none())
    }

    /// The hash that is signed; none for Ed25519, which signs the message itself.
    pub fn hash(self) -> Option<Hash> {
        match self {
            Self::Es256 | Self::Ps256 | Self::Rs256 => Some(Hash::Sha256),
            Self::Es384 => Some(Hash::Sha384),
            Self::Ed25519 => None,
        }
    }

    /// The shape a ring gets when nothing else is asked.
    pub fn default_key_spec(self) -> KeySpec {
        match self {
            Self::Es256 => KeySpec::P256,
            Self::Es384 => KeySpec::P384,
            Self::Ps256 | Self::Rs256 => KeySpec::Rsa2048,
            Self::Ed25519 => KeySpec::Ed25519,
        }
    }

    /// Whether signatures are pairs r and s, which also have a DER form.
    pub fn is_ecdsa(self) -> bool {
        matches!(self, Self::Es256 | Self::Es384)
    }

    /// Whether a key of this shape can sign with this algorithm.
    pub fn allows(self, spec: KeySpec) -> bool {
        match self {
            Self::Es256 => spec == KeySpec::P256,
            Self::Es384 => spec == KeySpec::P384,
            Self::Ed25519 => spec == KeySpec::Ed25519,
            Self::Ps256 | Self::Rs256 => {
                matches!(spec, KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096)
            }
        }
    }

    /// Length of a signature in bytes; ECDSA in the fixed form of P1363.
    pub fn signature_len(self, spec: KeySpec) -> usize {
        spec.signature_len()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
            Self::Ed25519 => "Ed25519",
        }
    }
}

impl KeySpec {
    /// Every shape, in a stable order.
    pub const ALL: [Self; 6] = [
        Self::P256,
        Self::P384,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Ed25519,
    ];

    /// Length in bytes of a signature by such a key; ECDSA in the fixed form of P1363.
    pub fn signature_len(self) -> usize {
        match self {
            Self::P256 | Self::Ed25519 => 64,
            Self::P384 => 96,
            Self::Rsa2048 => 256,
            Self::Rsa3072 => 384,
            Self::Rsa4096 => 512,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::Ed25519 => "Ed25519",
        }
    }
}

impl Hash {
    /// Every hash, in a stable order.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Length of a digest in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a digest's length, not a collection's"
    )]
    pub fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of `message`.
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        aws_lc_rs::digest::digest(self.implementation(), message)
            .as_ref()
            .to_vec()
    }

    pub(crate) fn implementation(self) -> &'static aws_lc_rs::digest::Algorithm {
        match self {
            Self::Sha256 => &aws_lc_rs::digest::SHA256,
            Self::Sha384 => &aws_lc_rs::digest::SHA384,
            Self::Sha512 => &aws_lc_rs::digest::SHA512,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }
}

spelled!(Algorithm, "algorithm");
spelled!(KeySpec, "key spec");
spelled!(Hash, "hash");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for algorithm in Algorithm::ALL {
            assert_eq!(
                algorithm.to_string().parse::<Algorithm>().unwrap(),
                algorithm
            );
            assert!(algorithm.allows(algorithm.default_key_spec()));
        }
        for spec in KeySpec::ALL {
            assert_eq!(spec.to_string().parse::<KeySpec>().unwrap(), spec);
        }
        for bad in ["none", "HS256", "es256", "EdDSA", ""] {
            assert!(bad.parse::<Algorithm>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_algorithm_takes_only_keys_of_its_own_shape() {
        let pairs =
            Algorithm::ALL.map(|a| KeySpec::ALL.into_iter().filter(|s| a.allows(*s)).count());
        assert_eq!(pairs, [1, 1, 3, 3, 1]);
        assert_eq!(Algorithm::only_for(KeySpec::P384), Some(Algorithm::Es384));
        assert_eq!(Algorithm::only_for(KeySpec::Rsa2048), None);
        assert!(
            ["EdDSA", "Ed25519"]
                .iter()
                .all(|alg| Algorithm::Ed25519.is_named(alg))
        );
    }
}
