//! The executor's acts: keys are born, described and destroyed.

use cryptoki::error::{Error as Ck, RvError};
use cryptoki::object::Attribute;

use super::attributes;
use super::mechanism;
use super::module::Live;
use super::public_key;
use super::session_thread::{Fault, SessionThread};
use crate::api::{
    DestroyOrder, GenerateOrder, Generated, ObjectClass, ObjectInfo, PrivateTemplate,
};
use crate::ckr::{self, Rung};
use crate::config::Power;
use crate::error::{Act, Error, ObjectWord};
use crate::frame::{Answer, Call};
use crate::key::CkaId;

impl SessionThread<'_> {
    /// One call. What only looks climbs the recovery ladder like a signature; what changes objects does not.
    pub fn call(&mut self, call: Call) -> Result<Answer, Error> {
        match call {
            Call::Generate(order) => self
                .generate(&order)
                .map(|born| Answer::Generated(Box::new(born))),
            Call::Destroy(order) => self.destroy(&order).map(|()| Answer::Nothing),
            Call::GenerateWrap(order) => self
                .generate_wrap(&order)
                .map(|born| Answer::GeneratedWrap(Box::new(born))),
            Call::DestroyWrap(order) => self.destroy_wrap(&order).map(|()| Answer::Nothing),
            Call::ReadBackWrap(cka_id, challenge) => self
                .read_back_wrap(cka_id, &challenge)
                .map(|born| Answer::GeneratedWrap(Box::new(born))),
            Call::RemovePublicHalf(serial, cka_id) => self
                .remove_public_half(&serial, cka_id)
                .map(|()| Answer::Nothing),
            Call::Find(cka_id) => self.find(cka_id).map(Answer::Objects),
            Call::ReadBack(cka_id) => self
                .climb(None, |thread, live| thread.read_back(live, cka_id))
                .map(|born| Answer::Generated(Box::new(born))),
            Call::List => {
                let form = self.worker.module.ec_point();
                self.climb(None, |thread, live| {
                    Ok(attributes::list(thread.session(live)?, form)?)
                })
                .map(Answer::Objects)
            }
            Call::Token => self
                .climb(None, |_, live| Ok(live.identity.clone()))
                .map(Answer::Token),
        }
    }

    /// What is there under this id; the answer "nothing" is given only by a token that is surely there.
    pub fn find(&mut self, cka_id: CkaId) -> Result<Vec<ObjectInfo>, Error> {
        let form = self.worker.module.ec_point();
        self.climb(None, |thread, live| {
            let there = thread.worker.module.token_is_there(live);
            let session = thread.session(live)?;
            let mut found = Vec::new();
            for (class, handle) in attributes::find_all(session, cka_id)? {
                found.push(attributes::describe(session, class, handle, form)?);
            }
            // "No object" decides whether a key is generated; a token whose storage is gone says it too.
            if found.is_empty() && !there {
                return Err(Fault::Error(Error::TokenAbsent {
                    uri: live.identity.label.clone(),
                }));
            }
            Ok(found)
        })
    }

    fn generate(&mut self, order: &GenerateOrder) -> Result<Generated, Error> {
        if self.worker.power != Power::Administer {
            return Err(Error::Powerless);
        }
        check(order)?;
        // Recovers the session if need be; from here on nothing is repeated.
        let before = self.find(order.cka_id)?;
        if !before.is_empty() {
            return Err(Error::AlreadyExists {
                cka_id: order.cka_id,
                count: before.len(),
            });
        }
        let worker = self.worker;
        let hold = worker.module.change();
        let live = hold.live().ok_or(Error::WorkerLost)?;
        self.right_token(live, &order.token_serial, &order.token_label)?;
        self.offered(order)?;
        let (mechanism, of_the_kind) = mechanism::generation(order.spec);
        let session = self
            .session(live)
            .map_err(|error| ckr::error(&error, None))?;
        // If we die inside this call the pair may exist, whole or half: the intent with its CKA_ID was written by the
        // executor before, and reconciliation finds what is there by it.
        match session.generate_key_pair(
            &mechanism,
            &public_template(order, of_the_kind),
            &private_template(order),
        ) {
            Ok(_) => {}
            Err(error) => return Err(self.after_failure(live, order.cka_id, &error)),
        }
        // The pair exists. Whatever fails now must not look like a failed generation.
        self.read_back(live, order.cka_id)
            .map_err(|_| Error::OutcomeUnknown {
                act: Act::Generate,
                cka_id: order.cka_id,
            })
    }

    /// The library refused. Nothing was made only if it said so in a way that leaves no doubt, and nothing is there.
    pub fn after_failure(&mut self, live: &Live, cka_id: CkaId, error: &Ck) -> Error {
        let unknown = Error::OutcomeUnknown {
            act: Act::Generate,
            cka_id,
        };
        let Ck::Pkcs11(code, _) = error else {
            return ckr::error(error, None);
        };
        // A refusal that says "cannot" or "may not" is believed when nothing is there.
        let refused_before_acting = ckr::treatment(*code).first == Rung::Stop;
        let found = self
            .session(live)
            .and_then(|session| attributes::find_all(session, cka_id));
        let nothing = matches!(found, Ok(found) if found.is_empty());
        let local_failure = matches!(
            code,
            RvError::GeneralError | RvError::TemplateInconsistent | RvError::FunctionFailed
        );
        if nothing
            && (refused_before_acting || local_failure && self.worker.module.token_is_there(live))
        {
            return ckr::error(error, None);
        }
        unknown
    }

    /// Everything that the acceptance will be signed over, from the objects themselves.
    fn read_back(&mut self, live: &Live, cka_id: CkaId) -> Result<Generated, Fault> {
        let form = self.worker.module.ec_point();
        let attestation = None;
        let session = self.session(live)?;
        let single = |class, what| {
            let mut found = attributes::find(session, class, cka_id)?;
            match (found.len(), found.pop()) {
                (1, Some(only)) => Ok(only),
                (0, _) => Err(Fault::Error(Error::NotFound { cka_id, what })),
                (count, _) => Err(Fault::Error(Error::Ambiguous {
                    cka_id,
                    what,
                    count,
                })),
            }
        };
        let private = single(ObjectClass::PrivateKey, ObjectWord::PrivateKey)?;
        let public = single(ObjectClass::PublicKey, ObjectWord::PublicKey)?;
        let spki = public_key::read(session, public, form)?.ok_or(Error::BadKeyRef { cka_id })?;
        let described = attributes::describe(session, ObjectClass::PrivateKey, private, form)?;
        Ok(Generated {
            cka_id,
            label: described.label,
            spki,
            attributes: described.attributes.unwrap_or_default(),
            token: live.identity.clone(),
            attestation,
        })
    }

    fn destroy(&mut self, order: &DestroyOrder) -> Result<(), Error> {
        if self.worker.power != Power::Administer {
            return Err(Error::Powerless);
        }
        let found = self.find(order.cka_id)?;
        if found.is_empty() {
            return Err(Error::NotFound {
                cka_id: order.cka_id,
                what: ObjectWord::PrivateKey,
            });
        }
        let secrets = |object: &&ObjectInfo| object.class == ObjectClass::SecretKey;
        let count = found.iter().filter(secrets).count();
        if count > 0 {
            // No pair of ours shares its id with a secret key.
            return Err(Error::Ambiguous {
                cka_id: order.cka_id,
                what: ObjectWord::SecretKey,
                count,
            });
        }
        // A lone private key, left by an interrupted destruction, has nothing to compare; its CKA_ID was agreed.
        let others = found
            .iter()
            .filter_map(|object| object.spki.as_deref())
            .any(|spki| spki != order.spki);
        if others {
            return Err(Error::WrongKey {
                cka_id: order.cka_id,
            });
        }
        let worker = self.worker;
        let hold = worker.module.change();
        let live = hold.live().ok_or(Error::WorkerLost)?;
        self.right_token(live, &order.token_serial, &order.token_label)?;
        self.destroys()?;
        // From here on something may be gone.
        let unknown = |_| Error::OutcomeUnknown {
            act: Act::Destroy,
            cka_id: order.cka_id,
        };
        let session = self.session(live).map_err(unknown)?;
        // Private key first: if we die between the two, what is left cannot sign.
        for (_, handle) in attributes::find_pair(session, order.cka_id).map_err(unknown)? {
            session.destroy_object(handle).map_err(unknown)?;
        }
        match attributes::find_pair(session, order.cka_id).map_err(unknown)? {
            left if left.is_empty() => Ok(()),
            _ => Err(Error::OutcomeUnknown {
                act: Act::Destroy,
                cka_id: order.cka_id,
            }),
        }
    }

    fn remove_public_half(&mut self, serial: &str, cka_id: CkaId) -> Result<(), Error> {
        if self.worker.power != Power::Administer {
            return Err(Error::Powerless);
        }
        // Recovers the session if need be; what is there is looked at again when nobody else changes it.
        self.find(cka_id)?;
        let worker = self.worker;
        let hold = worker.module.change();
        let live = hold.live().ok_or(Error::WorkerLost)?;
        let label = live.identity.label.clone();
        self.right_token(live, serial, &label)?;
        self.destroys()?;
        let session = self
            .session(live)
            .map_err(|error| ckr::error(&error, None))?;
        let found =
            attributes::find_all(session, cka_id).map_err(|error| ckr::error(&error, None))?;
        match found.as_slice() {
            [] => Err(Error::NotFound {
                cka_id,
                what: ObjectWord::PublicKey,
            }),
            [(ObjectClass::PublicKey, handle)] => {
                session
                    .destroy_object(*handle)
                    .map_err(|_| Error::OutcomeUnknown {
                        act: Act::Destroy,
                        cka_id,
                    })
            }
            [(ObjectClass::PrivateKey | ObjectClass::SecretKey, _)] | [_, _, ..] => {
                Err(Error::Ambiguous {
                    cka_id,
                    what: ObjectWord::PublicKey,
                    count: found.len(),
                })
            }
        }
    }

    pub fn destroys(&self) -> Result<(), Error> {
        let profile = self.worker.module.profile().ok_or(Error::WorkerLost)?;
        if profile.destroy {
            return Ok(());
        }
        Err(Error::NotOffered {
            profile: profile.name.clone(),
            what: "destruction".to_owned(),
        })
    }

    /// The custodians agreed on one token; this must be it.
    pub fn right_token(&self, live: &Live, serial: &str, label: &str) -> Result<(), Error> {
        let found = &live.identity;
        for (wanted, found) in [(serial, &found.serial), (label, &found.label)] {
            if wanted != found {
                return Err(Error::OtherToken {
                    wanted: wanted.to_owned(),
                    found: found.clone(),
                });
            }
        }
        Ok(())
    }

    /// Refused before the token is asked, by what the profile knows; the token's own refusal would come too.
    fn offered(&self, order: &GenerateOrder) -> Result<(), Error> {
        let profile = self.worker.module.profile().ok_or(Error::WorkerLost)?;
        if profile.generates.contains(&order.spec) && profile.schemes.contains(&order.scheme) {
            return Ok(());
        }
        Err(Error::NotOffered {
            profile: profile.name.clone(),
            what: format!("{:?} for {:?}", order.spec, order.scheme),
        })
    }
}

