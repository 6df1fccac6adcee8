//! People who sign: with the real `ssh-keygen`, or in this process where many signatures are needed.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64ct::{Base64, Encoding};
use tempfile::TempDir;
use trust::alg::Hash;
use trust::sshkey::SshKey;
use trust::*;

/// A person with a key.
pub struct Custodian {
    pub id: MemberId,
    pub public: SshKey,
    key: Key,
}

enum Key {
    File { _dir: TempDir, path: PathBuf },
    InProcess(Ed25519KeyPair),
}

impl Custodian {
    /// A key file made by `ssh-keygen -t kind`, used by `ssh-keygen -Y sign`.
    pub fn ssh_keygen(id: &str, kind: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", id, "-f"]).arg(&path);
        match kind.split_once('-') {
            Some((kind, bits)) => command.args(["-t", kind, "-b", bits]),
            None => command.args(["-t", kind]),
        };
        assert!(command.status().expect("ssh-keygen is installed").success());
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        Self {
            id: id.parse().unwrap(),
            public: SshKey::from_pub_file(&public).unwrap(),
            key: Key::File { _dir: dir, path },
        }
    }

    /// An Ed25519 key in this process, always the same for the same id.
    pub fn quick(id: &str) -> Self {
        Self::quick_with_seed(id, id)
    }

    pub fn quick_with_seed(id: &str, seed: &str) -> Self {
        let seed = Sha256Digest::of(seed.as_bytes());
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_bytes()).unwrap();
        let mut wire = Vec::new();
        put(&mut wire, b"ssh-ed25519");
        put(&mut wire, pair.public_key().as_ref());
        let public = format!("ssh-ed25519 {}", Base64::encode_string(&wire))
            .parse()
            .unwrap();
        Self {
            id: id.parse().unwrap(),
            public,
            key: Key::InProcess(pair),
        }
    }

    /// The armored signature over `message` in `namespace`.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> String {
        match &self.key {
            Key::File { path, .. } => {
                let mut child = Command::new("ssh-keygen")
                    .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
                    .arg(path)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("ssh-keygen is installed");
                child.stdin.take().unwrap().write_all(message).unwrap();
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success());
                String::from_utf8(output.stdout).unwrap()
            }
            Key::InProcess(pair) => {
                let mut signed = b"SSHSIG".to_vec();
                for part in [
                    namespace.as_bytes(),
                    b"",
                    b"sha512",
                    &Hash::Sha512.digest(message),
                ] {
                    put(&mut signed, part);
                }
                let mut signature = Vec::new();
                put(&mut signature, b"ssh-ed25519");
                put(&mut signature, pair.sign(&signed).as_ref());
                let mut wire = Vec::new();
                put(&mut wire, b"ssh-ed25519");
                put(&mut wire, pair.public_key().as_ref());
                armor(&sshsig_blob(
                    &wire,
                    namespace.as_bytes(),
                    b"",
                    b"sha512",
                    &signature,
                ))
            }
        }
    }

    /// The same, as documents hold it.
    pub fn signed(&self, namespace: &str, message: &[u8]) -> MemberSignature {
        MemberSignature::ssh(self.sign(namespace, message))
    }

    pub fn member(&self, roles: &[Role]) -> Member {
        Member {
            id: self.id.clone(),
            name: format!("{} of the tests", self.id),
            roles: roles.to_vec(),
            keys: vec![MemberKey::Ssh {
                public: self.public.clone(),
            }],
            active: true,
        }
    }
}

/// The armor of a signature of `ssh-keygen`.
pub fn armored(signature: &MemberSignature) -> &str {
    match signature {
        MemberSignature::Ssh { signature } => signature,
        MemberSignature::Webauthn { .. } => panic!("a passkey's"),
    }
}

pub fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(bytes);
}

pub fn sshsig_blob(
    public: &[u8],
    namespace: &[u8],
    reserved: &[u8],
    hash: &[u8],
    signature: &[u8],
) -> Vec<u8> {
    let mut blob = b"SSHSIG\x00\x00\x00\x01".to_vec();
    for part in [public, namespace, reserved, hash, signature] {
        put(&mut blob, part);
    }
    blob
}

pub fn armor(blob: &[u8]) -> String {
    let text = format!(
        "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
        Base64::encode_string(blob)
    );
    sshsig::normalize(&text).unwrap()
}
