//! SSH signatures, made by `ssh-keygen` and made wrong by hand.

use std::io::Write as _;
use std::process::{Command, Stdio};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64ct::{Base64, Encoding};
use trust::alg::Hash;
use trust::namespace::{Namespace, Purpose};
use trust::sshkey::{SshKey, SshKeyError};
use trust::sshsig::{self, SshSigError};

use crate::support::{Custodian, armor, name, put, sshsig_blob};

fn namespace() -> Namespace {
    Namespace::new(Purpose::Approve, &name("seal"), &name("production"))
}

const KINDS: [&str; 6] = [
    "ed25519",
    "ecdsa-256",
    "ecdsa-384",
    "rsa-2048",
    "rsa-3072",
    "rsa-4096",
];

#[test]
fn ssh_keygen_signs_and_we_verify() {
    for kind in KINDS {
        let signer = Custodian::ssh_keygen("alice", kind);
        for message in [&b"the request"[..], b"", &[0xff; 5000]] {
            let signature = signer.sign(&namespace().to_string(), message);
            let key = sshsig::verify(&signature, &namespace(), message).unwrap();
            assert_eq!(key, signer.public, "{kind}");
            let error = sshsig::verify(&signature, &namespace(), b"another").unwrap_err();
            assert_eq!(error, SshSigError::BadSignature, "{kind}");
        }
    }
}

#[test]
fn other_namespaces_are_refused() {
    let signer = Custodian::ssh_keygen("alice", "ed25519");
    for other in [
        "file",
        "git",
        "chancery/approve.v1@seal/staging",
        "chancery/approve.v1@seal/production ",
    ] {
        let error = sshsig::verify(&signer.sign(other, b"m"), &namespace(), b"m").unwrap_err();
        assert!(matches!(error, SshSigError::Namespace { .. }), "{error}");
    }
}

#[test]
fn weak_and_foreign_keys_are_refused() {
    for (kind, expected) in [
        ("rsa-1024", SshKeyError::RsaSize(1024)),
        (
            "ecdsa-521",
            SshKeyError::Kind("ecdsa-sha2-nistp521".to_owned()),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let (kind, bits) = kind.split_once('-').unwrap();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-t", kind, "-b", bits, "-f"])
            .arg(&path)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if made.success() {
            let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
            assert_eq!(SshKey::from_pub_file(&public).unwrap_err(), expected);
        } else {
            println!("this ssh-keygen makes no {kind} keys of {bits} bits; nothing to refuse");
        }
    }
}

#[test]
fn rsa_keys_with_another_exponent_are_refused() {
    let modulus = [&[0][..], &[0xff; 256]].concat();
    for (exponent, good) in [(&[1, 0, 1][..], true), (&[1], false), (&[3], false)] {
        let mut wire = Vec::new();
        for part in [b"ssh-rsa", exponent, &modulus] {
            put(&mut wire, part);
        }
        let read = format!("ssh-rsa {}", Base64::encode_string(&wire)).parse::<SshKey>();
        match read {
            Ok(_) => assert!(good),
            Err(error) => assert!(!good && error == SshKeyError::RsaExponent, "{error}"),
        }
    }
}

/// RFC 8332: `ssh-rsa` as a signature type means SHA-1. ssh-keygen does not write it any more.
#[test]
fn other_signature_types_under_the_same_key_are_refused() {
    let signer = Custodian::ssh_keygen("alice", "rsa-2048");
    let blob = blob_of(&signer.sign(&namespace().to_string(), b"m"));
    let sha512 = b"rsa-sha2-512";
    let place = blob
        .windows(sha512.len())
        .rposition(|window| window == sha512)
        .unwrap();
    for other in [b"ssh-rsa-cert", b"ecdsa-sha2-n"] {
        let mut changed = blob.clone();
        changed[place..place + sha512.len()].copy_from_slice(other);
        let error = sshsig::verify(&armor(&changed), &namespace(), b"m").unwrap_err();
        assert!(matches!(error, SshSigError::Algorithm(_)), "{error}");
    }
}

fn blob_of(armored: &str) -> Vec<u8> {
    let base64: String = armored
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    Base64::decode_vec(&base64).unwrap()
}

/// A software key that pretends to be a security key: same bytes, no touch needed.
enum SecurityKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl SecurityKey {
    fn both() -> [Self; 2] {
        [
            Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap()),
            Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
        ]
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "sk-ssh-ed25519@openssh.com",
            Self::P256(_) => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        put(&mut wire, self.kind().as_bytes());
        match self {
            Self::Ed25519(pair) => put(&mut wire, pair.public_key().as_ref()),
            Self::P256(pair) => {
                put(&mut wire, b"nistp256");
                put(&mut wire, pair.public_key().as_ref());
            }
        }
        put(&mut wire, b"ssh:");
        wire
    }

    fn public(&self) -> String {
        format!("{} {}", self.kind(), Base64::encode_string(&self.wire()))
    }

    /// PROTOCOL.u2f: application digest, flags, counter, message digest.
    fn sign(&self, flags: u8, message: &[u8]) -> String {
        let namespace = namespace().to_string();
        let mut signed = b"SSHSIG".to_vec();
        for part in [
            namespace.as_bytes(),
            b"",
            b"sha512",
            &Hash::Sha512.digest(message),
        ] {
            put(&mut signed, part);
        }
        let counter = 7u32.to_be_bytes();
        let data = [
            &Hash::Sha256.digest(b"ssh:")[..],
            &[flags],
            &counter,
            &Hash::Sha256.digest(&signed),
        ]
        .concat();
        let value = match self {
            Self::Ed25519(pair) => pair.sign(&data).as_ref().to_vec(),
            Self::P256(pair) => {
                let fixed = pair.sign(&SystemRandom::new(), &data).unwrap();
                let mut value = Vec::new();
                for half in fixed.as_ref().chunks(32) {
                    put(&mut value, &mpint(half));
                }
                value
            }
        };
        let mut signature = Vec::new();
        put(&mut signature, self.kind().as_bytes());
        put(&mut signature, &value);
        signature.push(flags);
        signature.extend_from_slice(&counter);
        armor(&sshsig_blob(
            &self.wire(),
            namespace.as_bytes(),
            b"",
            b"sha512",
            &signature,
        ))
    }
}

