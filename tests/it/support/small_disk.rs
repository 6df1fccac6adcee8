//! A disk that is full.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::process::run;

/// A file system so small that a database fills it; where nothing may be mounted, a limit on the size of files.
pub struct SmallDisk {
    pub at: PathBuf,
    pub mounted: bool,
}

impl SmallDisk {
    pub fn new(at: &Path) -> Self {
        std::fs::create_dir(at).expect("a directory");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
            .arg(at)
            .stderr(Stdio::null());
        let mounted = run(&mut mount, b"").code == Some(0);
        Self {
            at: at.to_owned(),
            mounted,
        }
    }

    /// `serve` with that limit: a write beyond it fails, as on a full disk.
    pub fn limit(&self, serve: &Command) -> Command {
        let mut sh = Command::new("sh");
        let limit = if self.mounted { "unlimited" } else { "6000" };
        sh.args([
            "-c",
            "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"",
            "sh",
            limit,
        ]);
        sh.arg(serve.get_program()).args(serve.get_args());
        sh
    }

    /// Leaves no room on it. Where nothing may be mounted, the limit is left to the writes of the service.
    pub fn fill(&self) {
        if self.mounted {
            let mut filler = File::create(self.at.join("filler")).expect("a file");
            while filler.write_all(&[0; 4_096]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = run(Command::new("umount").arg("-l").arg(&self.at), b"");
        }
    }
}
