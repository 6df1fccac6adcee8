//! A database with a log, a clock that is set by hand, and ceremonies to tell of.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base::Env;
use base::settings::Profile;
use store::testing::place::Place;
use store::testing::world::{NOW, line, nonce};
use store::{
    CeremonyRow, CeremonySignatureRow, CeremonyState, Change, DeliveryRow, DeliveryState, Leaf,
};
use trust::format::V1;
use trust::leaf::{ActKind, ActLeaf};
use trust::request::{DocumentRef, RevocationReason, Revoke};
use trust::{Line, Operation, Purpose, Request, Roster, Sha256Digest, Subject, Time};

use crate::{Context, Notifier, Sender, Settings};

/// 32 bytes; of nobody.
pub const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub struct World {
    pub place: Place,
    clock: Arc<AtomicI64>,
}

impl World {
    pub async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            place: Place::sqlite().await,
            clock: Arc::new(AtomicI64::new(NOW)),
        }
    }

    pub fn now(&self) -> Time {
        Time::from_millis(self.clock.load(Ordering::Relaxed))
    }

    pub fn pass(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.clock.fetch_add(millis, Ordering::Relaxed);
    }

    /// The replica of this name, started anew.
    pub fn replica(&self, instance: &str, settings: &str) -> Notifier {
        let settings: Settings = toml::from_str(settings).unwrap();
        settings.validate(Profile::Demonstration).unwrap();
        let clock = Arc::clone(&self.clock);
        let now = move || Time::from_millis(clock.load(Ordering::Relaxed));
        let context = Context {
            store: self.place.store.clone(),
            env: Env::new(now, |bytes| {
                bytes.fill(7);
                Ok(())
            }),
            settings,
            sender: Sender {
                service: "chancery".to_owned(),
                environment: "test".to_owned(),
                url: "https://keys.example".to_owned(),
                genesis: Sha256Digest::of(b"genesis"),
            },
            instance: instance.to_owned(),
            unratified: Box::new(Vec::new),
            roster: Box::new(|| Some(roster())),
            variable: Box::new(|_| None),
        };
        Notifier::new(context).unwrap()
    }

    pub async fn propose(&self, name: &str) -> Sha256Digest {
        self.propose_for(name, Duration::from_secs(72 * 3_600))
            .await
    }

    pub async fn propose_for(&self, name: &str, time: Duration) -> Sha256Digest {
        self.propose_because(name, name, time).await
    }

    pub async fn propose_because(&self, name: &str, reason: &str, time: Duration) -> Sha256Digest {
        let now = self.now();
        let kid = store::testing::world::kid(name).parse().unwrap();
        let subject = Subject::Key(store::testing::world::kid(name).parse().unwrap());
        let request = Request {
            v: V1,
            service: "chancery".parse().unwrap(),
            environment: "test".parse().unwrap(),
            lines: vec![Line {
                subject: subject.clone(),
                sequence: 1,
                previous: None,
            }],
            roster: DocumentRef {
                version: 1,
                digest: Sha256Digest::of(b"roster"),
            },
            policy: DocumentRef {
                version: 1,
                digest: Sha256Digest::of(b"policy"),
            },
            operation: Operation::Revoke(Revoke {
                ring: "integrity".parse().unwrap(),
                kid,
                number: 1,
                reason: RevocationReason::Superseded,
                compromised_since: None,
            }),
            order: None,
            proposer: Some("ada".parse().unwrap()),
            reason: reason.to_owned(),
            ticket: None,
            created_at: now,
            approve_by: now + time,
            execute_by: now + time + time,
            nonce: nonce(name).parse().unwrap(),
        };
        let bytes = request.encode().unwrap();
        let id = Sha256Digest::of(&bytes);
        let row = CeremonyRow {
            id,
            operation: "revoke".parse().unwrap(),
            ring: None,
            state: CeremonyState::Proposed,
            nonce: request.nonce,
            request: bytes,
            execution: None,
            transcript: None,
            created_at: now,
            updated_at: now,
        };
        let proposal = CeremonySignatureRow {
            ceremony: id,
            purpose: Purpose::Propose,
            body: Vec::new(),
            signature: "proposer".into(),
            received_at: now,
        };
        let change = Change::ProposeCeremony {
            row: Box::new(row),
            lines: vec![line(&subject.to_string(), 1)],
            proposal: Some(proposal),
            order: None,
        };
        self.commit(&change, "propose", "member:ada", id).await;
        id
    }

    pub async fn reject(&self, id: Sha256Digest) {
        self.commit(&Change::Record, "reject", "custodian:berta", id)
            .await;
        self.move_to(id, CeremonyState::Rejected).await;
    }

    pub async fn move_to(&self, id: Sha256Digest, to: CeremonyState) {
        let change = Change::MoveCeremony {
            id: id.to_string(),
            from: CeremonyState::Proposed,
            to,
            at: self.now().millis(),
        };
        self.commit(&change, to.as_str(), "chancery", id).await;
    }

    async fn commit(&self, change: &Change, action: &str, actor: &str, id: Sha256Digest) {
        self.commit_as(ActKind::Ceremony, change, action, actor, id)
            .await;
    }

    /// An act about roster, policy or a suspension.
    pub async fn act(&self, kind: ActKind, action: &str, id: Sha256Digest) {
        self.commit_as(kind, &Change::Record, action, "chancery", id)
            .await;
    }

    async fn commit_as(
        &self,
        kind: ActKind,
        change: &Change,
        action: &str,
        actor: &str,
        id: Sha256Digest,
    ) {
        let now = self.now();
        let act = ActLeaf {
            reference: Some(id.to_string()),
            reason: Some("not today".to_owned()),
            ..ActLeaf::new(kind, action, actor, now)
        };
        let leaf = Leaf {
            time: now.millis(),
            kind: kind.name(),
            ring: None,
            kid: None,
            sig_hash: None,
            body: serde_json::to_string(&act).unwrap(),
        };
        self.place.store.commit(change, &leaf).await.unwrap();
    }

    pub async fn deliveries(&self, state: DeliveryState) -> Vec<DeliveryRow> {
        self.place.store.deliveries(state, 1_000).await.unwrap()
    }
}

/// Three custodians; nobody signs here.
fn roster() -> Roster {
    let member = |id: &str| serde_json::json!({"id": id, "name": id.to_uppercase(), "roles": ["custodian"], "keys": [], "active": true});
    serde_json::from_value(serde_json::json!({
        "v": 1, "service": "chancery", "environment": "test", "version": 1, "previous": null,
        "members": [member("ada"), member("berta"), member("carl")], "expires_at": null, "passkeys": null,
    }))
    .unwrap()
}

/// A webhook to this address.
pub fn webhook(address: &str) -> String {
    format!(
        "[receivers.ops]\nkind = \"webhook\"\nurl = \"http://{address}/hook\"\nallow_private = true\ntimeout = \"300ms\"\nsecrets = [\"{SECRET}\"]\n"
    )
}
