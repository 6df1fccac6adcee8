//! The installation that is measured: its rings, and its service, started again as a row needs it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use testkit::http::send;
use testkit::installation::{self as made, Plan, Service, free_port, memory_directory};

/// Names the binary that is measured, where it is not the one of this build: an earlier version, to compare with.
pub const VARIABLE: &str = "BENCH_CHANCERY";
pub const TOKEN: &str = "chancery-bench";
/// The ring for ES256, and the one for PS256 with RSA-2048.
pub const ES256: &str = "records";
pub const PS256: &str = "seals";
/// The ring that signs the log's checkpoints.
const LOG: &str = "log";
/// How long a key is published before it may sign; the shortest there is.
pub const PUBLISH_SAFETY: Duration = Duration::from_secs(4);

/// For a rule that asks for time.
const PATIENCE: Duration = Duration::from_secs(90);

/// What was made is stopped and removed, whatever came of it.
pub struct Installation {
    service: Option<Service>,
    made: made::Installation,
    pub api: SocketAddr,
    pub access_token: String,
    /// What the running service was started with.
    environment: BTreeMap<String, String>,
    /// On the disk, because commits are to reach a disk.
    _directory: TempDir,
    _token: TempDir,
}

/// `target/bench`, where the report goes.
pub fn output_directory() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .context("the target directory")?;
    let directory = target.join("bench");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

impl Installation {
    pub fn new(output: &Path) -> Result<Self> {
        Self::on(output, "sqlite:chancery.db")
    }

    /// On the empty database with this URL.
    pub fn on(output: &Path, store: &str) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        let directory = builder.prefix("installation-").tempdir_in(output)?;
        let token = memory_directory("chancery-bench-")?;
        let api = free_port()?;
        let mut made = made::Installation::with_token(Plan {
            // Absolute, for it runs in the installation's directory.
            program: std::path::absolute(
                std::env::var_os(VARIABLE).unwrap_or_else(|| env!("CARGO_BIN_EXE_chancery").into()),
            )?,
            directory: directory.path().to_owned(),
            token: token.path().join("token"),
            token_label: TOKEN.to_owned(),
            environment: "bench".to_owned(),
            store: store.to_owned(),
            api: api.clone(),
            operations: free_port()?,
            publish_safety: PUBLISH_SAFETY,
            settings: vec![("http", "requests_per_second = 1000000".to_owned())],
            narrate: None,
        })?;
        for custodian in ["ada", "grace", "mary"] {
            made.add_custodian(custodian, "ed25519")?;
        }
        made.found()?;
        made.install()?;
        let mut new = Self {
            service: None,
            made,
            api: api.parse()?,
            access_token: String::new(),
            environment: BTreeMap::new(),
            _directory: directory,
            _token: token,
        };
        for (ring, settings) in [
            (ES256, "ES256 P-256"),
            (PS256, "PS256 RSA-2048"),
            (LOG, "Ed25519 Ed25519"),
        ] {
            new.ring(ring, settings)?;
            new.ceremony(ring)?;
        }
        new.serve(&BTreeMap::new())?;
        let roles = [ES256, PS256].map(|ring| format!("signer:{ring}"));
        new.access_token = new.made.grant("bench", &[&roles[0], &roles[1]])?;
        for ring in [ES256, PS256, LOG] {
            new.rotate_when_safe(ring)?;
        }
        Ok(new)
    }

    /// The token's library.
    pub fn module(&self) -> &Path {
        Path::new(&self.made.module)
    }

    /// The token as `module` shows it.
    pub fn token_uri(&self, module: &Path) -> String {
        self.made.token_uri(module.display())
    }

    pub fn token_file(&self, name: &str) -> PathBuf {
        self.made.token_file(name)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.made.file(name)
    }

    /// Runs a sub-command and returns its JSON.
    pub fn chancery(&self, arguments: &[&str]) -> Result<Value> {
        self.made.chancery(arguments)
    }

    pub fn chancery_with(
        &self,
        environment: &BTreeMap<String, String>,
        arguments: &[&str],
    ) -> Result<Value> {
        let mut program = Command::new(&self.made.plan.program);
        program.envs(environment);
        let said = self.made.run_by(program, arguments)?;
        self.made.succeeded(said, arguments)
    }

    pub fn ring(&self, name: &str, settings: &str) -> Result<()> {
        let (algorithm, spec) = settings
            .split_once(' ')
            .context("algorithm and kind of key")?;
        let mut create = vec!["ring", "create", name, "--apply"];
        create.extend(["--algorithm", algorithm, "--key-spec", spec]);
        self.chancery(&create).map(drop)
    }

    /// A key under a quorum. Returns its kid.
    pub fn ceremony(&self, ring: &str) -> Result<String> {
        let held = self.made.generate(ring, "ada", "figures")?;
        held.kid().map(str::to_owned)
    }

    /// The next key becomes primary as soon as it has been published long enough.
    pub fn rotate_when_safe(&self, ring: &str) -> Result<()> {
        self.made.rotate_when_safe(ring)
    }

    /// An access token for a principal.
    pub fn grant(&self, principal: &str, roles: &[&str]) -> Result<String> {
        self.made.grant(principal, roles)
    }

    /// The ceremony that this command proposes, to its end.
    pub fn hold(&self, words: &[&str]) -> Result<()> {
        self.made.hold(words, "ada", "figures").map(drop)
    }

    /// Runs a command as soon as the rules allow it.
    pub fn when_allowed(&self, words: &[&str]) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let said = self.made.run(words)?;
            // Refused by a rule.
            if said.code != Some(3) || Instant::now() > end {
                return self.made.succeeded(said, words).map(drop);
            }
            sleep(Duration::from_millis(200));
        }
    }

    /// Starts the service and returns how long it took to be ready to sign. Nothing happens if it runs with this
    /// environment already.
    pub fn serve(&mut self, environment: &BTreeMap<String, String>) -> Result<Duration> {
        if self.service.is_some() && self.environment == *environment {
            return Ok(Duration::ZERO);
        }
        self.stop();
        let started = Instant::now();
        let mut service = self.made.start(environment)?;
        service.wait_until("/health/ready/signing")?;
        let took = started.elapsed();
        self.service = Some(service);
        self.environment.clone_from(environment);
        Ok(took)
    }

    pub fn stop(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.child.terminate();
        }
    }

    fn running(&self) -> Result<&Service> {
        self.service.as_ref().context("the service does not run")
    }

    /// The process id of the service.
    pub fn service(&self) -> Result<u32> {
        Ok(self.running()?.child.id())
    }

    pub fn get(&self, path: &str) -> Result<Vec<u8>> {
        let answer = send(&self.made.plan.api, "GET", path, &[], b"")?;
        if answer.status != 200 {
            bail!("GET {path}: {}", answer.status);
        }
        Ok(answer.body)
    }

    /// A number out of the service's own metrics, such as `name_sum` and `name_count`.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let found = self.running()?.metric(&format!("{name} "))?;
        found.with_context(|| format!("no metric {name}"))
    }
}

/// In order, so that the directory is removed after the service has closed its database.
impl Drop for Installation {
    fn drop(&mut self) {
        self.stop();
    }
}
