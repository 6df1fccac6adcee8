//! A database, a token, custodians and a clock, all of them in the test's hands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use base::Env;
use log::{Event, Log};
use store::testing::place::Place;
use store::{Change, RingRow, Store};
use testkit::custodians::{self, minute};
use testkit::token::SoftwareToken;
use trust::leaf::ActKind;
use trust::request::RevocationReason;
use trust::{Algorithm, KeySpec, Kid, Purpose, Time, Usage, verify_transcript};

use crate::ceremony::{Alone, CeremonyService, Draft, Error, ProposalInput, Report};
use crate::keys::{Keys, PublicationSettings, Settings, Snapshot};
use crate::rotation::{self, RingChange};

pub const SERIAL: &str = "0123456789abcdef";
pub const LABEL: &str = "test";
/// Longer than `publish_safety`.
pub const LONG: i64 = 2 * 24 * 60;

pub struct Installation {
    pub place: Place,
    pub store: Store,
    pub custodians: Arc<custodians::Custodians>,
    pub token: SoftwareToken,
    pub settings: Settings,
    pub env: Env,
    now: Arc<AtomicI64>,
}

impl Installation {
    /// With the genesis, and without a ring.
    pub async fn new() -> Self {
        let all = Self::without_genesis().await;
        let genesis = all.custodians.genesis();
        all.service().install_genesis(&genesis).await.unwrap();
        all
    }

    pub async fn without_genesis() -> Self {
        Self::over(Place::sqlite().await)
    }

    /// With those who act in an emergency.
    pub async fn for_emergencies() -> Self {
        let custodians = custodians::Custodians::for_emergencies("production");
        let all = Self::of(Place::sqlite().await, custodians);
        let genesis = all.custodians.genesis();
        all.service().install_genesis(&genesis).await.unwrap();
        all
    }

    /// With executors, whose signatures accept keys of these rings.
    pub async fn with_executors(routine_rings: &[&str]) -> Self {
        let custodians = custodians::Custodians::with_executors("production", routine_rings);
        let all = Self::of(Place::sqlite().await, custodians);
        let genesis = all.custodians.genesis();
        all.service().install_genesis(&genesis).await.unwrap();
        all
    }

    pub fn over(place: Place) -> Self {
        Self::of(place, custodians::Custodians::with_others("production"))
    }

    fn of(place: Place, custodians: custodians::Custodians) -> Self {
        let now = Arc::new(AtomicI64::new(minute(0).millis()));
        let clock = now.clone();
        let count = AtomicU64::new(1);
        // Different each time; nobody guesses here.
        let fill = move |bytes: &mut [u8]| {
            bytes.fill(0);
            let next = count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            bytes[..8].copy_from_slice(&next);
            Ok(())
        };
        let env = Env::new(
            move || Time::from_millis(clock.load(Ordering::Relaxed)),
            fill,
        );
        let settings =
            Settings::new(custodians.pin().clone(), &PublicationSettings::default()).unwrap();
        Self {
            store: place.store.clone(),
            place,
            custodians: Arc::new(custodians),
            token: SoftwareToken::new(SERIAL, LABEL),
            settings,
            env,
            now,
        }
    }

    /// A ring that signs.
    pub async fn open(ring: &str) -> (Self, Kid) {
        let all = Self::new().await;
        let kid = all.open_ring(ring).await;
        (all, kid)
    }

    pub fn now(&self) -> Time {
        self.env.now()
    }

    pub fn wait(&self, minutes: i64) {
        self.now.fetch_add(minutes * 60_000, Ordering::Relaxed);
    }

    pub fn service(&self) -> CeremonyService {
        let actor = "test".to_owned();
        CeremonyService::new(self.store.clone(), self.env.clone(), &self.settings, actor)
    }

    /// The command line of a machine whose clock is behind.
    pub fn service_behind(&self, millis: i64) -> CeremonyService {
        let (now, env) = (self.now.clone(), self.env.clone());
        let env = Env::new(
            move || Time::from_millis(now.load(Ordering::Relaxed) - millis),
            move |bytes: &mut [u8]| {
                let random: [u8; 16] = env.random()?;
                bytes
                    .iter_mut()
                    .zip(random)
                    .for_each(|(to, from)| *to = from);
                Ok(())
            },
        );
        CeremonyService::new(self.store.clone(), env, &self.settings, "test".to_owned())
    }

