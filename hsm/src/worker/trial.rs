//! What a token can really do with wrapping keys. Its mechanism list is not believed: SoftHSM says WRAP for mechanisms that it
//! then refuses.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use cryptoki::context::Function;
use cryptoki::error::{Error as Ck, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;

use super::aes_kw::{Opened, read_value, unwrap, wrap};
use crate::ckr::{self, Rung};
use crate::profile::{Profile, WrapForm};
use crate::wrap::{DEK, WRAPPED};

/// The name of the code with which a damaged blob is refused, or why not.
pub type Trial = Result<String, Unable>;

/// The step that failed, and how.
#[derive(Clone, Debug)]
pub struct Unable {
    pub reason: String,
    /// What the token said, where that is no refusal but a fault: it may be able another time.
    pub fault: Option<(RvError, Function)>,
}

impl From<&str> for Unable {
    fn from(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            fault: None,
        }
    }
}

/// A value that is no secret.
const VALUE: &[u8; DEK] = b"chancery trial of wrapping, 32 B";

/// Everything that carrying wrapping keys needs, once, with session objects. Whatever fails is undone.
pub fn run(session: &Session, profile: &Profile) -> Trial {
    match profile.wrap {
        WrapForm::AesKw => {}
        form @ (WrapForm::RsaOaep256 | WrapForm::None) => {
            let reason = format!(
                "profile {} has wrap = \"{form}\", and only aes-kw is carried out",
                profile.name
            );
            return Err(reason.as_str().into());
        }
    }
    let kek = session
        .generate_key(&Mechanism::AesKeyGen, &trial_key())
        .map_err(|error| failed("generating an AES-256 session key", &error))?;
    let outcome = with_key(session, kek);
    session
        .destroy_object(kek)
        .map_err(|error| failed("destroying a session key", &error))?;
    outcome
}

fn with_key(session: &Session, kek: ObjectHandle) -> Trial {
    let wrapped = wrap(session, kek, VALUE)
        .map_err(|error| failed("wrapping by CKM_AES_KEY_WRAP", &error))?;
    let value = read_value(session, kek).map_err(|error| failed("reading its value", &error))?;
    let expected = in_software(&value).ok_or("AES-KW in software failed")?;
    if wrapped != expected {
        return Err("CKM_AES_KEY_WRAP is not AES-KW (RFC 3394)".into());
    }
    let opened = unwrap(session, kek, &wrapped, Opened::Readable)
        .map_err(|error| failed("unwrapping by CKM_AES_KEY_WRAP", &error))?;
    let value = read_value(session, opened);
    let gone = session.destroy_object(opened);
    let value = value.map_err(|error| failed("reading an unwrapped key", &error))?;
    gone.map_err(|error| failed("destroying an unwrapped key", &error))?;
    if value.as_slice() != VALUE {
        return Err("unwrapping gave another key".into());
    }
    let inside = unwrap(session, kek, &wrapped, Opened::Inside)
        .map_err(|error| failed("unwrapping a key that stays inside", &error))?;
    let readable = read_value(session, inside).is_ok();
    session
        .destroy_object(inside)
        .map_err(|error| failed("destroying an unwrapped key", &error))?;
    if readable {
        return Err("a key that was unwrapped as sensitive can be read".into());
    }
    let mut damaged = wrapped;
    damaged[WRAPPED / 2] ^= 1;
    match unwrap(session, kek, &damaged, Opened::Inside) {
        Ok(object) => {
            // The session ends it if this does not.
            drop(session.destroy_object(object));
            Err("a damaged blob was unwrapped".into())
        }
        Err(Ck::Pkcs11(code, _)) => Ok(ckr::name(code)),
        Err(error) => Err(failed("unwrapping a damaged blob", &error)),
    }
}

/// Readable, so that software can do the same; it lives for the trial and wraps nothing else.
fn trial_key() -> Vec<Attribute> {
    vec![
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
        Attribute::ValueLen((DEK as u64).into()),
    ]
}

fn in_software(kek: &[u8]) -> Option<[u8; WRAPPED]> {
    let mut wrapped = [0; WRAPPED];
    let kek = AesKek::new(&AES_256, kek).ok()?;
    kek.wrap(VALUE, &mut wrapped).ok()?;
    Some(wrapped)
}

fn failed(step: &str, error: &Ck) -> Unable {
    let fault = match error {
        Ck::Pkcs11(code, function) => Some((*code, *function)),
        _ => None,
    };
    let fault = fault.filter(|(code, _)| ckr::treatment(*code).first != Rung::Stop);
    let reason = match error {
        Ck::Pkcs11(RvError::MechanismInvalid, _) => format!("{step}: no such mechanism"),
        other => format!("{step}: {}", ckr::error(other, None)),
    };
    Unable { reason, fault }
}
