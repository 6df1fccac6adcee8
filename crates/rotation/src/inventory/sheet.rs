//! Assets as CSV (RFC 4180): what a cell means, and how it is written. Names of columns are those of the JSON document.

use std::collections::BTreeMap;
use std::io::{self, Read};

use calendar::key_type::Storage;

use super::document::{AssetDocument, StateWord, is_formula};
use crate::error::ImportError;

/// Assets of a file at most.
pub const MOST_ASSETS: usize = 100_000;

/// Bytes of a file at most.
pub const MOST_BYTES: u64 = 64 << 20;

/// The columns as they are written; those that a file must have are marked.
const COLUMNS: [(&str, bool); 10] = [
    ("asset", true),
    ("key_type", true),
    ("purpose", false),
    ("owner", false),
    ("storage", true),
    ("version", false),
    ("rotated_at", true),
    ("expires_at", false),
    ("labels", false),
    ("state", false),
];

/// A record that was read: its row, its first cell as far as it can be shown, and the document or all that is wrong.
pub struct Record {
    /// The header is row 1; empty lines are not counted.
    pub row: u64,
    pub asset: Option<String>,
    pub read: Result<AssetDocument, Vec<String>>,
}

/// Reads records one by one. What is wrong with one record is told of that record; what is wrong with the whole ends it.
pub fn records(from: impl Read) -> Result<Vec<Record>, ImportError> {
    // A quote that is never closed makes one cell of all that follows, so the whole is bounded and not the line.
    let bounded = from.take(MOST_BYTES + 1);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bounded);
    let mut record = csv::ByteRecord::new();
    let mut order = None;
    let mut found = Vec::new();
    let mut row = 0;
    while reader.read_byte_record(&mut record).map_err(io_error)? {
        if reader.get_ref().limit() == 0 {
            return Err(ImportError::TooLong(MOST_BYTES));
        }
        row += 1;
        let Some(columns) = &order else {
            order = Some(header(&record)?);
            continue;
        };
        if found.len() == MOST_ASSETS {
            return Err(ImportError::TooMany(MOST_ASSETS));
        }
        found.push(self::record(row, &record, columns));
    }
    match found.is_empty() {
        true => Err(ImportError::Empty),
        false => Ok(found),
    }
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Which column each cell is of.
fn header(record: &csv::ByteRecord) -> Result<Vec<&'static str>, ImportError> {
    let mut order = Vec::new();
    for cell in record {
        let name = String::from_utf8_lossy(cell);
        let known = COLUMNS.iter().find(|(column, _)| *column == name.trim());
        let Some(&(column, _)) = known else {
            let shown: String = name.chars().take(40).collect();
            return Err(ImportError::ColumnUnknown(shown));
        };
        if order.contains(&column) {
            return Err(ImportError::ColumnTwice(column));
        }
        order.push(column);
    }
    let missing = COLUMNS
        .iter()
        .find(|(column, required)| *required && !order.contains(column));
    match missing {
        Some(&(column, _)) => Err(ImportError::ColumnMissing(column)),
        None => Ok(order),
    }
}

fn record(row: u64, record: &csv::ByteRecord, columns: &[&'static str]) -> Record {
    let mut wrong = Vec::new();
    let mut cells = BTreeMap::new();
    if record.len() != columns.len() {
        wrong.push(format!(
            "{} cells, expected {}",
            record.len(),
            columns.len()
        ));
    }
    for (column, cell) in columns.iter().zip(record) {
        match std::str::from_utf8(cell) {
            Err(_) => wrong.push(format!("{column}: not UTF-8")),
            Ok(text) if is_formula(text) || is_formula(text.trim()) => wrong.push(format!(
                "{column}: begins with {:?}, and a spreadsheet would take it for a formula",
                text.trim().chars().next().unwrap_or_default()
            )),
            Ok(text) => {
                cells.insert(*column, text.trim());
            }
        }
    }
    let asset = cells.get("asset").map(|text| {
        let shown: String = text.chars().take(200).collect();
        trust::text::spelled_out(&shown)
    });
    let read = match wrong.is_empty() {
        true => document(&cells),
        false => Err(wrong),
    };
    Record { row, asset, read }
}

/// A cell in the one spelling of its type.
fn cell<T: std::str::FromStr>(
    cells: &BTreeMap<&str, &str>,
    column: &'static str,
    wrong: &mut Vec<String>,
) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    let text = cells.get(column).filter(|text| !text.is_empty())?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            wrong.push(format!("{column}: {error}"));
            None
        }
    }
}

