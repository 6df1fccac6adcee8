//! Where a private key is: as asked for, as made, and as the device tells afterwards. Nothing
//! outside these types knows what kind of device it is.

use serde::{Deserialize, Serialize};

use crate::bytes16::CkaId;
use crate::name::Name;
use crate::template::{Template, Use};
use crate::text;

/// Where a key is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Place {
    /// On a PKCS#11 token.
    Pkcs11(Pkcs11Place),
    /// In a key vault that is reached by REST.
    KeyVault(VaultPlace),
}

/// An object on a PKCS#11 token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Place {
    /// CKA_ID of every half.
    pub cka_id: CkaId,
    /// CKA_LABEL of every half.
    pub label: String,
    /// Attributes of the private half, or of the secret key.
    pub template: Template,
    /// Label of the token.
    pub token_label: String,
    /// Serial number of the token: the identity of the device.
    pub token_serial: String,
}

/// A key in a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultPlace {
    /// Unique per key number, so that a creation is found again.
    pub name: String,
    /// Written to the key, and read back.
    pub tag: String,
    /// The vault's host.
    pub vault: String,
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Location {
    /// On a PKCS#11 token.
    Pkcs11(Pkcs11Location),
    /// In a key vault.
    KeyVault(VaultLocation),
}

/// An object on a PKCS#11 token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Location {
    /// CKA_ID
    pub cka_id: CkaId,
    /// CKA_LABEL
    pub label: String,
    /// Label of the token.
    pub token_label: String,
    /// Serial number of the token.
    pub token_serial: String,
}

/// A key in a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultLocation {
    /// As asked for.
    pub name: String,
    /// The vault's host.
    pub vault: String,
    /// Given by the vault.
    pub version: String,
}

/// What the device told about a key after making it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ReadBack {
    /// A PKCS#11 token.
    Pkcs11(Pkcs11ReadBack),
    /// A key vault.
    KeyVault(VaultReadBack),
}

/// Attributes as a PKCS#11 token tells them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11ReadBack {
    /// CKA_ALWAYS_SENSITIVE; absent if the token does not tell.
    pub always_sensitive: Option<bool>,
    /// From CKA_KEY_TYPE, CKA_EC_PARAMS, CKA_MODULUS_BITS or CKA_VALUE_LEN.
    pub key_spec: String,
    /// CKA_LOCAL: made on the token, not imported; absent if the token does not tell.
    pub local: Option<bool>,
    /// CKA_NEVER_EXTRACTABLE; absent if the token does not tell.
    pub never_extractable: Option<bool>,
    /// The attributes that were ordered.
    pub template: Template,
}

/// Attributes as a vault tells them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultReadBack {
    /// May be used.
    pub enabled: bool,
    /// May be taken away.
    pub exportable: bool,
    /// In hardware.
    pub hardware: bool,
    /// What it may be used for, in ascending order.
    pub key_ops: Vec<String>,
    /// The key's shape.
    pub key_spec: String,
    /// As asked for.
    pub tag: String,
}

impl Place {
    /// The device in one word, for what is done on one device at a time.
    pub fn device(&self) -> String {
        match self {
            Self::Pkcs11(place) => format!("pkcs11/{}", place.token_serial),
            Self::KeyVault(place) => format!("key-vault/{}", place.vault),
        }
    }

    /// The key on its device, in one word.
    pub fn object(&self) -> String {
        match self {
            Self::Pkcs11(place) => format!("{}/{}", self.device(), place.cka_id),
            Self::KeyVault(place) => format!("{}/{}", self.device(), place.name),
        }
    }

    /// The name that people see on the device.
    pub fn label(&self) -> &str {
        match self {
            Self::Pkcs11(place) => &place.label,
            Self::KeyVault(place) => &place.name,
        }
    }

    /// The kind in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pkcs11(_) => "pkcs11",
            Self::KeyVault(_) => "key-vault",
        }
    }

    /// Names the first member that no key of this use may have so.
    pub(crate) fn unfit(&self, used: Use) -> Option<Unfit> {
        match self {
            Self::Pkcs11(place) => {
                let attribute = place.template.unsafe_attribute(used);
                attribute.map(Unfit::Template).or_else(|| {
                    unprintable([
                        ("place.pkcs11.token_serial", &place.token_serial, 64),
                        ("place.pkcs11.token_label", &place.token_label, 64),
                        ("place.pkcs11.label", &place.label, 100),
                    ])
                })
            }
            Self::KeyVault(place) => unprintable([
                ("place.key-vault.name", &place.name, 127),
                ("place.key-vault.tag", &place.tag, 64),
                ("place.key-vault.vault", &place.vault, 253),
            ]),
        }
    }
}

