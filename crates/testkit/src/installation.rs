//! A whole installation, made by the real program as an operator would make it: token, database, custodians, genesis,
//! rings, keys, service.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use serde_json::value::Index;

use crate::custodian::Custodian;
use crate::http::send;
use crate::ports;
use crate::process::{Running, Said, run, run_in_sight};

/// Makes a SoftHSM token; the same script as everywhere else.
const INIT_TOKEN: &str = include_str!("../../../softhsm/init-token");

/// Its name in every genesis.
pub const SERVICE: &str = "chancery";

const PATIENCE: Duration = Duration::from_secs(60);

/// What is made, and where.
#[derive(Clone)]
pub struct Plan {
    /// The `chancery` program.
    pub program: PathBuf,
    /// Of all files but the token's; it exists. Commands run in it.
    pub directory: PathBuf,
    /// The token's directory, which is made.
    pub token: PathBuf,
    pub token_label: String,
    pub environment: String,
    /// The database's URL.
    pub store: String,
    /// `127.0.0.1:port` of the API and of health and metrics.
    pub api: String,
    pub operations: String,
    /// How long a key is published before it may sign.
    pub publish_safety: Duration,
    /// Further lines of the configuration, each with its section; a section that the others do not have comes after them.
    pub settings: Vec<(&'static str, String)>,
    /// Told each command before it runs, as a person would type it. With it the program's own remarks are seen, too.
    pub narrate: Option<Arc<dyn Fn(&str) + Send + Sync>>,
}

#[derive(Clone)]
pub struct Installation {
    pub plan: Plan,
    /// The token's library.
    pub module: String,
    pub custodians: Vec<Custodian>,
    /// Members who make keys under standing orders.
    pub executors: Vec<Custodian>,
    /// Rings whose keys under a standing order the executor's signature accepts; in ascending order.
    pub routine_rings: Vec<String>,
    /// The digest that is pinned.
    pub genesis: String,
}

impl Installation {
    /// An empty token, and nothing else yet.
    pub fn with_token(plan: Plan) -> Result<Self> {
        let mut new = Self {
            plan,
            module: String::new(),
            custodians: Vec::new(),
            executors: Vec::new(),
            routine_rings: Vec::new(),
            genesis: String::new(),
        };
        let (token, label) = (new.relative(&new.plan.token), new.plan.token_label.clone());
        new.tell(&format!("softhsm/init-token {token} {label}"));
        let mut sh = Command::new("sh");
        sh.args(["-s", &token, &label])
            .current_dir(&new.plan.directory);
        let said = run(&mut sh, INIT_TOKEN.as_bytes())?;
        if said.code != Some(0) {
            bail!("the token could not be initialised: {}", said.stderr);
        }
        said.text()?.clone_into(&mut new.module);
        Ok(new)
    }

    /// A custodian with a fresh key of this kind.
    pub fn add_custodian(&mut self, id: &str, kind: &str) -> Result<()> {
        self.tell(&format!("ssh-keygen -t {kind} -C {id} -f {id}"));
        let new = Custodian::new(&self.plan.directory, id, kind)?;
        self.custodians.push(new);
        Ok(())
    }

    /// An executor of standing orders with a fresh key, a file without a passphrase.
    pub fn add_executor(&mut self, id: &str) -> Result<()> {
        self.tell(&format!("ssh-keygen -t ed25519 -C {id} -f {id}"));
        let new = Custodian::new(&self.plan.directory, id, "ed25519")?;
        self.executors.push(new);
        Ok(())
    }

    /// The first roster and policy, signed by all members with a threshold of two, and the configuration that pins
    /// them.
    pub fn found(&mut self) -> Result<()> {
        self.found_by("2")
    }

    /// The same with another threshold.
    pub fn found_by(&mut self, threshold: &str) -> Result<()> {
        const DRAFT: &str = "genesis.draft";
        let mut new = vec!["ceremony", "genesis", "new", "--service", SERVICE];
        new.extend(["--environment", &self.plan.environment]);
        new.extend(["--threshold", threshold, "--out", DRAFT]);
        let member = |custodian: &Custodian| {
            let key = self.relative(&custodian.public_key_file());
            format!("{}={key}", custodian.id)
        };
        let executor = |executor: &Custodian| format!("{},executor", member(executor));
        let custodians = self.custodians.iter().map(member);
        let members: Vec<String> = custodians
            .chain(self.executors.iter().map(executor))
            .collect();
        members
            .iter()
            .for_each(|member| new.extend(["--member", member]));
        for ring in &self.routine_rings {
            new.extend(["--routine-ring", ring]);
        }
        let namespace = text(&self.chancery(&new)?, "namespace")?;
        let mut assemble = vec!["ceremony", "genesis", "assemble", DRAFT];
        assemble.extend(["--out", "genesis.json"]);
        let mut signatures = Vec::new();
        for custodian in self.custodians.iter().chain(&self.executors) {
            let key = self.relative(custodian.key_file());
            self.tell(&format!(
                "ssh-keygen -Y sign -n {namespace} -f {key} {DRAFT}"
            ));
            let signature = custodian.sign(&self.file(DRAFT), &namespace)?;
            signatures.push(self.relative(&signature));
        }
        signatures
            .iter()
            .for_each(|signature| assemble.extend(["--signature", signature]));
        let genesis = text(&self.chancery(&assemble)?, "genesis")?;
        self.configure(genesis)
    }

