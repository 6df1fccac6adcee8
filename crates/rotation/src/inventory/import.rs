//! Import: each row has its verdict, and unless all are good nothing is taken. What is there already and says the same is left
//! alone, so that the same file may come again; what says something else is refused, because an import adds and changes
//! nothing. What is new is written part by part, so that others write in between; one that breaks off is gone on with by the
//! same file.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use calendar::KeyTypes;
use log::Event;
use serde::{Deserialize, Serialize};
use store::{AssetDescription, Change, InventoryChange, NewAssetRow};
use trust::leaf::ActKind;
use trust::{Sha256Digest, Time};

use super::document::{AssetDocument, StateWord, calendar_time};
use super::service::InventoryService;
use super::sheet::{self, MOST_ASSETS, MOST_BYTES};
use crate::error::{Error, ImportError};

/// Names that are looked up together.
const TOGETHER: usize = 1_000;

/// Assets that are registered in one transaction: others wait for no more.
pub(super) const PART: usize = 2_000;

/// A row as it was read.
#[derive(Debug)]
pub struct ImportRow {
    /// The row of a CSV file, of which the header is the first, or the place in a JSON document, from 1.
    pub row: u64,
    /// What it says it is about, as far as that can be shown.
    pub asset: Option<String>,
    pub read: Result<AssetDocument, Vec<String>>,
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is registered.
    New,
    /// It is there and says the same.
    Unchanged,
    /// Its driver has it: exported, and nothing to import.
    Skipped,
    /// Nothing is imported because of it.
    Refused,
}

/// A row with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowVerdict {
    pub row: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
    pub verdict: Verdict,
    /// All that is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

/// What an import did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Whether anything was written.
    pub applied: bool,
    pub new: usize,
    pub unchanged: usize,
    pub skipped: usize,
    pub refused: usize,
    /// The leaves that tell of it, one for each part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log_indexes: Vec<i64>,
    pub rows: Vec<RowVerdict>,
}

impl ImportReport {
    /// The first rows that were refused, in words.
    pub fn refusals(&self, at_most: usize) -> String {
        let refused = self
            .rows
            .iter()
            .filter(|row| row.verdict == Verdict::Refused);
        let shown: Vec<String> = refused
            .take(at_most)
            .map(|row| format!("row {}: {}", row.row, row.why.join(", ")))
            .collect();
        let more = self.refused.saturating_sub(shown.len());
        match more {
            0 => shown.join("; "),
            more => format!("{}; and {more} more", shown.join("; ")),
        }
    }
}

/// Rows of a CSV file.
pub fn read_csv(from: impl Read) -> Result<Vec<ImportRow>, ImportError> {
    let records = sheet::records(from)?.into_iter();
    Ok(records
        .map(|record| ImportRow {
            row: record.row,
            asset: record.asset,
            read: record.read,
        })
        .collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    assets: Vec<serde_json::Value>,
}

/// Rows of a JSON document `{"assets": […]}`.
pub fn read_json(from: impl Read) -> Result<Vec<ImportRow>, ImportError> {
    let mut bytes = Vec::new();
    let read = from.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(ImportError::TooLong(MOST_BYTES));
    }
    let file: File = trust::json::parse_strict(&bytes).map_err(ImportError::Json)?;
    rows_of(file.assets)
}

/// Rows of JSON that was read already.
pub fn rows_of(assets: Vec<serde_json::Value>) -> Result<Vec<ImportRow>, ImportError> {
    match assets.len() {
        0 => return Err(ImportError::Empty),
        1..=MOST_ASSETS => {}
        _ => return Err(ImportError::TooMany(MOST_ASSETS)),
    }
    let rows = (1..).zip(assets).map(|(row, value)| {
        let named = value.get("asset").and_then(serde_json::Value::as_str);
        let asset = named.map(|text| {
            let shown: String = text.chars().take(200).collect();
            trust::text::spelled_out(&shown)
        });
        let read = serde_json::from_value(value).map_err(|error| vec![error.to_string()]);
        ImportRow { row, asset, read }
    });
    Ok(rows.collect())
}

/// What becomes of each row, and the documents that are new, in their order. Pure: `known` has what there is already of
/// the names in `rows`.
fn plan_import(
    rows: Vec<ImportRow>,
    types: &KeyTypes,
    known: &BTreeMap<String, AssetDocument>,
    now: Time,
) -> (Vec<RowVerdict>, Vec<AssetDocument>) {
    let mut first_rows = HashMap::new();
    let mut verdicts = Vec::with_capacity(rows.len());
    let mut new = Vec::new();
    for ImportRow { row, asset, read } in rows {
        let (verdict, why) = match read {
            Err(why) => (Verdict::Refused, why),
            Ok(document) => {
                let name = document.asset.as_str().to_owned();
                let first = *first_rows.entry(name).or_insert(row);
                if first != row {
                    let why = format!("asset: it is in row {first} already");
                    (Verdict::Refused, vec![why])
                } else {
                    let judged = judge(&document, types, known, now);
                    if judged.0 == Verdict::New {
                        new.push(document);
                    }
                    judged
                }
            }
        };
        verdicts.push(RowVerdict {
            row,
            asset,
            verdict,
            why,
        });
    }
    (verdicts, new)
}

