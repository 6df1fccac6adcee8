//! The server over real services: a database in a temporary directory, keys that custodians of the test brought in by
//! ceremonies, a token in memory. Nothing listens; what comes out is what a caller would see.

pub mod oidc;
mod scheduler;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use store::testing::place::Place;
use store::{Change, CredentialName, CredentialRow, RingRow, Store};
use testkit::custodians::{Custodians, minute};
use testkit::token::SoftwareToken;
use tokio::runtime::Handle;
use tower::ServiceExt as _;
use trust::leaf::ActKind;
use trust::request::RevocationReason;
use trust::{Algorithm, Time, Usage};

use crate::listener::{Connection, paths, router};
use crate::middleware::auth::Caller;
use crate::middleware::peer::Peer;
use crate::services::Services;
use crate::settings::Settings;
use crate::testing::scheduler::scheduler;
use crate::v1::state::{ServerState, SharedState};
use ::rotation::inventory::InventoryService;
use ::rotation::policies::PolicyService;
use access::access_token_hash;
use access::oidc::{Oidc, OidcSettings};
use base::{Env, Tasks};
use calendar::policy::Caches;
use keyring::ceremony::{CeremonyService, Draft, ProposalInput, SigningPayload};
use keyring::keys::{self, Keys, PublicationSettings};
use keyring::rotation::{self, RingChange};
use keyring::signing::{LogKey, Signing};
use keyring::verification::{EvidenceBuilder, Rules, Verification};
use log::{Event, Group, Log};

/// Access tokens of the callers.
pub const SIGNER: &str = "signer-token";
pub const OPERATOR: &str = "operator-token";
pub const AUDITOR: &str = "auditor-token";

pub const SERIAL: &str = "0123456789abcdef";
pub const LABEL: &str = "test";
/// Longer than `publish_safety`.
pub const LONG: i64 = 2 * 24 * 60;

