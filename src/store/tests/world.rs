//! Rows to play with, and the long way that a key comes to a ring.

use super::super::*;
use super::place::Place;

pub const NOW: i64 = 1_795_000_000_000;
pub const SERIAL: &str = "0123456789abcdef";

/// A digest that stands for `name`.
pub fn digest(name: &str) -> String {
    trust_like_hex(name.as_bytes(), 64)
}

pub fn cka(name: &str) -> String {
    trust_like_hex(name.as_bytes(), 32)
}

pub fn kid(name: &str) -> String {
    trust_like_hex(name.as_bytes(), 43)
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
        name: name.into(),
        algorithm: "ES256".into(),
        key_spec: "P-256".into(),
        usage: "structured".into(),
        critical: true,
        created_at: NOW,
        version: 1,
    }
}

pub fn ceremony(name: &str, seq: i64, operation: &str, ring: &str) -> CeremonyRow {
    CeremonyRow {
        id: digest(name),
        seq,
        operation: operation.into(),
        ring: ring.into(),
        state: CeremonyState::Proposed,
        request: name.as_bytes().to_vec(),
        execution: None,
        transcript: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

pub fn object(name: &str, ring: &str, number: i64) -> TokenObjectRow {
    TokenObjectRow {
        cka_id: cka(name),
        token_serial: SERIAL.into(),
        token_label: "chancery".into(),
        label: name.into(),
        ring: ring.into(),
        number,
        ceremony: digest(name),
        state: "intended".into(),
        kid: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// The same on a token beside the usual one.
pub fn object_elsewhere(name: &str, ring: &str, number: i64) -> TokenObjectRow {
    TokenObjectRow {
        token_serial: "another".into(),
        ..object(name, ring, number)
    }
}

pub fn intend(object: TokenObjectRow) -> Change {
    Change::IntendGeneration {
        ceremony: object.ceremony.clone(),
        object,
        at: NOW,
    }
}

pub fn record(name: &str) -> Change {
    Change::RecordGeneration {
        ceremony: digest(name),
        cka_id: cka(name),
        kid: kid(name),
        execution: b"{}".to_vec(),
        at: NOW,
    }
}

pub fn destroy(ceremony: &str, name: &str) -> Change {
    Change::IntendDestruction {
        ceremony: digest(ceremony),
        cka_id: cka(name),
        at: NOW,
    }
}

pub fn archive(ceremony: &str, ring: &str, name: &str) -> Change {
    Change::ArchiveKey {
        ceremony: digest(ceremony),
        ring: ring.into(),
        kid: kid(name),
        cka_id: cka(name),
        execution: b"burnt".to_vec(),
        at: NOW,
    }
}

pub fn resolve(ceremony: &str, name: &str, state: &str) -> Change {
    Change::ResolveObject {
        ceremony: digest(ceremony),
        cka_id: cka(name),
        state: state.into(),
        at: NOW,
    }
}

pub fn close(ceremony: &str) -> Change {
    Change::CloseCeremony {
        ceremony: digest(ceremony),
        transcript: format!("transcript of {ceremony}").into_bytes(),
        at: NOW,
    }
}

pub fn sign(ceremony: &str, purpose: &str, signature: &str) -> Change {
    Change::AddCeremonySignature(CeremonySignatureRow {
        ceremony: digest(ceremony),
        purpose: purpose.into(),
        body: Vec::new(),
        signature: signature.into(),
        received_at: NOW,
    })
}

pub fn key(name: &str, ring: &str, number: i64) -> KeyRow {
    KeyRow {
        kid: kid(name),
        ring: ring.into(),
        number,
        state: "prepared".into(),
        role: None,
        spki: name.as_bytes().to_vec(),
        cka_id: cka(name),
        token_serial: SERIAL.into(),
        token_label: "chancery".into(),
        published_at: NOW,
        activate_at: NOW,
        retire_at: NOW + 1,
        activated_at: None,
        demoted_at: None,
        retired_at: None,
        archived_at: None,
        revoked_at: None,
        revocation_reason: None,
        compromised_since: None,
        ceremony: digest(name),
    }
}

pub fn credential(kind: &str, value: &str) -> CredentialRow {
    CredentialRow {
        kind: kind.into(),
        value: value.into(),
        principal: "integrity".into(),
        roles: r#"["signer:atp"]"#.into(),
        created_at: NOW,
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
        let rings = self.store.rings().await.unwrap();
        rings
            .into_iter()
            .find(|ring| ring.name == name)
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

    /// A ceremony that has its approvals.
    pub async fn approved(&self, name: &str, operation: &str, ring: &str) {
        let all = self.store.ceremonies().await.unwrap();
        let carried_out = all
            .iter()
            .filter(|row| matches!(row.state, CeremonyState::Closed | CeremonyState::Executed));
        let seq = carried_out.map(|row| row.seq).max().unwrap_or(0) + 1;
        let row = ceremony(name, seq, operation, ring);
        self.change(Change::ProposeCeremony(row)).await.unwrap();
        self.move_ceremony(name, CeremonyState::Proposed, CeremonyState::Approved)
            .await
            .unwrap();
    }

    pub async fn intended(&self, name: &str, ring: &str, number: i64) {
        self.approved(name, "generate", ring).await;
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

    pub async fn object_state(&self, name: &str) -> String {
        let objects = self.store.token_objects().await.unwrap();
        let found = objects.into_iter().find(|row| row.cka_id == cka(name));
        found.unwrap().state
    }

    pub async fn key(&self, kid: &str) -> KeyRow {
        let keys = self.store.keys().await.unwrap();
        keys.into_iter().find(|key| key.kid == kid).unwrap()
    }

    pub async fn revocation(&self, name: &str, ring: &str, kid: &str) -> Change {
        self.approved(name, "revoke", ring).await;
        let rings = self.store.rings().await.unwrap();
        let row = rings.into_iter().find(|row| row.name == ring).unwrap();
        Change::RevokeKey {
            ceremony: digest(name),
            ring: ring.into(),
            expected_version: row.version,
            kid: kid.into(),
            reason: "compromised".into(),
            compromised_since: Some(NOW - 1000),
            successor: None,
            execution: b"execution".to_vec(),
            at: NOW,
        }
    }
}
