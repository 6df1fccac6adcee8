//! What a witness remembers: of each log the last checkpoint that it cosigned, in one file.
//!
//! A file is replaced as a whole and is on the disk before the answer leaves. A directory has one
//! process: two would each answer with the other's past.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the witness's state could not be {did} {path}")]
    File {
        did: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
}

pub struct State {
    directory: PathBuf,
    /// Locked as long as we live; the kernel lets go of it, however we end.
    _lock: File,
}

impl State {
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(directory)
            .map_err(failed("kept in", directory))?;
        let path = directory.join("lock");
        let lock = File::create(&path).map_err(failed("locked by", &path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Error::InUse(directory.to_owned()))?;
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
        })
    }

    fn at(&self, origin: &str) -> PathBuf {
        self.directory.join(super::name(origin))
    }

    pub fn read(&self, origin: &str) -> Result<Option<String>, Error> {
        let path = self.at(origin);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read from", &path)(error)),
        }
    }

    /// Whoever reads finds the old note or the new one, also after a power cut; after this has
    /// returned, the new one.
    pub fn write(&self, origin: &str, note: &str) -> Result<(), Error> {
        let path = self.at(origin);
        let new = path.with_extension("new");
        let written = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(note.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        written().map_err(failed("written to", &path))
    }
}

fn failed(did: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { did, path, source }
}
