//! A PKCS#11 token, by the worker processes of the `hsm` crate.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsm::{Administer as _, Sign as _, Warrant, Wrap as _};
use tokio::sync::oneshot;
use tracing::Span;
use trust::approval::wrap_challenge;
use trust::place::{Pkcs11Location, Pkcs11ReadBack, ReadBack};
use trust::{
    Algorithm, Approved, Destroy, DestroyKey, Generate, KeyPurpose, Location, Place, PublicKey,
    Sha256Digest, Template,
};

use super::backend::{Backend, Found, Generated, Pending, Status, WrapAbility};
use super::handle::{key_spec, scheme};
use super::wrap::{GeneratedWrap, WrapHandle, WrappedDek};
use super::wrapping::{self, Batch, DestroyWrapWarrant, GenerateWrapWarrant};
use super::{Dek, Error, Handle, Settings, WORKER_COMMAND};

/// Longest that an administrative call may take; RSA-4096 on a slow token takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The worker processes of one token.
#[derive(Clone)]
pub(super) struct Pkcs11 {
    supervisor: Arc<hsm::Supervisor>,
}

impl Pkcs11 {
    /// Uses keys; can neither make nor destroy one.
    pub(super) fn signer(settings: &Settings, program: &Path) -> Result<Self, Error> {
        Self::start(token_config(settings, program)?, hsm::Power::Use)
    }

    /// The same for a service.
    pub(super) fn service(settings: &Settings, program: &Path) -> Result<Self, Error> {
        let config = hsm::TokenConfig {
            retry_rejected: true,
            ..token_config(settings, program)?
        };
        Self::start(config, hsm::Power::Use)
    }

    /// Makes and destroys keys.
    pub(super) fn executor(settings: &Settings, program: &Path) -> Result<Self, Error> {
        let config = hsm::TokenConfig {
            processes: Some(1),
            ..token_config(settings, program)?
        };
        Self::start(config, hsm::Power::Administer)
    }

    fn start(config: hsm::TokenConfig, power: hsm::Power) -> Result<Self, Error> {
        let supervisor = hsm::Supervisor::start(config, power).map_err(Error::Token)?;
        Ok(Self {
            supervisor: Arc::new(supervisor),
        })
    }

    /// On a blocking thread, which goes on when the caller has gone away.
    fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&hsm::Supervisor) -> Result<T, hsm::Error> + Send + 'static,
    ) -> Pending<Result<T, Error>> {
        let supervisor = self.supervisor.clone();
        let task = tokio::task::spawn_blocking(move || act(&supervisor));
        let deadline = Instant::now() + PATIENCE;
        Box::pin(async move {
            match tokio::time::timeout_at(deadline.into(), task).await {
                Ok(Ok(outcome)) => outcome.map_err(Error::Token),
                Ok(Err(_)) => Err(Error::Stopped),
                Err(_) => Err(Error::Token(hsm::Error::DeadlineExceeded)),
            }
        })
    }
}

impl Backend for Pkcs11 {
    fn sign_all(
        &self,
        key: &Handle,
        inputs: Vec<Vec<u8>>,
        deadline: Instant,
    ) -> Pending<Vec<Result<Vec<u8>, Error>>> {
        let (span, began) = (Span::current(), Instant::now());
        let mut outcomes = Vec::with_capacity(inputs.len());
        let mut left_queue = Vec::new();
        let requests = inputs
            .into_iter()
            .map(|input| {
                let (done, outcome) = oneshot::channel();
                outcomes.push(outcome);
                let given: Option<hsm::Given> = (!span.is_disabled()).then(Arc::default);
                left_queue.extend(given.clone());
                hsm::SignRequest {
                    key: key.reference.clone(),
                    input,
                    deadline,
                    reply: reply(done),
                    given,
                }
            })
            .collect();
        self.supervisor.submit_all(requests);
        Box::pin(async move {
            let mut results = Vec::with_capacity(outcomes.len());
            for outcome in outcomes {
                results.push(outcome.await.unwrap_or(Err(Error::Stopped)));
            }
            // The rest of the span's time is the token's.
            if let Some(last) = left_queue.iter().filter_map(|given| given.get()).max() {
                let waited = last.saturating_duration_since(began);
                span.record("chancery.queue_ms", waited.as_secs_f64() * 1e3);
            }
            results
        })
    }