fn document(cells: &BTreeMap<&str, &str>) -> Result<AssetDocument, Vec<String>> {
    let mut wrong = Vec::new();
    let text = |column: &str| cells.get(column).copied().unwrap_or_default();
    for (column, _) in COLUMNS.iter().filter(|(_, required)| *required) {
        // A retired or foreign row may be without its time; what is registered is asked for it later.
        if text(column).is_empty() && *column != "rotated_at" {
            wrong.push(format!("{column}: missing"));
        }
    }
    let asset = cell(cells, "asset", &mut wrong);
    let key_type = cell(cells, "key_type", &mut wrong);
    let owner = cell(cells, "owner", &mut wrong);
    let version = cell(cells, "version", &mut wrong);
    let rotated_at = cell(cells, "rotated_at", &mut wrong);
    let expires_at = cell(cells, "expires_at", &mut wrong);
    let labels = labels(text("labels"), &mut wrong);
    let storage = Storage::ALL
        .iter()
        .find(|one| one.as_str() == text("storage"));
    if storage.is_none() && !text("storage").is_empty() {
        wrong.push("storage: expected hsm, wrapped, files, mesh or issued".to_owned());
    }
    let state = match text("state") {
        "" => Some(StateWord::Active),
        word => StateWord::ALL.into_iter().find(|one| one.as_str() == word),
    };
    if state.is_none() {
        wrong.push("state: expected active or retired".to_owned());
    }
    match (asset, key_type, storage, state) {
        (Some(asset), Some(key_type), Some(storage), Some(state)) if wrong.is_empty() => {
            Ok(AssetDocument {
                asset,
                key_type,
                purpose: text("purpose").to_owned(),
                owner,
                storage: *storage,
                version: version.unwrap_or(1),
                rotated_at,
                expires_at,
                labels,
                state,
            })
        }
        _ => Err(wrong),
    }
}

/// `name=value;name=value`.
fn labels(text: &str, wrong: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for label in text.split(';').filter(|label| !label.is_empty()) {
        match label.split_once('=') {
            Some((name, value)) => {
                if labels.insert(name.to_owned(), value.to_owned()).is_some() {
                    wrong.push(format!("labels: {name:?} twice"));
                }
            }
            None => wrong.push("labels: expected name=value;name=value".to_owned()),
        }
    }
    labels
}

/// A cell that a spreadsheet takes for text.
fn neutralised(text: String) -> String {
    match is_formula(&text) {
        true => format!("'{text}"),
        false => text,
    }
}

/// Assets as CSV, which an import reads to the same.
pub fn sheet(assets: &[AssetDocument]) -> io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer
        .write_record(COLUMNS.iter().map(|(column, _)| column))
        .map_err(io_error)?;
    for asset in assets {
        let labels = asset.labels.iter();
        let labels: Vec<String> = labels
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let optional = |value: Option<String>| value.unwrap_or_default();
        let cells = [
            asset.asset.to_string(),
            asset.key_type.to_string(),
            asset.purpose.clone(),
            optional(asset.owner.as_ref().map(ToString::to_string)),
            asset.storage.to_string(),
            asset.version.to_string(),
            optional(asset.rotated_at.map(|at| at.to_string())),
            optional(asset.expires_at.map(|at| at.to_string())),
            labels.join(";"),
            asset.state.as_str().to_owned(),
        ];
        writer
            .write_record(cells.map(neutralised))
            .map_err(io_error)?;
    }
    writer
        .into_inner()
        .map_err(|error| io::Error::other(error.to_string()))
}
