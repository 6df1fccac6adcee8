//! Stand-ins for the services below, and the whole server over them. Nothing listens, nothing is
//! signed; what comes out is what a caller would see.

mod archive;
mod roll;

pub use archive::CEREMONY;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use trust::life::{Life, Revocation};
use trust::place::Pkcs11Location;
use trust::request::CkaId;
use trust::request::RevocationReason;
use trust::{Algorithm, PublicKey, Sha256Digest, Time, Verifier};
use trust::{Location, Usage};

use crate::app::{
    App, BoxError, Later, Order, ReadModel, Refusal, Refusals, Results, Sign, Token, Verify,
};
use crate::listener::{Connection, paths, router};
use crate::middleware::auth::Caller;
use crate::middleware::peer::Peer;
use crate::settings::Settings;
use crate::v1::state::{ServerState, SharedState};
use access::{Credentials, access_token_hash};
use keyring::keys::{self, Document, Key, Ring, Snapshot};
use keyring::signing::{self, Format, Serialised, Signed};
use keyring::verification::{self, Answer, Claim, Question, Radius, RadiusQuestion};
use store::{CredentialRow, LeafRow};
use token::{Handle, Status};

pub const NOW: i64 = 1_800_000_000_000;
/// Access tokens of the stand-in callers.
pub const SIGNER: &str = "signer-token";
pub const OPERATOR: &str = "operator-token";
pub const AUDITOR: &str = "auditor-token";

/// Public keys of RFC 7515 appendix A.3 and RFC 8037 appendix A.2.
const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const ED25519: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

type Outcome<T, E> = Mutex<Box<dyn Fn() -> Result<T, E> + Send>>;

/// Everything below the handlers.
pub struct World {
    pub snapshot: ArcSwap<Snapshot>,
    pub refusals: Mutex<Vec<Refusal>>,
    pub orders: Mutex<Vec<Order<Format>>>,
    pub claims: Mutex<Vec<Claim>>,
    pub radii: Mutex<Vec<RadiusQuestion>>,
    pub sign: Outcome<Signed, signing::Error>,
    /// A signature is finished when it gets a permit.
    pub gate: Arc<Semaphore>,
    pub histories: Mutex<Vec<Vec<u8>>>,
    pub token_ready: Mutex<bool>,
    pub database_up: Mutex<bool>,
    pub leaves: Mutex<Vec<LeafRow>>,
}

pub struct Fixture {
    pub state: SharedState,
    pub world: Arc<World>,
    connection: Connection,
}

pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that it is a problem document and returns its code.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        let code = body["code"].as_str().unwrap().to_owned();
        assert_eq!(body["type"], format!("urn:chancery:problem:{code}"));
        assert_eq!(body["request_id"], self.header("x-request-id"));
        code
    }

    pub fn member(&self) -> String {
        self.json()["member"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

pub fn settings() -> Settings {
    let http = crate::settings::Http::default();
    Settings {
        body_limit_bytes: 4_096,
        request_timeout: Duration::from_millis(300),
        requests_per_second: None,
        batch_limit: 3,
        history_ring: Some("records".to_owned()),
        ..Settings::new(&http, "https://chancery.example".to_owned())
    }
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        Self::over(settings, snapshot(), Peer::default())
    }

    pub fn over(settings: Settings, snapshot: Snapshot, peer: Peer) -> Self {
        let kid = snapshot.rings["records"].keys[0].kid.clone();
        let world = Arc::new(World {
            snapshot: ArcSwap::from_pointee(snapshot),
            refusals: Mutex::default(),
            orders: Mutex::default(),
            claims: Mutex::default(),
            radii: Mutex::default(),
            sign: Mutex::new(Box::new(move || {
                Ok(Signed {
                    signature: Serialised::Raw(vec![1, 2, 3]),
                    kid: kid.clone(),
                    number: 1,
                    algorithm: Algorithm::Es256,
                    index: 7,
                    salt: [9; 16],
                    time: Time::from_millis(NOW),
                })
            })),
            gate: Arc::new(Semaphore::new(1_000)),
            histories: Mutex::default(),
            token_ready: Mutex::new(true),
            database_up: Mutex::new(true),
            leaves: Mutex::default(),
        });
        let app = App {
            keys: world.clone(),
            signing: world.clone(),
            verification: world.clone(),
            evidence: world.clone(),
            archive: world.clone(),
            transparency_log: world.clone(),
            refusals: world.clone(),
            token: world.clone(),
            clock: Arc::new(|| Time::from_millis(NOW)),
            figures: metrics_exporter_prometheus::PrometheusBuilder::new()
                .build_recorder()
                .handle(),
            instance: "test".to_owned(),
        };
        let state = ServerState::new(app, settings, paths());
        let connection = Connection::new(state.clone(), router(&state), peer);
        Self {
            state,
            world,
            connection,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answered {
        let response = self.connection.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answered {
            status: parts.status,
            headers: parts.headers,
            body: axum::body::to_bytes(body, usize::MAX)
                .await
                .unwrap()
                .to_vec(),
        }
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub async fn get_as(&self, access_token: &str, path: &str) -> Answered {
        self.send(
            Request::get(path)
                .header("authorization", format!("Bearer {access_token}"))
                .body(Body::empty())
                .unwrap(),
        )
        .await
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answered {
        self.send(post(path, body)).await
    }

    /// A request by the signer.
    pub async fn sign(&self, path: &str, body: &str) -> Answered {
        let mut request = post(path, body.to_owned());
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {SIGNER}").parse().unwrap());
        self.send(request).await
    }

    /// The caller behind an access token.
    pub fn caller(&self, access_token: &str) -> Caller {
        let snapshot = self.world.snapshot.load();
        let principal = snapshot.credentials.by_access_token(access_token, NOW);
        Caller::Known(principal.unwrap().clone())
    }

    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    pub fn kid(&self) -> String {
        self.world.snapshot.load().rings["records"].keys[0]
            .kid
            .as_str()
            .to_owned()
    }
}

pub fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

/// Two rings: `records` (ES256, structured, a primary) and `digests` (Ed25519, raw, never opened).
pub fn snapshot() -> Snapshot {
    let life = Life {
        published_at: Some(Time::from_millis(NOW - 200_000)),
        activated_at: Some(Time::from_millis(NOW - 100_000)),
        ..Life::prepared(Time::from_millis(NOW - 300_000))
    };
    snapshot_of(life)
}

/// The same with the first key revoked as compromised.
pub fn snapshot_with_revoked_key() -> Snapshot {
    let life = Life {
        published_at: Some(Time::from_millis(NOW - 200_000)),
        activated_at: Some(Time::from_millis(NOW - 100_000)),
        revocation: Some(Revocation {
            reason: RevocationReason::Compromised,
            revoked_at: Time::from_millis(NOW - 10_000),
            compromised_since: Some(Time::from_millis(NOW - 50_000)),
        }),
        ..Life::prepared(Time::from_millis(NOW - 300_000))
    };
    snapshot_of(life)
}

/// Keys that differ in their kids and in their places in the log: 0, 10, 20 and so on.
pub fn snapshot_of_many(count: i64) -> Snapshot {
    let mut snapshot = snapshot();
    let life = snapshot.rings["records"].keys[0].state.life();
    let keys = (0..count).map(|number| Key {
        kid: format!("{number:0>42}A").parse().unwrap(),
        log_index: Some(10 * number),
        ..key_of_digests(life)
    });
    snapshot.keys = keys.map(|key| (key.kid.clone(), Arc::new(key))).collect();
    snapshot
}

fn snapshot_of(life: Life) -> Snapshot {
    let key = Arc::new(key("records", P256, Algorithm::Es256, life));
    let primary = key.state.is_primary().then(|| key.clone());
    let standby = Life {
        published_at: Some(Time::from_millis(NOW - 1_000)),
        ..Life::prepared(Time::from_millis(NOW - 2_000))
    };
    let raw = Arc::new(key_of_digests(standby));
    let records = ring("records", &key, Usage::Structured, primary);
    let digests = ring("digests", &raw, Usage::Raw, None);
    Snapshot {
        version: 5,
        versions: store::Versions::default(),
        keys: HashMap::from([(key.kid.clone(), key), (raw.kid.clone(), raw)]),
        jwks: document(&records.keys),
        rings: BTreeMap::from([
            (records.name.clone(), Arc::new(records)),
            (digests.name.clone(), Arc::new(digests)),
        ]),
        credentials: Arc::new(credentials()),
        refused: Vec::new(),
        times: Arc::default(),
    }
}

fn key_of_digests(life: Life) -> Key {
    key("digests", ED25519, Algorithm::Ed25519, life)
}

fn key(ring: &str, jwk: &str, algorithm: Algorithm, life: Life) -> Key {
    let public = PublicKey::from_jwk_json(jwk.as_bytes()).unwrap();
    let spki = public.to_spki_der();
    Key {
        kid: public.kid(),
        ring: ring.into(),
        ring_name: ring.parse().unwrap(),
        number: 1,
        algorithm,
        usage: match ring {
            "digests" => Usage::Raw,
            _ => Usage::Structured,
        },
        state: life.state().unwrap(),
        verifier: Verifier::new(&public, algorithm).unwrap(),
        published_at: life.published_at.unwrap(),
        activate_at: Time::from_millis(NOW - 100_000),
        retire_at: Time::from_millis(NOW + 7_776_000_000),
        location: Location::Pkcs11(Pkcs11Location {
            cka_id: CkaId([3; 16]),
            label: ring.to_owned(),
            token_label: "token".to_owned(),
            token_serial: "serial".to_owned(),
        }),
        ceremony: "ab".repeat(32),
        log_index: Some(if ring == "records" { 4 } else { 12 }),
        revocation_log_index: None,
        handle: Handle::new([3; 16], spki.clone(), algorithm),
        spki,
        public,
    }
}

fn ring(name: &str, key: &Arc<Key>, usage: Usage, primary: Option<Arc<Key>>) -> Ring {
    let keys = vec![key.clone()];
    Ring {
        name: name.into(),
        algorithm: key.algorithm,
        key_spec: key.public.spec(),
        usage,
        created_at: Time::from_millis(NOW - 400_000),
        version: 2,
        primary,
        jwks: document(&keys),
        keys,
    }
}

pub fn document(keys: &[Arc<Key>]) -> Document {
    let keys = keys.iter().filter(|key| key.state.is_publishable());
    document_of(&keys.cloned().collect::<Vec<_>>())
}

fn document_of(keys: &[Arc<Key>]) -> Document {
    let keys: Vec<_> = keys
        .iter()
        .map(|key| key.public.to_jwk(key.algorithm, key.usage, &key.kid))
        .collect();
    let bytes = serde_json::to_vec(&serde_json::json!({ "keys": keys })).unwrap();
    Document {
        etag: format!("\"{}\"", &Sha256Digest::of(&bytes).to_string()[..16]),
        bytes: bytes.into(),
        max_age: Duration::from_secs(300),
        left_out: 0,
        is_empty: false,
        stale: std::time::Duration::from_secs(600),
    }
}

fn credentials() -> Credentials {
    let row = |kind: &str, value: String, principal: &str, roles: &str| CredentialRow {
        kind: kind.to_owned(),
        value,
        principal: principal.to_owned(),
        roles: roles.to_owned(),
        created_at: 0,
        expires_at: None,
        withdrawn_at: None,
    };
    let token = |secret: &str, principal: &str, roles: &str| {
        row("access-token", access_token_hash(secret), principal, roles)
    };
    Credentials::new(&[
        token(
            SIGNER,
            "integrity",
            r#"["signer:records","signer:digests","signer:none"]"#,
        ),
        token(OPERATOR, "olga", r#"["operator"]"#),
        token(AUDITOR, "anna", r#"["auditor"]"#),
        row(
            "mtls-san",
            "signer.example".to_owned(),
            "integrity",
            r#"["signer:records"]"#,
        ),
    ])
    .unwrap()
}

impl ReadModel for World {
    fn current(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    fn confirmed_ago(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn jwks_as_of(
        &self,
        ring: Option<String>,
        at: Time,
    ) -> Later<Result<Option<Document>, keys::Error>> {
        let name = ring.as_deref().unwrap_or("records");
        let snapshot = self.snapshot.load();
        let set = snapshot.rings.get(name).map(|ring| {
            let key = &ring.keys[0];
            let then = key.state.as_of(at).filter(|state| state.is_publishable());
            let keys: Vec<_> = then.iter().map(|_| key.clone()).collect();
            Document {
                is_empty: keys.is_empty(),
                ..document_of(&keys)
            }
        });
        Box::pin(async move { Ok(set) })
    }
}

impl Sign for World {
    fn sign(&self, order: Order<Format>) -> Later<Result<Signed, signing::Error>> {
        self.orders.lock().unwrap().push(order);
        let outcome = (self.sign.lock().unwrap())();
        let gate = self.gate.clone();
        Box::pin(async move {
            let _permit = gate.acquire().await.unwrap();
            outcome
        })
    }

    fn sign_batch(
        &self,
        order: Order<Vec<Result<Format, String>>>,
    ) -> Later<Result<Results<Signed, signing::Error>, signing::Error>> {
        let sign = self.sign.lock().unwrap();
        let results = order
            .what
            .into_iter()
            .map(|format| match format {
                Ok(_) => sign(),
                Err(why) => Err(signing::Error::BadInput(why)),
            })
            .collect();
        Box::pin(async move { Ok(results) })
    }

    fn sign_history(
        &self,
        _: String,
        claims: Vec<u8>,
        _: Instant,
    ) -> Later<Result<String, signing::Error>> {
        self.histories.lock().unwrap().push(claims);
        Box::pin(async { Ok("head.claims.signature".to_owned()) })
    }
}

impl Verify for World {
    fn verify(&self, question: Question) -> Later<Result<Answer, verification::Error>> {
        self.claims.lock().unwrap().push(question.claim);
        Box::pin(async { Ok(unknown_key()) })
    }

    fn verify_batch(
        &self,
        questions: Vec<Question>,
    ) -> Later<Results<Answer, verification::Error>> {
        let results = questions.iter().map(|_| Ok(unknown_key())).collect();
        Box::pin(async { results })
    }

    /// Three signatures of two days.
    fn radius(&self, question: RadiusQuestion) -> Later<Result<Radius, verification::Error>> {
        const DAY: i64 = 86_400_000;
        let row = |day, signatures, indexes: [i64; 2], times: [i64; 2]| store::DayRow {
            day,
            signatures,
            first_index: indexes[0],
            last_index: indexes[1],
            first_time: times[0],
            last_time: times[1],
        };
        let days = vec![
            row(1, 2, [7, 8], [DAY + 1, DAY + 2]),
            row(2, 1, [9, 9], [2 * DAY, 2 * DAY]),
        ];
        let radius = Radius {
            by_day: question.from.is_none().then_some(days),
            signatures: Vec::new(),
            next: None,
        };
        self.radii.lock().unwrap().push(question);
        Box::pin(async move { Ok(radius) })
    }
}

fn unknown_key() -> Answer {
    Answer {
        verdict: trust::verdict::verdict(&trust::verdict::Facts {
            key: None,
            checks: false,
            fits_usage: true,
            after_retirement: false,
            existence: None,
            logged: false,
            withdrawn: None,
        }),
        kid: None,
        ring: None,
        number: None,
        existed_at: None,
        index: None,
        timestamp: None,
        as_of: None,
        explanation: "no key has this kid".to_owned(),
    }
}

impl Refusals for World {
    fn record(&self, refusal: Refusal) -> Later<Result<(), BoxError>> {
        self.refusals.lock().unwrap().push(refusal);
        Box::pin(async { Ok(()) })
    }
}

impl Token for World {
    fn status(&self) -> Status {
        let ready = *self.token_ready.lock().unwrap();
        Status {
            ready,
            state: if ready { "ready" } else { "circuit-open" },
            serial: None,
            label: None,
            profile: None,
            queued: 0,
            processes: 1,
            generation: 1,
            last_error: None,
            counters: Vec::new(),
        }
    }
}
