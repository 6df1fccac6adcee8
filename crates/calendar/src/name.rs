//! Names of assets, key types and owners: narrow, so that they can stand in paths, tables and pictures.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::time::spelled;

/// Most characters of an asset's name.
pub const LONGEST_ASSET: usize = 200;

/// Most characters of one part of a name.
pub const LONGEST_PART: usize = 100;

/// The kind of assets whose values somebody else keeps: none of their rotations is work of this installation's token.
pub const EXTERNAL: &str = "external";

/// What rotates: `kind/name` or `kind/name/scope`, for instance `signing/atp-integrity` or `dek/tenant-data/42`.
///
/// The kind is 1 to 40 characters of `a-z`, `0-9`, `-` and `_`, beginning with a letter. Name and scope are 1 to 100
/// characters of `a-z`, `0-9`, `-`, `_`, `.` and `@`, beginning with a letter or digit. In all at most 200. Cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetName(Arc<str>);

/// Why a text is no [`AssetName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAsset {
    /// More than [`LONGEST_ASSET`].
    #[error("longer than 200 characters")]
    TooLong,
    /// Not two or three parts.
    #[error("expected kind/name or kind/name/scope")]
    Parts,
    /// Characters of the kind.
    #[error("expected a kind of 1 to 40 characters of a-z, 0-9, - and _, beginning with a letter")]
    Kind,
    /// Characters of name or scope.
    #[error(
        "expected 1 to 100 characters of a-z, 0-9, -, _, . and @, beginning with a letter or digit"
    )]
    Part,
}

impl AssetName {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first `/`: which driver owns it.
    pub fn kind(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Whether somebody else keeps its values.
    pub fn is_external(&self) -> bool {
        self.kind() == EXTERNAL
    }

    /// Whether this is `other` or, without a scope, what `other` is a scope of.
    pub fn covers(&self, other: &Self) -> bool {
        let rest = other.0.strip_prefix(self.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// A number that is the same on every replica and in every version: FNV-1a of the name, then mixed with `salt`.
    pub fn spread(&self, salt: u64) -> u64 {
        self.hash().spread(salt)
    }

    /// What each of these numbers is made of.
    pub(crate) fn hash(&self) -> NameHash {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in self.0.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        NameHash(hash)
    }
}

/// FNV-1a of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameHash(u64);

impl NameHash {
    /// As [`AssetName::spread`].
    pub(crate) fn spread(self, salt: u64) -> u64 {
        mix(self.0 ^ mix(salt))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): each bit of the input moves each of the output.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl FromStr for AssetName {
    type Err = NotAnAsset;

    fn from_str(text: &str) -> Result<Self, NotAnAsset> {
        if text.len() > LONGEST_ASSET {
            return Err(NotAnAsset::TooLong);
        }
        let mut parts = text.split('/');
        if !(2..=3).contains(&parts.clone().count()) {
            return Err(NotAnAsset::Parts);
        }
        if !parts.next().is_some_and(|kind| is_word(kind, false)) {
            return Err(NotAnAsset::Kind);
        }
        match parts.all(is_part) {
            true => Ok(Self(text.into())),
            false => Err(NotAnAsset::Part),
        }
    }
}

fn is_part(part: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_.@".contains(&c);
    let begins = part.bytes().next();
    (1..=LONGEST_PART).contains(&part.len())
        && part.bytes().all(allowed)
        && begins.is_some_and(|c| c.is_ascii_alphanumeric())
}

fn is_word(word: &str, digit_first: bool) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_".contains(&c);
    let begins = word.bytes().next();
    (1..=40).contains(&word.len())
        && word.bytes().all(allowed)
        && begins.is_some_and(|c| c.is_ascii_lowercase() || digit_first && c.is_ascii_digit())
}

impl fmt::Display for AssetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

spelled!(AssetName);

/// A word of an open vocabulary: a key type (`jwt_signing`), an owner (`security`), a verifier or a probe. 1 to 40
/// characters of `a-z`, `0-9`, `-` and `_`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(Arc<str>);

/// The text is no [`Word`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 40 characters of a-z, 0-9, - and _, beginning with a letter or digit")]
pub struct NotAWord;

impl Word {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = NotAWord;

    fn from_str(text: &str) -> Result<Self, NotAWord> {
        match is_word(text, true) {
            true => Ok(Self(text.into())),
            false => Err(NotAWord),
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for Word {
    fn borrow(&self) -> &str {
        &self.0
    }
}

spelled!(Word);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asset_names_are_narrow_and_bounded() {
        for good in [
            "signing/atp-integrity",
            "dek/tenant-data/42",
            "database_credential/reporting@orders-db",
            "tls/api.example",
        ] {
            assert_eq!(good.parse::<AssetName>().unwrap().as_str(), good);
        }
        let long = format!("a/{}/{}", "b".repeat(100), "c".repeat(100));
        for (bad, why) in [
            ("signing", NotAnAsset::Parts),
            ("a/b/c/d", NotAnAsset::Parts),
            ("", NotAnAsset::Parts),
            ("/b", NotAnAsset::Kind),
            ("Signing/b", NotAnAsset::Kind),
            ("a/", NotAnAsset::Part),
            ("a/../b", NotAnAsset::Part),
            ("a/b<script>", NotAnAsset::Part),
            ("a/=1+1", NotAnAsset::Part),
            ("a/bücher", NotAnAsset::Part),
            (&long, NotAnAsset::TooLong),
        ] {
            assert_eq!(bad.parse::<AssetName>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn an_asset_covers_its_scopes_only() {
        let name = |text: &str| text.parse::<AssetName>().unwrap();
        assert!(name("dek/tenant").covers(&name("dek/tenant/42")));
        assert!(name("dek/tenant").covers(&name("dek/tenant")));
        assert!(!name("dek/tenant").covers(&name("dek/tenant-data")));
        assert!(!name("dek/tenant/42").covers(&name("dek/tenant")));
    }
}