fn judge(
    document: &AssetDocument,
    types: &KeyTypes,
    known: &BTreeMap<String, AssetDocument>,
    now: Time,
) -> (Verdict, Vec<String>) {
    if !document.asset.is_external() {
        let why = format!(
            "asset: assets of the kind {} have a driver of their own; only external/NAME is registered",
            document.asset.kind()
        );
        // What an export has is passed over, and a name that nobody has is a mistake.
        return match known.contains_key(document.asset.as_str()) {
            true => (Verdict::Skipped, vec![why]),
            false => (Verdict::Refused, vec![why]),
        };
    }
    match known.get(document.asset.as_str()) {
        Some(there) if there == document => (Verdict::Unchanged, Vec::new()),
        Some(_) => {
            let why = "asset: it is registered and says something else; an import adds and changes nothing";
            (Verdict::Refused, vec![why.to_owned()])
        }
        None => match document.refusals(types, calendar_time(now)) {
            why if why.is_empty() => (Verdict::New, why),
            why => (Verdict::Refused, why),
        },
    }
}

impl InventoryService {
    /// Says what becomes of each row; with `apply`, and if no row is refused, registers what is new in parts, each in a
    /// transaction with a leaf of its own.
    pub async fn import(
        &self,
        rows: Vec<ImportRow>,
        apply: bool,
        (actor, now): (&str, Time),
    ) -> Result<ImportReport, Error> {
        let types = self.policies().types().await?;
        let known = self.known(&rows).await?;
        let (verdicts, new) = plan_import(rows, &types, &known, now);
        let count = |of: Verdict| verdicts.iter().filter(|row| row.verdict == of).count();
        let mut report = ImportReport {
            applied: false,
            new: count(Verdict::New),
            unchanged: count(Verdict::Unchanged),
            skipped: count(Verdict::Skipped),
            refused: count(Verdict::Refused),
            log_indexes: Vec::new(),
            rows: Vec::new(),
        };
        if apply && report.refused == 0 && !new.is_empty() {
            report.log_indexes = self.register(new, (actor, now)).await?;
            report.applied = true;
        }
        report.rows = verdicts;
        Ok(report)
    }

    /// What there is already of the names in these rows.
    async fn known(&self, rows: &[ImportRow]) -> Result<BTreeMap<String, AssetDocument>, Error> {
        let names: Vec<&str> = rows
            .iter()
            .filter_map(|row| row.read.as_ref().ok())
            .map(|document| document.asset.as_str())
            .collect();
        let mut known = BTreeMap::new();
        for some in names.chunks(TOGETHER) {
            for row in self.store().assets_of(some).await?.all()? {
                known.insert(row.asset.to_string(), AssetDocument::from(&row));
            }
        }
        Ok(known)
    }

    /// Part by part; the leaves of the parts.
    async fn register(&self, new: Vec<AssetDocument>, by: (&str, Time)) -> Result<Vec<i64>, Error> {
        let of = new.len();
        let mut leaves = Vec::with_capacity(of.div_ceil(PART));
        let mut left = new.into_iter();
        loop {
            let registered = of - left.len();
            let part: Vec<AssetDocument> = left.by_ref().take(PART).collect();
            if part.is_empty() {
                return Ok(leaves);
            }
            if registered > 0 {
                self.store().let_others_write().await;
            }
            match self.register_part(part, (registered, of), by).await {
                Ok(leaf) => leaves.push(leaf),
                Err(Error::Store(source)) if registered > 0 => {
                    return Err(Error::BrokenOff {
                        registered,
                        of,
                        source,
                    });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All of them or none; the leaf that tells of them.
    async fn register_part(
        &self,
        part: Vec<AssetDocument>,
        (registered, of): (usize, usize),
        (actor, now): (&str, Time),
    ) -> Result<i64, Error> {
        let digest = Sha256Digest::of(&trust::json::canonical(&part)?);
        let (name, version) = match part.as_slice() {
            [only] => (Some(only.asset.to_string()), Some(only.version.into())),
            _ => (None, None),
        };
        let reason = match (of, part.len()) {
            (1, _) => None,
            (of, all) if of == all => Some(format!("{of} assets")),
            (of, some) => Some(format!(
                "assets {} to {} of {of}",
                registered + 1,
                registered + some
            )),
        };
        let event = Event {
            asset: name.as_deref(),
            digest: Some(digest),
            reason: reason.as_deref(),
            version,
            ..Event::new(ActKind::Rotation, "register", actor, now)
        };
        let rows = part.into_iter().map(|document| row(document, actor, now));
        let change = InventoryChange::Register(rows.collect());
        let change = Change::Inventory(Box::new(change));
        Ok(self.log().commit(&change, &event).await?)
    }
}

fn row(document: AssetDocument, actor: &str, now: Time) -> NewAssetRow {
    let time = |at: calendar::Time| Time::from_millis(at.millis());
    NewAssetRow {
        asset: document.asset,
        description: AssetDescription {
            key_type: document.key_type,
            purpose: document.purpose,
            owner: document.owner,
            labels: document.labels,
        },
        storage: document.storage,
        version: document.version,
        rotated_at: document.rotated_at.map_or(now, time),
        expires_at: document.expires_at.map(time),
        registered_at: now,
        registered_by: actor.to_owned(),
        retired_at: (document.state == StateWord::Retired).then_some(now),
    }
}
