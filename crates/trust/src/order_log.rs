//! A use of a standing order held against the log. A transcript shows that the order permits it; that the use was not
//! taken before, and that nobody had withdrawn the order, only the log shows.

use crate::acts::Act;
use crate::digest::Sha256Digest;
use crate::request::OrderUse;
use crate::time::Time;
use crate::withdrawal::{is_use, is_withdrawal};

/// What the log has to say about a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedUse {
    /// Order and number.
    pub used: OrderUse,
    /// SHA-256 of the request.
    pub request: Sha256Digest,
    /// Before this instant it is not made.
    pub earliest: Time,
    /// The end of the order.
    pub not_after: Time,
}

/// What the log has against a use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UseFault {
    /// No leaf that tells of it before the key was accepted.
    #[error("the log does not tell of its use of the standing order")]
    Unlogged,
    /// Another ceremony took it first.
    #[error("leaf {0}: this use of the standing order was taken by another ceremony")]
    Taken(i64),
    /// Somebody withdrew the order before the key was accepted.
    #[error("leaf {0}: the standing order was withdrawn before the key was accepted")]
    Withdrawn(i64),
    /// By the log's time.
    #[error("leaf {index}: at {at} the standing order did not permit this use")]
    Time {
        /// The leaf that tells of the use.
        index: i64,
        /// Its time.
        at: Time,
    },
}

/// Whether the acts about an order, in the order of the log, bear out a use of it by a key that the leaf `accepted`
/// accepted. `time` says when each was, which may be corrected. Acts that are of something else are passed over.
pub fn check_use<'a>(
    expected: &LoggedUse,
    accepted: i64,
    acts: impl IntoIterator<Item = &'a Act>,
    time: impl Fn(&Act) -> Time,
) -> Result<(), UseFault> {
    let (order, number) = (expected.used.id, expected.used.number.get());
    let mut first: Option<&Act> = None;
    for act in acts.into_iter().filter(|act| act.index < accepted) {
        if is_withdrawal(&act.leaf, order) {
            return Err(UseFault::Withdrawn(act.index));
        }
        if first.is_none() && is_use(&act.leaf, order, number) {
            first = Some(act);
        }
    }
    let first = first.ok_or(UseFault::Unlogged)?;
    if first.leaf.digest != Some(expected.request) {
        return Err(UseFault::Taken(first.index));
    }
    let at = time(first);
    match (expected.earliest..=expected.not_after).contains(&at) {
        true => Ok(()),
        false => Err(UseFault::Time {
            index: first.index,
            at,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::bytes16::Nonce;
    use crate::leaf::{ActKind, ActLeaf};
    use crate::withdrawal::{USE, WITHDRAW};

    const ORDER: Nonce = Nonce([5; 16]);

    fn at(seconds: i64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    fn act(index: i64, action: &str, number: Option<u64>, digest: &[u8]) -> Act {
        Act {
            index,
            leaf: ActLeaf {
                digest: Some(Sha256Digest::of(digest)),
                reference: Some(ORDER.to_string()),
                use_number: number,
                ..ActLeaf::new(ActKind::Order, action, "test", at(index))
            },
        }
    }

    fn check(acts: &[Act], accepted: i64) -> Result<(), UseFault> {
        let expected = LoggedUse {
            used: OrderUse {
                id: ORDER,
                number: NonZeroU32::MIN,
            },
            request: Sha256Digest::of(b"mine"),
            earliest: at(3),
            not_after: at(6),
        };
        check_use(&expected, accepted, acts, |act| act.leaf.time)
    }

    #[test]
    fn a_use_is_the_first_of_its_number_within_the_order_and_before_its_withdrawal() {
        let mine = act(4, USE, Some(1), b"mine");
        let others = [
            act(1, USE, Some(2), b"other"),
            act(2, "accepted", Some(1), b"x"),
        ];
        let all = [others.to_vec(), vec![mine.clone()]].concat();
        assert_eq!(check(&all, 9), Ok(()));
        assert_eq!(check(&others, 9), Err(UseFault::Unlogged));
        // Told of after the acceptance it is none.
        assert_eq!(check(&all, 4), Err(UseFault::Unlogged));
        let before = [act(3, USE, Some(1), b"other"), mine.clone()];
        assert_eq!(check(&before, 9), Err(UseFault::Taken(3)));
        let after = [mine.clone(), act(5, USE, Some(1), b"other")];
        assert_eq!(check(&after, 9), Ok(()));
        let withdrawn = [mine.clone(), act(8, WITHDRAW, None, b"w")];
        assert_eq!(check(&withdrawn, 9), Err(UseFault::Withdrawn(8)));
        assert_eq!(check(&withdrawn, 8), Ok(()));
        for index in [2, 7] {
            let told = [act(index, USE, Some(1), b"mine")];
            let fault = UseFault::Time {
                index,
                at: at(index),
            };
            assert_eq!(check(&told, 9), Err(fault));
        }
    }
}
