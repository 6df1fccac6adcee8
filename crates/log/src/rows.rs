//! Rows of keys and documents against the transcripts that they rest on. A row proves nothing by itself; nothing here
//! reads the database.

use store::{DocumentKind, DocumentRow, KeyRow, KeyStatus};
use trust::chain::Change;
use trust::life::Life;
use trust::order_log::LoggedUse;
use trust::tally::KnownOrders;
use trust::{
    Algorithm, KeyState, Location, Pin, PublicKey, Sha256Digest, Time, Trusted, Verifier,
    error_chain,
};

/// A document of roster or policy that is not in its canonical form.
#[derive(Debug, thiserror::Error)]
#[error("document {kind} {version} in the database cannot be decoded")]
pub struct ChainRowError {
    kind: DocumentKind,
    version: i64,
    #[source]
    source: trust::JsonError,
}

/// The chain of roster and policy as the database has it; nothing is verified by that.
pub fn unverified_chains(rows: &[DocumentRow]) -> Result<Option<trust::Chains>, ChainRowError> {
    let mut chains: Option<trust::Chains> = None;
    for row in rows {
        let unread = |source| ChainRowError {
            kind: row.kind,
            version: row.version,
            source,
        };
        if let (Some(chains), DocumentKind::Recovery) = (&mut chains, row.kind) {
            let recovery = trust::json::require_canonical(&row.body).map_err(unread)?;
            chains.changes.push(Change::Recovery(recovery));
            continue;
        }
        let document = trust::json::require_canonical(&row.body).map_err(unread)?;
        match (&mut chains, row.kind) {
            (None, _) => {
                chains = Some(trust::Chains {
                    genesis: document,
                    changes: Vec::new(),
                })
            }
            (Some(chains), DocumentKind::Policy) => chains.changes.push(Change::Policy(document)),
            (Some(chains), DocumentKind::RecoveryRoster) => {
                chains.changes.push(Change::RecoveryRoster(document));
            }
            (Some(chains), _) => chains.changes.push(Change::Roster(document)),
        }
    }
    Ok(chains)
}

/// The rows of a chain, without the leaves that tell of them.
pub fn document_rows(chains: &trust::Chains) -> Result<Vec<DocumentRow>, trust::JsonError> {
    use DocumentKind as K;
    let (mut roster, mut policy, mut recovery) = (1, 1, 0);
    let mut rows = vec![(K::Genesis, 1, trust::json::canonical(&chains.genesis)?)];
    for change in &chains.changes {
        let (kind, version, body) = match change {
            Change::Roster(signed) => (K::Roster, &mut roster, trust::json::canonical(signed)),
            Change::Policy(signed) => (K::Policy, &mut policy, trust::json::canonical(signed)),
            Change::RecoveryRoster(signed) => {
                let body = trust::json::canonical(signed);
                (K::RecoveryRoster, &mut recovery, body)
            }
            Change::Recovery(change) => (K::Recovery, &mut roster, trust::json::canonical(change)),
        };
        *version += 1;
        rows.push((kind, *version, body?));
    }
    let rows = (0..).zip(rows);
    Ok(rows
        .map(|(place, (kind, version, body))| DocumentRow {
            place,
            kind,
            version,
            body,
            index: None,
        })
        .collect())
}

/// What a transcript says of a key, kept so that it is tallied once and not at every change.
#[derive(Debug)]
pub struct Certified {
    pub order: trust::Generate,
    pub algorithm: Algorithm,
    pub location: Location,
    pub spki: Vec<u8>,
    pub ceremony: Sha256Digest,
    pub prepared_at: Time,
    /// How many documents the chain had under which the ceremony was held.
    pub documents: u64,
    /// What is accepted under a former roster is accepted by then.
    pub execute_by: Time,
    /// What the log has to tell, of a key made under a standing order.
    pub used: Option<LoggedUse>,
}

/// What a row's transcript says of the key, once it is verified from the pin. `orders` are standing orders that were
/// verified for other keys.
pub fn verify_transcript(
    bytes: &[u8],
    pin: &Pin,
    trusted: &Trusted,
    row: &KeyRow,
    orders: &KnownOrders,
) -> Result<Certified, String> {
    let verified = trust::verify_transcript_knowing(bytes, pin, orders);
    let verified = verified.map_err(|e| error_chain(&e))?;
    if !trusted.extends(verified.trusted()) {
        return Err("its ceremony was held under a different chain of rosters".to_owned());
    }
    let prepared_at = verified.statement().executed_at;
    let documents = verified.trusted().length();
    let execute_by = verified.request().execute_by;
    let used = verified.logged_use().cloned();
    let accepted = verified
        .into_accepted(&row.kid)
        .map_err(|e| error_chain(&e))?;
    Ok(Certified {
        order: accepted.order().clone(),
        algorithm: accepted.algorithm(),
        location: accepted.location().clone(),
        spki: accepted.public_key().to_spki_der(),
        ceremony: row.ceremony,
        prepared_at,
        documents,
        execute_by,
        used,
    })
}

/// A key whose row says what its transcript says.
pub struct BoundKey {
    pub public: PublicKey,
    pub verifier: Verifier,
    pub state: KeyState,
}

/// The key of a row; every column that the transcript also knows has to agree with it.
pub fn bind_key(row: &KeyRow, known: &Certified) -> Result<BoundKey, String> {
    let order = &known.order;
    let agreements = [
        ("ring", row.ring == order.ring),
        ("number", row.number == order.number),
        ("public key", row.spki == known.spki),
        ("object", row.object == order.place.object()),
        ("location", row.location == known.location),
        ("activation", row.activate_at == order.activate_at),
        ("ceremony", row.ceremony == known.ceremony),
    ];
    if let Some((what, _)) = agreements.iter().find(|(_, agrees)| !agrees) {
        return Err(format!("its {what} differs from its transcript"));
    }
    let public = trust::PublicKey::from_spki_der(&row.spki).map_err(|e| e.to_string())?;
    let verifier = trust::Verifier::new(&public, known.algorithm).map_err(|e| e.to_string())?;
    let state = life(row, known.prepared_at)
        .state()
        .map_err(|e| e.to_string())?;
    if status(&state) != row.status {
        return Err("its state and its instants contradict each other".to_owned());
    }
    Ok(BoundKey {
        public,
        verifier,
        state,
    })
}

/// A state as rows have it.
pub(crate) fn status(state: &KeyState) -> KeyStatus {
    match state {
        KeyState::Prepared { .. } => KeyStatus::Prepared,
        KeyState::Primary(_) => KeyStatus::Primary,
        KeyState::Secondary { .. } => KeyStatus::Secondary,
        KeyState::Retired(_) => KeyStatus::Retired,
        KeyState::Archived { .. } => KeyStatus::Archived,
        KeyState::Revoked { .. } => KeyStatus::Revoked,
    }
}

fn life(row: &KeyRow, prepared_at: Time) -> Life {
    Life {
        prepared_at,
        published_at: Some(row.published_at),
        activated_at: row.activated_at,
        demoted_at: row.demoted_at,
        retired_at: row.retired_at,
        archived_at: row.archived_at,
        revocation: row.revocation,
    }
}
