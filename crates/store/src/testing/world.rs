//! Rows to play with, and the long way that a key comes to a ring.

use super::super::*;
use super::place::Place;
use trust::place::{Pkcs11Location, Pkcs11Place};
use trust::{Algorithm, KeySpec, Location, Purpose, Sha256Digest, Template, Time, Usage};

pub const NOW: i64 = 1_795_000_000_000;
pub const DEVICE: &str = "pkcs11/0123456789abcdef";
pub const ELSEWHERE: &str = "pkcs11/fedcba9876543210";

/// A digest that stands for `name`.
pub fn digest(name: &str) -> String {
    trust_like_hex(name.as_bytes(), 64)
}

pub fn nonce(name: &str) -> String {
    trust_like_hex(name.as_bytes(), 32)
}

/// The id of the object that stands for `name`.
pub fn object_id(name: &str) -> String {
    format!("{DEVICE}/{}", trust_like_hex(name.as_bytes(), 32))
}

pub fn location(name: &str) -> Location {
    Location::Pkcs11(Pkcs11Location {
        cka_id: nonce(name).parse().unwrap(),
        label: name.to_owned(),
        token_label: "test".to_owned(),
        token_serial: "0123456789abcdef".to_owned(),
    })
}

pub fn kid(name: &str) -> String {
    trust::base64url::encode(Sha256Digest::of(name.as_bytes()).as_bytes())
}

fn trust_like_hex(name: &[u8], length: usize) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name);
    let hex: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hex[..length].to_owned()
}

