//! Keys of ceremonies under a former roster or policy. Whoever left may have kept a key, and a transcript alone does not
//! show when it was made: the log does. What was carried out after the next document was installed is refused.

use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::{Sha256Digest, Time};

use super::under_order;
use log::Certified;
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
}

/// Leaves of a key that are looked at: its birth is the first.
const FIRST: i64 = 16;

/// The leaves that tell of the installation of each document after the genesis.
#[derive(Debug, Default)]
pub struct Installed {
    leaves: Vec<i64>,
    /// The first leaf of a document that is not there.
    missing: Option<i64>,
}

impl Installed {
    /// A document of which the log does not tell was put into the database by somebody else.
    pub async fn read(store: &Store, rows: &[DocumentRow]) -> Result<Self, InstalledError> {
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

    /// Why the key is refused, if it is. `accepted` is the leaf that tells of its acceptance.
    pub async fn refuses(
        &self,
        store: &Store,
        row: &KeyRow,
        known: &Certified,
        accepted: Option<i64>,
    ) -> Result<Option<String>, store::Error> {
        if let Some(why) = under_order::refuses(store, row, known, accepted).await? {
            return Ok(Some(why));
        }
        let Some(ended) = self.ended(known.documents) else {
            return Ok(None);
        };
        let before = |index: i64| index < ended;
        if accepted.is_some_and(before) {
            return Ok(None);
        }
        let leaves = store.leaves_of_key(row.kid.as_str(), 0, FIRST).await?;
        let ceremony = row.ceremony.to_string();
        let about = |leaf: &&LeafRow| match Leaf::parse(leaf.body.as_bytes()) {
            Ok(Leaf::Act(act)) => {
                act.kind == ActKind::Ceremony && act.reference.as_deref() == Some(&*ceremony)
            }
            _ => false,
        };
        // The first that names the key is the one that was written when it was made.
        let born = leaves.iter().find(about).map(|leaf| leaf.index);
        let accepted = leaves.iter().find(|leaf| Some(leaf.index) == accepted);
        let in_time = accepted.is_some_and(|leaf| Time::from_millis(leaf.time) <= known.execute_by);
        let why = match (born.is_some_and(before), in_time) {
            (true, true) => return Ok(None),
            (true, false) => "it was accepted under a former roster after its deadline",
            (false, _) => "it was made under a roster or policy that did not hold any more",
        };
        Ok(Some(why.to_owned()))
    }
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
