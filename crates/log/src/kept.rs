//! Kept leaves as text: a line each, its index, a space, and its body, which is canonical JSON and has no line break.
//! Before them a line says what the file is, and a last line whose leaves they are, how many and up to which index.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use store::{KeptLeaf, Store};

use crate::integrator::Integrator;

/// How long the storage may take at the end to say what is published.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the file begins, and how its last line does.
const BEGIN: &str = "# kept leaves";
const END: &str = "# end ";

/// The last line: without it the file was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Whether the process still had everything that it answered and no checkpoint covers.
    pub complete: bool,
    /// The highest index, if there is a leaf.
    pub highest: Option<u64>,
    pub instance: String,
    pub leaves: usize,
}

/// What one process kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    pub leaves: Vec<(u64, Vec<u8>)>,
    /// None of a version that wrote no last line: the file may be cut off.
    pub end: Option<End>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("line {0} is no kept leaf")]
    Line(usize),
    #[error(
        "the file is cut off: its last line is missing or is not of these leaves; save it again"
    )]
    CutOff,
}

/// For a file or `GET /log/kept`.
pub fn write(store: &Store, instance: &str) -> String {
    let leaves = store.kept();
    let (_, complete) = store.kept_count();
    text(&leaves, complete, instance)
}

pub(crate) fn text(leaves: &[KeptLeaf], complete: bool, instance: &str) -> String {
    let end = End {
        complete,
        highest: leaves.last().map(|(index, _)| index.unsigned_abs()),
        instance: instance.to_owned(),
        leaves: leaves.len(),
    };
    let mut text = format!("{BEGIN}\n");
    for (index, body) in leaves {
        text += &index.to_string();
        text.push(' ');
        text += body;
        text.push('\n');
    }
    let end = serde_json::to_string(&end).unwrap_or_default();
    text + END + &end + "\n"
}

/// Each leaf with its index.
pub fn read(text: &str) -> Result<KeptFile, Unreadable> {
    let leaf = |line: &str| {
        let (index, body) = line.split_once(' ')?;
        Some((index.parse().ok()?, body.as_bytes().to_vec()))
    };
    let mut lines = (1..).zip(text.lines()).peekable();
    let ends = lines.next_if(|(_, line)| *line == BEGIN).is_some();
    let mut leaves: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut end = None;
    for (number, line) in lines {
        let last = line.strip_prefix(END).filter(|_| ends && end.is_none());
        match last {
            Some(last) => {
                end = Some(serde_json::from_str::<End>(last).map_err(|_| Unreadable::CutOff)?);
            }
            None if end.is_some() => return Err(Unreadable::Line(number)),
            None => leaves.push(leaf(line).ok_or(Unreadable::Line(number))?),
        }
    }
    let fits = |end: &End| {
        let highest = leaves.last().map(|(index, _)| *index);
        (end.leaves, end.highest) == (leaves.len(), highest) && text.ends_with('\n')
    };
    match ends && !end.as_ref().is_some_and(fits) {
        true => Err(Unreadable::CutOff),
        false => Ok(KeptFile { leaves, end }),
    }
}

/// All that a process keeps, into a file; whether that succeeded, or there was nothing.
pub(crate) fn save_all(store: &Store, directory: &Path, instance: &str) -> bool {
    let (count, _) = store.kept_count();
    let saved = match count {
        // Nothing is written where nothing is kept.
        0 => Ok(()),
        _ => save(directory, instance, &write(store, instance)),
    };
    if let Err(error) = &saved {
        let directory = directory.display().to_string();
        tracing::error!(
            directory,
            error = %error,
            "the kept leaves were not written; take them from /log/kept of the operations listener"
        );
    }
    saved.is_ok()
}

/// What a process leaves behind when nobody is answered any more.
pub struct AtTheEnd {
    pub(crate) store: Store,
    pub(crate) integrator: Integrator<Store>,
    pub(crate) directory: PathBuf,
    pub(crate) instance: String,
}

