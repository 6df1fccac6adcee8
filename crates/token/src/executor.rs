//! The executor's power: keys are made and destroyed, each by a quorum's proof that is used up.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsm::{Administer as _, Warrant};
use trust::place::{Pkcs11Location, Pkcs11ReadBack, ReadBack};
use trust::{
    Algorithm, Approved, Destroy, DestroyKey, Generate, Location, Place, PublicKey, Template,
};

use super::handle::{key_spec, scheme};
use super::{Error, Handle, Settings, token_config};

/// Longest that an administrative call may take; RSA-4096 on a slow token takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A way to the token that may create and destroy. Calls run on blocking threads.
#[derive(Clone)]
pub struct Executor {
    supervisor: Arc<hsm::Supervisor>,
}

/// A newborn key, as the token tells of it.
#[derive(Debug, Clone)]
pub struct Generated {
    pub public: PublicKey,
    pub spki: Vec<u8>,
    pub location: Location,
    pub read_back: ReadBack,
    pub attestation: Option<Vec<u8>>,
}

/// Key objects on the token under one `CKA_ID`, for reconciliation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub cka_id: Vec<u8>,
    pub label: String,
    pub private_keys: usize,
    pub public_keys: usize,
}

impl Found {
    /// One private and one public key: a birth that was finished.
    pub fn is_complete(&self) -> bool {
        (self.private_keys, self.public_keys) == (1, 1)
    }
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

impl Executor {
    pub fn start(section: &Settings, program: &Path) -> Result<Self, Error> {
        let config = hsm::TokenConfig {
            processes: Some(1),
            ..token_config(section, program)?
        };
        let supervisor =
            hsm::Supervisor::start(config, hsm::Power::Administer).map_err(Error::Token)?;
        Ok(Self {
            supervisor: Arc::new(supervisor),
        })
    }

    /// Which token this is: serial and label, as requests name them.
    pub async fn identity(&self) -> Result<(String, String), Error> {
        let token = self.call(|hsm| hsm.token()).await?;
        Ok((token.serial, token.label))
    }

    /// Generates the pair that was approved, exactly so. After an unknown outcome it is not
    /// repeated: [`Executor::list`] says what is there.
    pub async fn generate(&self, approved: Approved<Generate>) -> Result<Generated, Error> {
        let order = approved.order();
        let (Place::Pkcs11(place), Some((algorithm, spec))) =
            (&order.place, order.purpose.signing())
        else {
            return Err(Error::Unsupported(
                "only signing keys on PKCS#11 tokens can be generated",
            ));
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
        let generated = self.call(move |hsm| hsm.generate(warrant)).await?;
        born(generated)
    }

    /// What a complete pair says of itself: how an interrupted birth is adopted.
    pub async fn read_back(&self, cka_id: [u8; 16]) -> Result<Generated, Error> {
        let generated = self
            .call(move |hsm| hsm.read_back(hsm::CkaId(cka_id)))
            .await?;
        born(generated)
    }

    /// Destroys the private and public object of one of the keys that were approved; `spki` is the
    /// public key that has to be found there.
    pub async fn destroy(
        &self,
        approved: Arc<Approved<Destroy>>,
        key: &DestroyKey,
        spki: Vec<u8>,
    ) -> Result<(), Error> {
        let [Location::Pkcs11(at)] = key.locations.as_slice() else {
            return Err(Error::Unsupported(
                "only keys with a single location, on a PKCS#11 token, can be destroyed",
            ));
        };
        if !approved.order().keys.contains(key) {
            return Err(Error::Settings(format!("key {} was not approved", key.kid)));
        }
        let warrant = DestroyWarrant {
            order: hsm::DestroyOrder {
                token_serial: at.token_serial.clone(),
                token_label: at.token_label.clone(),
                cka_id: hsm::CkaId(at.cka_id.0),
                spki,
            },
            _approved: approved,
        };
        self.call(move |hsm| hsm.destroy(warrant)).await
    }

    /// A signature by a new key, over `message`, to show that its private half is on the token.
    pub async fn prove(
        &self,
        key: &Handle,
        algorithm: Algorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let key = key.0.clone();
        let input = algorithm
            .hash()
            .map_or_else(|| message.to_vec(), |hash| hash.digest(message));
        let signature = self.call(move |hsm| hsm.prove(&key, &input)).await?;
        Ok(signature.into_bytes())
    }

    /// Every key object on the token, by `CKA_ID`.
    pub async fn list(&self) -> Result<Vec<Found>, Error> {
        Ok(group(self.call(|hsm| hsm.list()).await?))
    }

    async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&hsm::Supervisor) -> Result<T, hsm::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let supervisor = self.supervisor.clone();
        let task = tokio::task::spawn_blocking(move || act(&supervisor));
        let deadline = Instant::now() + PATIENCE;
        match tokio::time::timeout_at(deadline.into(), task).await {
            Ok(Ok(outcome)) => outcome.map_err(Error::Token),
            Ok(Err(_)) => Err(Error::Stopped),
            Err(_) => Err(Error::Token(hsm::Error::DeadlineExceeded)),
        }
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
            });
            all.len() - 1
        });
        match object.class {
            hsm::ObjectClass::PrivateKey => all[place].private_keys += 1,
            hsm::ObjectClass::PublicKey => all[place].public_keys += 1,
        }
    }
    all
}

fn born(generated: hsm::Generated) -> Result<Generated, Error> {
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