/// What can be refused without the token.
fn check(order: &GenerateOrder) -> Result<(), Error> {
    if order.template != PrivateTemplate::SIGNING {
        return Err(Error::TemplateRefused);
    }
    check_label(&order.label)?;
    if !order.scheme.allows(order.spec) {
        return Err(Error::BadKeyRef {
            cka_id: order.cka_id,
        });
    }
    Ok(())
}

pub fn check_label(label: &str) -> Result<(), Error> {
    let printable = label.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if label.is_empty() || label.len() > 64 || !printable {
        return Err(Error::BadLabel {
            label: label.to_owned(),
        });
    }
    Ok(())
}

/// Explicit to the last attribute, since defaults differ: Luna makes keys modifiable, SoftHSM lets RSA keys decrypt.
fn private_template(order: &GenerateOrder) -> Vec<Attribute> {
    let template = &order.template;
    vec![
        // Lives on the token; a session object would die with the worker.
        Attribute::Token(template.token),
        // Invisible before login.
        Attribute::Private(template.private),
        // Its value can never be read in the clear,
        Attribute::Sensitive(template.sensitive),
        // nor leave wrapped under another key.
        Attribute::Extractable(template.extractable),
        // Nobody relaxes an attribute later.
        Attribute::Modifiable(template.modifiable),
        // All it is for.
        Attribute::Sign(template.sign),
        // A signing key that decrypts is an oracle, and a Bleichenbacher target for RSA.
        Attribute::Decrypt(template.decrypt),
        // With unwrap a known key could be brought in under ours,
        Attribute::Unwrap(template.unwrap),
        // and with derive an EC key becomes a key-agreement key.
        Attribute::Derive(template.derive),
        // Signatures with message recovery are raw RSA: the same oracle by another name.
        Attribute::SignRecover(false),
        // How it is found again, also after a crash: chosen before generation.
        Attribute::Id(order.cka_id.0.to_vec()),
        // For people; nothing is found by it.
        Attribute::Label(order.label.as_bytes().to_vec()),
    ]
}

/// The public object is for verification and for finding; nothing secret is in it.
fn public_template(order: &GenerateOrder, of_the_kind: Vec<Attribute>) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Token(true),
        // Readable without login: it is public.
        Attribute::Private(false),
        // kryoptic's default is false.
        Attribute::Verify(true),
        Attribute::Id(order.cka_id.0.to_vec()),
        Attribute::Label(order.label.as_bytes().to_vec()),
    ];
    template.extend(of_the_kind);
    template
}