    /// Writes the configuration, with this genesis pinned.
    pub fn configure(&mut self, genesis: String) -> Result<()> {
        self.genesis = genesis;
        fs::write(self.file("chancery.toml"), self.configuration())?;
        Ok(())
    }

    /// Makes the database's tables and installs the genesis.
    pub fn install(&self) -> Result<()> {
        self.chancery(&["migrate"])?;
        self.chancery(&["ceremony", "genesis", "install", "genesis.json"])?;
        Ok(())
    }

    fn configuration(&self) -> String {
        let plan = &self.plan;
        let environment = format!(
            "{{ SOFTHSM2_CONF = \"{}\" }}",
            self.token_file("softhsm2.conf").display()
        );
        let token = format!(
            "uri = \"{}\"\nprofile = \"softhsm\"\nenvironment = {environment}\n",
            self.token_uri(&self.module)
        );
        let sections = [
            (
                "service",
                format!(
                    "name = \"{SERVICE}\"\nenvironment = \"{}\"\nissuer = \"http://{}\"\n",
                    plan.environment, plan.api
                ),
            ),
            (
                "http",
                format!(
                    "listen = \"{}\"\noperations_listen = \"{}\"\ndrain_delay_ms = 0\n",
                    plan.api, plan.operations
                ),
            ),
            ("store", format!("url = \"{}\"\n", plan.store)),
            ("token", token.clone()),
            ("executor", token),
            (
                "publication",
                format!("publish_safety = \"{}s\"\n", plan.publish_safety.as_secs()),
            ),
            ("trust", format!("genesis = \"{}\"\n", self.genesis)),
            ("telemetry", String::new()),
        ];
        let (mut text, mut further) = ("profile = \"demonstration\"\n".to_owned(), String::new());
        for (section, lines) in sections {
            text += &format!("\n[{section}]\n{lines}");
            for (_, line) in plan.settings.iter().filter(|(of, _)| *of == section) {
                text += &format!("{line}\n");
            }
        }
        let more = plan.settings.iter();
        for (section, lines) in more.filter(|(of, _)| !text.contains(&format!("\n[{of}]\n"))) {
            further += &format!("\n[{section}]\n{lines}\n");
        }
        text + &further
    }

    /// The token as `module` shows it.
    pub fn token_uri(&self, module: impl Display) -> String {
        format!(
            "pkcs11:token={}?module-path={module}&pin-source=file:{}",
            self.plan.token_label,
            self.token_file("pin").display()
        )
    }

    pub fn token_file(&self, name: &str) -> PathBuf {
        self.plan.token.join(name)
    }

    /// A file of this installation.
    pub fn file(&self, name: &str) -> PathBuf {
        self.plan.directory.join(name)
    }

    /// As it is typed in the directory.
    fn relative(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.plan.directory).unwrap_or(path);
        path.display().to_string()
    }

    fn tell(&self, command: &str) {
        if let Some(narrate) = &self.plan.narrate {
            narrate(command);
        }
    }

    /// The program, to be given its arguments.
    pub fn command(&self) -> Command {
        self.command_of(Command::new(&self.plan.program))
    }

    /// The same where another program is to start it.
    fn command_of(&self, mut program: Command) -> Command {
        program
            .current_dir(&self.plan.directory)
            .arg("--config")
            .arg(self.file("chancery.toml"));
        program
    }

    /// Runs a sub-command with JSON output, whatever comes of it.
    pub fn run(&self, arguments: &[&str]) -> Result<Said> {
        self.run_by(Command::new(&self.plan.program), arguments)
    }

    /// The same by a command that ends in being the program, or with an environment of its own.
    pub fn run_by(&self, program: Command, arguments: &[&str]) -> Result<Said> {
        self.tell(&format!("chancery {}", arguments.join(" ")));
        let mut command = self.command_of(program);
        command.args(["--output", "json"]).args(arguments);
        match self.plan.narrate {
            Some(_) => run_in_sight(&mut command, b""),
            None => run(&mut command, b""),
        }
    }

    /// Runs a sub-command that has to succeed and returns its JSON.
    pub fn chancery(&self, arguments: &[&str]) -> Result<Value> {
        self.succeeded(self.run(arguments)?, arguments)
    }

