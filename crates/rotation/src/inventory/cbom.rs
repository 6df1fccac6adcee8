//! The inventory as a cryptography bill of materials: CycloneDX 1.6 and 1.7 (ECMA-424), JSON. Types of our own, because the
//! crates for it end before assets of cryptography; what is written is held against the schema in the tests.

use std::collections::BTreeMap;

use calendar::KeyTypes;
use calendar::key_type::{KeyClass, Storage};
use serde::Serialize;
use store::{AssetState, InventoryRow};
use trust::Time;

/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BomVersion {
    V1_6,
    V1_7,
}

impl BomVersion {
    /// As a document spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_6 => "1.6",
            Self::V1_7 => "1.7",
        }
    }

    pub fn of(text: &str) -> Option<Self> {
        [Self::V1_6, Self::V1_7]
            .into_iter()
            .find(|version| version.as_str() == text)
    }
}

/// A bill of materials.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bom {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
}

#[derive(Debug, Serialize)]
struct Metadata {
    timestamp: Time,
    component: Program,
}

/// What the bill is of.
#[derive(Debug, Serialize)]
struct Program {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref")]
    bom_ref: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    crypto_properties: CryptoProperties,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "assetType")]
enum CryptoProperties {
    #[serde(rename_all = "camelCase")]
    Algorithm {
        algorithm_properties: AlgorithmProperties,
    },
    #[serde(rename_all = "camelCase")]
    Certificate {
        certificate_properties: CertificateProperties,
    },
    #[serde(rename_all = "camelCase")]
    RelatedCryptoMaterial {
        related_crypto_material_properties: Material,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AlgorithmProperties {
    primitive: &'static str,
    parameter_set_identifier: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    not_valid_before: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_valid_after: Option<Time>,
    /// From 1.7 on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificate_state: Vec<CertificateState>,
}

#[derive(Debug, Serialize)]
struct CertificateState {
    state: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm_ref: Option<String>,
    creation_date: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_date: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_date: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secured_by: Option<SecuredBy>,
}

#[derive(Debug, Serialize)]
struct SecuredBy {
    mechanism: &'static str,
}

#[derive(Debug, Serialize)]
struct Property {
    name: String,
    value: String,
}

/// These assets, and the algorithms of the rings among them.
pub fn cbom(rows: &[InventoryRow], types: &KeyTypes, version: BomVersion, now: Time) -> Bom {
    let algorithms: BTreeMap<&str, Component> = rows
        .iter()
        .filter_map(|row| row.algorithm.as_deref())
        .map(|name| (name, algorithm(name, version)))
        .collect();
    let assets = rows.iter().map(|row| asset(row, types, version));
    Bom {
        schema: match version {
            BomVersion::V1_6 => "http://cyclonedx.org/schema/bom-1.6.schema.json",
            BomVersion::V1_7 => "http://cyclonedx.org/schema/bom-1.7.schema.json",
        },
        bom_format: "CycloneDX",
        spec_version: version.as_str(),
        version: 1,
        metadata: Metadata {
            timestamp: now,
            component: Program {
                kind: "application",
                name: "chancery",
            },
        },
        components: algorithms.into_values().chain(assets).collect(),
    }
}

const CRYPTOGRAPHIC: &str = "cryptographic-asset";

fn algorithm_ref(name: &str) -> String {
    format!("algorithm/{name}")
}

fn algorithm(name: &str, version: BomVersion) -> Component {
    let primitive = match (name.ends_with("KW"), version) {
        (false, _) => "signature",
        // 1.6 has no word for it.
        (true, BomVersion::V1_6) => "other",
        (true, BomVersion::V1_7) => "key-wrap",
    };
    Component {
        kind: CRYPTOGRAPHIC,
        bom_ref: algorithm_ref(name),
        name: name.to_owned(),
        description: String::new(),
        crypto_properties: CryptoProperties::Algorithm {
            algorithm_properties: AlgorithmProperties {
                primitive,
                parameter_set_identifier: name.to_owned(),
            },
        },
        properties: Vec::new(),
    }
}

/// The states of NIST SP 800-57 part 1, section 7. That a version is revoked does not say that it was compromised.
fn state(state: AssetState) -> &'static str {
    match state {
        AssetState::Prepared => "pre-activation",
        AssetState::Active => "active",
        AssetState::Revoked | AssetState::Retired => "deactivated",
    }
}

fn mechanism(storage: Storage) -> Option<SecuredBy> {
    let mechanism = match storage {
        Storage::Hsm => "HSM",
        Storage::Wrapped => "Wrapped under a key of an HSM",
        Storage::Files => "Software",
        // Nobody says how.
        Storage::Mesh | Storage::Issued => return None,
    };
    Some(SecuredBy { mechanism })
}

fn asset(row: &InventoryRow, types: &KeyTypes, version: BomVersion) -> Component {
    let class = types.get(row.key_type.as_str()).map(|found| found.class);
    let kind = match class {
        Some(KeyClass::PrivateSignature) => "private-key",
        Some(KeyClass::DataEncryption | KeyClass::KeyWrapping) => "secret-key",
        Some(KeyClass::Authentication) => "credential",
        Some(KeyClass::Certificate) | None => "unknown",
    };
    let crypto_properties = match class {
        Some(KeyClass::Certificate) => CryptoProperties::Certificate {
            certificate_properties: CertificateProperties {
                not_valid_before: row.rotated_at,
                not_valid_after: row.expires_at,
                certificate_state: match version {
                    BomVersion::V1_6 => Vec::new(),
                    BomVersion::V1_7 => vec![CertificateState {
                        state: state(row.state),
                    }],
                },
            },
        },
        _ => CryptoProperties::RelatedCryptoMaterial {
            related_crypto_material_properties: Material {
                kind,
                id: format!("{}#{}", row.asset, row.version),
                state: state(row.state),
                algorithm_ref: row.algorithm.as_deref().map(algorithm_ref),
                creation_date: row.rotated_at.unwrap_or(row.created_at),
                activation_date: row.rotated_at,
                expiration_date: row.expires_at,
                secured_by: mechanism(row.storage),
            },
        },
    };
    let own = [
        ("key-type", row.key_type.to_string()),
        ("state", row.state.as_str().to_owned()),
        ("version", row.version.to_string()),
    ];
    let owner = row.owner.iter().map(|owner| ("owner", owner.to_string()));
    let labels = row.labels.iter();
    let labels = labels.map(|(name, value)| (format!("chancery:label:{name}"), value.clone()));
    let named = own
        .into_iter()
        .chain(owner)
        .map(|(name, value)| (format!("chancery:{name}"), value));
    Component {
        kind: CRYPTOGRAPHIC,
        bom_ref: row.asset.to_string(),
        name: row.asset.to_string(),
        description: row.purpose.clone(),
        crypto_properties,
        properties: named
            .chain(labels)
            .map(|(name, value)| Property { name, value })
            .collect(),
    }
}
