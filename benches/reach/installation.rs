//! A whole installation made by commands, as a person would: token, custodians, genesis, rings, keys by ceremony.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::http::{once, request};
use super::process::Running;

pub const TOKEN: &str = "chancery-bench";
/// The ring for ES256, and the one for PS256 with RSA-2048.
pub const ES256: &str = "records";
pub const PS256: &str = "seals";
/// The ring that signs the log's checkpoints.
const LOG: &str = "log";
const CUSTODIANS: [&str; 3] = ["ada", "grace", "mary"];
/// How long a key is published before it may sign; the shortest there is.
pub const PUBLISH_SAFETY: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Installation {
    /// On the disk, because commits are to reach a disk.
    directory: PathBuf,
    /// In memory where there is some: SoftHSM reads two files for each signature.
    token: TempDir,
    pub module: PathBuf,
    pub api: SocketAddr,
    pub operations: SocketAddr,
    pub access_token: String,
    service: Option<Running>,
    /// What the running service was started with.
    environment: BTreeMap<String, String>,
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
        let directory = output.join(format!("installation-{}", std::process::id()));
        fs::create_dir(&directory)?;
        let memory = Path::new("/dev/shm");
        let mut builder = tempfile::Builder::new();
        builder.prefix("chancery-bench-");
        let token = if memory.is_dir() {
            builder.tempdir_in(memory)
        } else {
            builder.tempdir()
        }?;
        let mut made = Self {
            module: PathBuf::new(),
            directory,
            token,
            api: free_port()?,
            operations: free_port()?,
            access_token: String::new(),
            service: None,
            environment: BTreeMap::new(),
        };
        made.found()?;
        for (ring, settings) in [
            (ES256, "ES256 P-256"),
            (PS256, "PS256 RSA-2048"),
            (LOG, "Ed25519 Ed25519"),
        ] {
            made.ring(ring, settings)?;
            made.ceremony(ring)?;
        }
        made.serve(&BTreeMap::new())?;
        let roles = [ES256, PS256].map(|ring| format!("signer:{ring}"));
        let said = made.chancery(&[
            "access", "grant", "bench", "--role", &roles[0], "--role", &roles[1],
        ])?;
        made.access_token = text(&said, "access_token")?;
        for ring in [ES256, PS256, LOG] {
            made.rotate_when_safe(ring)?;
        }
        Ok(made)
    }

    fn found(&mut self) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("softhsm/init-token");
        let mut command = Command::new(script);
        self.module = said(command.arg(self.token_file("")).arg(TOKEN))?
            .trim()
            .into();
        let mut new = vec![
            "ceremony",
            "genesis",
            "new",
            "--service",
            "chancery",
            "--environment",
            "bench",
        ];
        new.extend(["--threshold", "2", "--out", "genesis.pae"]);
        let members = CUSTODIANS.map(|name| format!("{name}={name}.pub"));
        for (name, member) in CUSTODIANS.iter().zip(&members) {
            self.ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name])?;
            new.extend(["--member", member]);
        }
        let namespace = text(&self.chancery(&new)?, "namespace")?;
        let mut assemble = vec![
            "ceremony",
            "genesis",
            "assemble",
            "genesis.pae",
            "--out",
            "genesis.json",
        ];
        let signatures = CUSTODIANS.map(|name| format!("genesis.{name}.sig"));
        for (name, signature) in CUSTODIANS.iter().zip(&signatures) {
            self.ssh_keygen(&[
                "-q",
                "-Y",
                "sign",
                "-n",
                &namespace,
                "-f",
                name,
                "genesis.pae",
            ])?;
            fs::rename(self.file("genesis.pae.sig"), self.file(signature))?;
            assemble.extend(["--signature", signature]);
        }
        let genesis = text(&self.chancery(&assemble)?, "genesis")?;
        fs::write(self.file("chancery.toml"), self.configuration(&genesis))?;
        self.chancery(&["migrate"])?;
        self.chancery(&["ceremony", "genesis", "install", "genesis.json"])?;
        Ok(())
    }

    fn configuration(&self, genesis: &str) -> String {
        let uri = self.token_uri(&self.module);
        let environment = format!(
            "{{ SOFTHSM2_CONF = \"{}\" }}",
            self.token_file("softhsm2.conf").display()
        );
        format!(
            "profile = \"demonstration\"\n\
             [service]\nname = \"chancery\"\nenvironment = \"bench\"\nissuer = \"http://{api}\"\n\
             [http]\nlisten = \"{api}\"\noperations_listen = \"{operations}\"\nrequests_per_second = 1000000\n\
             [store]\nurl = \"sqlite:chancery.db\"\n\
             [token]\nuri = \"{uri}\"\nprofile = \"softhsm\"\nenvironment = {environment}\n\
             [executor]\nuri = \"{uri}\"\nprofile = \"softhsm\"\nenvironment = {environment}\n\
             [publication]\npublish_safety = \"{safety}s\"\n\
             [trust]\ngenesis = \"{genesis}\"\n",
            api = self.api,
            operations = self.operations,
            safety = PUBLISH_SAFETY.as_secs(),
        )
    }

    /// The token as `module` shows it.
    pub fn token_uri(&self, module: &Path) -> String {
        let (module, pin) = (module.display(), self.pin_file());
        format!(
            "pkcs11:token={TOKEN}?module-path={module}&pin-source=file:{}",
            pin.display()
        )
    }

    pub fn pin_file(&self) -> PathBuf {
        self.token_file("pin")
    }

    pub fn token_file(&self, name: &str) -> PathBuf {
        self.token.path().join("token").join(name)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn ssh_keygen(&self, arguments: &[&str]) -> Result<()> {
        said(
            Command::new("ssh-keygen")
                .args(arguments)
                .current_dir(&self.directory),
        )
        .map(drop)
    }

    /// Runs a sub-command and returns its JSON.
    pub fn chancery(&self, arguments: &[&str]) -> Result<Value> {
        self.chancery_with(&BTreeMap::new(), arguments)
    }

    pub fn chancery_with(
        &self,
        environment: &BTreeMap<String, String>,
        arguments: &[&str],
    ) -> Result<Value> {
        let mut command = self.command();
        command.envs(environment);
        let output = said(command.args(["--output", "json"]).args(arguments))?;
        serde_json::from_str(&output).with_context(|| format!("chancery {}", arguments.join(" ")))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        command.current_dir(&self.directory);
        command
    }

    pub fn ring(&self, name: &str, settings: &str) -> Result<()> {
        let (algorithm, spec) = settings
            .split_once(' ')
            .context("algorithm and kind of key")?;
        self.chancery(&[
            "ring",
            "create",
            name,
            "--algorithm",
            algorithm,
            "--key-spec",
            spec,
            "--apply",
        ])?;
        Ok(())
    }

    /// A key: proposed by one, approved and accepted by two others. Returns its kid.
    pub fn ceremony(&self, ring: &str) -> Result<String> {
        let [proposer, others @ ..] = CUSTODIANS;
        let new = [
            "ceremony",
            "new",
            "generate",
            "--ring",
            ring,
            "--proposer",
            proposer,
            "--reason",
            "figures",
        ];
        let ceremony = text(&self.chancery(&new)?, "ceremony")?;
        for custodian in others {
            self.chancery(&["ceremony", "approve", &ceremony, "--key", custodian])?;
        }
        let kid = text(&self.chancery(&["ceremony", "execute", &ceremony])?, "kid")?;
        let same = format!("--kid={kid}");
        for custodian in others {
            self.chancery(&["ceremony", "accept", &ceremony, &same, "--key", custodian])?;
        }
        Ok(kid)
    }

    /// The next key becomes primary as soon as it has been published long enough.
    pub fn rotate_when_safe(&self, ring: &str) -> Result<()> {
        let end = Instant::now() + PUBLISH_SAFETY + PATIENCE;
        loop {
            match self.chancery(&["ring", "rotate", ring, "--apply"]) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => sleep(Duration::from_millis(200)),
            }
        }
    }

    /// Starts the service and returns how long it took to be ready to sign. Nothing happens if it runs with this
    /// environment already.
    pub fn serve(&mut self, environment: &BTreeMap<String, String>) -> Result<Duration> {
        if self.service.is_some() && self.environment == *environment {
            return Ok(Duration::ZERO);
        }
        self.stop();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file("service.log"))?;
        let started = Instant::now();
        let child = self
            .command()
            .arg("serve")
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut service = Running::new(child);
        let ready = request("GET", "/health/ready/signing", None, "");
        while !once(self.operations, &ready).is_ok_and(|(status, _)| status == 200) {
            if service.has_ended() || started.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.file("service.log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                bail!("the service is not ready: {}", tail.join(" | "));
            }
            sleep(Duration::from_millis(2));
        }
        self.service = Some(service);
        self.environment.clone_from(environment);
        Ok(started.elapsed())
    }

    pub fn stop(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.terminate();
        }
    }

    /// The process id of the service.
    pub fn service(&self) -> Result<u32> {
        self.service
            .as_ref()
            .map(Running::id)
            .context("the service does not run")
    }

    pub fn get(&self, path: &str) -> Result<Vec<u8>> {
        let (status, body) = once(self.api, &request("GET", path, None, ""))?;
        if status != 200 {
            bail!("GET {path}: {status}");
        }
        Ok(body)
    }

    /// A number out of the service's own metrics, such as `name_sum` and `name_count`.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let (_, body) = once(self.operations, &request("GET", "/metrics", None, ""))?;
        let text = String::from_utf8_lossy(&body);
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .and_then(|text| text.trim().parse().ok())
            .with_context(|| format!("no metric {name}"))
    }
}

/// The service is stopped and what was made is removed, whatever came of it.
impl Drop for Installation {
    fn drop(&mut self) {
        self.stop();
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("bench: {} is left: {error}", self.directory.display());
        }
    }
}

/// What a program printed; that it failed is an error with its own words.
pub fn said(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "{command:?}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(text)
}

pub fn text(value: &Value, member: &str) -> Result<String> {
    value[member]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("no {member} in {value}"))
}

pub fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
