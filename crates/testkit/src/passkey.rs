//! A passkey in memory: an authenticator that counts its signatures, and the browser around it. What it says can be wrong.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use trust::jwk::Curve;
use trust::roster::Passkeys;
use trust::{Algorithm, Base64Url, MemberKey, MemberSignature, PublicKey, Sha256Digest, base64url};

/// The page on which passkeys are used, and its host.
pub const PAGE: &str = "https://seal.example";
pub const RP_ID: &str = "seal.example";

/// The settings of a roster.
pub fn relying_party() -> Passkeys {
    Passkeys {
        origins: vec![PAGE.to_owned()],
        rp_id: RP_ID.to_owned(),
    }
}

/// An ES256 credential.
pub struct SoftPasskey {
    id: Vec<u8>,
    key: EcdsaKeyPair,
    count: AtomicU32,
}

impl SoftPasskey {
    /// Another one each time.
    pub fn new(name: &str) -> Self {
        Self {
            id: Sha256Digest::of(name.as_bytes()).as_bytes().to_vec(),
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            count: AtomicU32::new(1),
        }
    }

    fn point(&self) -> (&[u8], &[u8]) {
        self.key.public_key().as_ref()[1..].split_at(32)
    }

    /// As a roster has it.
    pub fn member_key(&self) -> MemberKey {
        let (x, y) = self.point();
        let public = PublicKey::ec(Curve::P256, x, y).unwrap();
        MemberKey::Webauthn {
            algorithm: Algorithm::Es256,
            credential_id: Base64Url(self.id.clone()),
            public_key: Base64Url(public.to_spki_der()),
        }
    }

    /// A signature over the bytes that `ssh-keygen` would sign, as it is submitted.
    pub fn sign(&self, message: &[u8]) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.sign_at(message, count)
    }

    /// The same, and the authenticator says that it is its nth.
    pub fn sign_at(&self, message: &[u8], count: u32) -> String {
        let signature = self.assertion(message, count);
        String::from_utf8(signature.encode().unwrap()).unwrap()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a passkey of a test is random without anybody's help"
    )]
    fn assertion(&self, message: &[u8], count: u32) -> MemberSignature {
        let challenge = base64url::encode(Sha256Digest::of(message).as_bytes());
        let client_data = json!({
            "type": "webauthn.get", "challenge": challenge, "origin": PAGE, "crossOrigin": false,
        });
        let client_data = client_data.to_string().into_bytes();
        let data = authenticator_data(0b101, count);
        let hash = Sha256Digest::of(&client_data);
        let signed = [&data[..], hash.as_bytes()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        MemberSignature::Webauthn {
            authenticator_data: Base64Url(data),
            client_data: Base64Url(client_data),
            credential_id: Base64Url(self.id.clone()),
            signature: Base64Url(signature.as_ref().to_vec()),
        }
    }

    /// What `toJSON()` of an assertion writes.
    pub fn browser_json(&self, message: &[u8]) -> Value {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let MemberSignature::Webauthn {
            authenticator_data,
            client_data,
            credential_id,
            signature,
        } = self.assertion(message, count)
        else {
            unreachable!("an assertion")
        };
        json!({
            "id": credential_id, "rawId": credential_id, "type": "public-key",
            "clientExtensionResults": {},
            "response": {
                "authenticatorData": authenticator_data, "clientDataJSON": client_data,
                "signature": signature,
            },
        })
    }

    /// The attestation object of its registration, without a statement.
    pub fn attestation(&self) -> Vec<u8> {
        let (x, y) = self.point();
        let mut data = authenticator_data(0b100_0101, 0);
        data.extend([7; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        // COSE_Key of ES256: {1: 2, 3: -7, -1: 1, -2: x, -3: y}.
        data.extend([0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32]);
        data.extend(x);
        data.extend([0x22, 0x58, 32]);
        data.extend(y);
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).unwrap());
        object.extend(data);
        object
    }

    /// What `toJSON()` of a new credential writes.
    pub fn registration(&self) -> Value {
        let client_data = json!({
            "type": "webauthn.create", "challenge": "AAAA", "origin": PAGE, "crossOrigin": false,
        });
        let id = base64url::encode(&self.id);
        json!({
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": {
                "attestationObject": base64url::encode(&self.attestation()),
                "clientDataJSON": base64url::encode(client_data.to_string().as_bytes()),
                "transports": ["internal"],
            },
        })
    }
}

fn authenticator_data(flags: u8, count: u32) -> Vec<u8> {
    let mut data = Sha256Digest::of(RP_ID.as_bytes()).as_bytes().to_vec();
    data.push(flags);
    data.extend(count.to_be_bytes());
    data
}
