//! What a device would make, and what it would tell; and orders for it.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use trust::approval::{
    Generated, NewKey as Told, Outcome, possession_message, wrap_challenge, wrap_kid,
};
use trust::bytes16::CkaId;
use trust::jwk::Curve;
use trust::place::{
    Pkcs11Location, Pkcs11Place, Pkcs11ReadBack, ReadBack, VaultLocation, VaultPlace, VaultReadBack,
};
use trust::request::{RevocationReason, WrapAlgorithm, WrapKeySpec, request_digest};
use trust::template::Use;
use trust::*;

use super::{minute, name};

/// A pair that a device would have generated.
pub struct NewKey(EcdsaKeyPair);

impl NewKey {
    pub fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn public(&self) -> PublicKey {
        let point = self.0.public_key().as_ref();
        PublicKey::ec(Curve::P256, &point[1..33], &point[33..]).unwrap()
    }

    pub fn kid(&self) -> Kid {
        self.public().kid()
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0
            .sign(&SystemRandom::new(), message)
            .unwrap()
            .as_ref()
            .to_vec()
    }

    pub fn sign_digest(&self, digest: &[u8]) -> Vec<u8> {
        let digest = Digest::import_less_safe(digest, &SHA256).unwrap();
        self.0.sign_digest(&digest).unwrap().as_ref().to_vec()
    }

    /// What the executor reports about it.
    pub fn generated(&self, request: &Request) -> Box<Generated> {
        let key = self.public();
        let digest = request_digest(&request.encode().unwrap());
        let challenge = possession_message(request, digest, &key.kid()).unwrap();
        let (location, read_back) = found(ordered(request));
        Box::new(Generated {
            attestation: None,
            key: Told::Public {
                kid: key.kid(),
                possession: Base64Url(self.sign(&challenge)),
                public_key: Base64Url(key.to_spki_der()),
                spki_digest: key.spki_digest(),
            },
            location,
            read_back,
        })
    }
}

/// What the executor reports about a wrapping key whose check value is this one.
pub fn wrapping(request: &Request, check_value: Sha256Digest) -> Box<Generated> {
    let order = ordered(request);
    let (location, read_back) = found(order);
    Box::new(Generated {
        attestation: None,
        key: Told::Check {
            challenge: wrap_challenge(request, order).unwrap(),
            check_value,
            kid: wrap_kid(order, check_value).unwrap(),
        },
        location,
        read_back,
    })
}

fn ordered(request: &Request) -> &Generate {
    match &request.operation {
        Operation::Generate(order) => order,
        _ => panic!("not a generation"),
    }
}

/// Where a device made the key, and what it tells about it.
pub fn found(order: &Generate) -> (Location, ReadBack) {
    let key_spec = order.purpose.key_spec();
    match &order.place {
        Place::Pkcs11(place) => (
            Location::Pkcs11(Pkcs11Location {
                cka_id: place.cka_id,
                label: place.label.clone(),
                token_label: place.token_label.clone(),
                token_serial: place.token_serial.clone(),
            }),
            ReadBack::Pkcs11(Pkcs11ReadBack {
                always_sensitive: Some(true),
                key_spec,
                local: Some(true),
                never_extractable: Some(true),
                template: place.template.clone(),
            }),
        ),
        Place::KeyVault(place) => (
            Location::KeyVault(VaultLocation {
                name: place.name.clone(),
                vault: place.vault.clone(),
                version: "d3adbeef".to_owned(),
            }),
            ReadBack::KeyVault(VaultReadBack {
                enabled: true,
                exportable: false,
                hardware: true,
                key_ops: match order.purpose.used() {
                    Use::Sign => ["sign", "verify"].map(str::to_owned).to_vec(),
                    Use::Wrap => ["unwrapKey", "wrapKey"].map(str::to_owned).to_vec(),
                },
                key_spec,
                tag: place.tag.clone(),
            }),
        ),
    }
}

/// A place on the one token of the tests.
pub fn on_token(ring: &str, number: u32, template: Template) -> Place {
    Place::Pkcs11(Pkcs11Place {
        cka_id: CkaId([7; 16]),
        label: format!("{ring}.{number}"),
        template,
        token_label: "seal-1".to_owned(),
        token_serial: "0a1b2c3d".to_owned(),
    })
}

/// A place in the one vault of the tests.
pub fn in_vault(ring: &str, number: u32) -> Place {
    Place::KeyVault(VaultPlace {
        name: format!("{ring}-{number}"),
        tag: "ceremony-7".to_owned(),
        vault: "seal.vault.example".to_owned(),
    })
}

/// The first key of a ring.
pub fn generate(ring: &str) -> Generate {
    Generate {
        ring: name(ring),
        number: 1,
        purpose: KeyPurpose::Sign {
            algorithm: Algorithm::Es256,
            key_spec: KeySpec::P256,
        },
        usage: match ring {
            "log" => Usage::Log,
            _ => Usage::Structured,
        },
        place: on_token(ring, 1, Template::signing_key()),
        publish_at: minute(0),
        activate_at: minute(60),
        retire_at: minute(60 * 24 * 90),
        predecessor: None,
    }
}

/// The first key of a ring of wrapping keys.
pub fn wrap_key(ring: &str) -> Generate {
    Generate {
        purpose: KeyPurpose::Wrap {
            algorithm: WrapAlgorithm::A256Kw,
            key_spec: WrapKeySpec::Aes256,
        },
        usage: Usage::Wrap,
        place: on_token(ring, 1, Template::wrapping_key()),
        ..generate(ring)
    }
}

/// A revocation of a key.
pub fn revoke(kid: &Kid) -> Operation {
    Operation::Revoke(Revoke {
        ring: name("atp-integrity"),
        kid: kid.clone(),
        number: 1,
        reason: RevocationReason::Compromised,
        compromised_since: Some(minute(0)),
    })
}

/// A destruction of keys.
pub fn destroy(kids: &[Kid]) -> Operation {
    let (location, _) = found(&generate("atp-integrity"));
    let mut kids: Vec<_> = kids.to_vec();
    kids.sort();
    let key = |kid: Kid| DestroyKey {
        kid,
        locations: vec![location.clone()],
        number: 1,
        ring: name("atp-integrity"),
    };
    Operation::Destroy(Destroy {
        keys: kids.into_iter().map(key).collect(),
    })
}

/// What was done, where it makes no key.
pub fn as_ordered(operation: &Operation) -> Outcome {
    match operation {
        Operation::Generate(_) => panic!("makes a key"),
        Operation::Destroy(order) => Outcome::Destroyed {
            kids: order.keys.iter().map(|key| key.kid.clone()).collect(),
        },
        Operation::Revoke(order) => Outcome::Revoked {
            kid: order.kid.clone(),
        },
        Operation::ClockCorrection(order) => Outcome::Corrected(order.clone()),
        Operation::NewOrigin(order) => Outcome::NewOrigin {
            origin: order.origin.clone(),
            root: order.root,
            size: order.size,
        },
        Operation::Order(order) => Outcome::Ordered { id: order.id },
        Operation::Resume(order) => Outcome::Resumed(order.clone()),
        Operation::EmergencyRotation(order) => Outcome::EmergencyRotated {
            kid: order.standby.clone(),
            revoked: order.kid.clone(),
        },
        Operation::Ratification(order) => Outcome::Ratified {
            rotation: order.rotation,
        },
        Operation::RotationPolicy(order) => Outcome::PolicySet(order.decided()),
    }
}
