//! AES-KW on a token, with session objects that live for one use.

use aws_lc_rs::digest;
use cryptoki::error::Error as Ck;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass as CkClass, ObjectHandle};
use cryptoki::session::Session;
use zeroize::{Zeroize as _, Zeroizing};

use crate::wrap::{DEK, WRAPPED};

/// SHA-256 of the challenge as the key wraps it.
pub fn check_value(
    session: &Session,
    key: ObjectHandle,
    challenge: &[u8; DEK],
) -> Result<[u8; 32], Ck> {
    let wrapped = wrap(session, key, challenge)?;
    let mut value = [0; 32];
    value.copy_from_slice(digest::digest(&digest::SHA256, &wrapped).as_ref());
    Ok(value)
}

/// Wraps a known value, unwraps it and wraps it again, all inside.
pub fn round_trip(session: &Session, key: ObjectHandle, value: &[u8; DEK]) -> Result<(), Ck> {
    let wrapped = wrap(session, key, value)?;
    let inside = unwrap(session, key, &wrapped, Opened::Inside)?;
    let again = finish(session, inside, wrap_object(session, key, inside))?;
    if again != wrapped {
        // The token answered, and wrongly: as good as no answer.
        return Err(Ck::InvalidValue);
    }
    Ok(())
}

/// Destroys the object, whatever was made of it.
pub fn finish<T>(session: &Session, object: ObjectHandle, made: Result<T, Ck>) -> Result<T, Ck> {
    let gone = session.destroy_object(object);
    let made = made?;
    gone.map(|()| made)
}

/// A value that is ours, wrapped: it becomes a session object for that time.
pub fn wrap(session: &Session, key: ObjectHandle, value: &[u8]) -> Result<Vec<u8>, Ck> {
    let mut template = object(Opened::Inside);
    template.push(Attribute::Value(value.to_vec()));
    let made = session.create_object(&template);
    if let Some(Attribute::Value(value)) = template.last_mut() {
        value.zeroize();
    }
    let made = made?;
    finish(session, made, wrap_object(session, key, made))
}

pub fn wrap_object(
    session: &Session,
    key: ObjectHandle,
    object: ObjectHandle,
) -> Result<Vec<u8>, Ck> {
    let wrapped = session.wrap_key(&Mechanism::AesKeyWrap, key, object)?;
    match wrapped.len() {
        WRAPPED => Ok(wrapped),
        _ => Err(Ck::InvalidValue),
    }
}

/// What an unwrapped data key may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// Stays in the token, to be wrapped again.
    Inside,
    /// Its value is read, for the service.
    Readable,
}

pub fn unwrap(
    session: &Session,
    key: ObjectHandle,
    blob: &[u8],
    opened: Opened,
) -> Result<ObjectHandle, Ck> {
    session.unwrap_key(&Mechanism::AesKeyWrap, key, blob, &object(opened))
}

/// Explicit to the last attribute: without CKA_SENSITIVE SoftHSM makes an unwrapped key readable.
fn object(opened: Opened) -> Vec<Attribute> {
    vec![
        Attribute::Class(CkClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        // Ends with the session, at the latest.
        Attribute::Token(false),
        // Invisible before login.
        Attribute::Private(true),
        // In the clear only for the service that asked for it,
        Attribute::Sensitive(opened == Opened::Inside),
        // and wrapped again otherwise: a key that is not extractable cannot be wrapped.
        Attribute::Extractable(true),
        // Nothing is done with it in here.
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]
}

pub fn read_value(session: &Session, object: ObjectHandle) -> Result<Zeroizing<Vec<u8>>, Ck> {
    for attribute in session.get_attributes(object, &[AttributeType::Value])? {
        if let Attribute::Value(value) = attribute {
            let value = Zeroizing::new(value);
            if value.len() == DEK {
                return Ok(value);
            }
        }
    }
    Err(Ck::InvalidValue)
}
