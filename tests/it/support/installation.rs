//! A whole installation in a temporary directory: token, database, custodians, genesis, ring, first key, service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::custodian::Custodian;
use super::http::{Answer, send};
use super::process::{Running, Said, done, repository, run, until};
use super::template;
use testkit::ports;

pub const SERVICE: &str = "chancery";
pub const ENVIRONMENT: &str = "test";

/// How long a key is published before it may sign; a JWKS may be cached for a quarter of it.
pub const PUBLISH_SAFETY: Duration = Duration::from_secs(4);

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Installation {
    pub directory: TempDir,
    pub custodians: Vec<Custodian>,
    pub genesis: String,
    /// `127.0.0.1:port` of the API and of health and metrics.
    pub api: String,
    pub operations: String,
    /// The rings that were opened since the founding, if nothing else was done: [`template`] has the like of it.
    pub opened: Mutex<Option<Vec<String>>>,
}

impl Installation {
    /// On SQLite; 2 of 3 custodians; nothing opened yet. A copy: its custodians are those of every other copy.
    pub fn new() -> Self {
        template::founded()
    }

    /// The same with custodians and a token that nobody else has.
    pub fn foreign() -> Self {
        let directory = directory();
        let url = format!("sqlite:{}", directory.path().join("chancery.db").display());
        Self::on(directory, &url)
    }

    /// With the database at `url`.
    pub fn on(directory: TempDir, url: &str) -> Self {
        let at = directory.path();
        // Ed25519 signs the same bytes the same way, ECDSA never does: both kinds vote in every test.
        let custodians = [("ada", "ed25519"), ("berta", "ecdsa"), ("carl", "ed25519")]
            .map(|(id, kind)| Custodian::with_key(at, id, kind))
            .into();
        Self::founded(directory, url, custodians, free_port())
    }

    /// Founded by these custodians, with its issuer at `api`.
    pub fn founded(directory: TempDir, url: &str, custodians: Vec<Custodian>, api: String) -> Self {
        let nothing = "0".repeat(64);
        let mut new = Self::with_token(directory, url, custodians, api, nothing);
        new.genesis = new.found();
        new.configure(url, &new.module());
        new.chancery(["migrate"]);
        new.chancery([
            "ceremony",
            "genesis",
            "install",
            text(&new.file("genesis.json")),
        ]);
        new
    }

    /// An empty token and a configuration; the database at `url` stays as it is.
    pub fn with_token(
        directory: TempDir,
        url: &str,
        custodians: Vec<Custodian>,
        api: String,
        genesis: String,
    ) -> Self {
        let token = directory.path().join("token");
        let made = done(
            text(&repository("softhsm/init-token")),
            [text(&token), "chancery-test"],
        );
        let new = Self {
            custodians,
            genesis,
            api,
            operations: free_port(),
            directory,
            opened: Mutex::default(),
        };
        new.configure(url, made.text());
        new
    }

    fn configure(&self, url: &str, module: &str) {
        let token = self.file("token");
        let uri = format!(
            "pkcs11:token=chancery-test?module-path={module}&pin-source=file:{}",
            token.join("pin").display()
        );
        let environment = format!(
            "environment = {{ SOFTHSM2_CONF = \"{}\" }}",
            token.join("softhsm2.conf").display()
        );
        let text = format!(
            "profile = \"demonstration\"\n\
             [service]\nname = \"{SERVICE}\"\nenvironment = \"{ENVIRONMENT}\"\nissuer = \"http://{api}\"\n\
             [http]\nlisten = \"{api}\"\noperations_listen = \"{operations}\"\ndrain_delay_ms = 0\n\
             [store]\nurl = \"{url}\"\n\
             [token]\nuri = \"{uri}\"\nprofile = \"softhsm\"\n{environment}\n\
             [executor]\nuri = \"{uri}\"\nprofile = \"softhsm\"\n{environment}\n\
             [publication]\npublish_safety = \"{safety}s\"\n\
             [trust]\ngenesis = \"{genesis}\"\n",
            api = self.api,
            operations = self.operations,
            safety = PUBLISH_SAFETY.as_secs(),
            genesis = self.genesis,
        );
        fs::write(self.file("chancery.toml"), text).expect("the configuration");
    }

