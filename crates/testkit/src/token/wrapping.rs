//! Wrapping keys of the token in memory.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use aws_lc_rs::rand;
use token::{Dek, Error, GeneratedWrap, WrapHandle, WrappedDek};
use trust::place::{Pkcs11Location, Pkcs11ReadBack, ReadBack};
use trust::request::{CkaId, WrapKeySpec};
use trust::{Location, Sha256Digest, Template};

use super::SoftwareToken;

/// A wrapping key, AES-256.
pub(super) struct Secret {
    pub(super) label: String,
    key: [u8; 32],
}

impl Secret {
    #[expect(
        clippy::disallowed_methods,
        reason = "a token draws its keys itself, as real ones do"
    )]
    pub(super) fn generate(label: &str) -> Self {
        let mut key = [0; 32];
        rand::fill(&mut key).unwrap();
        Self {
            label: label.to_owned(),
            key,
        }
    }

    pub(super) fn wrap(&self, value: &[u8; 32]) -> WrappedDek {
        let kek = AesKek::new(&AES_256, &self.key).unwrap();
        let mut wrapped = [0; 40];
        kek.wrap(value, &mut wrapped).unwrap();
        WrappedDek::new(wrapped)
    }

    fn unwrap(&self, blob: &WrappedDek) -> Option<Dek> {
        let kek = AesKek::new(&AES_256, &self.key).unwrap();
        let mut value = [0; 32];
        kek.unwrap(blob.as_bytes(), &mut value).ok()?;
        Some(Dek::copy_of(&value))
    }

    pub(super) fn check_value(&self, challenge: Sha256Digest) -> Sha256Digest {
        Sha256Digest::of(self.wrap(challenge.as_bytes()).as_bytes())
    }
}

impl SoftwareToken {
    /// Makes a wrapping key without a ceremony.
    pub fn make_wrap(&self, cka_id: [u8; 16], label: &str, challenge: Sha256Digest) -> WrapHandle {
        let secret = Secret::generate(label);
        let check_value = secret.check_value(challenge);
        self.state().secrets.insert(cka_id, secret);
        WrapHandle::new(cka_id, challenge, check_value)
    }

    /// Every wrap, unwrap and re-wrap fails so, until [`SoftwareToken::heal`].
    pub fn fail_wrapping(&self, error: Error) {
        self.state().wrapping_fails = Some(error);
    }

    /// Data keys that were wrapped, unwrapped or wrapped anew.
    pub fn wraps(&self) -> u64 {
        self.state().wraps
    }

    /// One item by the keys of `handles`, each of which must give its check value first.
    pub(super) fn with_secrets<T, const N: usize>(
        &self,
        handles: [&WrapHandle; N],
        act: impl FnOnce([&Secret; N]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut state = self.state();
        if let Some(error) = &state.wrapping_fails {
            return Err(error.clone());
        }
        state.wraps += 1;
        let mut found = Vec::with_capacity(N);
        for handle in handles {
            let secret = state.secrets.get(&handle.cka_id());
            let secret =
                secret.filter(|key| key.check_value(handle.challenge()) == handle.check_value());
            found.push(secret.ok_or(Error::Unsupported("the token has no such wrapping key"))?);
        }
        let found: [&Secret; N] = found.try_into().map_err(|_| Error::Stopped)?;
        act(found)
    }

    pub(super) fn open(&self, key: &WrapHandle, blob: &WrappedDek) -> Result<Dek, Error> {
        let damaged = || Error::wrapped_key_invalid(key.cka_id());
        self.with_secrets([key], |[key]| key.unwrap(blob).ok_or_else(damaged))
    }

    pub(super) fn rewrap(
        &self,
        from: &WrapHandle,
        to: &WrapHandle,
        blob: &WrappedDek,
    ) -> Result<WrappedDek, Error> {
        let damaged = || Error::wrapped_key_invalid(from.cka_id());
        self.with_secrets([from, to], |[from, to]| {
            let dek = from.unwrap(blob).ok_or_else(damaged)?;
            Ok(to.wrap(dek.as_bytes()))
        })
    }

    pub(super) fn generated_wrap(
        &self,
        cka_id: [u8; 16],
        challenge: Sha256Digest,
    ) -> Result<GeneratedWrap, Error> {
        let state = self.state();
        let secret = state.secrets.get(&cka_id);
        let secret = secret.ok_or(Error::Unsupported("the token has no such wrapping key"))?;
        Ok(GeneratedWrap {
            challenge,
            check_value: secret.check_value(challenge),
            location: Location::Pkcs11(Pkcs11Location {
                cka_id: CkaId(cka_id),
                label: secret.label.clone(),
                token_label: self.inner.label.clone(),
                token_serial: self.inner.serial.clone(),
            }),
            read_back: ReadBack::Pkcs11(Pkcs11ReadBack {
                always_sensitive: Some(true),
                key_spec: WrapKeySpec::Aes256.to_string(),
                local: Some(true),
                never_extractable: Some(true),
                template: Template::wrapping_key(),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn data_keys_come_back_and_damaged_blobs_are_told_apart() {
        let token = SoftwareToken::new("1", "test");
        let challenge = Sha256Digest::of(b"challenge");
        let old = token.make_wrap([1; 16], "old", challenge);
        let new = token.make_wrap([2; 16], "new", challenge);
        let pool = token.pool();
        let soon = Instant::now() + Duration::from_secs(9);
        let deks = vec![Dek::copy_of(&[7; 32]), Dek::copy_of(&[8; 32])];
        let blobs = pool.wrap_all(&old, deks, soon).await;
        let mut blobs: Vec<WrappedDek> = blobs.into_iter().map(Result::unwrap).collect();
        let mut damaged = *blobs[0].as_bytes();
        damaged[3] ^= 1;
        blobs.push(WrappedDek::new(damaged));
        let moved = pool.rewrap_all(&old, &new, blobs, soon).await;
        assert!(matches!(&moved[2], Err(error) if error.is_integrity()));
        let moved = moved.into_iter().filter_map(Result::ok).collect();
        let opened = pool.unwrap_all(&new, moved, soon).await;
        let opened: Vec<[u8; 32]> = opened
            .into_iter()
            .flatten()
            .map(|d| *d.as_bytes())
            .collect();
        assert_eq!(opened, [[7; 32], [8; 32]]);
        let other = WrapHandle::new([1; 16], challenge, Sha256Digest::of(b"another key"));
        assert!(pool.check_wrap(&old, soon).await.is_ok());
        assert!(pool.check_wrap(&other, soon).await.is_err());
    }
}
