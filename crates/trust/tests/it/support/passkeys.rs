//! Passkeys in this process, and the pages on which they are used.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use trust::chain::Change;
use trust::jwk::Curve;
use trust::roster::Passkeys;
use trust::*;

use super::{Custodian, World};

/// A credential.
pub struct Passkey {
    pub id: Vec<u8>,
    pub public: PublicKey,
    algorithm: Algorithm,
    key: Key,
}

enum Key {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// What a browser and an authenticator say of one assertion.
#[derive(Clone)]
pub struct Said {
    pub kind: &'static str,
    pub origin: &'static str,
    /// Members after the origin, each with its comma.
    pub more: &'static str,
    pub rp_id: &'static str,
    pub flags: u8,
    pub count: u32,
}

/// As it should be: user present and verified, on the page that the roster names.
pub const SAID: Said = Said {
    kind: "webauthn.get",
    origin: "https://seal.example",
    more: r#","crossOrigin":false"#,
    rp_id: "seal.example",
    flags: 0b101,
    count: 0,
};

pub fn relying_party() -> Passkeys {
    Passkeys {
        origins: vec![SAID.origin.to_owned()],
        rp_id: SAID.rp_id.to_owned(),
    }
}

impl Passkey {
    /// Another one each time.
    pub fn new(algorithm: Algorithm, id: &str) -> Self {
        let (key, public) = match algorithm {
            Algorithm::Es256 => {
                let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                let public = PublicKey::ec(Curve::P256, x, y);
                (Key::P256(key), public)
            }
            Algorithm::Ed25519 => {
                let key = Ed25519KeyPair::generate().unwrap();
                let public = PublicKey::ed25519(key.public_key().as_ref());
                (Key::Ed25519(key), public)
            }
            _ => {
                let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let modulus = key.public_key().modulus().big_endian_without_leading_zero();
                let public = PublicKey::rsa(modulus, &[1, 0, 1]);
                (Key::Rsa(key), public)
            }
        };
        Self {
            id: Sha256Digest::of(id.as_bytes()).as_bytes().to_vec(),
            public: public.unwrap(),
            algorithm,
            key,
        }
    }

    pub fn member_key(&self) -> MemberKey {
        MemberKey::Webauthn {
            algorithm: self.algorithm,
            credential_id: Base64Url(self.id.clone()),
            public_key: Base64Url(self.public.to_spki_der()),
        }
    }

    /// An assertion over `message`, as it should be.
    pub fn signed(&self, message: &[u8]) -> MemberSignature {
        self.said(message, SAID)
    }

    /// An assertion over `message` about which something else was said.
    pub fn said(&self, message: &[u8], said: Said) -> MemberSignature {
        let challenge = base64url::encode(Sha256Digest::of(message).as_bytes());
        let Said {
            kind, origin, more, ..
        } = said;
        let client_data = format!(
            r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}"{more},"other":[1.5]}}"#
        );
        let mut data = Sha256Digest::of(said.rp_id.as_bytes()).as_bytes().to_vec();
        data.push(said.flags);
        data.extend(said.count.to_be_bytes());
        let hash = Sha256Digest::of(client_data.as_bytes());
        let signature = self.sign(&[&data[..], hash.as_bytes()].concat());
        MemberSignature::Webauthn {
            authenticator_data: Base64Url(data),
            client_data: Base64Url(client_data.into_bytes()),
            credential_id: Base64Url(self.id.clone()),
            signature: Base64Url(signature),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::P256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Key::Rsa(key) => {
                let mut out = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut out)
                    .unwrap();
                out
            }
        }
    }
}

impl World {
    /// The exact bytes that are signed over a body for a purpose.
    pub fn message(&self, purpose: Purpose, body: &[u8]) -> Vec<u8> {
        dsse::pae(&self.namespace(purpose).to_string(), body)
    }

    /// By passkey, over a body for a purpose.
    pub fn by_passkey(&self, purpose: Purpose, body: &[u8], passkey: &Passkey) -> MemberSignature {
        passkey.signed(&self.message(purpose, body))
    }

    /// A next roster signed by Alice and Bob, and by these passkeys, which it has.
    pub fn roster_with(
        &self,
        change: impl FnOnce(&mut Roster),
        signers: &[&Custodian],
        passkeys: &[&Passkey],
    ) -> SignedDocument {
        let mut document = self.next_roster(change, signers);
        let message = document.message(&self.namespace(Purpose::Roster));
        let assertions = passkeys.iter().map(|passkey| passkey.signed(&message));
        document.signatures.extend(assertions);
        document
    }

    /// Alice has an ES256 passkey, Bob an Ed25519 one.
    pub fn with_passkeys() -> (Self, Passkey, Passkey) {
        let mut world = Self::quick();
        let alice = Passkey::new(Algorithm::Es256, "alice");
        let bob = Passkey::new(Algorithm::Ed25519, "bob");
        let change = |roster: &mut Roster| {
            roster.passkeys = Some(relying_party());
            roster.members[0].keys.push(alice.member_key());
            roster.members[1].keys.push(bob.member_key());
        };
        let signers = [&world.alice, &world.bob];
        let document = world.roster_with(change, &signers, &[&alice, &bob]);
        world.chains.changes.push(Change::Roster(document));
        world.trusted();
        (world, alice, bob)
    }
}
