//! Kept leaves as text: a line each, its index, a space, and its body, which is canonical JSON and has no line break.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use store::KeptLeaf;

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