/// What is wrong with a place or location.
pub(crate) enum Unfit {
    /// An attribute.
    Template(&'static str),
    /// A text, and how long it may be.
    Text(&'static str, usize),
}

fn unprintable<const N: usize>(texts: [(&'static str, &String, usize); N]) -> Option<Unfit> {
    texts
        .into_iter()
        .find(|(_, text, most)| !text::is_plain(text, *most))
        .map(|(member, _, most)| Unfit::Text(member, most))
}

impl Location {
    /// The key on its device, in one word; the same as [`Place::object`] of where it was made.
    pub fn object(&self) -> String {
        match self {
            Self::Pkcs11(at) => format!("pkcs11/{}/{}", at.token_serial, at.cka_id),
            Self::KeyVault(at) => format!("key-vault/{}/{}", at.vault, at.name),
        }
    }

    /// The device in one word.
    pub fn device(&self) -> String {
        match self {
            Self::Pkcs11(at) => format!("pkcs11/{}", at.token_serial),
            Self::KeyVault(at) => format!("key-vault/{}", at.vault),
        }
    }

    pub(crate) fn unfit(&self) -> Option<Unfit> {
        match self {
            Self::Pkcs11(at) => unprintable([
                ("location.pkcs11.token_serial", &at.token_serial, 64),
                ("location.pkcs11.token_label", &at.token_label, 64),
                ("location.pkcs11.label", &at.label, 100),
            ]),
            Self::KeyVault(at) => unprintable([
                ("location.key-vault.name", &at.name, 127),
                ("location.key-vault.vault", &at.vault, 253),
                ("location.key-vault.version", &at.version, 64),
            ]),
        }
    }
}

/// PCI DSS 3.7.7, prevention of key substitution: the key that is there is the one ordered. Names
/// what is not.
pub(crate) fn not_as_ordered(
    place: &Place,
    used: Use,
    key_spec: &str,
    location: &Location,
    found: &ReadBack,
) -> Option<&'static str> {
    match (place, location, found) {
        (Place::Pkcs11(place), Location::Pkcs11(at), ReadBack::Pkcs11(found)) => {
            // A token may stay silent about three of them, but it may not deny them.
            let not_denied = |attribute: Option<bool>| attribute != Some(false);
            first_wrong([
                (
                    "the token's serial number",
                    at.token_serial == place.token_serial,
                ),
                ("the token's label", at.token_label == place.token_label),
                ("CKA_ID", at.cka_id == place.cka_id),
                ("CKA_LABEL", at.label == place.label),
                ("the key attributes", found.key_spec == key_spec),
                ("the template", found.template == place.template),
                ("CKA_ALWAYS_SENSITIVE", not_denied(found.always_sensitive)),
                ("CKA_NEVER_EXTRACTABLE", not_denied(found.never_extractable)),
                ("CKA_LOCAL", not_denied(found.local)),
            ])
        }
        (Place::KeyVault(place), Location::KeyVault(at), ReadBack::KeyVault(found)) => {
            let ops: &[&str] = match used {
                Use::Sign => &["sign", "verify"],
                Use::Wrap => &["unwrapKey", "wrapKey"],
            };
            first_wrong([
                ("the vault", at.vault == place.vault),
                ("the name", at.name == place.name),
                ("the version", text::is_plain(&at.version, 64)),
                ("the tag", found.tag == place.tag),
                ("the key attributes", found.key_spec == key_spec),
                ("enabled", found.enabled),
                ("exportable", !found.exportable),
                ("hardware", found.hardware),
                ("key_ops", found.key_ops == ops),
            ])
        }
        _ => Some("the kind of location"),
    }
}

fn first_wrong<const N: usize>(checks: [(&'static str, bool); N]) -> Option<&'static str> {
    checks
        .into_iter()
        .find_map(|(what, good)| (!good).then_some(what))
}

/// Ring and number of a key as its label on a device: `ring.number`.
pub fn label(ring: &Name, number: u32) -> String {
    format!("{ring}.{number}")
}