/// RFC 4251 section 5.
fn mpint(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap();
    let bytes = &bytes[start..];
    if bytes[0] & 0x80 == 0 {
        bytes.to_vec()
    } else {
        [&[0], bytes].concat()
    }
}

#[test]
fn security_keys_must_have_been_touched() {
    for key in SecurityKey::both() {
        let expected: SshKey = key.public().parse().unwrap();
        for (flags, touched) in [(0x01, true), (0x05, true), (0x00, false), (0x04, false)] {
            let signature = key.sign(flags, b"m");
            match sshsig::verify(&signature, &namespace(), b"m") {
                Ok(signer) => assert!(touched && signer == expected),
                Err(error) => assert!(!touched && error == SshSigError::UserPresence, "{error}"),
            }
            let error = sshsig::verify(&signature, &namespace(), b"another").unwrap_err();
            assert!(error == SshSigError::BadSignature || !touched);
        }
        // The touch is signed: it cannot be added afterwards.
        let mut blob = blob_of(&key.sign(0x00, b"m"));
        let flags = blob.len() - 5;
        blob[flags] = 0x01;
        let error = sshsig::verify(&armor(&blob), &namespace(), b"m").unwrap_err();
        assert_eq!(error, SshSigError::BadSignature);
    }
}

/// The signatures above are what OpenSSH itself takes for a security key's.
#[test]
fn ssh_keygen_verifies_what_stands_in_for_security_keys() {
    for key in SecurityKey::both() {
        let dir = tempfile::tempdir().unwrap();
        let path = |file: &str| dir.path().join(file);
        std::fs::write(path("signature"), key.sign(0x01, b"m")).unwrap();
        std::fs::write(path("allowed"), format!("alice {}\n", key.public())).unwrap();
        let mut child = Command::new("ssh-keygen")
            .args([
                "-q",
                "-Y",
                "verify",
                "-I",
                "alice",
                "-n",
                &namespace().to_string(),
                "-f",
            ])
            .arg(path("allowed"))
            .arg("-s")
            .arg(path("signature"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"m").unwrap();
        assert!(child.wait().unwrap().success(), "{}", key.kind());
    }
}

#[test]
fn one_armour_per_signature() {
    let good = Custodian::ssh_keygen("alice", "ed25519").sign(&namespace().to_string(), b"m");
    assert!(sshsig::verify(&good, &namespace(), b"m").is_ok());
    for other in [
        good.trim_end().to_owned(),
        format!("{good}\n"),
        format!(" {good}"),
        good.replace('\n', "\r\n"),
        good.replacen("\nU1NI", "\nU1\nNI", 1),
        good.replace("BEGIN SSH", "BEGIN PGP"),
    ] {
        assert_ne!(other, good);
        assert_eq!(
            sshsig::verify(&other, &namespace(), b"m").unwrap_err(),
            SshSigError::Armor
        );
        match sshsig::normalize(&other) {
            Ok(normal) => assert_eq!(normal, good),
            Err(_) => assert!(other.contains("PGP")),
        }
    }
}

#[test]
fn malformed_blobs_are_refused() {
    let signer = Custodian::quick("alice");
    let good = blob_of(&signer.sign(&namespace().to_string(), b"m"));
    let verify = |blob: &[u8]| sshsig::verify(&armor(blob), &namespace(), b"m");
    assert!(verify(&good).is_ok());
    for length in 0..good.len() {
        assert!(verify(&good[..length]).is_err(), "truncated to {length}");
    }
    assert!(verify(&[&good[..], &[0]].concat()).is_err(), "a byte more");
    for (at, what) in [(0, "magic"), (9, "version")] {
        let mut changed = good.clone();
        changed[at] ^= 3;
        assert!(
            matches!(verify(&changed), Err(SshSigError::Malformed(_))),
            "{what}"
        );
    }
    // The reserved field and the hash are under the signature, but must not even be tried.
    let ns = namespace().to_string();
    let wire = {
        let text = signer.public.as_str().split_once(' ').unwrap().1.to_owned();
        Base64::decode_vec(&text).unwrap()
    };
    let mut signature = Vec::new();
    put(&mut signature, b"ssh-ed25519");
    put(&mut signature, &[0; 64]);
    let reserved = sshsig_blob(&wire, ns.as_bytes(), b"x", b"sha512", &signature);
    assert!(matches!(verify(&reserved), Err(SshSigError::Malformed(_))));
    let sha1 = sshsig_blob(&wire, ns.as_bytes(), b"", b"sha1", &signature);
    assert!(matches!(verify(&sha1), Err(SshSigError::Algorithm(_))));
}

/// Ed25519 and ECDSA signatures have second forms; none of them is taken.
#[test]
fn integers_have_one_form() {
    let signer = Custodian::ssh_keygen("alice", "ecdsa-256");
    let good = blob_of(&signer.sign(&namespace().to_string(), b"m"));
    // The last string of the blob: type, then r and s in a string of their own.
    let kind = b"ecdsa-sha2-nistp256";
    let start = good
        .windows(kind.len())
        .rposition(|window| window == kind)
        .unwrap()
        - 8;
    let inner = &good[start + 8 + kind.len() + 4..];
    let r_len = usize::try_from(u32::from_be_bytes(inner[..4].try_into().unwrap())).unwrap();
    let (r, s) = (&inner[4..4 + r_len], &inner[8 + r_len..]);
    let rebuilt = |r: &[u8], s: &[u8]| {
        let mut value = Vec::new();
        put(&mut value, r);
        put(&mut value, s);
        let mut signature = Vec::new();
        put(&mut signature, kind);
        put(&mut signature, &value);
        let mut blob = good[..start].to_vec();
        put(&mut blob, &signature);
        sshsig::verify(&armor(&blob), &namespace(), b"m")
    };
    assert!(rebuilt(r, s).is_ok(), "taken apart and put together again");
    let padded = [&[0], r].concat();
    assert!(
        matches!(rebuilt(&padded, s), Err(SshSigError::Malformed(_))),
        "leading zero"
    );
    assert!(
        matches!(rebuilt(&[], s), Err(SshSigError::Malformed(_))),
        "zero"
    );
    assert!(
        matches!(rebuilt(&[0x80], s), Err(SshSigError::Malformed(_))),
        "negative"
    );
    assert!(rebuilt(&[1; 40], s).is_err(), "longer than the curve");
}

#[test]
fn public_keys_have_one_spelling() {
    let key = Custodian::quick("alice").public.to_string();
    assert!(key.parse::<SshKey>().is_ok());
    for bad in [
        format!("{key} alice@example"),
        format!("{key}\n"),
        format!(" {key}"),
        key.replace(' ', "  "),
        key.replace("ssh-ed25519 ", "ssh-rsa "),
        key[..key.len() - 4].to_owned(),
        "ssh-ed25519".to_owned(),
        String::new(),
    ] {
        assert!(bad.parse::<SshKey>().is_err(), "{bad:?}");
    }
    assert_eq!(
        SshKey::from_pub_file(&format!("{key} alice@example\n"))
            .unwrap()
            .as_str(),
        key
    );
}
