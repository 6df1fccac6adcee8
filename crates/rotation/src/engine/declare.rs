//! An emergency: whatever is meant rotates for it, nothing is left out silently.

use std::collections::HashSet;

use calendar::Time;
use calendar::admission::Refusal;
use calendar::facts::OpenEvent;
use calendar::name::{AssetName, Word};
use calendar::plan::{Unplanned, WORK};
use calendar::words::Trigger;
use store::{Declaration, RotationEventRow, RotationMark};

use super::Engine;
use super::error::Error;
use super::planning::{Known, MOST_EVENTS};
use crate::times::to_row;

/// How often it is looked again at assets whose rotation was begun or promoted by somebody else meanwhile.
const MOST_LOOKS: usize = 3;

/// What a declaration finds.
#[derive(Default)]
struct Meant {
    /// Assets that get a new rotation.
    new: Vec<AssetName>,
    /// Assets with the rotation of theirs that is open and not promoted: it becomes the emergency.
    open: Vec<(AssetName, String)>,
    /// One of those that have their emergency already.
    declared: Option<(AssetName, String)>,
}

impl Meant {
    /// Of the assets of a key type; of one, or of those that are left.
    fn of(known: &Known, key_type: &Word, mut is_meant: impl FnMut(&AssetName) -> bool) -> Self {
        let mut meant = Self::default();
        for asset in &known.facts.assets {
            if asset.key_type != *key_type || !is_meant(&asset.name) {
                continue;
            }
            let of = |event: &OpenEvent| (asset.name.clone(), event.id.clone());
            let mut events = asset.events.iter().filter(|event| event.state.is_open());
            let declared = |event: &&OpenEvent| event.trigger == Trigger::Event;
            if let Some(event) = events.clone().find(declared) {
                meant.declared = Some(of(event));
                continue;
            }
            match events.find(|event| event.promoted_at.is_none()) {
                Some(event) => meant.open.push(of(event)),
                None => meant.new.push(asset.name.clone()),
            }
        }
        meant
    }

    fn count(&self) -> usize {
        self.new.len() + self.open.len()
    }
}

impl Engine {
    /// Declares an emergency: each asset that is meant gets a rotation that waits for nobody but the quorum, or the one that is
    /// open becomes that, unless it is promoted. Returns these drafts. An asset that got none is an error that names it, and
    /// says how many got one; what is declared already stays as it is.
    pub async fn declare(
        &self,
        key_type: &Word,
        asset: Option<&AssetName>,
        (by, reason): (&str, &str),
    ) -> Result<Vec<RotationEventRow>, Error> {
        let mut known = self.known().await?;
        let policy = known.policies.get(key_type).cloned();
        let policy = policy.ok_or_else(|| Refusal::UnknownType(key_type.clone()))?;
        let mut meant = Meant::of(&known, key_type, |name| asset.is_none_or(|one| one == name));
        match (meant.count(), meant.declared.take()) {
            (0, Some((asset, event))) => {
                return Err(Refusal::AlreadyRotates { asset, event }.into());
            }
            (0, None) => return Err(Refusal::UnknownAsset.into()),
            (count, _) if count > MOST_EVENTS => {
                let key_type = key_type.to_string();
                return Err(Error::TooMany { key_type, count });
            }
            _ => {}
        }
        let (mut declared, mut unplanned) = (Vec::new(), Vec::new());
        for _ in 0..MOST_LOOKS {
            let due = known.now + policy.lead() + WORK;
            let mut left: HashSet<AssetName> = meant.new.iter().cloned().collect();
            for (name, event) in &meant.open {
                match self.turn(event, due, (by, reason)).await {
                    Ok(row) => declared.push(row),
                    Err(Error::NotNow { .. }) => {
                        left.insert(name.clone());
                    }
                    Err(error) => return Err(error),
                }
            }
            if !meant.new.is_empty() {
                let asked = (by, Some(reason));
                let made = self.request(&mut known, &meant.new, Trigger::Event, asked);
                let (made, without) = made.await?;
                let has: HashSet<&str> = made.iter().map(|row| row.asset.as_str()).collect();
                left.retain(|name| !has.contains(name.as_str()));
                declared.extend(made);
                unplanned = without;
            }
            if left.is_empty() {
                return Ok(declared);
            }
            known = self.known().await?;
            meant = Meant::of(&known, key_type, |name| left.contains(name));
            if meant.count() == 0 {
                return Ok(declared);
            }
        }
        Err(left_out(&meant, &unplanned, declared.len()))
    }

    /// A rotation that is open becomes the emergency.
    async fn turn(
        &self,
        event: &str,
        due: Time,
        (by, reason): (&str, &str),
    ) -> Result<RotationEventRow, Error> {
        let mark = RotationMark::Declare(Declaration {
            by: by.to_owned(),
            reason: reason.chars().take(500).collect(),
            due: to_row(due),
        });
        self.mark(event, mark, ("declared", "declare"), (by, Some(reason)))
            .await?;
        self.event(event).await
    }
}

fn left_out(meant: &Meant, unplanned: &[Unplanned], declared: usize) -> Error {
    let open = meant.open.iter().map(|(name, _)| name);
    let first = meant.new.iter().chain(open).next();
    let why = unplanned.iter().find(|one| Some(&one.asset) == first);
    Error::LeftOut {
        asset: first.map(ToString::to_string).unwrap_or_default(),
        more: meant.count().saturating_sub(1),
        declared,
        why: match why {
            Some(unplanned) => unplanned.why.to_string(),
            None => "its rotation is being ended: declare it again".to_owned(),
        },
    }
}
