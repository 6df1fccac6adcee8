//! The executor's power: keys are made and destroyed, each by a quorum's proof that is used up.

use std::path::Path;
use std::sync::Arc;

use trust::{Algorithm, Approved, Destroy, DestroyKey, Generate, Sha256Digest};

use super::backend::{Backend, Found, Generated};
use super::pkcs11::Pkcs11;
use super::{Error, GeneratedWrap, Handle, Settings, WrapHandle};

/// A way to the token that may create and destroy.
#[derive(Clone)]
pub struct Executor {
    backend: Arc<dyn Backend>,
}

impl Executor {
    pub fn start(settings: &Settings, program: &Path) -> Result<Self, Error> {
        Ok(Self::over(Arc::new(Pkcs11::executor(settings, program)?)))
    }

    /// Over another device.
    pub fn over(backend: Arc<dyn Backend>) -> Self {
        Self { backend }
    }

    /// See [`Backend::identity`].
    pub async fn identity(&self) -> Result<(String, String), Error> {
        self.backend.identity().await
    }

    /// See [`Backend::generate`].
    pub async fn generate(&self, approved: Approved<Generate>) -> Result<Generated, Error> {
        self.backend.generate(approved).await
    }

    /// See [`Backend::read_back`].
    pub async fn read_back(&self, cka_id: [u8; 16]) -> Result<Generated, Error> {
        self.backend.read_back(cka_id).await
    }

    /// See [`Backend::generate_wrap`].
    pub async fn generate_wrap(
        &self,
        approved: Approved<Generate>,
    ) -> Result<GeneratedWrap, Error> {
        self.backend.generate_wrap(approved).await
    }

    /// See [`Backend::read_back_wrap`].
    pub async fn read_back_wrap(
        &self,
        cka_id: [u8; 16],
        challenge: Sha256Digest,
    ) -> Result<GeneratedWrap, Error> {
        self.backend.read_back_wrap(cka_id, challenge).await
    }

    /// See [`Backend::destroy_wrap`]; refuses a key that the approval does not name.
    pub async fn destroy_wrap(
        &self,
        approved: Arc<Approved<Destroy>>,
        key: &DestroyKey,
        handle: &WrapHandle,
    ) -> Result<(), Error> {
        if !approved.order().keys.contains(key) {
            return Err(Error::Settings(format!("key {} was not approved", key.kid)));
        }
        self.backend.destroy_wrap(approved, key, handle).await
    }

    /// See [`Backend::destroy`]; refuses a key that the approval does not name.
    pub async fn destroy(
        &self,
        approved: Arc<Approved<Destroy>>,
        key: &DestroyKey,
        spki: Vec<u8>,
    ) -> Result<(), Error> {
        if !approved.order().keys.contains(key) {
            return Err(Error::Settings(format!("key {} was not approved", key.kid)));
        }
        self.backend.destroy(approved, key, spki).await
    }

    /// See [`Backend::remove_public_half`].
    pub async fn remove_public_half(
        &self,
        token_serial: &str,
        cka_id: [u8; 16],
    ) -> Result<bool, Error> {
        self.backend.remove_public_half(token_serial, cka_id).await
    }

    /// See [`Backend::prove`].
    pub async fn prove(
        &self,
        key: &Handle,
        algorithm: Algorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.backend.prove(key, algorithm, message).await
    }

    /// See [`Backend::list`].
    pub async fn list(&self) -> Result<Vec<Found>, Error> {
        self.backend.list().await
    }
}