    /// The first roster and policy, signed by all members; returns the digest that is pinned.
    fn found(&self) -> String {
        let (draft, genesis) = (self.file("genesis.draft"), self.file("genesis.json"));
        let members: Vec<String> = self
            .custodians
            .iter()
            .map(|c| format!("{}={}", c.id, c.public_key_file().display()))
            .collect();
        let mut new = vec![
            "ceremony",
            "genesis",
            "new",
            "--threshold",
            "2",
            "--out",
            text(&draft),
        ];
        new.extend(["--service", SERVICE, "--environment", ENVIRONMENT]);
        members
            .iter()
            .for_each(|m| new.extend(["--member", m.as_str()]));
        let namespace = member(&self.chancery(new).json(), "namespace");
        let signatures: Vec<PathBuf> = self
            .custodians
            .iter()
            .map(|c| c.sign(&draft, &namespace))
            .collect();
        let mut assemble = vec![
            "ceremony",
            "genesis",
            "assemble",
            text(&draft),
            "--out",
            text(&genesis),
        ];
        signatures
            .iter()
            .for_each(|s| assemble.extend(["--signature", text(s)]));
        member(&self.chancery(assemble).json(), "genesis")
    }

    /// A file of this installation.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a sub-command with JSON output, whatever comes of it.
    pub fn try_chancery<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Said {
        run(
            self.command().args(["--output", "json"]).args(arguments),
            b"",
        )
    }

    /// Runs a sub-command that has to succeed.
    pub fn chancery<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Said {
        let arguments: Vec<&str> = arguments.into_iter().collect();
        let said = self.try_chancery(arguments.iter().copied());
        assert_eq!(
            said.code,
            Some(0),
            "chancery {arguments:?}: {}\n{}",
            String::from_utf8_lossy(&said.stdout),
            said.stderr
        );
        said
    }

    /// `chancery --config …`, to be given its arguments.
    pub fn command(&self) -> Command {
        self.is_changed();
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        command.arg("--config").arg(self.file("chancery.toml"));
        command
    }

    pub fn create_ring(&self, ring: &str, settings: &[&str]) {
        let create = ["ring", "create", ring, "--algorithm", "ES256"];
        self.chancery(
            create
                .into_iter()
                .chain(settings.iter().copied())
                .chain(["--apply"]),
        );
    }

    /// An ES256 ring with its first key active; returns the kid.
    pub fn open_ring(&self, ring: &str) -> String {
        template::open(self, ring).unwrap_or_else(|| self.open(ring, "ES256"))
    }

    /// The log's own ring, its key active; returns the kid.
    pub fn open_log(&self) -> String {
        template::open(self, "log").unwrap_or_else(|| self.open("log", "Ed25519"))
    }

    /// By its own commands.
    pub fn open(&self, ring: &str, algorithm: &str) -> String {
        self.chancery(["ring", "create", ring, "--algorithm", algorithm, "--apply"]);
        let kid = self.give_birth(ring);
        self.rotate_when_safe(ring);
        kid
    }

    /// From here on no copy is like it.
    pub fn is_changed(&self) {
        *self.opened.lock().expect("no panic under it") = None;
    }

    /// One key, published; returns its kid.
    pub fn give_birth(&self, ring: &str) -> String {
        self.hold(ring).1
    }

    /// A ceremony from the request to its acceptance by two of three; returns its id and the kid.
    pub fn hold(&self, ring: &str) -> (String, String) {
        let id = self.propose(ring);
        for custodian in self.signers() {
            self.approve(&id, custodian);
        }
        self.chancery(["ceremony", "execute", &id]);
        for custodian in self.signers() {
            self.accept(&id, custodian);
        }
        let kid = self.only_kid(&id);
        (id, kid)
    }