    fn wrap_all(
        &self,
        key: &WrapHandle,
        deks: Vec<Dek>,
        deadline: Instant,
    ) -> Pending<Vec<Result<WrappedDek, Error>>> {
        let key = key.reference.clone();
        let work = hsm::WrapWork::Wrap { key, deks };
        Batch::submit(&self.supervisor, work, deadline).wrapped()
    }

    fn unwrap_all(
        &self,
        key: &WrapHandle,
        blobs: Vec<WrappedDek>,
        deadline: Instant,
    ) -> Pending<Vec<Result<Dek, Error>>> {
        let key = key.reference.clone();
        let work = hsm::WrapWork::Unwrap { key, blobs };
        Batch::submit(&self.supervisor, work, deadline).opened()
    }

    fn rewrap_all(
        &self,
        from: &WrapHandle,
        to: &WrapHandle,
        blobs: Vec<WrappedDek>,
        deadline: Instant,
    ) -> Pending<Vec<Result<WrappedDek, Error>>> {
        let (from, to) = (from.reference.clone(), to.reference.clone());
        let work = hsm::WrapWork::Rewrap { from, to, blobs };
        Batch::submit(&self.supervisor, work, deadline).wrapped()
    }

    fn check_wrap(&self, key: &WrapHandle, deadline: Instant) -> Pending<Result<(), Error>> {
        let key = key.reference.clone();
        self.call(move |hsm| hsm.check_wrap(&key, deadline))
    }

    fn status(&self) -> Status {
        let health = self.supervisor.health();
        let c = health.counters;
        Status {
            ready: health.state.is_ready(),
            state: match health.state {
                hsm::State::Starting => "starting",
                hsm::State::Ready => "ready",
                hsm::State::Recovering => "recovering",
                hsm::State::CircuitOpen { .. } => "circuit-open",
                hsm::State::Stopped { .. } => "stopped",
            },
            serial: health.token.as_ref().map(|t| t.serial.clone()),
            label: health.token.as_ref().map(|t| t.label.clone()),
            profile: health.token.as_ref().map(|t| t.profile.clone()),
            wrap: match health.wrap {
                None => WrapAbility::Unknown,
                Some(Ok(())) => WrapAbility::AesKw,
                Some(Err(reason)) => WrapAbility::Unable(reason),
            },
            queued: health.queued,
            processes: health.processes.len(),
            generation: health
                .processes
                .iter()
                .map(|p| p.generation)
                .max()
                .unwrap_or(0),
            last_error: health.last_error.map(|e| e.to_string()),
            counters: vec![
                ("signatures", c.signatures),
                ("failures", c.failures),
                ("overloaded", c.overloaded),
                ("deadline_exceeded", c.deadline_exceeded),
                ("resubmitted", c.resubmitted),
                ("sessions_reopened", c.sessions_reopened),
                ("logins", c.logins),
                ("reinitialised", c.reinitialised),
                ("processes_started", c.processes_started),
                ("processes_killed", c.processes_killed),
                ("circuit_opened", c.circuit_opened),
                ("mismatches", c.mismatches),
                ("wraps", c.wraps),
                ("unwraps", c.unwraps),
                ("rewraps", c.rewraps),
                ("integrity_failures", c.integrity_failures),
                ("probes", c.probes),
                ("probes_failed", c.probes_failed),
            ],
        }
    }

    fn identity(&self) -> Pending<Result<(String, String), Error>> {
        self.call(|hsm| hsm.token().map(|token| (token.serial, token.label)))
    }

    fn generate(&self, approved: Approved<Generate>) -> Pending<Result<Generated, Error>> {
        let order = approved.order();
        let (Place::Pkcs11(place), Some((algorithm, spec))) =
            (&order.place, order.purpose.signing())
        else {
            return ready(Err(Error::Unsupported(
                "only signing keys on PKCS#11 tokens can be generated",
            )));
        };
        let warrant = GenerateWarrant {
            order: hsm::GenerateOrder {
                token_serial: place.token_serial.clone(),
                token_label: place.token_label.clone(),
                cka_id: hsm::CkaId(place.cka_id.0),
                label: place.label.clone(),
                spec: key_spec(spec),
                scheme: scheme(algorithm),
                template: private_template(&place.template),
            },
            _approved: approved,
        };
        let generated = self.call(move |hsm| hsm.generate(warrant));
        Box::pin(async move { told(generated.await?) })
    }

    fn read_back(&self, cka_id: [u8; 16]) -> Pending<Result<Generated, Error>> {
        let generated = self.call(move |hsm| hsm.read_back(hsm::CkaId(cka_id)));
        Box::pin(async move { told(generated.await?) })
    }

