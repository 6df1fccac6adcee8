//! The executor's acts on wrapping keys.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType};

use super::aes_kw::check_value;
use super::attributes;
use super::module::Live;
use super::mutate::check_label;
use super::session_thread::{Fault, SessionThread};
use super::wrapping::find_secret;
use crate::api::{DestroyWrapOrder, GenerateWrapOrder, GeneratedWrap, ObjectClass, WrapTemplate};
use crate::ckr;
use crate::config::Power;
use crate::error::{Act, Error, ObjectWord};
use crate::key::CkaId;
use crate::wrap::DEK;

impl SessionThread<'_> {
    pub fn generate_wrap(&mut self, order: &GenerateWrapOrder) -> Result<GeneratedWrap, Error> {
        if self.worker.power != Power::Administer {
            return Err(Error::Powerless);
        }
        if order.template != WrapTemplate::WRAPPING {
            return Err(Error::TemplateRefused);
        }
        check_label(&order.label)?;
        let cka_id = order.cka_id;
        // Recovers the session if need be; from here on nothing is repeated.
        let before = self.find(cka_id)?;
        if !before.is_empty() {
            let count = before.len();
            return Err(Error::AlreadyExists { cka_id, count });
        }
        self.climb(None, |thread, live| thread.able_to_wrap(live))?;
        let worker = self.worker;
        let hold = worker.module.change();
        let live = hold.live().ok_or(Error::WorkerLost)?;
        self.right_token(live, &order.token_serial, &order.token_label)?;
        let session = self
            .session(live)
            .map_err(|error| ckr::error(&error, None))?;
        // If we die inside this call the key may exist: the intent with its CKA_ID was written by the executor before, and
        // reconciliation finds it by that.
        match session.generate_key(&Mechanism::AesKeyGen, &template(order)) {
            Ok(_) => {}
            Err(error) => return Err(self.after_failure(live, cka_id, &error)),
        }
        // The key exists. Whatever fails now must not look like a failed generation.
        let act = Act::Generate;
        self.tell_wrap(live, cka_id, &order.challenge)
            .map_err(|_| Error::OutcomeUnknown { act, cka_id })
    }

    pub fn read_back_wrap(
        &mut self,
        cka_id: CkaId,
        challenge: &[u8; DEK],
    ) -> Result<GeneratedWrap, Error> {
        self.climb(None, |thread, live| {
            thread.tell_wrap(live, cka_id, challenge)
        })
    }

    /// Everything that the acceptance will be signed over, from the object itself.
    fn tell_wrap(
        &mut self,
        live: &Live,
        cka_id: CkaId,
        challenge: &[u8; DEK],
    ) -> Result<GeneratedWrap, Fault> {
        let form = self.worker.module.ec_point();
        let session = self.session(live)?;
        let handle = find_secret(session, cka_id)?;
        let described = attributes::describe(session, ObjectClass::SecretKey, handle, form)?;
        let mut value_len = None;
        for attribute in session.get_attributes(handle, &[AttributeType::ValueLen])? {
            if let Attribute::ValueLen(length) = attribute {
                value_len = Some(*length);
            }
        }
        Ok(GeneratedWrap {
            cka_id,
            label: described.label,
            check_value: check_value(session, handle, challenge)?,
            attributes: described.attributes.unwrap_or_default(),
            value_len,
            token: live.identity.clone(),
        })
    }

    pub fn destroy_wrap(&mut self, order: &DestroyWrapOrder) -> Result<(), Error> {
        if self.worker.power != Power::Administer {
            return Err(Error::Powerless);
        }
        let cka_id = order.key.cka_id;
        let what = ObjectWord::SecretKey;
        match self.find(cka_id)?.as_slice() {
            [] => return Err(Error::NotFound { cka_id, what }),
            [only] if only.class == ObjectClass::SecretKey => {}
            more => {
                let count = more.len();
                return Err(Error::Ambiguous {
                    cka_id,
                    what,
                    count,
                });
            }
        }
        // Where a pair's public half is compared: what it makes of the challenge.
        self.climb(None, |thread, live| {
            thread.find_wrap(live, &order.key).map(drop)
        })?;
        let worker = self.worker;
        let hold = worker.module.change();
        let live = hold.live().ok_or(Error::WorkerLost)?;
        self.right_token(live, &order.token_serial, &order.token_label)?;
        self.destroys()?;
        // From here on it may be gone.
        let act = Act::Destroy;
        let unknown = |_| Error::OutcomeUnknown { act, cka_id };
        let session = self.session(live).map_err(unknown)?;
        for handle in attributes::find(session, ObjectClass::SecretKey, cka_id).map_err(unknown)? {
            session.destroy_object(handle).map_err(unknown)?;
        }
        match attributes::find_all(session, cka_id).map_err(unknown)? {
            left if left.is_empty() => Ok(()),
            _ => Err(Error::OutcomeUnknown { act, cka_id }),
        }
    }
}

/// Explicit to the last attribute, since defaults differ.
fn template(order: &GenerateWrapOrder) -> Vec<Attribute> {
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
        Attribute::Wrap(template.wrap),
        Attribute::Unwrap(template.unwrap),
        // With encrypt or decrypt a blob could be made or opened as mere data, past every attribute of the key in it.
        Attribute::Encrypt(template.encrypt),
        Attribute::Decrypt(template.decrypt),
        Attribute::Sign(template.sign),
        Attribute::Verify(template.sign),
        Attribute::Derive(template.derive),
        Attribute::ValueLen((DEK as u64).into()),
        // How it is found again, also after a crash: chosen before generation.
        Attribute::Id(order.cka_id.0.to_vec()),
        // For people; nothing is found by it.
        Attribute::Label(order.label.as_bytes().to_vec()),
    ]
}
