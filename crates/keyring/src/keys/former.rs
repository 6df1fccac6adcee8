//! Keys of ceremonies under a former roster or policy. Whoever left may have kept a key, and a transcript alone does not
//! show when it was made: the log does. What was carried out after the next document was installed is refused.

use trust::acts::Act;
use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::order_log::{ACCEPTED, LoggedUse, Suspended};
use trust::{Pin, Sha256Digest};

use super::under_order::{Orders, Place, acts};
use log::{Certified, SuspensionsError, suspended_by_log};
use store::{DocumentKind, DocumentRow, KeyRow, LeafRow, Store};

/// A chain that is not the one of which the log tells.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    #[error("the log does not tell of the installation of {kind} {version}")]
    Unlogged { kind: DocumentKind, version: i64 },
    /// Whoever took it out has the roster before it believed.
    #[error(
        "leaf {0} tells of the installation of a document that the database does not have: put it back with `chancery trust restore`"
    )]
    Missing(i64),
    #[error("the leaves of documents cannot be read")]
    Store(#[from] store::Error),
    #[error("the suspensions of which the log tells cannot be read")]
    Suspensions(#[from] SuspensionsError),
}

/// Leaves of a ceremony that are looked at.
const MOST: i64 = 1_000;

/// The leaves that tell of the installation of each document after the genesis, and who was suspended between which.
#[derive(Debug, Default)]
pub struct Installed {
    leaves: Vec<i64>,
    suspensions: Vec<Suspended>,
    /// The first leaf of a document that is not there.
    missing: Option<i64>,
}

impl Installed {
    /// A document of which the log does not tell was put into the database by somebody else. Suspensions that were read
    /// `before` are not read again.
    pub async fn read(
        store: &Store,
        pin: &Pin,
        rows: &[DocumentRow],
        before: Option<&Self>,
    ) -> Result<Self, InstalledError> {
        // The genesis is pinned, and the first to be missing.
        let told = store.installations().await?.into_iter();
        let mut told = told.filter(|leaf| rows.is_empty() || !is_of_genesis(leaf));
        let mut installed = Self::default();
        for row in rows.iter().filter(|row| row.place > 0) {
            let unlogged = || InstalledError::Unlogged {
                kind: row.kind,
                version: row.version,
            };
            let index = row.index.ok_or_else(unlogged)?;
            let mut leaf = told.next();
            while let Some(before) = leaf.take_if(|leaf| leaf.index < index) {
                installed.missing.get_or_insert(before.index);
                leaf = told.next();
            }
            let leaf = leaf.filter(|leaf| leaf.index == index);
            if leaf.is_none_or(|leaf| told_digest(&leaf) != Some(Sha256Digest::of(&row.body))) {
                return Err(unlogged());
            }
            installed.leaves.push(index);
        }
        let after = told.next().map(|leaf| leaf.index);
        installed.missing = installed.missing.or(after);
        let before = before.map_or(&[][..], |before| &before.suspensions);
        installed.suspensions = suspended_by_log(store, pin, rows, before).await?;
        Ok(installed)
    }

    /// Refuses a chain that lacks a document of which the log tells.
    pub fn require_whole(&self) -> Result<(), InstalledError> {
        match self.missing {
            None => Ok(()),
            Some(leaf) => Err(InstalledError::Missing(leaf)),
        }
    }

    /// The leaf that ended a chain of so many documents; none if it is the chain of today.
    fn ended(&self, documents: u64) -> Option<i64> {
        let next = usize::try_from(documents).ok()?.checked_sub(1)?;
        self.leaves.get(next).copied()
    }

    /// Who was suspended by the log, in its order.
    pub(super) fn suspensions(&self) -> &[Suspended] {
        &self.suspensions
    }

    /// Where a key under a standing order stands that was accepted at this leaf.
    pub(super) fn place(&self, used: &LoggedUse, accepted: Option<i64>) -> Place<'_> {
        Place {
            accepted,
            ended: self.ended(used.order.documents),
            suspensions: &self.suspensions,
        }
    }

    /// Whether the leaf of the key's acceptance is looked at: its chain is not the one of today.
    pub(super) fn asks_for_leaf(&self, known: &Certified) -> bool {
        self.ended(known.documents).is_some()
    }

    /// Why the key is refused, if it is. `accepted` is the leaf that tells of its acceptance, by the index of acts, and
    /// `told` what stands there, where it is looked at.
    pub(super) async fn refuses(
        &self,
        store: &Store,
        (row, known): (&KeyRow, &Certified),
        (accepted, told): (Option<i64>, Option<&LeafRow>),
        orders: &Orders,
    ) -> Result<Option<String>, store::Error> {
        if let Some(used) = &known.used {
            let place = self.place(used, accepted);
            if let Some(fault) = orders.fault(store, used, place, None).await? {
                return Ok(Some(fault.to_string()));
            }
        }
        let Some(ended) = self.ended(known.documents) else {
            return Ok(None);
        };
        let before = |index: i64| index < ended;
        // The index is not the log: somebody could have it point before the end of the chain.
        if told.is_some_and(|leaf| before(leaf.index) && is_acceptance(leaf, row)) {
            return Ok(None);
        }
        let ceremony = row.ceremony.to_string();
        let acts = acts(store.leaves_of_ceremony(&ceremony, 0, MOST).await?);
        let of_key = |act: &&Act| act.leaf.kid.as_ref() == Some(&row.kid);
        // The first that names the key is the one that was written when it was made.
        let born = acts.iter().find(of_key).map(|act| act.index);
        let mut accepts = acts.iter().filter(of_key);
        let accepted = accepts.find(|act| act.leaf.action == ACCEPTED);
        if accepted.is_some_and(|act| before(act.index)) {
            return Ok(None);
        }
        let in_time = accepted.is_some_and(|act| act.leaf.time <= known.execute_by);
        let why = match (born.is_some_and(before), in_time) {
            (true, true) => return Ok(None),
            (true, false) => "it was accepted under a former roster after its deadline",
            (false, _) => "it was made under a roster or policy that did not hold any more",
        };
        Ok(Some(why.to_owned()))
    }
}

/// Whether the leaf tells that this key was accepted in its ceremony.
fn is_acceptance(leaf: &LeafRow, row: &KeyRow) -> bool {
    let Ok(Leaf::Act(act)) = Leaf::parse(leaf.body.as_bytes()) else {
        return false;
    };
    act.kind == ActKind::Ceremony
        && act.action == ACCEPTED
        && act.kid.as_ref() == Some(&row.kid)
        && act.reference.as_deref() == Some(&*row.ceremony.to_string())
}

fn act(leaf: &LeafRow) -> Option<Box<ActLeaf>> {
    match Leaf::parse(leaf.body.as_bytes()) {
        Ok(Leaf::Act(act)) if act.kind == ActKind::Roster => Some(act),
        _ => None,
    }
}

fn is_of_genesis(leaf: &LeafRow) -> bool {
    act(leaf).is_some_and(|act| act.action == "install-genesis")
}

fn told_digest(leaf: &LeafRow) -> Option<Sha256Digest> {
    act(leaf)?.digest
}
