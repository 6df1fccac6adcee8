use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::backend::{Backend, Pending, Status};
use super::pkcs11::Pkcs11;
use super::{Dek, Error, Handle, Settings, WrapHandle, WrappedDek};

/// Signatures and wrapping by keys that exist; cheap to clone.
#[derive(Clone)]
pub struct Pool {
    backend: Arc<dyn Backend>,
}

impl Pool {
    /// Starts the worker processes. A token that is absent is not an error here: the service
    /// comes up without it, publishes and verifies, and signs when it appears.
    pub fn start(settings: &Settings, program: &Path) -> Result<Self, Error> {
        Ok(Self::over(Arc::new(Pkcs11::signer(settings, program)?)))
    }

    /// The same for a service: a PIN that the token rejected before is tried once more, in case that a person has set it
    /// back and restarts the service. A further restart does not try again until the PIN file changes.
    pub fn start_service(settings: &Settings, program: &Path) -> Result<Self, Error> {
        Ok(Self::over(Arc::new(Pkcs11::service(settings, program)?)))
    }

    /// Over another device.
    pub fn over(backend: Arc<dyn Backend>) -> Self {
        Self { backend }
    }

    /// Signatures by one key, each verified in software before it comes back and each with its own
    /// result, in order. If the caller goes away the work goes on, and its place in the queue is
    /// freed when it is done.
    pub fn sign_all(
        &self,
        key: &Handle,
        inputs: Vec<Vec<u8>>,
        deadline: Instant,
    ) -> Pending<Vec<Result<Vec<u8>, Error>>> {
        self.backend.sign_all(key, inputs, deadline)
    }

    /// See [`Backend::wrap_all`]. The data keys are erased when the token has them; a caller that goes away ends nothing.
    pub fn wrap_all(
        &self,
        key: &WrapHandle,
        deks: Vec<Dek>,
        deadline: Instant,
    ) -> Pending<Vec<Result<WrappedDek, Error>>> {
        self.backend.wrap_all(key, deks, deadline)
    }

    /// See [`Backend::unwrap_all`].
    pub fn unwrap_all(
        &self,
        key: &WrapHandle,
        blobs: Vec<WrappedDek>,
        deadline: Instant,
    ) -> Pending<Vec<Result<Dek, Error>>> {
        self.backend.unwrap_all(key, blobs, deadline)
    }

    /// See [`Backend::rewrap_all`]. Goes behind signatures, and takes a share of its own when there are many.
    pub fn rewrap_all(
        &self,
        from: &WrapHandle,
        to: &WrapHandle,
        blobs: Vec<WrappedDek>,
        deadline: Instant,
    ) -> Pending<Vec<Result<WrappedDek, Error>>> {
        self.backend.rewrap_all(from, to, blobs, deadline)
    }

    /// See [`Backend::check_wrap`].
    pub async fn check_wrap(&self, key: &WrapHandle, deadline: Instant) -> Result<(), Error> {
        self.backend.check_wrap(key, deadline).await
    }

    pub fn status(&self) -> Status {
        self.backend.status()
    }
}
