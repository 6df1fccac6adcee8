//! One file for each token, shared by every process of this user that uses it: its lock serialises starts (four workers
//! that log in to one SoftHSM token at once fail in 35 of 100 starts), its content remembers rejected PINs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;
use rustix::fs::{FlockOperation, OFlags, flock};

use crate::uri::Pkcs11Uri;

/// Lines about rejected PINs that are remembered; the oldest falls out.
const REMEMBERED: usize = 16;

/// Begins the line of a rejected PIN that a restarted service has tried once more.
const RETRIED: &str = "retried ";

pub struct TokenFile {
    file: File,
}

/// Held while a worker initialises its library and logs in. Dies with the process: the kernel drops the lock, so a
/// worker killed in the middle of its start holds up nobody.
pub struct StartLock<'a> {
    file: &'a mut File,
}

/// `<directory>/<digest of module and token>.lock`.
pub fn open(directory: Option<&Path>, uri: &Pkcs11Uri) -> io::Result<TokenFile> {
    let user = rustix::process::geteuid().as_raw();
    let directory = match directory {
        Some(directory) => directory.to_path_buf(),
        None => std::env::temp_dir().join(format!("chancery-{user}")),
    };
    private_directory(&directory, user)?;
    // Two services that name one token differently do not share a file; that costs a retry by rule, not correctness.
    let name = format!("{}\0{uri}", uri.module_path.display());
    let digest = digest::digest(&digest::SHA256, name.as_bytes());
    let name = base16ct::lower::encode_string(&digest.as_ref()[..16]);
    let path: PathBuf = directory.join(name + ".lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    Ok(TokenFile { file })
}

/// Ours alone, and no symbolic link: the default stands in a directory where anybody may write.
fn private_directory(path: &Path, user: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} is not a directory accessible to this user only",
                path.display()
            ),
        ));
    }
    Ok(())
}

impl TokenFile {
    /// Waits for the lock; `None` when `gone` says that waiting has lost its point. `queued` is called once if the lock
    /// is not free at once.
    pub fn lock(
        &mut self,
        gone: impl Fn() -> bool,
        queued: impl Fn(),
    ) -> io::Result<Option<StartLock<'_>>> {
        let mut told = false;
        loop {
            match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    return Ok(Some(StartLock {
                        file: &mut self.file,
                    }));
                }
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !std::mem::replace(&mut told, true) {
                queued();
            }
            if gone() {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl StartLock<'_> {
    /// Whether this content of the PIN source was rejected before, by any worker.
    pub fn rejected_before(&mut self, stamp: &str) -> io::Result<bool> {
        Ok(self.read()?.lines().any(|line| line == stamp))
    }

    /// Written and synced before anything else happens: if we die here, the next worker knows.
    pub fn remember_rejected(&mut self, stamp: &str) -> io::Result<()> {
        self.remember(stamp)
    }

    /// Whether a rejected PIN may be tried once more; says yes once for each content of its source. Written and synced
    /// before the try: if we die in between, the try is lost, and a loop of restarts does not lock the token.
    pub fn take_retry(&mut self, stamp: &str) -> io::Result<bool> {
        let taken = format!("{RETRIED}{stamp}");
        if self.read()?.lines().any(|line| line == taken) {
            return Ok(false);
        }
        self.remember(&taken)?;
        Ok(true)
    }

    /// The PIN was accepted: whatever was remembered of it does not count any more.
    pub fn forget(&mut self, stamp: &str) -> io::Result<()> {
        let text = self.read()?;
        let kept = |line: &&str| line.strip_prefix(RETRIED).unwrap_or(line) != stamp;
        let lines: Vec<&str> = text.lines().filter(kept).collect();
        if lines.len() == text.lines().count() {
            return Ok(());
        }
        self.write(&lines)
    }

    fn remember(&mut self, line: &str) -> io::Result<()> {
        let text = self.read()?;
        // A line already there moves to the end, so that it is not the next to fall out.
        let mut lines: Vec<&str> = text.lines().filter(|known| *known != line).collect();
        lines.push(line);
        let from = lines.len().saturating_sub(REMEMBERED);
        self.write(&lines[from..])
    }

    fn write(&mut self, lines: &[&str]) -> io::Result<()> {
        // If we die between truncating and writing, one wrong PIN is forgotten, and tried once more.
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all((lines.join("\n") + "\n").as_bytes())?;
        self.file.sync_data()
    }

    /// All of it; bounded, since the file is only ours by its permissions.
    fn read(&mut self) -> io::Result<String> {
        let mut text = String::new();
        self.file.rewind()?;
        Read::by_ref(&mut *self.file)
            .take(16 * 1024)
            .read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for StartLock<'_> {
    fn drop(&mut self) {
        // Closing the file would do the same; an error leaves it to that.
        let _ = flock(&*self.file, FlockOperation::Unlock);
    }
}
