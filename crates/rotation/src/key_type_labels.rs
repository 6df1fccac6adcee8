//! Key types as values of a label: an administrator may add any number of them, and series are bounded.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use base::names::{MOST_KEY_TYPES, OTHER};
use calendar::KeyTypes;
use metrics::SharedString;

/// The standard key types, and of the others the first so many that this process met.
pub struct KeyTypeLabels(Mutex<BTreeSet<Arc<str>>>);

impl Default for KeyTypeLabels {
    fn default() -> Self {
        let standard = KeyTypes::standard();
        let words = standard.iter().map(|one| Arc::from(one.name.as_str()));
        Self(Mutex::new(words.collect()))
    }
}

impl KeyTypeLabels {
    /// The value that stands for a key type.
    pub fn of(&self, key_type: &str) -> SharedString {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(key_type) {
            return known.clone().into();
        }
        if known.len() >= MOST_KEY_TYPES {
            return SharedString::const_str(OTHER);
        }
        let word: Arc<str> = Arc::from(key_type);
        known.insert(word.clone());
        word.into()
    }

    /// All values that there are, [`OTHER`] among them.
    pub fn all(&self) -> Vec<SharedString> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words = known.iter().map(|word| word.clone().into());
        words.chain([SharedString::const_str(OTHER)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_key_types_has_a_bounded_number_of_labels() {
        let labels = KeyTypeLabels::default();
        for number in 0..10_000 {
            labels.of(&format!("added_{number}"));
        }
        assert_eq!(labels.all().len(), MOST_KEY_TYPES + 1);
        for (word, label) in [
            ("signing", "signing"),
            ("added_0", "added_0"),
            ("added_9999", OTHER),
        ] {
            assert_eq!(&*labels.of(word), label);
        }
    }
}
