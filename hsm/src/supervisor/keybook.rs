//! Numbers for keys, so that a request carries four bytes instead of a public key.

use std::collections::HashMap;
use std::sync::Arc;

use crate::frame::KeyNumber;
use crate::key::{CkaId, KeyRef};
use crate::wrap::WrapRef;

/// What a key book is kept of.
pub trait Named: PartialEq {
    fn cka_id(&self) -> CkaId;
}

impl Named for KeyRef {
    fn cka_id(&self) -> CkaId {
        self.cka_id
    }
}

impl Named for WrapRef {
    fn cka_id(&self) -> CkaId {
        self.cka_id
    }
}

/// Grows by one entry for each different key ever used; never shrinks, since a number must mean one key for ever.
pub struct KeyBook<K> {
    /// By number.
    keys: Vec<Arc<K>>,
    /// Several only when callers disagree about a key; the worker finds out who is right.
    by_id: HashMap<CkaId, Vec<KeyNumber>>,
}

impl<K> Default for KeyBook<K> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            by_id: HashMap::new(),
        }
    }
}

impl<K: Named> KeyBook<K> {
    /// The number of this key, a new one if need be. The same `Arc` is recognised without comparing bytes.
    pub fn number(&mut self, key: &Arc<K>) -> KeyNumber {
        let numbers = self.by_id.entry(key.cka_id()).or_default();
        let known = numbers.iter().find(|number| {
            let known = &self.keys[**number as usize];
            Arc::ptr_eq(known, key) || known == key
        });
        if let Some(number) = known {
            return *number;
        }
        let number = self.keys.len() as KeyNumber;
        self.keys.push(Arc::clone(key));
        numbers.push(number);
        number
    }

    pub fn get(&self, number: KeyNumber) -> Option<&K> {
        self.keys.get(number as usize).map(Arc::as_ref)
    }
}
