//! An installation for a test: made by `testkit`, and asserted on.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Value, json};
use tempfile::TempDir;
pub use testkit::installation::SERVICE;
use testkit::installation::{self as made, Plan};

use super::custodian::{Custodian, with_key};
use super::http::{Answer, send};
use super::process::{Said, until};
use super::template;

pub const ENVIRONMENT: &str = "test";

/// How long a key is published before it may sign; a JWKS may be cached for a quarter of it.
pub const PUBLISH_SAFETY: Duration = Duration::from_secs(4);

pub struct Installation {
    pub made: made::Installation,
    pub directory: TempDir,
    /// The rings that were opened since the founding, if nothing else was done: [`template`] has the like of it.
    pub opened: Mutex<Option<Vec<String>>>,
}

/// What it consists of. Whatever does something to it is a method of the test's own, because of `opened`.
impl Deref for Installation {
    type Target = made::Installation;

    fn deref(&self) -> &made::Installation {
        &self.made
    }
}

/// What has to succeed, or the end of the test.
pub fn must<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|e| panic!("{e:#}"))
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
            .map(|(id, kind)| with_key(at, id, kind))
            .into();
        Self::founded(directory, url, custodians, free_port())
    }

    /// Founded by these custodians, with its issuer at `api`.
    pub fn founded(directory: TempDir, url: &str, custodians: Vec<Custodian>, api: String) -> Self {
        let mut new = Self::unfounded(directory, url, custodians, api);
        must(new.made.found());
        must(new.made.install());
        new
    }

    /// Founded by these custodians and executors, with rings that the policy calls routine.
    pub fn founded_with(
        directory: TempDir,
        url: &str,
        (custodians, executors): (Vec<Custodian>, Vec<Custodian>),
        routine_rings: Vec<String>,
    ) -> Self {
        let mut new = Self::unfounded(directory, url, custodians, free_port());
        new.made.executors = executors;
        new.made.routine_rings = routine_rings;
        must(new.made.found());
        must(new.made.install());
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
        let mut new = Self::unfounded(directory, url, custodians, api);
        must(new.made.configure(genesis));
        new
    }

    fn unfounded(directory: TempDir, url: &str, custodians: Vec<Custodian>, api: String) -> Self {
        let mut made = must(made::Installation::with_token(Plan {
            program: env!("CARGO_BIN_EXE_chancery").into(),
            directory: directory.path().to_owned(),
            token: directory.path().join("token"),
            token_label: "chancery-test".to_owned(),
            environment: ENVIRONMENT.to_owned(),
            store: url.to_owned(),
            api,
            operations: free_port(),
            publish_safety: PUBLISH_SAFETY,
            settings: Vec::new(),
            narrate: None,
        }));
        made.custodians = custodians;
        Self {
            made,
            directory,
            opened: Mutex::default(),
        }
    }

    /// All that follows goes through here: from here on no copy is like it.
    fn act(&self) -> &made::Installation {
        self.is_changed();
        &self.made
    }

    /// Runs a sub-command with JSON output, whatever comes of it.
    pub fn try_chancery<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Said {
        let arguments: Vec<&str> = arguments.into_iter().collect();
        must(self.act().run(&arguments)).into()
    }

    /// Runs a sub-command that has to succeed.
    pub fn chancery<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Said {
        let arguments: Vec<&str> = arguments.into_iter().collect();
        let said = self.try_chancery(arguments.iter().copied());
        assert_eq!(said.code, Some(0), "chancery {arguments:?}: {said:?}");
        said
    }

    /// `chancery --config …`, to be given its arguments.
    pub fn command(&self) -> Command {
        self.act().command()
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
        self.only_kid_of(ceremony).expect("a kid")
    }

    /// The same where it may be about none.
    pub fn only_kid_of(&self, ceremony: &str) -> Option<String> {
        let show = self.chancery(["ceremony", "show", ceremony]).json();
        show["kids"][0].as_str().map(str::to_owned)
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
        let signature = must(custodian.sign(&bytes, &member(&said.json(), "namespace")));
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
        must(self.act().rotate_when_safe(ring));
    }

    /// An access token for a principal.
    pub fn grant(&self, principal: &str, role: &str) -> String {
        must(self.act().grant(principal, &[role]))
    }

    /// `chancery serve`, ready.
    pub fn serve(&self) -> Service {
        self.serve_with(&[])
    }

    /// The same with settings from the environment.
    pub fn serve_with(&self, environment: &[(&str, &str)]) -> Service {
        self.start(environment).when_ready()
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
        (service.0.api, service.0.operations) = (api.clone(), operations.clone());
        service.when_ready()
    }

    /// `chancery serve`, as soon as the process is there.
    pub fn start(&self, environment: &[(&str, &str)]) -> Service {
        Service(must(self.act().start(environment.iter().copied())))
    }

    /// A command that ends in being the service, ready.
    pub fn serve_as(&self, serve: &mut Command) -> Service {
        Service(must(self.act().start_by(serve))).when_ready()
    }
}

/// A running service; killed when let go of.
pub struct Service(made::Service);

impl Deref for Service {
    type Target = made::Service;

    fn deref(&self) -> &made::Service {
        &self.0
    }
}

impl DerefMut for Service {
    fn deref_mut(&mut self) -> &mut made::Service {
        &mut self.0
    }
}

impl Service {
    fn when_ready(mut self) -> Self {
        must(self.0.wait_until("/health/ready"));
        self
    }

    /// A figure of the operations listener; the first of this name.
    pub fn metric(&self, name: &str) -> Option<f64> {
        must(self.0.metric(name))
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
    must(made::text(answer, name))
}

/// Paths of the tests are UTF-8: they are made here.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

pub fn directory() -> TempDir {
    must(made::memory_directory("chancery-test-"))
}

pub fn free_port() -> String {
    must(made::free_port())
}
