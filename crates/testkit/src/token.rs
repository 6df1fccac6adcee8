//! A token in memory: real keys and real signatures, and the faults of a device when a test asks for them.

mod wrapping;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use token::{
    Backend, Dek, Error, Executor, Found, Generated, GeneratedWrap, Handle, Pending, Pool, Status,
    WrapAbility, WrapHandle, WrappedDek,
};
use tokio::sync::watch;
use trust::approval::wrap_challenge;
use trust::place::{Pkcs11Location, Pkcs11ReadBack, ReadBack};
use trust::request::CkaId;
use trust::{
    Algorithm, Approved, Destroy, DestroyKey, Generate, KeyPurpose, KeySpec, Location, Place,
    PublicKey, Sha256Digest, Template,
};
use wrapping::Secret;

/// When an act that is to fail does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happened.
    Before,
    /// It happened, and the answer was lost.
    After,
}

/// Clones are one token.
#[derive(Clone)]
pub struct SoftwareToken {
    inner: Arc<Inner>,
}

struct Inner {
    serial: String,
    label: String,
    state: Mutex<State>,
    /// Signatures wait while this is closed.
    open: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<[u8; 16], Object>,
    secrets: BTreeMap<[u8; 16], Secret>,
    signatures: u64,
    wraps: u64,
    wrapping_fails: Option<Error>,
    signing_fails: Option<Error>,
    generation_fails: Option<Fault>,
    destruction_fails: Option<Fault>,
}

/// What is under one `CKA_ID`.
struct Object {
    label: String,
    spki: Vec<u8>,
    private: Option<Arc<Private>>,
}

