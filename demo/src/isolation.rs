//! Commands without a network.

use std::path::Path;
use std::process::Command;

/// A command without a network.
pub fn isolated(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--net", "--"])
        .arg(program);
    command
}