    fn generate_wrap(&self, approved: Approved<Generate>) -> Pending<Result<GeneratedWrap, Error>> {
        let order = approved.order();
        let (Place::Pkcs11(place), KeyPurpose::Wrap { .. }) = (&order.place, &order.purpose) else {
            return ready(Err(Error::Unsupported(
                "only wrapping keys on PKCS#11 tokens can be generated here",
            )));
        };
        let challenge = match wrap_challenge(approved.request(), order) {
            Ok(challenge) => challenge,
            Err(error) => return ready(Err(Error::Settings(error.to_string()))),
        };
        let warrant = GenerateWrapWarrant {
            order: hsm::GenerateWrapOrder {
                token_serial: place.token_serial.clone(),
                token_label: place.token_label.clone(),
                cka_id: hsm::CkaId(place.cka_id.0),
                label: place.label.clone(),
                template: wrapping::template(&place.template),
                challenge: *challenge.as_bytes(),
            },
            _approved: approved,
        };
        let generated = self.call(move |hsm| hsm.generate_wrap(warrant));
        Box::pin(async move { Ok(wrapping::told(generated.await?, challenge)) })
    }

    fn read_back_wrap(
        &self,
        cka_id: [u8; 16],
        challenge: Sha256Digest,
    ) -> Pending<Result<GeneratedWrap, Error>> {
        let bytes = *challenge.as_bytes();
        let generated = self.call(move |hsm| hsm.read_back_wrap(hsm::CkaId(cka_id), bytes));
        Box::pin(async move { Ok(wrapping::told(generated.await?, challenge)) })
    }

    fn destroy_wrap(
        &self,
        approved: Arc<Approved<Destroy>>,
        key: &DestroyKey,
        handle: &WrapHandle,
    ) -> Pending<Result<(), Error>> {
        let [Location::Pkcs11(at)] = key.locations.as_slice() else {
            return ready(Err(Error::Unsupported(
                "only keys with a single location, on a PKCS#11 token, can be destroyed",
            )));
        };
        if at.cka_id.0 != handle.cka_id() {
            let other = format!("key {} was not approved at this CKA_ID", key.kid);
            return ready(Err(Error::Settings(other)));
        }
        let warrant = DestroyWrapWarrant {
            order: hsm::DestroyWrapOrder {
                token_serial: at.token_serial.clone(),
                token_label: at.token_label.clone(),
                key: hsm::WrapRef::clone(&handle.reference),
            },
            _approved: approved,
        };
        self.call(move |hsm| hsm.destroy_wrap(warrant))
    }

    fn destroy(
        &self,
        approved: Arc<Approved<Destroy>>,
        key: &DestroyKey,
        spki: Vec<u8>,
    ) -> Pending<Result<(), Error>> {
        let [Location::Pkcs11(at)] = key.locations.as_slice() else {
            return ready(Err(Error::Unsupported(
                "only keys with a single location, on a PKCS#11 token, can be destroyed",
            )));
        };
        let warrant = DestroyWarrant {
            order: hsm::DestroyOrder {
                token_serial: at.token_serial.clone(),
                token_label: at.token_label.clone(),
                cka_id: hsm::CkaId(at.cka_id.0),
                spki,
            },
            _approved: approved,
        };
        self.call(move |hsm| hsm.destroy(warrant))
    }