enum Private {
    Ecdsa(EcdsaKeyPair, &'static digest::Algorithm),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl SoftwareToken {
    pub fn new(serial: &str, label: &str) -> Self {
        let (open, _) = watch::channel(true);
        Self {
            inner: Arc::new(Inner {
                serial: serial.to_owned(),
                label: label.to_owned(),
                state: Mutex::default(),
                open,
            }),
        }
    }

    pub fn pool(&self) -> Pool {
        Pool::over(Arc::new(self.clone()))
    }

    pub fn executor(&self) -> Executor {
        Executor::over(Arc::new(self.clone()))
    }

    /// Makes a pair without a ceremony, and returns its public key (DER).
    pub fn make(&self, cka_id: [u8; 16], label: &str, spec: KeySpec) -> Vec<u8> {
        let (private, spki) = Private::generate(spec);
        let object = Object {
            label: label.to_owned(),
            spki: spki.clone(),
            private: Some(Arc::new(private)),
        };
        self.state().objects.insert(cka_id, object);
        spki
    }

    /// Every signature fails so, until [`SoftwareToken::heal`].
    pub fn fail_signing(&self, error: Error) {
        self.state().signing_fails = Some(error);
    }

    /// The next generation fails.
    pub fn fail_generation(&self, fault: Fault) {
        self.state().generation_fails = Some(fault);
    }

    /// The next destruction fails.
    pub fn fail_destruction(&self, fault: Fault) {
        self.state().destruction_fails = Some(fault);
    }

    pub fn heal(&self) {
        let mut state = self.state();
        state.signing_fails = None;
        state.wrapping_fails = None;
        state.generation_fails = None;
        state.destruction_fails = None;
    }

    /// Signatures wait until [`SoftwareToken::release`].
    pub fn hold(&self) {
        self.inner.open.send_replace(false);
    }

    pub fn release(&self) {
        self.inner.open.send_replace(true);
    }

    /// Requests for signatures that wait, or are being answered.
    pub fn waiting(&self) -> usize {
        self.inner.open.receiver_count()
    }

    /// What a generation leaves that is killed in the middle.
    pub fn lose_private_half(&self, cka_id: [u8; 16]) {
        if let Some(object) = self.state().objects.get_mut(&cka_id) {
            object.private = None;
        }
    }

    /// What a person removes with the vendor's tool.
    pub fn remove(&self, cka_id: [u8; 16]) {
        let mut state = self.state();
        state.objects.remove(&cka_id);
        state.secrets.remove(&cka_id);
    }

    /// Signatures that were made.
    pub fn signatures(&self) -> u64 {
        self.state().signatures
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.inner.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn is_taken(&self, cka_id: [u8; 16]) -> bool {
        let state = self.state();
        state.objects.contains_key(&cka_id) || state.secrets.contains_key(&cka_id)
    }

    fn sign(&self, key: &Handle, input: &[u8]) -> Result<Vec<u8>, Error> {
        let mut state = self.state();
        if let Some(error) = &state.signing_fails {
            return Err(error.clone());
        }
        let object = state.objects.get(&key.cka_id());
        let object = object.filter(|object| object.spki == key.spki());
        let private = object.and_then(|object| object.private.clone());
        let private = private.ok_or(Error::Unsupported("the token has no such private key"))?;
        state.signatures += 1;
        Ok(private.sign(key.algorithm(), input))
    }

    fn generated(&self, cka_id: [u8; 16]) -> Result<Generated, Error> {
        let state = self.state();
        let object = state.objects.get(&cka_id);
        let object = object.filter(|object| object.private.is_some());
        let object = object.ok_or(Error::Unsupported("the token has no such pair"))?;
        let public = PublicKey::from_spki_der(&object.spki).unwrap();
        Ok(Generated {
            location: Location::Pkcs11(Pkcs11Location {
                cka_id: CkaId(cka_id),
                label: object.label.clone(),
                token_label: self.inner.label.clone(),
                token_serial: self.inner.serial.clone(),
            }),
            read_back: ReadBack::Pkcs11(Pkcs11ReadBack {
                always_sensitive: Some(true),
                key_spec: public.spec().to_string(),
                local: Some(true),
                never_extractable: Some(true),
                template: Template::signing_key(),
            }),
            spki: object.spki.clone(),
            attestation: None,
            public,
        })
    }
}

impl Backend for SoftwareToken {
    fn sign_all(
        &self,
        key: &Handle,
        inputs: Vec<Vec<u8>>,
        _deadline: Instant,
    ) -> Pending<Vec<Result<Vec<u8>, Error>>> {
        let (token, key) = (self.clone(), key.clone());
        let mut open = self.inner.open.subscribe();
        Box::pin(async move {
            let _ = open.wait_for(|open| *open).await;
            inputs.iter().map(|input| token.sign(&key, input)).collect()
        })
    }

    fn wrap_all(
        &self,
        key: &WrapHandle,
        deks: Vec<Dek>,
        _deadline: Instant,
    ) -> Pending<Vec<Result<WrappedDek, Error>>> {
        let (token, key) = (self.clone(), key.clone());
        let mut open = self.inner.open.subscribe();
        Box::pin(async move {
            let _ = open.wait_for(|open| *open).await;
            let wrap = |dek: &Dek| token.with_secrets([&key], |[key]| Ok(key.wrap(dek.as_bytes())));
            deks.iter().map(wrap).collect()
        })
    }

    fn unwrap_all(
        &self,
        key: &WrapHandle,
        blobs: Vec<WrappedDek>,
        _deadline: Instant,
    ) -> Pending<Vec<Result<Dek, Error>>> {
        let (token, key) = (self.clone(), key.clone());
        let mut open = self.inner.open.subscribe();
        Box::pin(async move {
            let _ = open.wait_for(|open| *open).await;
            blobs.iter().map(|blob| token.open(&key, blob)).collect()
        })
    }

    fn rewrap_all(
        &self,
        from: &WrapHandle,
        to: &WrapHandle,
        blobs: Vec<WrappedDek>,
        _deadline: Instant,
    ) -> Pending<Vec<Result<WrappedDek, Error>>> {
        let (token, from, to) = (self.clone(), from.clone(), to.clone());
        let mut open = self.inner.open.subscribe();
        Box::pin(async move {
            let _ = open.wait_for(|open| *open).await;
            let rewrap = |blob| token.rewrap(&from, &to, blob);
            blobs.iter().map(rewrap).collect()
        })
    }

    fn check_wrap(&self, key: &WrapHandle, _deadline: Instant) -> Pending<Result<(), Error>> {
        ready(self.with_secrets([key], |_| Ok(())))
    }

    fn status(&self) -> Status {
        let state = self.state();
        let ready = state.signing_fails.is_none();
        Status {
            ready,
            state: if ready { "ready" } else { "recovering" },
            serial: Some(self.inner.serial.clone()),
            label: Some(self.inner.label.clone()),
            profile: Some("software".to_owned()),
            wrap: WrapAbility::AesKw,
            queued: 0,
            processes: 1,
            generation: 1,
            last_error: state.signing_fails.as_ref().map(ToString::to_string),
            counters: vec![("signatures", state.signatures)],
        }
    }

    fn identity(&self) -> Pending<Result<(String, String), Error>> {
        ready(Ok((self.inner.serial.clone(), self.inner.label.clone())))
    }

    fn generate(&self, approved: Approved<Generate>) -> Pending<Result<Generated, Error>> {
        let order = approved.order();
        let (Place::Pkcs11(place), Some((_, spec))) = (&order.place, order.purpose.signing())
        else {
            return ready(Err(Error::Unsupported("only signing keys are generated")));
        };
        let fault = self.state().generation_fails.take();
        if fault == Some(Fault::Before) {
            return ready(Err(Error::Stopped));
        }
        if self.is_taken(place.cka_id.0) {
            return ready(Err(Error::Settings("the CKA_ID is taken".to_owned())));
        }
        self.make(place.cka_id.0, &place.label, spec);
        ready(match fault {
            Some(_) => Err(Error::Stopped),
            None => self.generated(place.cka_id.0),
        })
    }

    fn read_back(&self, cka_id: [u8; 16]) -> Pending<Result<Generated, Error>> {
        ready(self.generated(cka_id))
    }

    fn generate_wrap(&self, approved: Approved<Generate>) -> Pending<Result<GeneratedWrap, Error>> {
        let order = approved.order();
        let (Place::Pkcs11(place), KeyPurpose::Wrap { .. }) = (&order.place, &order.purpose) else {
            return ready(Err(Error::Unsupported("only wrapping keys are generated")));
        };
        let challenge = wrap_challenge(approved.request(), order).unwrap();
        let fault = self.state().generation_fails.take();
        if fault == Some(Fault::Before) {
            return ready(Err(Error::Stopped));
        }
        if self.is_taken(place.cka_id.0) {
            return ready(Err(Error::Settings("the CKA_ID is taken".to_owned())));
        }
        self.make_wrap(place.cka_id.0, &place.label, challenge);
        ready(match fault {
            Some(_) => Err(Error::Stopped),
            None => self.generated_wrap(place.cka_id.0, challenge),
        })
    }

    fn read_back_wrap(
        &self,
        cka_id: [u8; 16],
        challenge: Sha256Digest,
    ) -> Pending<Result<GeneratedWrap, Error>> {
        ready(self.generated_wrap(cka_id, challenge))
    }

    fn destroy_wrap(
        &self,
        _approved: Arc<Approved<Destroy>>,
        _key: &DestroyKey,
        handle: &WrapHandle,
    ) -> Pending<Result<(), Error>> {
        let fault = self.state().destruction_fails.take();
        if fault == Some(Fault::Before) {
            return ready(Err(Error::Stopped));
        }
        if let Err(error) = self.with_secrets([handle], |_| Ok(())) {
            return ready(Err(error));
        }
        self.state().secrets.remove(&handle.cka_id());
        ready(match fault {
            Some(_) => Err(Error::Stopped),
            None => Ok(()),
        })
    }

    fn destroy(
        &self,
        _approved: Arc<Approved<Destroy>>,
        key: &DestroyKey,
        spki: Vec<u8>,
    ) -> Pending<Result<(), Error>> {
        let [Location::Pkcs11(at)] = key.locations.as_slice() else {
            return ready(Err(Error::Unsupported("only keys at one location")));
        };
        let mut state = self.state();
        let fault = state.destruction_fails.take();
        if fault == Some(Fault::Before) {
            return ready(Err(Error::Stopped));
        }
        let object = state.objects.get(&at.cka_id.0);
        if object.is_none_or(|object| object.spki != spki) {
            return ready(Err(Error::Unsupported("the token has no such key")));
        }
        state.objects.remove(&at.cka_id.0);
        ready(match fault {
            Some(_) => Err(Error::Stopped),
            None => Ok(()),
        })
    }

    fn remove_public_half(
        &self,
        _token_serial: &str,
        cka_id: [u8; 16],
    ) -> Pending<Result<bool, Error>> {
        let mut state = self.state();
        let object = state.objects.get(&cka_id);
        let alone = object.is_some_and(|object| object.private.is_none());
        if alone {
            state.objects.remove(&cka_id);
        }
        ready(Ok(alone))
    }

    fn prove(
        &self,
        key: &Handle,
        algorithm: Algorithm,
        message: &[u8],
    ) -> Pending<Result<Vec<u8>, Error>> {
        let input = algorithm
            .hash()
            .map_or_else(|| message.to_vec(), |hash| hash.digest(message));
        ready(self.sign(key, &input))
    }

    fn list(&self) -> Pending<Result<Vec<Found>, Error>> {
        let state = self.state();
        let found = state.objects.iter().map(|(cka_id, object)| Found {
            cka_id: cka_id.to_vec(),
            label: object.label.clone(),
            private_keys: object.private.iter().count(),
            public_keys: 1,
            secret_keys: 0,
        });
        let secrets = state.secrets.iter().map(|(cka_id, secret)| Found {
            cka_id: cka_id.to_vec(),
            label: secret.label.clone(),
            private_keys: 0,
            public_keys: 0,
            secret_keys: 1,
        });
        ready(Ok(found.chain(secrets).collect()))
    }
}

impl Private {
    fn generate(spec: KeySpec) -> (Self, Vec<u8>) {
        let rsa = |size| {
            let pair = RsaKeyPair::generate(size).unwrap();
            let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            let spki = spki.as_ref().to_vec();
            (Self::Rsa(pair), spki)
        };
        let ecdsa = |scheme, hash| {
            let pair = EcdsaKeyPair::generate(scheme).unwrap();
            let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            let spki = spki.as_ref().to_vec();
            (Self::Ecdsa(pair, hash), spki)
        };
        match spec {
            KeySpec::P256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &digest::SHA256),
            KeySpec::P384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, &digest::SHA384),
            KeySpec::Ed25519 => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                let spki = spki.as_ref().to_vec();
                (Self::Ed25519(pair), spki)
            }
            KeySpec::Rsa2048 => rsa(KeySize::Rsa2048),
            KeySpec::Rsa3072 => rsa(KeySize::Rsa3072),
            KeySpec::Rsa4096 => rsa(KeySize::Rsa4096),
        }
    }

    fn sign(&self, algorithm: Algorithm, input: &[u8]) -> Vec<u8> {
        match self {
            Self::Ecdsa(pair, hash) => {
                let digest = Digest::import_less_safe(input, hash).unwrap();
                pair.sign_digest(&digest).unwrap().as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(input).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let digest = Digest::import_less_safe(input, &digest::SHA256).unwrap();
                let padding: &dyn signature::RsaEncoding = match algorithm {
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign_digest(padding, &digest, &mut signed).unwrap();
                signed
            }
        }
    }
}