    pub async fn keys(&self) -> Arc<Keys> {
        let keys = Keys::load(self.store.clone(), self.settings.clone());
        keys.await.unwrap()
    }

    pub async fn snapshot(&self) -> Arc<Snapshot> {
        self.keys().await.current()
    }

    pub async fn create_ring(&self, name: &str) {
        let usage = match name {
            "log" => Usage::Log,
            "digests" => Usage::Raw,
            _ => Usage::Structured,
        };
        let row = RingRow {
            name: name.parse().unwrap(),
            algorithm: Algorithm::Es256,
            key_spec: KeySpec::P256,
            usage,
            created_at: self.now(),
            version: 1,
        };
        let event = Event {
            ring: Some(name),
            ..Event::new(ActKind::Ring, "create", "test", self.now())
        };
        let log = Log::new(self.store.clone());
        log.commit(&Change::CreateRing(row), &event).await.unwrap();
    }

    pub fn proposal(&self, ring: &str, draft: Draft) -> ProposalInput {
        ProposalInput {
            ring: Some(ring.parse().unwrap()),
            proposer: "carol".parse().unwrap(),
            reason: "a test".to_owned(),
            ticket: None,
            approve_by: self.now() + Duration::from_secs(3_600),
            execute_by: self.now() + Duration::from_secs(7_200),
            draft,
        }
    }

    pub fn generation() -> Draft {
        Draft::Generate {
            token_serial: SERIAL.to_owned(),
            token_label: LABEL.to_owned(),
            activate_in: Duration::ZERO,
            lifetime: Duration::from_secs(90 * 86_400),
        }
    }

    pub fn revocation(kid: &Kid) -> Draft {
        Draft::Revoke {
            kid: kid.clone(),
            reason: RevocationReason::Superseded,
            compromised_since: None,
        }
    }

    pub fn compromise(kid: &Kid, since: Time) -> Draft {
        Draft::Revoke {
            kid: kid.clone(),
            reason: RevocationReason::Compromised,
            compromised_since: Some(since),
        }
    }

    pub async fn propose(&self, ring: &str, draft: Draft) -> String {
        let proposal = self.proposal(ring, draft);
        self.try_propose(proposal).await.unwrap()
    }

    /// Drafted, signed by the member that it names, and filed.
    pub async fn try_propose(&self, proposal: ProposalInput) -> Result<String, Error> {
        let snapshot = self.snapshot().await;
        let who = proposal.proposer.to_string();
        let service = self.service();
        let request = service.draft_request(proposal, &snapshot).await?;
        let payload = CeremonyService::proposal_payload(&request)?;
        let signature = self
            .custodians
            .signature(&who, &payload.namespace, &payload.bytes);
        service.propose(request.encode()?, &signature).await
    }

    pub async fn approve(&self, id: &str, who: &str) -> Result<Report, Error> {
        let payload = self.service().approval_payload(id).await?;
        let signature = self
            .custodians
            .signature(who, &payload.namespace, &payload.bytes);
        self.service().approve(id, &signature).await
    }

    /// Rejects or cancels.
    pub async fn object(&self, id: &str, purpose: Purpose, who: &str) -> Result<Report, Error> {
        let service = self.service();
        let payload = service.objection_payload(id, purpose, "no").await?;
        let signature = self
            .custodians
            .signature(who, &payload.namespace, &payload.bytes);
        match purpose {
            Purpose::Cancel => service.cancel(id, "no", &signature).await,
            _ => service.reject(id, "no", &signature).await,
        }
    }

    pub async fn accept(&self, id: &str, who: &str) -> Result<Report, Error> {
        let payload = self.service().acceptance_payload(id).await?;
        let signature = self
            .custodians
            .signature(who, &payload.namespace, &payload.bytes);
        self.service().accept(id, &signature).await
    }

    pub async fn execute(&self, id: &str) -> Result<Report, Error> {
        let snapshot = self.snapshot().await;
        let executor = self.token.executor();
        self.service().execute(id, Some(&executor), &snapshot).await
    }

    /// Another executor may be at work, as far as it knows.
    pub async fn reconcile(&self) -> Vec<String> {
        let executor = self.token.executor();
        let findings = self.service().reconcile(&executor, Alone::Unknown).await;
        let text = |finding: crate::ceremony::Finding| {
            format!("{} -> {}", finding.finding, finding.action)
        };
        findings.unwrap().into_iter().map(text).collect()
    }

