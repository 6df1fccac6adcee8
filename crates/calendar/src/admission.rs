//! Whether a rotation that somebody asks for becomes an event.

use crate::facts::{AssetFacts, Facts};
use crate::name::{AssetName, Word};
use crate::plan::due_at;
use crate::policy::Policies;
use crate::time::Time;

/// What is asked for: a key type, or one asset of it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The key type.
    pub key_type: &'a Word,
    /// One asset; all of the type without it.
    pub asset: Option<&'a AssetName>,
    /// Also what is not due.
    pub force: bool,
    /// Whether the caller may force.
    pub may_force: bool,
}

/// Why nothing becomes an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No policy for the type: nothing of it rotates here.
    #[error("there is no key type {0} with a policy")]
    UnknownType(Word),
    /// The type has no such asset.
    #[error("there is no such asset of this key type")]
    UnknownAsset,
    /// `force` by somebody who may not.
    #[error("only an administrator may rotate what is not due")]
    ForceWithoutRight,
    /// All that is meant rotates already.
    #[error("{asset} rotates already: event {event}")]
    AlreadyRotates {
        /// The first of them.
        asset: AssetName,
        /// Its event.
        event: String,
    },
    /// Nothing that is meant has a version in use: a rotation replaces one.
    #[error(
        "{0} has nothing that could rotate yet: its first version is missing (of a ring a key, `chancery ceremony new generate`)"
    )]
    NoVersion(AssetName),
    /// Nothing that is meant is due.
    #[error("nothing is due{}", .next.map(|at| format!(" before {at}")).unwrap_or_default())]
    NotDue {
        /// When the first will be.
        next: Option<Time>,
    },
}

/// The assets that begin to rotate when this is asked at `now`, in the order of the facts; never none.
pub fn admit<'f>(
    ask: Ask<'_>,
    facts: &'f Facts,
    policies: &Policies,
    now: Time,
) -> Result<Vec<&'f AssetFacts>, Refusal> {
    let policy = policies
        .get(ask.key_type)
        .ok_or_else(|| Refusal::UnknownType(ask.key_type.clone()))?;
    if ask.force && !ask.may_force {
        return Err(Refusal::ForceWithoutRight);
    }
    let meant: Vec<&AssetFacts> = facts
        .assets
        .iter()
        .filter(|asset| {
            asset.key_type == *ask.key_type && ask.asset.is_none_or(|name| asset.name == *name)
        })
        .collect();
    if meant.is_empty() && ask.asset.is_some() {
        return Err(Refusal::UnknownAsset);
    }
    let (mut admitted, mut rotating, mut next) = (Vec::new(), None, None::<Time>);
    let mut without = None;
    for asset in meant {
        if let Some(event) = asset.events.iter().find(|event| event.state.is_open()) {
            rotating = rotating.or(Some((asset, event)));
            continue;
        }
        // Due is what could have begun by now, the jitter included.
        let begins = due_at(asset, policy).map(|due| due - policy.lead() - policy.jitter());
        match begins {
            Some(begins) if begins <= now => admitted.push(asset),
            _ if ask.force && asset.primary().is_ok() => admitted.push(asset),
            Some(begins) => next = Some(next.map_or(begins, |next| next.min(begins))),
            None if asset.primary() == Err(0) => without = without.or(Some(asset)),
            None => {}
        }
    }
    match (admitted.is_empty(), rotating) {
        (false, _) => Ok(admitted),
        (true, Some((asset, event))) => Err(Refusal::AlreadyRotates {
            asset: asset.name.clone(),
            event: event.id.clone(),
        }),
        (true, None) => Err(match (next, without) {
            (None, Some(asset)) => Refusal::NoVersion(asset.name.clone()),
            (next, _) => Refusal::NotDue { next },
        }),
    }
}
