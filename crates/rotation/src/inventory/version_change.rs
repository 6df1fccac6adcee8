//! What becomes of versions of an asset of others after a rotation was reported: the old one ends, or is the primary again.

use calendar::AssetName;
use log::Event;
use store::{AssetState, Change, InventoryChange, KeyStatus, VersionTurn};
use trust::Time;
use trust::leaf::ActKind;

use super::service::InventoryService;
use crate::error::Error;

/// What becomes of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionChange {
    /// The one that was replaced can do nothing new any more.
    Retire(u32),
    /// It is not usable at all.
    Archive(u32),
    /// Somebody else may have it: it is trusted for nothing.
    Revoke(u32),
    /// `to` is the primary again, and `from` beside it until the next rotation.
    RollBack { from: u32, to: u32 },
}

impl VersionChange {
    /// As the log names it.
    const fn action(self) -> &'static str {
        match self {
            Self::Retire(_) => "retire-version",
            Self::Archive(_) => "archive-version",
            Self::Revoke(_) => "revoke-version",
            Self::RollBack { .. } => "restore-version",
        }
    }

    /// The versions, each with the state that it is to leave and the one that it is to have.
    fn turns(self) -> Vec<VersionTurn> {
        let turn = |number, from, to| VersionTurn { number, from, to };
        use KeyStatus as S;
        match self {
            Self::Retire(number) => vec![turn(number, S::Secondary, S::Retired)],
            Self::Archive(number) => vec![turn(number, S::Retired, S::Archived)],
            Self::Revoke(number) => vec![turn(number, S::Secondary, S::Revoked)],
            // The one primary leaves before the other comes.
            Self::RollBack { from, to } => vec![
                turn(from, S::Primary, S::Secondary),
                turn(to, S::Secondary, S::Primary),
            ],
        }
    }

    /// The version that the log names.
    const fn version(self) -> u32 {
        match self {
            Self::Retire(number) | Self::Archive(number) | Self::Revoke(number) => number,
            Self::RollBack { to, .. } => to,
        }
    }
}

impl InventoryService {
    /// Carries a change out for the rotation `event`. What is so already is no change and no leaf.
    pub async fn turn(
        &self,
        name: &AssetName,
        change: VersionChange,
        event: &str,
        (actor, now): (&str, Time),
    ) -> Result<(), Error> {
        if self.asset(name).await?.state == AssetState::Retired {
            return Ok(());
        }
        let mut turns = Vec::new();
        for turn in change.turns() {
            let (store, below) = (self.store(), i64::from(turn.number) + 1);
            let read = store.external_versions(name.as_str(), below, 1).await?;
            let row = read.all()?.into_iter().next();
            let state = row.filter(|row| row.number == turn.number);
            let state = state.map(|row| row.state);
            match state {
                Some(state) if state == turn.from => turns.push(turn),
                // A report of a later rotation has retired it already.
                Some(KeyStatus::Retired) if turn.to == KeyStatus::Revoked => {
                    turns.push(VersionTurn {
                        from: KeyStatus::Retired,
                        ..turn
                    });
                }
                Some(state) if is_over(state, turn.to) => {}
                state => {
                    let is = state.map_or("not there", KeyStatus::as_str);
                    let (number, from) = (turn.number, turn.from.as_str());
                    let what = format!("version {number} of {name} is {is}, expected {from}");
                    return Err(Error::State(what));
                }
            }
        }
        if turns.is_empty() {
            return Ok(());
        }
        let leaf = Event {
            asset: Some(name.as_str()),
            version: Some(change.version().into()),
            reference: Some(event),
            ..Event::new(ActKind::Rotation, change.action(), actor, now)
        };
        let change = InventoryChange::Turn {
            asset: name.clone(),
            turns,
            at: now.millis(),
        };
        let change = Change::Inventory(Box::new(change));
        self.log().commit(&change, &leaf).await?;
        Ok(())
    }
}

/// Whether a version is where it shall be, or further.
fn is_over(state: KeyStatus, wanted: KeyStatus) -> bool {
    use KeyStatus as S;
    state == wanted
        || matches!(
            (wanted, state),
            (S::Retired, S::Archived | S::Revoked)
                | (S::Archived, S::Revoked)
                // There is nothing left of it.
                | (S::Revoked, S::Archived)
        )
}