    pub async fn approved(&self, ring: &str, draft: Draft) -> String {
        let id = self.propose(ring, draft).await;
        for who in ["alice", "bob"] {
            self.approve(&id, who).await.unwrap();
        }
        id
    }

    pub async fn executed(&self, ring: &str, draft: Draft) -> String {
        let id = self.approved(ring, draft).await;
        self.execute(&id).await.unwrap();
        id
    }

    pub async fn closed(&self, ring: &str, draft: Draft) -> String {
        let id = self.executed(ring, draft).await;
        for who in ["alice", "bob"] {
            self.accept(&id, who).await.unwrap();
        }
        id
    }

    /// A new key that is published and does not sign yet.
    pub async fn standby(&self, ring: &str) -> Kid {
        let id = self.closed(ring, Self::generation()).await;
        let keys = self.store.keys().await.unwrap().all().unwrap();
        let mut keys = keys.into_iter();
        let key = keys.find(|key| key.ceremony.to_string() == id);
        key.unwrap().kid
    }

    pub async fn open_ring(&self, ring: &str) -> Kid {
        self.create_ring(ring).await;
        self.next_primary(ring).await
    }

    /// A new key takes over, after the time that it takes.
    pub async fn next_primary(&self, ring: &str) -> Kid {
        let kid = self.standby(ring).await;
        self.wait(LONG);
        self.change(ring, &RingChange::Rotate).await;
        kid
    }

    pub async fn change(&self, ring: &str, change: &RingChange) {
        let snapshot = self.snapshot().await;
        let ring = &snapshot.rings[ring];
        let plan = rotation::plan(ring, change, &self.settings.safety, self.now()).unwrap();
        let log = Log::new(self.store.clone());
        rotation::apply(&plan, &log, "test", None, self.now())
            .await
            .unwrap();
    }

    /// Without the guards of its schema, as the database's owner could.
    pub async fn tamper(&self, table: &str, sql: &str) {
        let guards = GUARDS.iter().filter(|guard| guard.starts_with(table));
        let drop = guards.map(|guard| format!("DROP TRIGGER IF EXISTS {guard};"));
        let sql = format!("{}{sql}", drop.collect::<String>());
        assert!(self.place.raw(&sql).await.unwrap() > 0, "{sql}");
    }

    /// The database refuses what this condition of SQLite says, until [`Installation::repair`].
    pub async fn break_at(&self, event: &str, when: &str) {
        let sql = format!(
            "CREATE TRIGGER broken BEFORE {event} WHEN {when} \
             BEGIN SELECT RAISE(ABORT, 'broken'); END"
        );
        self.place.raw(&sql).await.unwrap();
    }

    /// The database takes a part of a second for it, until [`Installation::repair`].
    pub async fn slow_at(&self, event: &str, when: &str) {
        let sql = format!(
            "CREATE TRIGGER broken BEFORE {event} WHEN {when} BEGIN \
             SELECT (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c \
             WHERE n < 3000000) SELECT count(*) FROM c); END"
        );
        self.place.raw(&sql).await.unwrap();
    }

    pub async fn repair(&self) {
        self.place.raw("DROP TRIGGER broken").await.unwrap();
    }

    /// Kind, action and reason of the last act in the log.
    pub async fn last_act(&self) -> String {
        let size = self.store.log_size().await.unwrap();
        let leaf = self.store.leaf(size - 1).await.unwrap().unwrap();
        let body: serde_json::Value = serde_json::from_str(&leaf.body).unwrap();
        let text = |name: &str| body[name].as_str().unwrap_or("-").to_owned();
        format!("{} {}: {}", leaf.kind, text("action"), text("reason"))
    }

    pub async fn signatures_in_the_log(&self) -> usize {
        let leaves = self.store.leaves(0, 1_000).await.unwrap();
        leaves.iter().filter(|leaf| leaf.kind == "sign").count()
    }

    async fn votes(&self) -> Vec<store::VoteRow> {
        let start = store::PageStart::default();
        let votes = self.store.votes(&start, store::MAX_PAGE).await;
        votes.unwrap().rows.all().unwrap()
    }