    /// The one key that a ceremony is about.
    pub fn only_kid(&self, ceremony: &str) -> String {
        let show = self.chancery(["ceremony", "show", ceremony]).json();
        show["kids"][0].as_str().expect("a kid").to_owned()
    }

    /// The custodians that sign; the other one proposes and does not count.
    pub fn signers(&self) -> &[Custodian] {
        &self.custodians[1..]
    }

    /// A request by the first custodian, who therefore does not count.
    pub fn propose(&self, ring: &str) -> String {
        self.propose_words(&["ceremony", "new", "generate", "--ring", ring])
    }

    /// Approves with plain `ssh-keygen` over the exact bytes.
    pub fn approve(&self, id: &str, custodian: &Custodian) {
        self.vote("request", "approve", id, custodian);
    }

    /// The same for what came out of the token.
    pub fn accept(&self, id: &str, custodian: &Custodian) {
        self.vote("acceptance", "accept", id, custodian);
    }

    fn vote(&self, paper: &str, verb: &str, id: &str, custodian: &Custodian) {
        let bytes = self.file(&format!("{id}.{}.{paper}", custodian.id));
        let said = self.chancery(["ceremony", paper, id, "--out", text(&bytes)]);
        let signature = custodian.sign(&bytes, &member(&said.json(), "namespace"));
        self.chancery(["ceremony", verb, id, "--signature", text(&signature)]);
    }

    /// The next key has been published long enough to become primary.
    pub fn until_rotation_is_safe(&self, ring: &str) {
        until("the next key may be primary", || {
            self.try_chancery(["ring", "rotate", ring]).code == Some(0)
        });
    }

    /// The next key becomes primary as soon as it has been published long enough, and not before.
    pub fn rotate_when_safe(&self, ring: &str) {
        let end = Instant::now() + PUBLISH_SAFETY + PATIENCE;
        loop {
            let said = self.try_chancery(["ring", "rotate", ring, "--apply"]);
            if said.code == Some(0) {
                return;
            }
            assert_eq!(said.code, Some(3), "only a rule may refuse: {said:?}");
            assert!(Instant::now() < end, "never became safe: {said:?}");
            sleep(Duration::from_millis(250));
        }
    }

    /// An access token for a principal.
    pub fn grant(&self, principal: &str, role: &str) -> String {
        let said = self.chancery(["access", "grant", principal, "--role", role]);
        member(&said.json(), "access_token")
    }

    /// `chancery serve`, ready.
    pub fn serve(&self) -> Service {
        self.serve_with(&[])
    }

    /// The same with settings from the environment.
    pub fn serve_with(&self, environment: &[(&str, &str)]) -> Service {
        let mut service = self.start(environment);
        service.wait_until_ready();
        service
    }

    /// Another replica on ports of its own, ready.
    pub fn replica(&self, environment: &[(&str, &str)]) -> Service {
        let (api, operations) = (free_port(), free_port());
        let mut all = vec![
            ("CHANCERY_HTTP__LISTEN", api.as_str()),
            ("CHANCERY_HTTP__OPERATIONS_LISTEN", &operations),
        ];
        all.extend(environment);
        let mut service = self.start(&all);
        (service.api, service.operations) = (api.clone(), operations.clone());
        service.wait_until_ready();
        service
    }

    /// `chancery serve`, as soon as the process is there.
    pub fn start(&self, environment: &[(&str, &str)]) -> Service {
        let mut serve = self.command();
        self.spawn(serve.arg("serve").envs(environment.iter().copied()))
    }

    /// A command that ends in being the service, ready.
    pub fn serve_as(&self, serve: &mut Command) -> Service {
        let mut service = self.spawn(serve);
        service.wait_until_ready();
        service
    }

