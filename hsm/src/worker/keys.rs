//! The keys this worker was told of: parsed once, bound once in each epoch.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cryptoki::object::ObjectHandle;

use super::verify::Verifier;
use crate::error::Error;
use crate::frame::KeyNumber;
use crate::key::KeyRef;
use crate::wrap::WrapRef;

/// A handle and the epoch it was found in. Under any other epoch it may be the handle of another key: C_Sign would answer
/// CKR_OK and sign with that.
pub type Binding = (u64, ObjectHandle);

pub struct Key {
    pub reference: KeyRef,
    pub verifier: Verifier,
    /// Held while binding, so that many threads that need a key bind it once.
    pub binding: Mutex<Option<Binding>>,
}

impl Key {
    pub fn new(reference: KeyRef) -> Result<Self, Error> {
        let verifier = Verifier::new(&reference)?;
        Ok(Self {
            reference,
            verifier,
            binding: Mutex::new(None),
        })
    }

    /// Length first: tokens cut a digest that is too long instead of refusing it.
    pub fn check_input(&self, input: &[u8]) -> Result<(), Error> {
        match self.reference.scheme.digest_len() {
            Some(expected) if expected != input.len() => Err(Error::InputLength {
                cka_id: self.reference.cka_id,
                expected,
                got: input.len(),
            }),
            _ => Ok(()),
        }
    }
}

/// A wrapping key. Nothing of it can be parsed ahead.
pub struct WrapKey {
    pub reference: WrapRef,
    /// Held while binding.
    pub binding: Mutex<Option<Binding>>,
}

impl WrapKey {
    /// The next use finds it again.
    pub fn forget(&self) {
        *self.binding.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// `None` for a number that was skipped.
type Entry = Option<Result<Arc<Key>, Error>>;

/// By number. A key that could not be parsed keeps its error as its entry: every use of it gets that answer.
#[derive(Default)]
pub struct Keys {
    entries: RwLock<Vec<Entry>>,
    /// Numbered on their own.
    wraps: RwLock<Vec<Option<Arc<WrapKey>>>>,
}

impl Keys {
    /// The same number is never given to another key; defining it again parses it again and binds it afresh.
    pub fn define(&self, number: KeyNumber, reference: KeyRef) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let index = number as usize;
        if entries.len() <= index {
            entries.resize_with(index + 1, || None);
        }
        entries[index] = Some(Key::new(reference).map(Arc::new));
    }

    pub fn define_wrap(&self, number: KeyNumber, reference: WrapRef) {
        let mut wraps = self.wraps.write().unwrap_or_else(PoisonError::into_inner);
        let index = number as usize;
        if wraps.len() <= index {
            wraps.resize_with(index + 1, || None);
        }
        let binding = Mutex::default();
        wraps[index] = Some(Arc::new(WrapKey { reference, binding }));
    }

    pub fn wrap(&self, number: KeyNumber) -> Result<Arc<WrapKey>, Error> {
        let wraps = self.wraps.read().unwrap_or_else(PoisonError::into_inner);
        let known = wraps.get(number as usize).cloned().flatten();
        known.ok_or_else(|| Error::Protocol {
            what: format!("wrapping key number {number} was never defined"),
        })
    }

    /// The key, or why it cannot be used.
    pub fn get(&self, number: KeyNumber) -> Result<Arc<Key>, Error> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        match entries.get(number as usize) {
            Some(Some(entry)) => entry.clone(),
            _ => Err(Error::Protocol {
                what: format!("key number {number} was never defined"),
            }),
        }
    }
}
