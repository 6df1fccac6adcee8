//! One installation with a ring of every kind and its service, for tests that leave it as they found it. It is made
//! once, lent to one test at a time, and removed when the test run ends, however that ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;

use super::http::{Answer, send};
use super::installation::{Installation, Service, member};

/// Rings: name, algorithm, usage. The name says what is on it.
pub const RINGS: [(&str, &str, &str); 8] = [
    ("es256", "ES256", "structured"),
    ("es384", "ES384", "structured"),
    ("ps256", "PS256", "structured"),
    ("rs256", "RS256", "structured"),
    ("ed25519", "Ed25519", "structured"),
    ("raw-es256", "ES256", "raw"),
    ("raw-ed25519", "Ed25519", "raw"),
    ("others", "ES256", "structured"),
];

/// A ring without a key.
pub const CLOSED: &str = "closed";

/// So small that a test can go beyond it.
pub const BODY_LIMIT: usize = 65_536;

pub struct World {
    pub installation: Installation,
    pub service: Service,
    pub kids: BTreeMap<&'static str, String>,
    /// May sign on every ring but `others`, and on a ring that does not exist.
    pub signer: String,
    /// May sign on `others` only.
    pub other_signer: String,
    pub auditor: String,
    pub operator: String,
    _watchdog: Child,
}

/// The world, for as long as the guard is held.
pub fn world() -> MutexGuard<'static, World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    WORLD
        .get_or_init(|| Mutex::new(World::new()))
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn new() -> Self {
        let installation = Installation::new();
        let create = |ring, algorithm, usage| {
            let words = [
                "ring",
                "create",
                ring,
                "--algorithm",
                algorithm,
                "--usage",
                usage,
            ];
            installation.chancery(words.into_iter().chain(["--apply"]));
        };
        RINGS
            .iter()
            .for_each(|(ring, algorithm, usage)| create(ring, algorithm, usage));
        create(CLOSED, "ES256", "structured");
        let kids = RINGS
            .map(|(ring, ..)| (ring, installation.give_birth(ring)))
            .into();
        RINGS
            .iter()
            .for_each(|(ring, ..)| installation.rotate_when_safe(ring));
        let mut roles: Vec<String> = RINGS.map(|(ring, ..)| format!("signer:{ring}")).into();
        roles.retain(|role| role != "signer:others");
        roles.extend(["signer:closed".to_owned(), "signer:nowhere".to_owned()]);
        let mut grant = vec!["access", "grant", "integrity-service"];
        roles.iter().for_each(|role| grant.extend(["--role", role]));
        let signer = member(&installation.chancery(grant).json(), "access_token");
        let other_signer = installation.grant("another-service", "signer:others");
        let auditor = installation.grant("auditor", "auditor");
        let operator = installation.grant("operator", "operator");
        let limit = BODY_LIMIT.to_string();
        let service = installation.serve_with(&[
            ("CHANCERY_HTTP__BODY_LIMIT_BYTES", &limit),
            ("CHANCERY_HTTP__BATCH_LIMIT", "50"),
            ("CHANCERY_SERVICE__HISTORY_RING", "es256"),
        ]);
        let _watchdog = watchdog(service.child.id(), installation.directory.path());
        Self {
            installation,
            service,
            kids,
            signer,
            other_signer,
            auditor,
            operator,
            _watchdog,
        }
    }

    pub fn kid(&self, ring: &str) -> &str {
        &self.kids[ring]
    }

    /// A request as the caller with this access token; `headers` may replace the content type.
    pub fn send(
        &self,
        path: &str,
        access_token: Option<&str>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let bearer = format!("Bearer {}", access_token.unwrap_or_default());
        let mut all = headers.to_vec();
        if access_token.is_some() {
            all.push(("authorization", &bearer));
        }
        if !headers.iter().any(|h| h.0 == "content-type") {
            all.push(("content-type", "application/json"));
        }
        send(&self.service.api, "POST", path, &all, body).expect("the service answers")
    }

    /// A request to sign by the signer, its body as it is.
    pub fn sign(&self, ring: &str, body: impl AsRef<[u8]>) -> Answer {
        let path = format!("/v1/rings/{ring}/sign");
        self.send(&path, Some(&self.signer), &[], body.as_ref())
    }

    /// A claim to be verified, its body as it is.
    pub fn verify(&self, body: impl AsRef<[u8]>) -> Answer {
        self.send("/v1/verify", None, &[], body.as_ref())
    }

    pub fn leaves(&self, from: usize) -> Vec<Value> {
        self.service.leaves(&self.auditor, from)
    }

    /// Whatever `act` does: the audit trail grows by so many refusals and by nothing else, and what is published is
    /// the same to the byte.
    pub fn only_refusals(&self, refusals: usize, act: impl FnOnce()) {
        self.only("refusal", refusals, act);
    }

    /// The same for so many signatures.
    pub fn only_signatures(&self, signatures: usize, act: impl FnOnce()) {
        self.only("sign", signatures, act);
    }

    fn only(&self, kind: &str, count: usize, act: impl FnOnce()) {
        let published = || {
            let rings = RINGS.map(|(ring, ..)| format!("/v1/rings/{ring}/jwks.json"));
            rings
                .iter()
                .map(String::as_str)
                .chain(["/.well-known/jwks.json"])
                .map(|path| self.service.get(path).into_body())
                .collect::<Vec<_>>()
        };
        let (size, before) = (self.leaves(0).len(), published());
        act();
        let mut new = self.leaves(size);
        // Written each minute, whatever is done here.
        new.retain(|leaf| leaf["kind"] != "refusals");
        assert!(new.iter().all(|leaf| leaf["kind"] == kind), "{new:?}");
        assert_eq!(new.len(), count, "{new:?}");
        assert_eq!(published(), before);
    }

    /// Whatever `act` does changes nothing and is not even an act.
    pub fn unchanged(&self, act: impl FnOnce()) {
        self.only_refusals(0, act);
    }
}

/// Waits for the end of this process, then kills the service by its id and removes the directory: statics are never
/// dropped.
fn watchdog(id: u32, directory: &Path) -> Child {
    const SCRIPT: &str = r#"cat >/dev/null; kill -s KILL "$1"; sleep 1; rm -rf -- "$2""#;
    let mut sh = Command::new("sh");
    sh.args(["-c", SCRIPT, "sh", &id.to_string()])
        .arg(directory);
    sh.current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    sh.spawn().expect("a watchdog")
}
