//! Keys of a ring as a request names them.

use trust::Kid;

use super::error::Error;
use crate::keys::{Key, Ring};

pub(super) fn find<'a>(ring: &'a Ring, kid: &Kid) -> Result<&'a Key, Error> {
    ring.keys
        .iter()
        .find(|key| key.kid == *kid)
        .map(AsRef::as_ref)
        .ok_or_else(|| Error::Unfit(format!("ring {} has no key {kid}", ring.name)))
}

/// The key that is meant: people read its number, not its kid.
pub(super) fn numbered<'a>(ring: &'a Ring, kid: &Kid, number: u32) -> Result<&'a Key, Error> {
    let key = find(ring, kid)?;
    match key.number == number {
        true => Ok(key),
        false => Err(Error::Unfit(format!(
            "the request names key {number} of ring {}, but {kid} is key {}",
            ring.name, key.number
        ))),
    }
}

/// The key that signs.
pub(super) fn primary(ring: &Ring) -> Result<&Key, Error> {
    let primary = ring.keys.iter().find(|key| key.state.is_primary());
    let none = || Error::Unfit(format!("ring {} has no primary key", ring.name));
    primary.map(AsRef::as_ref).ok_or_else(none)
}