/// The key `records/1` signs structures with ES256, `digests/1` is an Ed25519 key of bare digests that is published and
/// does not sign yet.
pub struct Fixture {
    pub state: SharedState,
    pub token: SoftwareToken,
    pub store: Store,
    /// Holds the database's file.
    pub place: Place,
    pub custodians: Custodians,
    settings: keys::Settings,
    now: Arc<AtomicI64>,
    connection: Connection,
    _tasks: Tasks,
    _tiles: tempfile::TempDir,
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
        request_timeout: Duration::from_secs(5),
        requests_per_second: None,
        batch_limit: 3,
        history_ring: Some("records".to_owned()),
        ..Settings::new(&http, "https://chancery.example".to_owned())
    }
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(settings()).await
    }

    pub async fn with(settings: Settings) -> Self {
        Self::over(settings, PublicationSettings::default(), Peer::default()).await
    }

    /// The same service; what callers without credentials ask is done by the threads of `place`.
    pub fn with_strangers(self, place: &Handle) -> Self {
        self.with_services(|services| services.strangers = place.clone())
    }

    /// The same service; tokens of these issuers are believed.
    pub fn with_oidc(self, settings: &OidcSettings) -> Self {
        self.with_services(|services| {
            services.oidc = Arc::new(Oidc::new(settings, &services.env));
        })
    }

    fn with_services(mut self, change: impl FnOnce(&mut Services)) -> Self {
        let mut services = self.state.services.clone();
        change(&mut services);
        self.state = ServerState::new(services, self.state.settings.clone(), paths());
        self.connection = Connection::new(self.state.clone(), router(&self.state), Peer::default());
        self
    }

    pub async fn over(settings: Settings, publication: PublicationSettings, peer: Peer) -> Self {
        let custodians = Custodians::with_others("production");
        Self::of(custodians, settings, publication, peer).await
    }

    /// Held by these custodians.
    pub async fn of(
        custodians: Custodians,
        settings: Settings,
        publication: PublicationSettings,
        peer: Peer,
    ) -> Self {
        let place = Place::sqlite().await;
        let store = place.store.clone();
        let now = Arc::new(AtomicI64::new(minute(0).millis()));
        let env = env(&now);
        let token = SoftwareToken::new(SERIAL, LABEL);
        let key_settings = keys::Settings::new(custodians.pin().clone(), &publication).unwrap();
        let keys = Keys::load(store.clone(), key_settings.clone());
        let keys = keys.await.unwrap();
        let tiles = tempfile::tempdir().unwrap();
        let log_settings = log::Settings {
            tiles: tiles.path().display().to_string(),
            interval: Duration::from_millis(5),
            // Tests move the clock by years; a leaf of its own would come between theirs.
            heartbeat: Duration::from_secs(1_000 * 365 * 86_400),
            ..log::Settings::default()
        };
        let issuer = settings.issuer.clone();
        let log_key = Arc::new(LogKey::new(keys.clone(), token.pool()));
        let opened = log::open(
            &log_settings,
            &issuer,
            |_| None,
            &store,
            log_key,
            &env,
            "test",
        );
        let (proofs, runner) = opened.await.unwrap();
        let (group, committer) = Group::new(store.clone(), runner.watch());
        let mut tasks = Tasks::default();
        tasks.start_draining("group commit", committer, |committer| {
            Box::pin(committer.run())
        });
        runner.start(&mut tasks);
        let services = Services {
            signing: Signing::new(
                keys.clone(),
                token.pool(),
                group,
                store.clone(),
                env.clone(),
            ),
            verification: Verification::new(
                keys.clone(),
                store.clone(),
                proofs.clone(),
                Rules::default(),
                env.clone(),
            ),
            evidence: EvidenceBuilder::new(
                keys.clone(),
                store.clone(),
                proofs.clone(),
                key_settings.pin.clone(),
            ),
            ceremonies: CeremonyService::for_anybody(
                store.for_visitors(),
                env.clone(),
                &key_settings,
            ),
            inventory: InventoryService::new(
                store.clone(),
                PolicyService::new(store.clone(), Caches::default(), key_settings.pin.clone()),
            ),
            transparency_log: proofs,
            store: store.clone(),
            log: Log::new(store.clone()),
            token: token.pool(),
            strangers: Handle::current(),
            set_parent: base::trace::no_parent(),
            oidc: Arc::new(Oidc::new(&OidcSettings::default(), &env)),
            rotation: scheduler(&store, &keys, &env, &key_settings),
            metrics: metrics_exporter_prometheus::PrometheusBuilder::new()
                .build_recorder()
                .handle(),
            env,
            executor_late: Duration::from_secs(900),
            instance: "test".to_owned(),
            keys,
        };
        let state = ServerState::new(services, settings, paths());
        let connection = Connection::new(state.clone(), router(&state), peer);
        let fixture = Self {
            state,
            token,
            store,
            place,
            custodians,
            settings: key_settings,
            now,
            connection,
            _tasks: tasks,
            _tiles: tiles,
        };
        fixture.fill().await;
        fixture
    }

    /// The genesis, callers, rings and keys.
    async fn fill(&self) {
        let genesis = self.custodians.genesis();
        self.ceremonies().install_genesis(&genesis).await.unwrap();
        let token = |of: &str| CredentialName::AccessToken(access_token_hash(of));
        let san = CredentialName::MtlsSan("signer.example".to_owned());
        for (name, principal, roles) in [
            (
                token(SIGNER),
                "integrity",
                &["signer:records", "signer:digests", "signer:none"][..],
            ),
            (token(OPERATOR), "olga", &["operator"]),
            (token(AUDITOR), "anna", &["auditor"]),
            (san, "integrity", &["signer:records"]),
        ] {
            self.grant(name, principal, roles).await;
        }
        self.create_ring("records", Algorithm::Es256, Usage::Structured)
            .await;
        self.create_ring("digests", Algorithm::Ed25519, Usage::Raw)
            .await;
        self.standby("records").await;
        self.wait(LONG);
        self.change("records", &RingChange::Rotate).await;
        self.standby("digests").await;
    }

    async fn grant(&self, name: CredentialName, principal: &str, roles: &[&str]) {
        let row = CredentialRow {
            name,
            principal: principal.parse().unwrap(),
            roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
            created_at: self.now(),
            expires_at: None,
            withdrawn_at: None,
        };
        let event = Event::new(ActKind::Access, "grant", "test", self.now());
        self.commit(Change::GrantCredential(row), &event).await;
    }

    /// A principal with an access token of that name.
    pub async fn grant_token(&self, access_token: &str, roles: &[&str]) {
        let name = CredentialName::AccessToken(access_token_hash(access_token));
        self.grant(name, access_token, roles).await;
    }

    pub fn now(&self) -> Time {
        Time::from_millis(self.now.load(Ordering::Relaxed))
    }

    pub fn wait_millis(&self, millis: i64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    pub fn wait(&self, minutes: i64) {
        self.now.fetch_add(minutes * 60_000, Ordering::Relaxed);
    }

    async fn commit(&self, change: Change, event: &Event<'_>) {
        let log = &self.state.services.log;
        log.commit(&change, event).await.unwrap();
        self.state.services.keys.refresh().await;
    }

    pub fn ceremonies(&self) -> CeremonyService {
        let env = self.state.services.env.clone();
        CeremonyService::new(self.store.clone(), env, &self.settings, "test".to_owned())
    }

    pub async fn create_ring(&self, name: &str, algorithm: Algorithm, usage: Usage) {
        let row = RingRow {
            name: name.parse().unwrap(),
            algorithm,
            key_spec: algorithm.default_key_spec(),
            usage,
            created_at: self.now(),
            version: 1,
        };
        let event = Event {
            ring: Some(name),
            ..Event::new(ActKind::Ring, "create", "test", self.now())
        };
        self.commit(Change::CreateRing(row), &event).await;
    }

    /// A request by Carol, with an hour for approvals and another one for the execution.
    pub async fn request(&self, ring: &str, draft: Draft) -> trust::Request {
        let proposal = ProposalInput {
            ring: Some(ring.parse().unwrap()),
            proposer: "carol".parse().unwrap(),
            reason: "a test".to_owned(),
            ticket: None,
            approve_by: self.now() + Duration::from_secs(3_600),
            execute_by: self.now() + Duration::from_secs(7_200),
            draft,
        };
        let keys = &self.state.services.keys;
        let (ceremonies, snapshot) = (self.ceremonies(), keys.current());
        let request = ceremonies.draft_request(proposal, &snapshot).await;
        request.unwrap()
    }

    pub fn sign_as(&self, who: &str, payload: &SigningPayload) -> String {
        let custodians = &self.custodians;
        custodians.signature(who, &payload.namespace, &payload.bytes)
    }

    /// A ceremony that was proposed and nothing else.
    pub async fn propose(&self, ring: &str, draft: Draft) -> String {
        let request = self.request(ring, draft).await;
        let payload = CeremonyService::proposal_payload(&request).unwrap();
        let signature = self.sign_as("carol", &payload);
        let bytes = request.encode().unwrap();
        let proposed = self.ceremonies().propose(bytes, &signature).await;
        self.state.services.keys.refresh().await;
        proposed.unwrap()
    }

    pub async fn execute(&self, id: &str) {
        let executor = self.token.executor();
        let snapshot = self.state.services.keys.current();
        let ceremonies = self.ceremonies();
        let executed = ceremonies.execute(id, Some(&executor), &snapshot);
        executed.await.unwrap();
        self.state.services.keys.refresh().await;
    }

    /// A ceremony from its proposal to its end.
    pub async fn ceremony(&self, ring: &str, draft: Draft) {
        let revokes = matches!(draft, Draft::Revoke { .. });
        let id = self.propose(ring, draft).await;
        let ceremonies = self.ceremonies();
        let keys = &self.state.services.keys;
        let sign = |who: &str, payload: &SigningPayload| self.sign_as(who, payload);
        for who in ["alice", "bob"] {
            let payload = ceremonies.approval_payload(&id).await.unwrap();
            ceremonies.approve(&id, &sign(who, &payload)).await.unwrap();
        }
        self.execute(&id).await;
        for who in ["alice", "bob"].into_iter().filter(|_| !revokes) {
            let payload = ceremonies.acceptance_payload(&id).await.unwrap();
            ceremonies.accept(&id, &sign(who, &payload)).await.unwrap();
        }
        keys.refresh().await;
    }

    pub fn generate(&self) -> Draft {
        Draft::Generate {
            token_serial: SERIAL.to_owned(),
            token_label: LABEL.to_owned(),
            activate_in: Duration::ZERO,
            lifetime: Duration::from_secs(90 * 86_400),
        }
    }

    /// A new key that is published and does not sign yet.
    pub async fn standby(&self, ring: &str) {
        self.ceremony(ring, self.generate()).await;
    }

    pub async fn change(&self, ring: &str, change: &RingChange) {
        let snapshot = self.state.services.keys.current();
        let ring = &snapshot.rings[ring];
        let safety = &self.settings.safety;
        let plan = rotation::plan(ring, change, safety, self.now()).unwrap();
        let log = &self.state.services.log;
        let applied = rotation::apply(&plan, log, "test", None, self.now());
        applied.await.unwrap();
        self.state.services.keys.refresh().await;
    }

    /// The first key of `records` is revoked; somebody else may have signed with it for so many minutes.
    pub async fn compromise(&self, minutes: i64) {
        let draft = Draft::Revoke {
            kid: self.kid().parse().unwrap(),
            reason: RevocationReason::Compromised,
            compromised_since: Some(Time::from_millis(self.now().millis() - minutes * 60_000)),
        };
        self.ceremony("records", draft).await;
    }

    /// A log with a ring of its own and a checkpoint over all that was written so far.
    pub async fn publish_log(&self) {
        if !(self.state.services.keys.current().rings).contains_key("log") {
            self.create_ring("log", Algorithm::Es256, Usage::Log).await;
            self.standby("log").await;
            self.wait(LONG);
            self.change("log", &RingChange::Rotate).await;
        }
        let last = self.store.log_size().await.unwrap() - 1;
        let soon = Instant::now() + Duration::from_secs(30);
        let log = &self.state.services.transparency_log;
        assert!(log.covered(last, soon).await.is_ok(), "no checkpoint came");
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
        self.post_as(SIGNER, path, body).await
    }

    pub async fn post_as(&self, access_token: &str, path: &str, body: &str) -> Answered {
        self.send_as(access_token, Method::POST, path, body).await
    }

    pub async fn send_as(&self, who: &str, method: Method, path: &str, body: &str) -> Answered {
        let mut request = post(path, body.to_owned());
        *request.method_mut() = method;
        let bearer = format!("Bearer {who}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        self.send(request).await
    }

    /// The caller behind an access token.
    pub fn caller(&self, access_token: &str) -> Caller {
        let snapshot = self.state.services.keys.current();
        let now = self.now();
        let principal = snapshot.credentials.by_access_token(access_token, now);
        Caller::Known(principal.unwrap().clone())
    }

    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Of the first key of `records`.
    pub fn kid(&self) -> String {
        let snapshot = self.state.services.keys.current();
        snapshot.rings["records"].keys[0].kid.as_str().to_owned()
    }

    /// Bodies of the leaves of a kind, oldest first.
    pub async fn leaves(&self, kind: &str) -> Vec<Value> {
        let leaves = self.store.leaves(0, 1_000).await.unwrap();
        let of_kind = leaves.iter().filter(|leaf| leaf.kind == kind);
        of_kind
            .map(|leaf| serde_json::from_str(&leaf.body).unwrap())
            .collect()
    }

    /// The last leaf of them, which is written at once.
    pub async fn strangers_refused(&self) -> Value {
        self.state.layer.refusals.write_counted().await;
        let mut leaves = self.leaves("refusals").await;
        leaves.pop().unwrap_or_default()
    }

    /// Of every key, as on a token that was initialised anew.
    pub fn lose_private_halves(&self) {
        let snapshot = self.state.services.keys.current();
        for key in snapshot.keys.values() {
            let trust::Location::Pkcs11(place) = &key.location else {
                continue;
            };
            self.token.lose_private_half(place.cka_id.0);
        }
    }

    /// Until so many signatures are asked of the token, which is held.
    pub async fn until_asked(&self, count: usize) {
        while self.token.waiting() < count {
            tokio::task::yield_now().await;
        }
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

fn env(now: &Arc<AtomicI64>) -> Env {
    let clock = now.clone();
    let count = AtomicU64::new(1);
    // Different each time; nobody guesses here.
    let fill = move |bytes: &mut [u8]| {
        bytes.fill(0);
        let next = count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        bytes[..8].copy_from_slice(&next);
        Ok(())
    };
    Env::new(
        move || Time::from_millis(clock.load(Ordering::Relaxed)),
        fill,
    )
}

/// The claims of a compact JWT, unverified.
pub fn unverified_claims(jwt: &[u8]) -> Value {
    let text = std::str::from_utf8(jwt).unwrap();
    let claims = text.split('.').nth(1).unwrap();
    serde_json::from_slice(&trust::base64url::decode(claims).unwrap()).unwrap()
}

/// By a key that nobody has.
pub fn foreign_jws() -> String {
    let header = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "A".repeat(43));
    let parts = [header.as_bytes(), b"payload", &[7; 64]];
    parts.map(trust::base64url::encode).join(".")
}
