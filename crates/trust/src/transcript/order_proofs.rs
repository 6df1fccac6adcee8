//! Leaves about the standing order under which a key was made, wherever a file brings them.

use crate::act::Act;
use crate::chain::{Chains, Change};
use crate::digest::Sha256Digest;
use crate::json::{self, JsonError};
use crate::leaf::{ActKind, ActLeaf};
use crate::order_log::{LoggedUse, UseFault, UsePlace, check_use, is_shown};

/// Leaves that do not bear out the use of an order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderProofsError {
    /// The chain of the key is longer than the order's, and no leaf tells when that ended.
    #[error("the end of the chain under which the order was held is missing")]
    End,
    /// What the log has against it.
    #[error(transparent)]
    Use(#[from] UseFault),
}

/// What leaves about an order have to be. A file of before they were in it has none of them, and shows as much as it did.
pub(crate) struct OfOrder<'a> {
    used: &'a LoggedUse,
    /// SHA-256 of the document that ended the chain under which the order was held, if one did.
    next: Option<Sha256Digest>,
}

impl<'a> OfOrder<'a> {
    /// `chains` are those of the key's record.
    pub fn new(chains: &Chains, used: &'a LoggedUse) -> Result<Self, JsonError> {
        // The genesis is the first document.
        let next = usize::try_from(used.order.documents).unwrap_or(usize::MAX);
        let next = next
            .checked_sub(1)
            .and_then(|next| chains.changes.get(next));
        let bytes = match next {
            None => None,
            Some(Change::Recovery(change)) => Some(json::canonical(change)?),
            Some(Change::Roster(one) | Change::Policy(one) | Change::RecoveryRoster(one)) => {
                Some(json::canonical(one)?)
            }
        };
        let next = bytes.map(|bytes| Sha256Digest::of(&bytes));
        Ok(Self { used, next })
    }

    /// Whether a leaf is one of them, and not of the key's own ceremony.
    pub fn tells(&self, act: &ActLeaf) -> bool {
        (is_shown(self.used, act) && !self.is_own(act)) || self.ends_the_chain(act)
    }

    /// Whether a leaf of the key's own ceremony tells how it was made.
    pub fn makes(&self, act: &ActLeaf) -> bool {
        self.is_own(act) && is_shown(self.used, act)
    }

    fn is_own(&self, act: &ActLeaf) -> bool {
        let own = self.used.request.to_string();
        act.kind == ActKind::Ceremony && act.reference.as_deref() == Some(own.as_str())
    }

    fn ends_the_chain(&self, act: &ActLeaf) -> bool {
        let installed = act.kind == ActKind::Roster && act.action.starts_with("install-");
        installed && act.digest.is_some() && act.digest == self.next
    }

    /// With `end`, the leaf that tells of the key's acceptance.
    pub fn check(&self, end: i64, told: &[Act]) -> Result<(), OrderProofsError> {
        let mut ends = told.iter().filter(|act| self.ends_the_chain(&act.leaf));
        let ended = ends.next().map(|act| act.index);
        if self.next.is_some() && ended.is_none() {
            return Err(OrderProofsError::End);
        }
        let place = UsePlace {
            accepted: end,
            ended,
            suspensions: &[],
        };
        Ok(check_use(self.used, &place, told)?)
    }
}