fn ready<T: Send + 'static>(value: T) -> Pending<T> {
    Box::pin(std::future::ready(value))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trust::Verifier;

    use super::*;

    #[tokio::test]
    async fn its_signatures_verify_and_its_faults_are_those_that_were_asked_for() {
        for (spec, algorithm) in [
            (KeySpec::P256, Algorithm::Es256),
            (KeySpec::P384, Algorithm::Es384),
            (KeySpec::Ed25519, Algorithm::Ed25519),
            (KeySpec::Rsa2048, Algorithm::Rs256),
            (KeySpec::Rsa2048, Algorithm::Ps256),
        ] {
            let token = SoftwareToken::new("1", "test");
            let spki = token.make([1; 16], "one", spec);
            let key = Handle::new([1; 16], spki.clone(), algorithm);
            let public = PublicKey::from_spki_der(&spki).unwrap();
            let verifier = Verifier::new(&public, algorithm).unwrap();
            let signature = token.executor().prove(&key, algorithm, b"message").await;
            verifier
                .verify_message(b"message", &signature.unwrap())
                .unwrap();
            token.fail_signing(Error::Stopped);
            let soon = Instant::now() + Duration::from_secs(9);
            let failed = token.pool().sign_all(&key, vec![vec![0; 32]], soon).await;
            assert!(matches!(failed[..], [Err(Error::Stopped)]));
            token.heal();
            token.lose_private_half([1; 16]);
            assert!(
                token
                    .executor()
                    .prove(&key, algorithm, b"message")
                    .await
                    .is_err()
            );
            assert_eq!(token.signatures(), 1);
        }
    }
}
