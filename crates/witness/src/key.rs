//! A witness's key: Ed25519, in a file of its own. The name stands above the PEM, where other
//! programs that read the key skip it (RFC 7468 section 2).

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64ct::{Base64, Encoding as _};
use trust::Time;
use trust::tlog::cosignature;
use trust::tlog::note::{self, NoteSignature, VerifierKey};
use zeroize::Zeroizing;

const NAME: &str = "Witness: ";
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----\n";
const END: &str = "-----END PRIVATE KEY-----\n";

/// Characters of a line of PEM.
const LINE: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the witness's key could not be {did} {path}")]
    File {
        did: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{0} is not a witness key file: expected a line \"{NAME}<name>\" and an Ed25519 key in PEM"
    )]
    Form(PathBuf),
    #[error("the key is invalid")]
    Rejected(#[source] KeyRejected),
    #[error("the key could not be encoded")]
    Unspecified,
    #[error("a witness's name")]
    Name(#[from] note::KeyError),
}

pub struct WitnessKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl WitnessKey {
    /// The key of 32 random bytes.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(Error::Rejected)?;
        Self::new(name, pair)
    }

    fn new(name: &str, pair: Ed25519KeyPair) -> Result<Self, Error> {
        let public = pair.public_key().as_ref();
        let public = public.try_into().map_err(|_| Error::Unspecified)?;
        let verifier = VerifierKey::cosigner(name, public)?;
        Ok(Self { pair, verifier })
    }

    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Writes a file that only its owner reads. One that is there is not touched.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::File {
            did: "written to",
            path: path.to_owned(),
            source,
        };
        let document = self.pair.to_pkcs8v1().map_err(|_| Error::Unspecified)?;
        let encoded = Zeroizing::new(Base64::encode_string(document.as_ref()));
        let mut text = Zeroizing::new(format!("{NAME}{}\n{BEGIN}", self.verifier.name()));
        for line in encoded.as_bytes().chunks(LINE) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str(END);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)
    }

    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File {
            did: "read from",
            path: path.to_owned(),
            source,
        };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        let form = || Error::Form(path.to_owned());
        let (name, der) = parse(&text).ok_or_else(form)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(Error::Rejected)?;
        Self::new(name, pair)
    }

    /// The line of a cosignature at a time. `text` has been judged before.
    pub(super) fn cosign(&self, text: &str, now: Time) -> Result<NoteSignature, super::Error> {
        let seconds = u64::try_from(now.millis().div_euclid(1000)).unwrap_or(0);
        let signature = self.pair.sign(&cosignature::message(text, seconds));
        cosignature::build(&self.verifier, seconds, signature.as_ref()).map_err(super::Error::Clock)
    }
}

fn parse(text: &str) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    let (head, rest) = text.split_once(BEGIN)?;
    let name = head.lines().find_map(|line| line.strip_prefix(NAME))?;
    let body = rest.strip_suffix(END)?;
    let encoded = Zeroizing::new(body.split('\n').collect::<String>());
    let der = Zeroizing::new(Base64::decode_vec(&encoded).ok()?);
    Some((name, der))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_written_once_for_its_owner_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let key = WitnessKey::from_seed("example.com/w1", &[7; 32]).unwrap();
        key.write(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(WitnessKey::read(&path).unwrap().verifier, key.verifier);
        assert!(matches!(key.write(&path), Err(Error::File { .. })));

        let text = std::fs::read_to_string(&path).unwrap();
        for broken in [
            text.replace("Witness: ", "Wit: "),
            text.replace("Witness: example.com/w1", "Witness: w 1"),
            text.replace("BEGIN", "BEGINN"),
            text.replace("\nMC4", "\nMC5"),
            text[..text.len() - 3].to_owned(),
            String::new(),
        ] {
            std::fs::write(&path, &broken).unwrap();
            assert!(WitnessKey::read(&path).is_err(), "{broken}");
        }
        assert!(WitnessKey::from_seed("no spaces", &[7; 32]).is_err());
    }
}
