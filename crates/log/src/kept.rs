//! Kept leaves as text: a line each, its index, a space, and its body, which is canonical JSON and has no line break.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use store::{KeptLeaf, Store};

/// For a file or `GET /log/kept`.
pub fn write(leaves: &[KeptLeaf]) -> String {
    let lines = leaves
        .iter()
        .map(|(index, body)| format!("{index} {body}\n"));
    lines.collect()
}

/// Each leaf with its index; the number of the line that is none.
pub fn read(text: &str) -> Result<Vec<(u64, Vec<u8>)>, usize> {
    let leaf = |line: &str| {
        let (index, body) = line.split_once(' ')?;
        Some((index.parse().ok()?, body.as_bytes().to_vec()))
    };
    let lines = (1..).zip(text.lines());
    lines
        .map(|(number, line)| leaf(line).ok_or(number))
        .collect()
}

/// All that a process keeps, into a file; whether that succeeded, or there was nothing.
pub(crate) fn save_all(store: &Store, directory: &Path, instance: &str) -> bool {
    let saved = save(directory, instance, &store.kept());
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

/// At the end of a process: what no published checkpoint covers, if the database is gone or was replaced.
pub async fn save_at_the_end(store: &Store, directory: &Path, instance: &str) {
    let look = tokio::time::timeout(Duration::from_secs(2), store.look());
    let away = !matches!(look.await, Ok(Ok(_)));
    if away || store.halted().is_some_and(|halted| halted.incomplete) {
        save_all(store, directory, instance);
    }
}

/// Into a file of this process's own. Nothing is written where nothing is kept.
pub(crate) fn save(directory: &Path, instance: &str, leaves: &[KeptLeaf]) -> std::io::Result<()> {
    if leaves.is_empty() {
        return Ok(());
    }
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
    file.write_all(write(leaves).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_again() {
        let leaves = vec![(7, r#"{"a": "b c"}"#.to_owned()), (9, "{}".to_owned())];
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), "one", &leaves).unwrap();
        let text = std::fs::read_to_string(directory.path().join("kept-one")).unwrap();
        let expected = leaves.iter().map(|(index, body)| {
            let index = index.unsigned_abs();
            (index, body.clone().into_bytes())
        });
        assert_eq!(read(&text), Ok(expected.collect()));
        assert_eq!(read("7 {}\nseven {}\n"), Err(2));
    }
}