    /// Ceremonies, objects, keys and the token in one line, after everything that has to hold was looked at.
    pub async fn state(&self) -> String {
        let latest = self
            .store
            .latest_ceremonies((i64::MAX, ""), store::MAX_PAGE);
        let mut ceremonies = latest.await.unwrap().rows.all().unwrap();
        ceremonies.reverse();
        let votes = self.votes().await;
        // Those of one instant in the order of the log.
        ceremonies.sort_by_key(|row| {
            let mut votes = votes.iter();
            votes.position(|vote| vote.vote.ceremony == row.id)
        });
        let objects = self.store.key_objects().await.unwrap().all().unwrap();
        let keys = self.store.keys().await.unwrap().all().unwrap();
        let on_token = self.token.executor().list().await.unwrap();
        self.check_log().await;
        // Closed is what a stranger would believe, and nothing else has a transcript.
        for row in &ceremonies {
            let transcript = self.store.transcript(&row.id.to_string()).await.unwrap();
            let closed = row.state == store::CeremonyState::Closed;
            assert_eq!(transcript.is_some(), closed, "{}", row.id);
            if let Some(bytes) = transcript {
                verify_transcript(&bytes, &self.settings.pin).unwrap();
            }
        }
        // Every key was accepted, is believed, and its private half is where its life says.
        let snapshot = self.snapshot().await;
        assert_eq!(snapshot.refused, []);
        assert_eq!(snapshot.unreadable, []);
        assert_eq!(snapshot.keys.len(), keys.len());
        for key in &keys {
            let birth = ceremonies.iter().find(|row| row.id == key.ceremony);
            assert_eq!(birth.unwrap().state, store::CeremonyState::Closed);
            let object = objects.iter().find(|object| object.id == key.object);
            let object = object.unwrap();
            assert_eq!(object.kid.as_ref(), Some(&key.kid));
            assert_eq!(
                object.state == store::ObjectState::Destroyed,
                key.archived_at.is_some(),
                "{}",
                key.kid
            );
        }
        for (name, ring) in &snapshot.rings {
            let mine = keys.iter().filter(|key| key.ring.as_str() == &**name);
            let primaries = mine.filter(|key| key.status == store::KeyStatus::Primary);
            assert_eq!(primaries.count(), usize::from(ring.primary.is_some()));
        }
        let list = |all: Vec<String>| match all.is_empty() {
            true => "-".to_owned(),
            false => all.join(", "),
        };
        let ceremonies = ceremonies.iter();
        let ceremonies = ceremonies.map(|row| format!("{} {}", row.operation, row.state));
        let states = objects
            .iter()
            .map(|object| object.state.as_str().to_owned());
        let keys = keys.iter().map(|key| {
            let state = key.status.as_str();
            format!("{}/{} {state}", key.ring, key.number)
        });
        let pairs = on_token.iter().map(|found| match found.is_complete() {
            true => "pair".to_owned(),
            false => "half".to_owned(),
        });
        [
            list(ceremonies.collect()),
            list(states.collect()),
            list(keys.collect()),
            list(pairs.collect()),
        ]
        .join(" | ")
    }

    /// Every leaf is in its place; the digest of every vote that is kept is in a leaf.
    async fn check_log(&self) {
        let leaves = self.store.leaves(0, 1_000).await.unwrap();
        let mut digests = BTreeMap::new();
        for (place, leaf) in leaves.iter().enumerate() {
            assert_eq!(leaf.index, i64::try_from(place).unwrap());
            let body: serde_json::Value = serde_json::from_str(&leaf.body).unwrap();
            if let Some(digest) = body["digest"].as_str() {
                digests.insert(digest.to_owned(), leaf.index);
            }
        }
        for vote in self.votes().await {
            let digest = trust::Sha256Digest::of(vote.vote.signature.as_bytes()).to_string();
            assert_eq!(digests.get(&digest), Some(&vote.index));
        }
    }
}

const GUARDS: &[&str] = &[
    "log_leaf_no_update",
    "log_leaf_no_delete",
    "log_leaf_contiguous",
    "log_key_act_no_delete",
    "log_key_act_no_update",
    "log_key_accepted_no_delete",
    "log_checkpoint_no_delete",
    "ring_immutable",
    "ceremony_immutable",
    "ceremony_transition",
    "key_object_immutable",
    "key_object_transition",
    "signing_key_immutable",
    "signing_key_transition",
    "signing_key_revocation",
    "signing_key_archived",
    "signing_key_unpublished",
    "trust_document_no_update",
    "trust_statement_signature_no_delete",
    "standing_order_immutable",
    "standing_order_no_delete",
    "order_use_no_delete",
    "order_use_no_update",
    "order_use_permitted",
    "emergency_stop_no_delete",
    "emergency_stop_no_update",
];