pub fn leaf(kind: &'static str) -> Leaf {
    let body = format!(r#"{{"v":1,"kind":"{kind}"}}"#);
    Leaf {
        time: NOW,
        kind,
        ring: None,
        kid: None,
        sig_hash: None,
        body,
    }
}

pub fn ring(name: &str) -> RingRow {
    RingRow {
        name: name.parse().unwrap(),
        algorithm: Algorithm::Es256,
        key_spec: KeySpec::P256,
        usage: Usage::Structured,
        created_at: Time::from_millis(NOW),
        version: 1,
    }
}

pub fn ceremony(name: &str, operation: &str, ring: Option<&str>) -> CeremonyRow {
    CeremonyRow {
        id: digest(name).parse().unwrap(),
        operation: operation.parse().unwrap(),
        ring: ring.map(|ring| ring.parse().unwrap()),
        state: CeremonyState::Proposed,
        nonce: nonce(name).parse().unwrap(),
        request: name.as_bytes().to_vec(),
        execution: None,
        transcript: None,
        created_at: Time::from_millis(NOW),
        updated_at: Time::from_millis(NOW),
    }
}

pub fn line(subject: &str, seq: i64) -> LineRow {
    LineRow {
        subject: subject.into(),
        seq,
    }
}

pub fn of_ring(ring: &str) -> String {
    format!("ring/{ring}")
}

pub fn of_key(kid: &str) -> String {
    format!("key/{kid}")
}

/// With the signature of who proposes it.
pub fn propose(row: CeremonyRow, lines: &[LineRow]) -> Change {
    let proposal = CeremonySignatureRow {
        ceremony: row.id,
        purpose: Purpose::Propose,
        body: Vec::new(),
        signature: "proposer".into(),
        received_at: Time::from_millis(NOW),
    };
    Change::ProposeCeremony {
        row: Box::new(row),
        lines: lines.to_vec(),
        proposal: Some(proposal),
        order: None,
    }
}

/// A generation as the `seq`th of its ring.
pub fn birth(name: &str, seq: i64, ring: &str) -> Change {
    let row = ceremony(name, "generate", Some(ring));
    propose(row, &[line(&of_ring(ring), seq)])
}

/// A ceremony that a standing order bore, by a use of it.
pub fn ordered(name: &str, number: i64) -> Change {
    Change::ProposeCeremony {
        row: Box::new(ceremony(name, "clock-correction", None)),
        lines: vec![line(&format!("order/{name}"), 1)],
        proposal: None,
        order: Some(OrderUseRow {
            order: nonce("order"),
            number,
        }),
    }
}

/// A generation as the `seq`th of its ring, by a use of the order of this name.
pub fn birth_under(order: &str, number: i64, name: &str, seq: i64, ring: &str) -> Change {
    Change::ProposeCeremony {
        row: Box::new(ceremony(name, "generate", Some(ring))),
        lines: vec![line(&of_ring(ring), seq)],
        proposal: None,
        order: Some(OrderUseRow {
            order: nonce(order),
            number,
        }),
    }
}

pub fn accept_order(name: &str, ring: &str, uses: u32) -> Change {
    Change::AcceptOrder {
        order: Box::new(OrderRow {
            id: nonce(name).parse().unwrap(),
            ceremony: digest(name).parse().unwrap(),
            ring: ring.parse().unwrap(),
            uses,
            not_before: Time::from_millis(NOW),
            not_after: Time::from_millis(NOW + 1),
            accepted_at: Time::from_millis(NOW),
            withdrawal: None,
        }),
        transcript: format!("transcript of {name}").into_bytes(),
        at: NOW,
    }
}

pub fn withdraw(order: &str) -> Change {
    Change::WithdrawOrder {
        order: nonce(order),
        body: b"enough".to_vec(),
        signature: "s".into(),
        at: NOW,
    }
}

pub fn object(name: &str, ring: &str, number: i64) -> KeyObjectRow {
    KeyObjectRow {
        id: object_id(name),
        kind: "pkcs11".parse().unwrap(),
        device: DEVICE.into(),
        label: name.into(),
        place: trust::Place::Pkcs11(Pkcs11Place {
            cka_id: nonce(name).parse().unwrap(),
            label: name.to_owned(),
            template: Template::signing_key(),
            token_label: "test".to_owned(),
            token_serial: "0123456789abcdef".to_owned(),
        }),
        location: None,
        ring: ring.parse().unwrap(),
        number: number.try_into().unwrap(),
        ceremony: digest(name).parse().unwrap(),
        state: ObjectState::Intended,
        kid: None,
        destruction: None,
        created_at: Time::from_millis(NOW),
        updated_at: Time::from_millis(NOW),
    }
}

/// The same on a device beside the usual one.
pub fn object_elsewhere(name: &str, ring: &str, number: i64) -> KeyObjectRow {
    KeyObjectRow {
        device: ELSEWHERE.into(),
        ..object(name, ring, number)
    }
}

pub fn intend(object: KeyObjectRow) -> Change {
    Change::IntendGeneration {
        ceremony: object.ceremony.to_string(),
        object: Box::new(object),
        at: NOW,
    }
}

pub fn record(name: &str) -> Change {
    Change::RecordGeneration {
        ceremony: digest(name),
        object: object_id(name),
        location: Box::new(location(name)),
        kid: kid(name).parse().unwrap(),
        execution: b"{}".to_vec(),
        at: NOW,
    }
}

pub fn destroy(ceremony: &str, name: &str) -> Change {
    destroy_all(ceremony, &[name])
}

pub fn destroy_all(ceremony: &str, names: &[&str]) -> Change {
    Change::IntendDestruction {
        ceremony: digest(ceremony),
        objects: names.iter().map(|name| object_id(name)).collect(),
        at: NOW,
    }
}

/// One private half is gone.
pub fn archive(ceremony: &str, ring: &str, name: &str) -> Change {
    Change::ArchiveKey {
        ceremony: digest(ceremony),
        ring: ring.into(),
        kid: kid(name),
        object: object_id(name),
        at: NOW,
    }
}

pub fn execute(ceremony: &str) -> Change {
    Change::ExecuteCeremony {
        ceremony: digest(ceremony),
        execution: b"burnt".to_vec(),
        at: NOW,
    }
}

pub fn resolve(ceremony: &str, name: &str, state: ObjectState) -> Change {
    Change::ResolveObject {
        ceremony: digest(ceremony),
        object: object_id(name),
        state,
        at: NOW,
    }
}

pub fn close(ceremony: &str) -> Change {
    Change::CloseCeremony {
        ceremony: digest(ceremony),
        transcript: format!("transcript of {ceremony}").into_bytes(),
        at: NOW,
        corrected: None,
    }
}

pub fn purpose_of(word: &str) -> Purpose {
    match word {
        "propose" => Purpose::Propose,
        "approve" => Purpose::Approve,
        "reject" => Purpose::Reject,
        "accept" => Purpose::Accept,
        "read" => Purpose::Read,
        other => panic!("{other}"),
    }
}

pub fn sign(ceremony: &str, word: &str, signature: &str) -> Change {
    Change::AddCeremonySignature(CeremonySignatureRow {
        ceremony: digest(ceremony).parse().unwrap(),
        purpose: purpose_of(word),
        body: Vec::new(),
        signature: signature.into(),
        received_at: Time::from_millis(NOW),
    })
}

pub fn key(name: &str, ring: &str, number: i64) -> KeyRow {
    KeyRow {
        kid: kid(name).parse().unwrap(),
        ring: ring.parse().unwrap(),
        number: number.try_into().unwrap(),
        status: KeyStatus::Prepared,
        spki: name.as_bytes().to_vec(),
        object: object_id(name),
        location: location(name),
        published_at: Time::from_millis(NOW),
        activate_at: Time::from_millis(NOW),
        retire_at: Time::from_millis(NOW + 1),
        activated_at: None,
        demoted_at: None,
        retired_at: None,
        archived_at: None,
        unpublished_at: None,
        revocation: None,
        ceremony: digest(name).parse().unwrap(),
    }
}

pub fn san(name: &str) -> CredentialName {
    CredentialName::MtlsSan(name.to_owned())
}

pub fn credential(name: CredentialName) -> CredentialRow {
    CredentialRow {
        name,
        principal: "integrity".parse().unwrap(),
        roles: vec![Role::Signer("atp".to_owned())],
        created_at: Time::from_millis(NOW),
        expires_at: None,
        withdrawn_at: None,
    }
}

pub fn signature(kid: &str, ring: &str, name: &str) -> SignatureRecord {
    let leaf = Leaf {
        time: NOW,
        kind: "sign",
        ring: Some(ring.into()),
        kid: Some(kid.into()),
        sig_hash: Some(digest(name)),
        body: format!(r#"{{"kind":"sign","kid":"{kid}","name":"{name}","v":1}}"#),
    };
    SignatureRecord {
        judged: Judged::default(),
        leaf,
        kid: kid.into(),
        idempotency: None,
    }
}

pub fn asked(key: &str, response: &str) -> Option<Idempotency> {
    Some(Idempotency {
        principal: "integrity".into(),
        key: key.into(),
        request_hash: digest(key),
        response: response.into(),
    })
}

impl Place {
    pub async fn change(&self, change: Change) -> Result<i64, Error> {
        self.store.commit(&change, &leaf("admin")).await
    }

    pub async fn ring(&self, name: &str) {
        self.change(Change::CreateRing(ring(name))).await.unwrap();
    }

    pub async fn ring_version(&self, name: &str) -> i64 {
        let rings = self.store.rings().await.unwrap().read;
        rings
            .into_iter()
            .find(|ring| ring.name.as_str() == name)
            .unwrap()
            .version
    }

    pub async fn move_ceremony(
        &self,
        name: &str,
        from: CeremonyState,
        to: CeremonyState,
    ) -> Result<i64, Error> {
        self.change(Change::MoveCeremony {
            id: digest(name),
            from,
            to,
            at: NOW,
        })
        .await
    }

    /// What comes next in this line.
    pub async fn next(&self, subject: &str) -> i64 {
        let head = self.store.line_head(subject).await.unwrap();
        head.map_or(0, |head| head.seq) + 1
    }

    /// The next ceremony of these subjects, with its approvals.
    pub async fn approved_of(
        &self,
        name: &str,
        operation: &str,
        ring: Option<&str>,
        subjects: &[String],
    ) {
        let mut lines = Vec::new();
        for subject in subjects {
            lines.push(line(subject, self.next(subject).await));
        }
        let row = ceremony(name, operation, ring);
        self.change(propose(row, &lines)).await.unwrap();
        self.move_ceremony(name, CeremonyState::Proposed, CeremonyState::Approved)
            .await
            .unwrap();
    }

    /// The next generation of a ring, with its approvals.
    pub async fn approved(&self, name: &str, ring: &str) {
        self.approved_of(name, "generate", Some(ring), &[of_ring(ring)])
            .await;
    }

    /// Custodians ordered so many keys of a ring in advance.
    pub async fn order(&self, name: &str, ring: &str, uses: u32) {
        let subjects = [format!("order/{}", nonce(name))];
        self.approved_of(name, "order", Some(ring), &subjects).await;
        self.change(execute(name)).await.unwrap();
        self.change(accept_order(name, ring, uses)).await.unwrap();
    }

    /// The next ceremony of a key, with its approvals: a destruction or a revocation.
    pub async fn approved_on(&self, name: &str, operation: &str, ring: &str, key: &str) {
        let subjects = [of_key(&kid(key))];
        self.approved_of(name, operation, Some(ring), &subjects)
            .await;
    }

    /// The place of a ceremony in its only line.
    pub async fn seq(&self, name: &str) -> i64 {
        let lines = self.store.lines(&digest(name)).await.unwrap();
        assert_eq!(lines.len(), 1);
        lines[0].seq
    }

    pub async fn intended(&self, name: &str, ring: &str, number: i64) {
        self.approved(name, ring).await;
        let object = object(name, ring, number);
        self.change(intend(object)).await.unwrap();
    }

    pub async fn generated(&self, name: &str, ring: &str, number: i64) {
        self.intended(name, ring, number).await;
        self.change(record(name)).await.unwrap();
    }

    pub fn accept(&self, name: &str, ring: &str, number: i64) -> Change {
        Change::AcceptKey {
            ceremony: digest(name),
            key: Box::new(key(name, ring, number)),
            transcript: format!("transcript of {name}").into_bytes(),
            at: NOW,
        }
    }

    /// All the way to a standby key.
    pub async fn prepared(&self, name: &str, ring: &str, number: i64) -> String {
        self.generated(name, ring, number).await;
        self.change(self.accept(name, ring, number)).await.unwrap();
        kid(name)
    }

    pub async fn switch(&self, ring: &str, old: Option<&str>, new: &str) -> Result<i64, Error> {
        let expected_version = self.ring_version(ring).await;
        self.change(Change::SwitchPrimary {
            ring: ring.into(),
            expected_version,
            old: old.map(str::to_owned),
            new: new.into(),
            at: NOW,
        })
        .await
    }

    pub async fn retire(&self, ring: &str, kid: &str) -> Result<i64, Error> {
        let expected_version = self.ring_version(ring).await;
        let (ring, kid) = (ring.into(), kid.into());
        self.change(Change::RetireKey {
            ring,
            expected_version,
            kid,
            at: NOW,
        })
        .await
    }

    /// A ring with key 1 as primary.
    pub async fn open_ring(&self, ring: &str) -> String {
        self.ring(ring).await;
        let kid = self.prepared(&format!("{ring}-1"), ring, 1).await;
        self.switch(ring, None, &kid).await.unwrap();
        kid
    }

    /// A ring whose key 1 (`<ring>-1`) is retired, and key 2 primary.
    pub async fn ring_with_a_retired_key(&self, ring: &str) -> String {
        let first = self.open_ring(ring).await;
        let second = self.prepared(&format!("{ring}-2"), ring, 2).await;
        self.switch(ring, Some(&first), &second).await.unwrap();
        self.retire(ring, &first).await.unwrap();
        first
    }

    pub async fn ceremony(&self, name: &str) -> CeremonyRow {
        let row = self.store.ceremony(&digest(name)).await.unwrap();
        row.unwrap()
    }

    pub async fn object_state(&self, name: &str) -> ObjectState {
        let objects = self.store.key_objects().await.unwrap().all().unwrap();
        let found = objects.into_iter().find(|row| row.id == object_id(name));
        found.unwrap().state
    }

    pub async fn key(&self, kid: &str) -> KeyRow {
        let keys = self.store.keys().await.unwrap().all().unwrap();
        keys.into_iter()
            .find(|key| key.kid.as_str() == kid)
            .unwrap()
    }

    pub async fn revocation(&self, name: &str, ring: &str, kid: &str) -> Change {
        let subjects = [of_key(kid)];
        self.approved_of(name, "revoke", Some(ring), &subjects)
            .await;
        let since = Some(NOW - 1000);
        self.revoke(name, ring, kid, "compromised", since).await
    }

    /// By the ceremony of this name, as the ring stands now.
    pub async fn revoke(
        &self,
        name: &str,
        ring: &str,
        kid: &str,
        reason: &str,
        compromised_since: Option<i64>,
    ) -> Change {
        Change::RevokeKey {
            ceremony: digest(name),
            ring: ring.into(),
            expected_version: self.ring_version(ring).await,
            kid: kid.into(),
            reason: reason.into(),
            compromised_since,
            successor: None,
            execution: b"execution".to_vec(),
            at: NOW,
        }
    }
}
