//! Reading objects: what is on the token, and what the token says of a key's birth.

use cryptoki::error::Error as Ck;
use cryptoki::object::{Attribute, AttributeType, ObjectClass as CkClass, ObjectHandle};
use cryptoki::session::Session;

use super::{mechanism, public_key};
use crate::api::{Attributes, ObjectClass, ObjectInfo};
use crate::key::CkaId;
use crate::profile::EcPoint;

/// Handles of one class with this CKA_ID. By class and id, never by label: a certificate may carry the key's label.
pub fn find(session: &Session, class: ObjectClass, cka_id: CkaId) -> Result<Vec<ObjectHandle>, Ck> {
    session.find_objects(&[
        Attribute::Token(true),
        Attribute::Class(ck_class(class)),
        Attribute::Id(cka_id.0.to_vec()),
    ])
}

/// Every key object with this CKA_ID.
pub fn find_all(session: &Session, cka_id: CkaId) -> Result<Vec<(ObjectClass, ObjectHandle)>, Ck> {
    let mut all = find_pair(session, cka_id)?;
    for handle in find(session, ObjectClass::SecretKey, cka_id)? {
        all.push((ObjectClass::SecretKey, handle));
    }
    Ok(all)
}

/// Both halves of a pair with this CKA_ID.
pub fn find_pair(session: &Session, cka_id: CkaId) -> Result<Vec<(ObjectClass, ObjectHandle)>, Ck> {
    let mut all = Vec::new();
    for class in [ObjectClass::PrivateKey, ObjectClass::PublicKey] {
        all.extend(
            find(session, class, cka_id)?
                .into_iter()
                .map(|handle| (class, handle)),
        );
    }
    Ok(all)
}

/// All key objects of the token.
pub fn list(session: &Session, form: EcPoint) -> Result<Vec<ObjectInfo>, Ck> {
    let mut all = Vec::new();
    for class in [
        ObjectClass::PrivateKey,
        ObjectClass::PublicKey,
        ObjectClass::SecretKey,
    ] {
        for handle in
            session.find_objects(&[Attribute::Token(true), Attribute::Class(ck_class(class))])?
        {
            all.push(describe(session, class, handle, form)?);
        }
    }
    Ok(all)
}

/// One object as reconciliation wants to see it. The public half is read as a key, the private half as evidence.
pub fn describe(
    session: &Session,
    class: ObjectClass,
    handle: ObjectHandle,
    form: EcPoint,
) -> Result<ObjectInfo, Ck> {
    let mut info = ObjectInfo {
        class,
        cka_id: Vec::new(),
        label: String::new(),
        spki: None,
        attributes: None,
    };
    for attribute in session.get_attributes(handle, &[AttributeType::Id, AttributeType::Label])? {
        match attribute {
            Attribute::Id(id) => info.cka_id = id,
            // A label of somebody else may be anything; it is only shown.
            Attribute::Label(label) => info.label = String::from_utf8_lossy(&label).into_owned(),
            _ => {}
        }
    }
    match class {
        ObjectClass::PublicKey => info.spki = public_key::read(session, handle, form)?,
        ObjectClass::PrivateKey | ObjectClass::SecretKey => {
            info.attributes = Some(read(session, class, handle)?)
        }
    }
    Ok(info)
}

/// The evidence. An attribute the token does not have stays `None`; it is not guessed.
pub fn read(session: &Session, class: ObjectClass, handle: ObjectHandle) -> Result<Attributes, Ck> {
    // The first four are the token's own testimony and cannot be set by anybody; the others repeat the template.
    let mut wanted = vec![
        AttributeType::Local,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::KeyGenMechanism,
        AttributeType::Token,
        AttributeType::Private,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Modifiable,
        AttributeType::Sign,
        AttributeType::Decrypt,
        AttributeType::Unwrap,
        AttributeType::Derive,
    ];
    // Of a private key some tokens have no answer to these, and it is not asked.
    if class == ObjectClass::SecretKey {
        wanted.extend([AttributeType::Encrypt, AttributeType::Wrap]);
    }
    let mut found = Attributes::default();
    // The binding leaves out what the token refuses to tell, so absence is an answer.
    for attribute in session.get_attributes(handle, &wanted)? {
        match attribute {
            Attribute::Local(value) => found.local = Some(value),
            Attribute::AlwaysSensitive(value) => found.always_sensitive = Some(value),
            Attribute::NeverExtractable(value) => found.never_extractable = Some(value),
            Attribute::KeyGenMechanism(value) => {
                found.key_gen_mechanism = Some(mechanism::name(value))
            }
            Attribute::Token(value) => found.token = Some(value),
            Attribute::Private(value) => found.private = Some(value),
            Attribute::Sensitive(value) => found.sensitive = Some(value),
            Attribute::Extractable(value) => found.extractable = Some(value),
            Attribute::Modifiable(value) => found.modifiable = Some(value),
            Attribute::Sign(value) => found.sign = Some(value),
            Attribute::Decrypt(value) => found.decrypt = Some(value),
            Attribute::Unwrap(value) => found.unwrap = Some(value),
            Attribute::Derive(value) => found.derive = Some(value),
            Attribute::Encrypt(value) => found.encrypt = Some(value),
            Attribute::Wrap(value) => found.wrap = Some(value),
            _ => {}
        }
    }
    Ok(found)
}

/// Ours are the only classes that are ever searched for.
fn ck_class(class: ObjectClass) -> CkClass {
    match class {
        ObjectClass::PrivateKey => CkClass::PRIVATE_KEY,
        ObjectClass::PublicKey => CkClass::PUBLIC_KEY,
        ObjectClass::SecretKey => CkClass::SECRET_KEY,
    }
}
