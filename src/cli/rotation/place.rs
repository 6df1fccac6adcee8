//! Files that reports go into: made before anything is begun, so that what cannot be written is said then.

use std::fs::{File, remove_file};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use trust::text::spelled_out;

use verify::output::Failure;

/// A new file, which is gone again where nothing is written into it.
pub struct Place {
    path: PathBuf,
    file: Option<File>,
}

impl Place {
    pub fn of(path: Option<&Path>) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let file = File::create_new(path).map_err(|error| {
            let name = path.display();
            Failure::usage(match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    format!("{name} exists: it is never overwritten")
                }
                _ => format!("{name} cannot be written: {error}"),
            })
        })?;
        Ok(Some(Self {
            path: path.to_owned(),
            file: Some(file),
        }))
    }

    pub fn write(mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let name = self.path.display();
        Ok(written
            .map_err(|error| anyhow::anyhow!("the report cannot be written to {name}: {error}"))?)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = remove_file(&self.path);
        }
    }
}

/// Text of several lines, of which a part comes from the service: it is not trusted, and nothing in it moves the cursor.
pub fn lines_spelled_out(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(spelled_out).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_said_before_and_nothing_is_left_of_what_was_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        drop(Place::of(Some(&path)).unwrap().unwrap());
        assert!(!path.exists());
        let place = Place::of(Some(&path)).unwrap().unwrap();
        place.write(b"{}").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{}");
        let again = Place::of(Some(&path)).err().unwrap();
        assert!(again.error.to_string().contains("never overwritten"));
        let nowhere = Place::of(Some(&directory.path().join("no/r.json")));
        let nowhere = nowhere.err().unwrap();
        assert!(nowhere.error.to_string().contains("cannot be written"));
    }

    #[test]
    fn threat_what_the_service_says_moves_the_cursor() {
        let text = lines_spelled_out("one\n\u{1b}[2Jtwo\rthree\n");
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text}");
        assert_eq!(text.lines().count(), 2);
    }
}