    fn spawn(&self, serve: &mut Command) -> Service {
        let log_file = tempfile::Builder::new()
            .prefix("serve-")
            .suffix(".log")
            .tempfile_in(self.directory.path())
            .expect("a log file");
        let (log, log_file) = log_file.keep().expect("a log file");
        let child = serve
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("the service starts");
        Service {
            child: Running(child),
            api: self.api.clone(),
            operations: self.operations.clone(),
            log_file,
        }
    }
}

/// A running service; killed when let go of.
pub struct Service {
    pub child: Running,
    pub api: String,
    pub operations: String,
    pub log_file: PathBuf,
}

impl Service {
    fn wait_until_ready(&mut self) {
        let end = Instant::now() + PATIENCE;
        while !self.is_ready() {
            assert!(self.child.is_alive(), "the service ended: {}", self.log());
            assert!(
                Instant::now() < end,
                "the service is not ready: {}",
                self.log()
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log_file).unwrap_or_default()
    }

    pub fn is_ready(&self) -> bool {
        send(&self.operations, "GET", "/health/ready", &[], b"").is_ok_and(|a| a.status == 200)
    }

    /// Process ids of its workers.
    pub fn workers(&self) -> Vec<u32> {
        self.child.children()
    }

    /// A figure of the operations listener; the first of this name.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let answer = send(&self.operations, "GET", "/metrics", &[], b"").expect("metrics");
        let text = String::from_utf8(answer.body).expect("text");
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    pub fn jwks_url(&self) -> String {
        format!("http://{}/.well-known/jwks.json", self.api)
    }

    pub fn get(&self, path: &str) -> Answer {
        send(&self.api, "GET", path, &[], b"").expect("the service answers")
    }

    pub fn post(&self, path: &str, access_token: Option<&str>, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", access_token.unwrap_or_default());
        let mut headers = vec![("content-type", "application/json")];
        if access_token.is_some() {
            headers.push(("authorization", &bearer));
        }
        send(
            &self.api,
            "POST",
            path,
            &headers,
            body.to_string().as_bytes(),
        )
        .expect("the service answers")
    }

    /// One signature; the whole answer.
    pub fn sign(&self, ring: &str, access_token: &str, body: &Value) -> Value {
        self.post(&format!("/v1/rings/{ring}/sign"), Some(access_token), body)
            .ok()
    }

    /// A compact JWS over `payload`.
    pub fn jws(&self, ring: &str, access_token: &str, payload: &[u8]) -> String {
        let body = json!({"format": "jws", "payload": base64url(payload)});
        member(&self.sign(ring, access_token, &body), "jws")
    }

    /// The audit trail from an index on.
    pub fn leaves(&self, auditor: &str, from: usize) -> Vec<Value> {
        let mut all = Vec::new();
        let bearer = format!("Bearer {auditor}");
        loop {
            let path = format!("/v1/audit?from={}&limit=1000", from + all.len());
            let answer = send(&self.api, "GET", &path, &[("authorization", &bearer)], b"");
            let page = answer.expect("the service answers").ok();
            let leaves = page["leaves"].as_array().expect("leaves");
            if leaves.is_empty() {
                return all;
            }
            all.extend(leaves.iter().cloned());
        }
    }

    /// What the service itself says of a JWS.
    pub fn verdict(&self, jws: &str) -> String {
        let answer = self.post("/v1/verify", None, &json!({"jws": jws}));
        member(&answer.ok(), "verdict")
    }
}

pub fn base64url(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// A member of an answer that is text.
pub fn member(answer: &Value, name: &str) -> String {
    let text = answer[name].as_str();
    text.unwrap_or_else(|| panic!("no {name} in {answer}"))
        .to_owned()
}

/// Paths of the tests are UTF-8: they are made here.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// On memory where there is some: SoftHSM generates a key there in a hundredth of the time.
pub fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("chancery-test-");
    if memory.is_dir() {
        builder.tempdir_in(memory)
    } else {
        builder.tempdir()
    }
    .expect("a temporary directory")
}

pub fn free_port() -> String {
    format!("127.0.0.1:{}", ports::claim().expect("a free port"))
}
