//! Many tests begin with the same installation: it is made once and copied, its token and its database included.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use testkit::installation::{self as made, Plan};

use super::custodian::Custodian;
use super::installation::{Installation, directory, free_port, text};
use super::process::done;

/// An installation in which these rings were opened, in this order, and nothing else was done; no process runs on it.
struct Template {
    installation: Installation,
    /// Of the ring that was opened last.
    kid: String,
    _watchdog: Child,
}

type Made = Mutex<BTreeMap<Vec<String>, Arc<OnceLock<Template>>>>;

fn template(rings: &[String]) -> Arc<OnceLock<Template>> {
    static MADE: Made = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().expect("no panic under it");
    let place = Arc::clone(made.entry(rings.to_vec()).or_default());
    drop(made);
    // Whoever needs it first makes it; others wait for that, and nobody for another one.
    place.get_or_init(|| {
        let installation = match rings.split_last() {
            None => Installation::foreign(),
            Some((_, before)) => copy_of(before),
        };
        let kid = match rings.last().map(String::as_str) {
            None => String::new(),
            Some("log") => installation.open("log", "Ed25519"),
            Some(ring) => installation.open(ring, "ES256"),
        };
        let _watchdog = removed_at_the_end(installation.directory.path());
        Template {
            installation,
            kid,
            _watchdog,
        }
    });
    place
}

/// With addresses of its own.
fn copy_of(rings: &[String]) -> Installation {
    let place = template(rings);
    let from = &place.wait().installation;
    let (to, api, operations) = (directory(), free_port(), free_port());
    let addresses = [
        (from.plan.api.as_str(), api.as_str()),
        (&from.plan.operations, &operations),
    ];
    copy(from, to.path(), &addresses);
    Installation {
        made: moved(from, to.path(), api, operations),
        directory: to,
        opened: Mutex::new(Some(rings.to_vec())),
    }
}

/// The same in another directory, with other addresses.
pub fn moved(
    from: &made::Installation,
    to: &Path,
    api: String,
    operations: String,
) -> made::Installation {
    let mut moved = from.clone();
    moved.plan = Plan {
        directory: to.to_owned(),
        token: to.join("token"),
        api,
        operations,
        ..moved.plan
    };
    let custodians = from.custodians.iter();
    moved.custodians = custodians.map(|one| Custodian::at(to, &one.id)).collect();
    moved
}

/// Nothing opened yet.
pub fn founded() -> Installation {
    copy_of(&[])
}

/// Opens a ring where nothing but the opening of rings was done before: its files become those of the template in which
/// the same was done. Returns the kid.
pub fn open(installation: &Installation, ring: &str) -> Option<String> {
    let mut opened = installation.opened.lock().expect("no panic under it");
    let mut rings = opened.take()?;
    rings.push(ring.to_owned());
    let place = template(&rings);
    let from = place.wait();
    let at = installation.directory.path();
    fs::remove_dir_all(at.join("token/tokens")).expect("the token of before");
    let from_directory = from.installation.directory.path();
    // A command may end without its SQLite having emptied the write-ahead log: one that stayed from before would be
    // played into the database of the template.
    for name in ["chancery.db-shm", "chancery.db-wal", "chancery.db"] {
        let _ = fs::remove_file(at.join(name));
    }
    for name in ["token/tokens", "chancery.db", "chancery.db-wal"] {
        let (file, to) = (from_directory.join(name), at.join(name));
        if file.exists() {
            done("cp", ["-r", text(&file), text(&to)]);
        }
    }
    *opened = Some(rings);
    Some(from.kid.clone())
}

/// All files of an installation on which no process runs; in its configuration these words change, and its directory.
pub fn copy(from: &Installation, to: &Path, changes: &[(&str, &str)]) {
    let from = from.directory.path();
    done("cp", ["-r", &format!("{}/.", text(from)), text(to)]);
    for file in ["chancery.toml", "token/softhsm2.conf"] {
        let file = to.join(file);
        let mut words = fs::read_to_string(&file).expect("a file");
        for (before, after) in changes.iter().chain(&[(text(from), text(to))]) {
            words = words.replace(before, after);
        }
        fs::write(file, words).expect("a file");
    }
    // A copy of a database is another database, and this one is meant.
    let _ = fs::remove_file(to.join("log/database"));
}

/// Removes a directory when this process ends, however that ends: statics are never dropped.
pub fn removed_at_the_end(directory: &Path) -> Child {
    let mut sh = Command::new("sh");
    sh.args(["-c", "cat >/dev/null; sleep 1; rm -rf -- \"$1\"", "sh"]);
    sh.arg(directory).current_dir("/").stdin(Stdio::piped());
    sh.spawn().expect("a watchdog")
}