impl AtTheEnd {
    /// Saves what no published checkpoint covers, as far as the storage tells. The database has it too, but nobody
    /// knows which database the next process finds.
    pub async fn save(self) {
        self.store.hold_back(true);
        if self.store.kept_count().0 > 0 {
            let published = tokio::time::timeout(PATIENCE, self.integrator.published_size());
            if let Ok(Ok(size)) = published.await {
                self.store.covered(size.cast_signed());
            }
        }
        save_all(&self.store, &self.directory, &self.instance);
    }
}

/// What earlier processes left in their directory, held against the database: why not, if the highest leaf of a file does
/// not stand there. Files whose leaves are there and published, `size` of them, are removed.
pub(crate) async fn hold_against(
    store: &Store,
    directory: &Path,
    size: Option<u64>,
) -> Result<Option<String>, store::Error> {
    for path in files(directory) {
        let file = path.display();
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let leaves = match text.and_then(|text| read(&text).map_err(|error| error.to_string())) {
            Ok(file) => file.leaves,
            Err(error) => {
                tracing::error!(%file, error, "a file of kept leaves cannot be read");
                continue;
            }
        };
        let Some((index, body)) = leaves.last() else {
            continue;
        };
        let row = store.leaf(index.cast_signed()).await?;
        // Retention may have let its body go.
        if !row.is_some_and(|row| row.body.is_empty() || row.body.as_bytes() == body) {
            return Ok(Some(format!(
                "leaf {index} was answered and is not in the database ({file}): run `chancery log recover`, then move the file away"
            )));
        }
        if size.is_some_and(|size| *index < size) {
            match std::fs::remove_file(&path) {
                Ok(()) => tracing::info!(%file, "kept leaves are published; the file was removed"),
                Err(error) => {
                    tracing::warn!(%file, %error, "kept leaves are published; remove the file");
                }
            }
        }
    }
    Ok(None)
}

/// In the order of their names.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("kept-")) && path.extension().is_none()
        })
        .collect();
    files.sort();
    files
}

/// Into a file of this process's own.
pub(crate) fn save(directory: &Path, instance: &str, text: &str) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let path = directory.join(format!("kept-{instance}"));
    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves() -> Vec<KeptLeaf> {
        vec![(7, r#"{"a": "b c"}"#.to_owned()), (9, "{}".to_owned())]
    }

    fn expected() -> Vec<(u64, Vec<u8>)> {
        let expected = leaves().into_iter();
        expected
            .map(|(index, body)| (index.unsigned_abs(), body.into_bytes()))
            .collect()
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), "one", &text(&leaves(), false, "one")).unwrap();
        let read = read(&std::fs::read_to_string(directory.path().join("kept-one")).unwrap());
        let end = End {
            complete: false,
            highest: Some(9),
            instance: "one".to_owned(),
            leaves: 2,
        };
        let file = KeptFile {
            leaves: expected(),
            end: Some(end),
        };
        assert_eq!(read, Ok(file));
        let nothing = super::read(&text(&[], true, "two")).unwrap();
        assert_eq!(
            (nothing.leaves.len(), nothing.end.unwrap().highest),
            (0, None)
        );
    }

    #[test]
    fn case_l1_a_file_of_kept_leaves_that_was_cut_off_is_refused() {
        let whole = text(&leaves(), true, "one");
        for end in BEGIN.len() + 1..whole.len() {
            let cut = read(&whole[..end]);
            assert!(cut.is_err(), "{end}: {cut:?}");
        }
        let lines: Vec<&str> = whole.lines().collect();
        let without = [&lines[..1], &lines[2..]].concat().join("\n") + "\n";
        assert_eq!(read(&without), Err(Unreadable::CutOff));
        assert_eq!(read(&format!("{whole}8 {{}}\n")), Err(Unreadable::Line(5)));
        // Of a version that wrote leaves alone.
        let old = lines[1..3].join("\n") + "\n";
        let file = read(&old).unwrap();
        assert_eq!((file.leaves, file.end), (expected(), None));
        assert_eq!(read("7 {}\nseven {}\n"), Err(Unreadable::Line(2)));
    }
}
