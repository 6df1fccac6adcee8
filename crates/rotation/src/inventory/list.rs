//! The inventory page by page: what each asset is, who answers for it, when it rotated and when it has to again.

use calendar::facts::{AssetFacts, VersionFacts};
use calendar::words::VersionState;
use calendar::{AssetName, Word};
use serde::Serialize;
use store::{AssetState, InventoryRow};
use trust::Time;

use super::document::{AssetDocument, StateWord, calendar_time};
use super::service::InventoryService;
use crate::error::Error;
use crate::policies::CurrentPolicies;

/// Assets of a page at most.
pub const PAGE_MAX: usize = 1_000;

/// Rows that are read together for a page that has filters.
pub const TOGETHER: i64 = 1_000;

/// Rows that are read for a page at most. Where more would have to be, the page is short and has a next one.
pub const MOST_READ: usize = 4_000;

/// Which assets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub key_type: Option<Word>,
    /// Who answers for it, themselves or as the team of its key type's policy.
    pub owner: Option<Word>,
    pub state: Option<AssetState>,
    /// Those whose next version has to be in use before this instant.
    pub due_before: Option<Time>,
    /// Somewhere in name, purpose or labels, in any case of ASCII letters.
    pub text: Option<String>,
}

/// One asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AssetView {
    pub asset: AssetName,
    /// What stands before the first `/` of the name: whose driver it is.
    pub kind: String,
    pub key_type: Word,
    /// Who answers for it: its own owner, or the team of its key type's policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Word>,
    pub state: StateWord,
    pub storage: &'static str,
    /// Of a ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// The version in use, or the newest where none is; 0 where there is none.
    pub version: u32,
    pub created_at: Time,
    /// When the version in use came into use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Time>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When the next version has to be in use, by the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Time>,
    pub overdue: bool,
    pub purpose: String,
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Assets in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetList {
    pub rows: Vec<InventoryRow>,
    /// The name behind which the next page begins.
    pub next: Option<String>,
    /// Names of rows that cannot be read.
    pub unreadable: Vec<String>,
}

impl AssetList {
    /// As they are imported and exported.
    pub fn documents(&self) -> Vec<AssetDocument> {
        self.rows.iter().map(AssetDocument::from).collect()
    }
}

impl Filter {
    /// Whether a row is one of those that are asked for.
    pub fn admits(&self, row: &InventoryRow, policies: &CurrentPolicies) -> bool {
        let owned = |owner: &Word| owner_of(row, policies).as_ref() == Some(owner);
        let due = |before: Time| due_at(row, policies).is_some_and(|at| at < before);
        self.key_type.as_ref().is_none_or(|of| *of == row.key_type)
            && self.state.is_none_or(|state| state == row.state)
            && self.owner.as_ref().is_none_or(owned)
            && self.text.as_ref().is_none_or(|text| contains(row, text))
            && self.due_before.is_none_or(due)
    }

    /// The key type of the rows that are asked for. Where a ring is planned by another one than its row says, all are read.
    fn key_type_of_rows(&self, policies: &CurrentPolicies) -> Option<&str> {
        let key_type = self.key_type.as_ref().filter(|_| !policies.holds_any());
        key_type.map(Word::as_str)
    }

    fn reads_all_it_shows(&self) -> bool {
        let by_type_alone = Self {
            key_type: self.key_type.clone(),
            ..Self::default()
        };
        *self == by_type_alone
    }
}

fn contains(row: &InventoryRow, text: &str) -> bool {
    let wanted = text.to_ascii_lowercase();
    let mut texts = [row.asset.as_str(), &row.purpose]
        .into_iter()
        .chain(row.labels.values().map(String::as_str));
    texts.any(|text| text.to_ascii_lowercase().contains(&wanted))
}

fn owner_of(row: &InventoryRow, policies: &CurrentPolicies) -> Option<Word> {
    let own = row.owner.clone();
    own.or_else(|| policies.team(&row.key_type).cloned())
}

/// When the next version has to be in use, by the policy; none of what is out of use or was never used.
pub fn due_at(row: &InventoryRow, policies: &CurrentPolicies) -> Option<Time> {
    if row.state != AssetState::Active {
        return None;
    }
    let policy = policies.policies.get(&row.key_type)?;
    let since = calendar_time(row.rotated_at?);
    let facts = AssetFacts {
        name: row.asset.clone(),
        key_type: row.key_type.clone(),
        owner: row.owner.clone(),
        versions: vec![VersionFacts {
            number: row.version,
            created_at: since,
            expires_at: row.expires_at.map(calendar_time),
            state: VersionState::Primary { since },
        }],
        usage: None,
        request: None,
        events: Vec::new(),
        held: false,
    };
    let due = calendar::plan::due_at(&facts, policy)?;
    Some(Time::from_millis(due.millis()))
}

impl AssetView {
    /// As of `now`.
    pub fn of(row: &InventoryRow, policies: &CurrentPolicies, now: Time) -> Self {
        let due_at = due_at(row, policies);
        Self {
            kind: row.asset.kind().to_owned(),
            key_type: row.key_type.clone(),
            owner: owner_of(row, policies),
            state: row.state.into(),
            storage: row.storage.as_str(),
            algorithm: row.algorithm.clone(),
            version: row.version,
            created_at: row.created_at,
            rotated_at: row.rotated_at,
            expires_at: row.expires_at,
            due_at,
            overdue: due_at.is_some_and(|at| at <= now),
            purpose: row.purpose.clone(),
            labels: row.labels.clone(),
            asset: row.asset.clone(),
        }
    }
}

impl InventoryService {
    /// The assets behind a name, at most `limit` and at most [`PAGE_MAX`]. A page may be short, or empty, and have a next one.
    pub async fn page(
        &self,
        filter: &Filter,
        after: Option<&str>,
        limit: usize,
        policies: &CurrentPolicies,
    ) -> Result<AssetList, Error> {
        let limit = limit.clamp(1, PAGE_MAX);
        let key_type = filter.key_type_of_rows(policies);
        let reads_all =
            filter.reads_all_it_shows() && key_type == filter.key_type.as_ref().map(Word::as_str);
        let together = match reads_all {
            true => i64::try_from(limit).unwrap_or(TOGETHER),
            false => TOGETHER,
        };
        let mut list = AssetList {
            rows: Vec::new(),
            next: None,
            unreadable: Vec::new(),
        };
        // Whoever asks for what is in use does not read what is not.
        let is_in_use = filter.state.is_some_and(|of| of != AssetState::Retired);
        let mut after = after.unwrap_or_default().to_owned();
        let mut read = 0;
        loop {
            let store = self.store();
            let which = (key_type, is_in_use);
            let page = store.assets_after(which, &after, together).await?;
            read += page.rows.read.len();
            let unreadable = page.rows.unreadable.into_iter();
            list.unreadable.extend(unreadable.map(|row| row.key));
            let mut rows = page.rows.read.into_iter().map(|row| policies.hold(row));
            while let Some(row) = rows.next() {
                if !filter.admits(&row, policies) {
                    continue;
                }
                let name = row.asset.to_string();
                list.rows.push(row);
                if list.rows.len() == limit {
                    let more = rows.len() > 0 || page.next.is_some();
                    list.next = more.then_some(name);
                    return Ok(list);
                }
            }
            match page.next {
                None => return Ok(list),
                Some(next) if read >= MOST_READ => {
                    list.next = Some(next);
                    return Ok(list);
                }
                Some(next) => after = next,
            }
        }
    }
}
