//! A real PostgreSQL in a temporary directory, on a free port of the loopback interface.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::ports;

/// Killed when it is dropped; and when this process ends, because a static is never dropped.
pub struct Server {
    binaries: PathBuf,
    directory: tempfile::TempDir,
    port: u16,
    account: Option<(u32, u32)>,
    child: Mutex<Option<Child>>,
    /// Its end of the pipe closes with this process, however that ends.
    _watchdog: Child,
}

impl Server {
    pub fn start() -> io::Result<Self> {
        Self::start_in(&std::env::temp_dir())
    }

    /// With its files below this directory, which the account of PostgreSQL has to be able to enter.
    pub fn start_in(parent: &Path) -> io::Result<Self> {
        let server = Self::new(parent)?;
        let data = server.data();
        let mut initdb = server.command("initdb");
        initdb.arg("-D").arg(&data);
        initdb.args([
            "-U",
            "chancery",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        run(initdb)?;
        server.resume()?;
        Ok(server)
    }

    fn new(parent: &Path) -> io::Result<Self> {
        let binaries = binaries()?;
        let directory = tempfile::Builder::new()
            .prefix("chancery-pg-")
            .tempdir_in(parent)?;
        let account = account(directory.path())?;
        if let Some((user, group)) = account {
            chown(directory.path(), Some(user), Some(group))?;
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700))?;
        let port = ports::claim()?;
        let _watchdog = watchdog(directory.path())?;
        Ok(Self {
            binaries,
            directory,
            port,
            account,
            child: Mutex::new(None),
            _watchdog,
        })
    }

    /// Another server that follows this one by streaming replication, asynchronously.
    pub fn standby(&self) -> io::Result<Self> {
        let standby = Self::new(&std::env::temp_dir())?;
        let mut backup = standby.command("pg_basebackup");
        backup.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-U",
            "chancery",
        ]);
        backup.arg("-D").arg(standby.data());
        backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        run(backup)?;
        standby.resume()?;
        Ok(standby)
    }

    /// A standby hears nothing more of its primary, as on a network that is slow or cut.
    pub fn disconnect(&self) -> io::Result<()> {
        run(self.psql("postgres", "ALTER SYSTEM SET primary_conninfo = ''"))?;
        run(self.psql("postgres", "SELECT pg_reload_conf()"))?;
        let until = Instant::now() + Duration::from_secs(30);
        while self.one("SELECT count(*) FROM pg_stat_wal_receiver")? != "0" {
            if Instant::now() > until {
                return Err(io::Error::other("the standby is still connected"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A standby becomes a primary.
    pub fn promote(&self) -> io::Result<()> {
        run(self.psql("postgres", "SELECT pg_promote()"))
    }

    /// One value, as the superuser.
    fn one(&self, sql: &str) -> io::Result<String> {
        let output = self.psql("postgres", sql).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The process that started all others of the server; none while it is stopped.
    pub fn id(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it, at first or again.
    pub fn resume(&self) -> io::Result<()> {
        let mut postgres = self.command("postgres");
        postgres
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.directory.path());
        postgres.args(["-p", &self.port.to_string()]);
        // fsync off: these databases do not outlive the machine.
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "max_connections=200",
        ] {
            postgres.args(["-c", setting]);
        }
        let log = fs::File::create(self.directory.path().join("log"))?;
        postgres
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        *self.child() = Some(postgres.spawn()?);
        let until = Instant::now() + Duration::from_secs(30);
        while run(self.psql("postgres", "SELECT 1")).is_err() {
            if Instant::now() > until {
                return Err(io::Error::other(format!("no PostgreSQL: {}", self.log())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// SIGQUIT: connections are cut at once, as in a crash.
    pub fn stop(&self) -> io::Result<()> {
        if let Some(mut child) = self.child().take() {
            run(kill("QUIT", child.id()))?;
            child.wait()?;
        }
        Ok(())
    }

    /// To every process that serves a client.
    pub fn signal_backends(&self, signal: &str) -> io::Result<()> {
        let mut pgrep = Command::new("pgrep");
        pgrep.args([
            "-P",
            &self.child().as_ref().map_or(0, Child::id).to_string(),
        ]);
        let children = pgrep.output()?.stdout;
        for id in String::from_utf8_lossy(&children).split_whitespace() {
            let title = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
            if let (true, Ok(id)) = (title.contains("127.0.0.1"), id.parse()) {
                run(kill(signal, id))?;
            }
        }
        Ok(())
    }

    /// The whole server stands still (`STOP`) or goes on (`CONT`): connections are taken by the kernel and
    /// nobody answers.
    pub fn signal_all(&self, signal: &str) -> io::Result<()> {
        let server = self.child().as_ref().map_or(0, Child::id);
        run(kill(signal, server))?;
        self.signal_backends(signal)
    }

    pub fn create_database(&self, name: &str) -> io::Result<String> {
        run(self.psql("postgres", &format!("CREATE DATABASE {name}")))?;
        Ok(self.url(name))
    }

    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://chancery@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    /// As the superuser, over the socket.
    pub fn psql(&self, database: &str, sql: &str) -> Command {
        let mut psql = self.command("psql");
        psql.arg("-h").arg(self.directory.path());
        psql.args(["-p", &self.port.to_string(), "-U", "chancery", "-qXAt"]);
        psql.args(["-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]);
        psql
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        command
            .current_dir(self.directory.path())
            .env("LC_ALL", "C");
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// PostgreSQL refuses to run as root; then it runs as the account that its package made.
fn account(directory: &Path) -> io::Result<Option<(u32, u32)>> {
    if fs::metadata(directory)?.uid() != 0 {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd")?;
    let fields = accounts
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let mut found = fields.filter(|fields| fields.first() == Some(&"postgres"));
    let id = |text: Option<&&str>| text.and_then(|text| text.parse().ok());
    match found
        .next()
        .map(|fields| (id(fields.get(2)), id(fields.get(3))))
    {
        Some((Some(user), Some(group))) => Ok(Some((user, group))),
        _ => Err(io::Error::other(
            "running as root and there is no account named postgres",
        )),
    }
}

/// The newest that is installed.
fn binaries() -> io::Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    versions.sort();
    versions
        .pop()
        .map(|(_, path)| path)
        .ok_or_else(|| io::Error::other("no PostgreSQL installed"))
}

/// Waits for the end of its input, then kills the server by the process id in its own file.
fn watchdog(directory: &Path) -> io::Result<Child> {
    const SCRIPT: &str = r#"cat >/dev/null
        read -r id <"$1/data/postmaster.pid" && kill -s QUIT "$id"
        sleep 1; rm -rf -- "$1""#;
    let mut sh = Command::new("sh");
    sh.args(["-c", SCRIPT, "sh"])
        .arg(directory)
        .current_dir("/")
        .process_group(0);
    sh.stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn kill(signal: &str, id: u32) -> Command {
    let mut kill = Command::new("kill");
    kill.args(["-s", signal, &id.to_string()]);
    kill
}

fn run(mut command: Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{command:?}: {words}")))
}