    fn remove_public_half(
        &self,
        token_serial: &str,
        cka_id: [u8; 16],
    ) -> Pending<Result<bool, Error>> {
        let serial = token_serial.to_owned();
        let removed = self.call(move |hsm| hsm.remove_public_half(&serial, hsm::CkaId(cka_id)));
        Box::pin(async move {
            match removed.await {
                Ok(()) => Ok(true),
                Err(Error::Token(hsm::Error::NotOffered { .. } | hsm::Error::Ambiguous { .. })) => {
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        })
    }

    fn prove(
        &self,
        key: &Handle,
        algorithm: Algorithm,
        message: &[u8],
    ) -> Pending<Result<Vec<u8>, Error>> {
        let key = key.reference.clone();
        let input = algorithm
            .hash()
            .map_or_else(|| message.to_vec(), |hash| hash.digest(message));
        self.call(move |hsm| hsm.prove(&key, &input).map(hsm::Signature::into_bytes))
    }

    fn list(&self) -> Pending<Result<Vec<Found>, Error>> {
        self.call(|hsm| hsm.list().map(group))
    }
}

fn ready<T: Send + 'static>(value: T) -> Pending<T> {
    Box::pin(std::future::ready(value))
}

/// The configuration's token as the `hsm` crate wants it.
fn token_config(section: &Settings, program: &std::path::Path) -> Result<hsm::TokenConfig, Error> {
    let uri = section
        .uri
        .parse::<hsm::Pkcs11Uri>()
        .map_err(|e| Error::Settings(e.to_string()))?;
    let mut token = hsm::TokenConfig::new(uri, program.to_owned());
    token.profile = section.profile.clone();
    token.processes = section.processes;
    token.sessions = section.sessions;
    token.queue_limit = section.queue_limit;
    token.env = section
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    token.worker_args = vec![WORKER_COMMAND.to_owned()];
    Ok(token)
}

type Outcome = Result<Vec<u8>, Error>;

fn reply(done: oneshot::Sender<Outcome>) -> hsm::Reply {
    Box::new(move |outcome| {
        let outcome = outcome
            .map(hsm::Signature::into_bytes)
            .map_err(Error::Token);
        // A caller that is gone does not mind.
        let _ = done.send(outcome);
    })
}

struct GenerateWarrant {
    order: hsm::GenerateOrder,
    _approved: Approved<Generate>,
}

impl Warrant<hsm::GenerateOrder> for GenerateWarrant {
    fn order(&self) -> &hsm::GenerateOrder {
        &self.order
    }
}

struct DestroyWarrant {
    order: hsm::DestroyOrder,
    /// One approval may cover several keys; each warrant is for one of them.
    _approved: Arc<Approved<Destroy>>,
}

impl Warrant<hsm::DestroyOrder> for DestroyWarrant {
    fn order(&self) -> &hsm::DestroyOrder {
        &self.order
    }
}

fn group(objects: Vec<hsm::ObjectInfo>) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    for object in objects {
        let place = all.iter().position(|found| found.cka_id == object.cka_id);
        let place = place.unwrap_or_else(|| {
            all.push(Found {
                cka_id: object.cka_id.clone(),
                label: object.label.clone(),
                private_keys: 0,
                public_keys: 0,
                secret_keys: 0,
            });
            all.len() - 1
        });
        match object.class {
            hsm::ObjectClass::PrivateKey => all[place].private_keys += 1,
            hsm::ObjectClass::PublicKey => all[place].public_keys += 1,
            hsm::ObjectClass::SecretKey => all[place].secret_keys += 1,
        }
    }
    all
}

fn told(generated: hsm::Generated) -> Result<Generated, Error> {
    let public = PublicKey::from_spki_der(&generated.spki)
        .map_err(|e| Error::Settings(format!("the token's public key cannot be read: {e}")))?;
    let told = &generated.attributes;
    // What the token does not tell is written down as the unsafe value: a missing answer must
    // not pass for a good one.
    let template = Template {
        token: told.token.unwrap_or(false),
        private: told.private.unwrap_or(false),
        sensitive: told.sensitive.unwrap_or(false),
        extractable: told.extractable.unwrap_or(true),
        modifiable: told.modifiable.unwrap_or(true),
        sign: told.sign.unwrap_or(false),
        decrypt: told.decrypt.unwrap_or(true),
        unwrap: told.unwrap.unwrap_or(true),
        derive: told.derive.unwrap_or(true),
        // They do not apply to a private half.
        encrypt: None,
        wrap: None,
    };
    let location = Location::Pkcs11(Pkcs11Location {
        cka_id: trust::request::CkaId(generated.cka_id.0),
        label: generated.label,
        token_label: generated.token.label,
        token_serial: generated.token.serial,
    });
    let read_back = ReadBack::Pkcs11(Pkcs11ReadBack {
        always_sensitive: told.always_sensitive,
        key_spec: public.spec().to_string(),
        local: told.local,
        never_extractable: told.never_extractable,
        template,
    });
    Ok(Generated {
        public,
        spki: generated.spki,
        location,
        read_back,
        attestation: generated.attestation,
    })
}

fn private_template(template: &Template) -> hsm::PrivateTemplate {
    hsm::PrivateTemplate {
        token: template.token,
        private: template.private,
        sensitive: template.sensitive,
        extractable: template.extractable,
        modifiable: template.modifiable,
        sign: template.sign,
        decrypt: template.decrypt,
        unwrap: template.unwrap,
        derive: template.derive,
    }
}