    /// The JSON of a sub-command that has to have succeeded.
    pub fn succeeded(&self, said: Said, arguments: &[&str]) -> Result<Value> {
        match said.code {
            // Some commands write a file and say nothing.
            Some(0) if said.stdout.is_empty() => return Ok(Value::Null),
            Some(0) => return said.json(),
            _ => {}
        }
        let value: Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
        let why = value["error"]["message"].as_str();
        let why = why.unwrap_or(said.stderr.trim());
        bail!("`chancery {}` failed: {why}", arguments.join(" "))
    }

    /// The next key becomes primary as soon as it has been published long enough, and not before.
    pub fn rotate_when_safe(&self, ring: &str) -> Result<()> {
        let end = Instant::now() + self.plan.publish_safety + PATIENCE;
        let rotate = ["ring", "rotate", ring, "--apply"];
        loop {
            let said = self.run(&rotate)?;
            // Refused by a rule.
            if said.code != Some(3) || Instant::now() > end {
                return self.succeeded(said, &rotate).map(drop);
            }
            sleep(Duration::from_millis(200));
        }
    }

    /// An access token for a principal.
    pub fn grant(&self, principal: &str, roles: &[&str]) -> Result<String> {
        let mut grant = vec!["access", "grant", principal];
        roles.iter().for_each(|role| grant.extend(["--role", role]));
        text(&self.chancery(&grant)?, "access_token")
    }

    /// `pkcs11-tool` at the token, logged in: a hand that goes past the service.
    pub fn token_tool(&self, arguments: &[&str]) -> Result<Said> {
        let pin = fs::read_to_string(self.token_file("pin")).context("the PIN")?;
        let mut tool = Command::new("pkcs11-tool");
        tool.env("SOFTHSM2_CONF", self.token_file("softhsm2.conf"))
            .env("PIN", pin.trim())
            .current_dir(&self.plan.directory)
            .args(["--module", &self.module])
            .args(["--token-label", &self.plan.token_label])
            .args(["--login", "--pin", "env:PIN"])
            .args(arguments);
        run(&mut tool, b"")
    }

    /// `chancery serve`, as soon as the process is there.
    pub fn start<K: AsRef<str>, V: AsRef<str>>(
        &self,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Service> {
        self.tell("chancery serve &");
        let mut serve = self.command();
        serve.arg("serve");
        for (name, value) in environment {
            serve.env(name.as_ref(), value.as_ref());
        }
        self.start_by(&mut serve)
    }

    /// The same by a command that ends in being the service.
    pub fn start_by(&self, serve: &mut Command) -> Result<Service> {
        let log = tempfile::Builder::new()
            .prefix("serve-")
            .suffix(".log")
            .tempfile_in(&self.plan.directory)?;
        let (log, log_file) = log.keep()?;
        let child = serve
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Service {
            child: Running::new(child),
            api: self.plan.api.clone(),
            operations: self.plan.operations.clone(),
            log_file,
        })
    }
}

/// A running service; killed when it is let go of.
pub struct Service {
    pub child: Running,
    pub api: String,
    pub operations: String,
    pub log_file: PathBuf,
}

impl Service {
    /// Waits until `path` of the operations listener says so.
    pub fn wait_until(&mut self, path: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !self.says_yes(path) {
            if !self.child.is_alive() || Instant::now() > end {
                bail!("the service did not become ready:\n{}", self.log());
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Whether `path` of the operations listener is answered with 200.
    pub fn says_yes(&self, path: &str) -> bool {
        send(&self.operations, "GET", path, &[], b"").is_ok_and(|answer| answer.status == 200)
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log_file).unwrap_or_default()
    }

    /// Process ids of its workers.
    pub fn workers(&self) -> Vec<u32> {
        self.child.children()
    }

    /// A number of its metrics: the first whose line begins so.
    pub fn metric(&self, name: &str) -> Result<Option<f64>> {
        let answer = send(&self.operations, "GET", "/metrics", &[], b"")?;
        let text = String::from_utf8_lossy(&answer.body);
        let line = text.lines().find(|line| line.starts_with(name));
        Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()))
    }
}

/// A member of a value that is text.
pub fn text(value: &Value, member: impl Index + Display + Copy) -> Result<String> {
    value[member]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("no {member} in {value}"))
}

/// A free `127.0.0.1:port`.
pub fn free_port() -> Result<String> {
    Ok(format!("127.0.0.1:{}", ports::claim()?))
}

/// A directory in memory where there is some: SoftHSM reads two files for each signature, and generates a key there in a
/// hundredth of the time.
pub fn memory_directory(prefix: &str) -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    Ok(match memory.is_dir() {
        true => builder.tempdir_in(memory),
        false => builder.tempdir(),
    }?)
}
