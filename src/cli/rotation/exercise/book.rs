//! The signatures that a test made: all are counted, and some of them kept, to be verified again at the end.

use std::collections::BTreeMap;

use super::api::Signed;
use super::report::Signatures;
use super::stranger::Rejected;

/// Signatures that are kept, beside the first and the last of each key.
const MOST_KEPT: usize = 64;

/// Keys that signatures are told apart by.
const MOST_KIDS: usize = 32;

/// What came of one request.
pub struct Entry {
    pub signed: Result<Signed, String>,
    /// By which verifiers it was not accepted.
    pub rejected: Vec<Rejected>,
}

#[derive(Debug, Default)]
pub struct Book {
    pub signatures: Signatures,
    kept: Vec<Signed>,
    every: u64,
    ends: BTreeMap<String, (Signed, Signed)>,
    /// The key of the last one.
    pub last_kid: Option<String>,
    /// The index of the first leaf.
    pub first_index: Option<i64>,
}

impl Book {
    pub fn enter(&mut self, entry: Entry) {
        let signed = match entry.signed {
            Ok(signed) => signed,
            Err(why) => {
                self.signatures.failed += 1;
                return self.signatures.tell(format!("a request failed: {why}"));
            }
        };
        self.signatures.made += 1;
        if !entry.rejected.is_empty() {
            self.signatures.rejected += 1;
        }
        for Rejected { by, why } in entry.rejected {
            self.signatures.tell(format!("{by}: {why}"));
        }
        let by_kid = &mut self.signatures.by_kid;
        if by_kid.len() < MOST_KIDS || by_kid.contains_key(&signed.kid) {
            *by_kid.entry(signed.kid.clone()).or_default() += 1;
            let ends = self.ends.entry(signed.kid.clone());
            let (_, last) = ends.or_insert_with(|| (signed.clone(), signed.clone()));
            last.clone_from(&signed);
        }
        self.first_index.get_or_insert(signed.log_index);
        self.last_kid = Some(signed.kid.clone());
        self.every = self.every.max(1);
        if self.signatures.made.is_multiple_of(self.every) {
            self.kept.push(signed);
        }
        if self.kept.len() > MOST_KEPT {
            // Every second one, so that they stay spread over the whole test.
            let mut place = 0;
            self.kept.retain(|_| {
                place += 1;
                place % 2 == 0
            });
            self.every *= 2;
        }
    }

    /// Whether a key signed.
    pub fn signed_by(&self, kid: &str) -> bool {
        self.signatures.by_kid.contains_key(kid)
    }

    /// Those that are verified again: the first and the last of each key, and some between.
    pub fn kept(&self) -> Vec<&Signed> {
        let ends = self.ends.values().flat_map(|(first, last)| [first, last]);
        ends.chain(&self.kept).collect()
    }

    /// The first signature of each key.
    pub fn firsts(&self) -> impl Iterator<Item = &Signed> {
        self.ends.values().map(|(first, _)| first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kid: &str, log_index: i64) -> Entry {
        Entry {
            signed: Ok(Signed {
                jws: format!("{kid}.{log_index}"),
                kid: kid.to_owned(),
                log_index,
                salt: String::new(),
                payload: String::new(),
            }),
            rejected: Vec::new(),
        }
    }

    #[test]
    fn all_are_counted_and_some_of_each_key_kept() {
        let mut book = Book::default();
        for index in 0..10_000 {
            book.enter(entry(if index < 9_000 { "old" } else { "new" }, index));
        }
        assert_eq!(book.signatures.made, 10_000);
        assert_eq!(book.signatures.by_kid["new"], 1_000);
        let kept = book.kept();
        assert!((32..=MOST_KEPT + 4).contains(&kept.len()), "{}", kept.len());
        for jws in ["old.0", "old.8999", "new.9000", "new.9999"] {
            assert!(kept.iter().any(|signed| signed.jws == jws), "{jws}");
        }
        assert_eq!(book.first_index, Some(0));
    }

    #[test]
    fn what_goes_wrong_is_counted_and_told_once() {
        let mut book = Book::default();
        for _ in 0..3 {
            book.enter(Entry {
                signed: Err("503".to_owned()),
                rejected: Vec::new(),
            });
            let mut rejected = entry("old", 1);
            let by = "a cache".to_owned();
            let why = "no key".to_owned();
            rejected.rejected = vec![Rejected { by, why }];
            book.enter(rejected);
        }
        let Signatures {
            failed,
            rejected,
            trouble,
            ..
        } = book.signatures;
        assert_eq!((failed, rejected, trouble.len()), (3, 3, 2), "{trouble:?}");
    }
}
