//! Where ceremonies are held: the database, the log, the clock, and the pin.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use calendar::policy::Caches;
use trust::actor::Actor;
use trust::approval::{Approval, Objection, ObjectionBody, acceptance_message, objection_message};
use trust::format::V1;
use trust::leaf::ActKind;
use trust::review;
use trust::tally::Last;
use trust::{
    Ceremony, Chains, History, Kid, MemberSignature, Name, Pin, Purpose, Request, Safety,
    Sha256Digest, Transcript, Trusted, json,
};

pub use trust::review::File;

use super::clones::Clones;
use super::error::Error;
use super::known_orders::KnownOrders;
use super::result_signer::ResultSigner;
use crate::keys::Settings;
use base::Env;
use log::{Event, Log, suspensions, unverified_chains};
use store::{CeremonyRow, CeremonySignatureRow, Change, DocumentKind, DocumentRow, Store};

/// How long an executor has a ceremony: longer than any administrative call may take, with what is written before and after
/// it.
const LEASE: Duration = Duration::from_secs(150);

/// Holds ceremonies. Cheap to make.
#[derive(Clone)]
pub struct CeremonyService {
    pub(super) store: Store,
    pub(super) log: Log,
    pub(super) env: Env,
    pub(super) pin: Pin,
    pub(super) safety: Safety,
    /// How long verifiers keep what is published.
    pub(super) caches: Caches,
    /// Who operates, for the audit trail.
    pub(super) actor: String,
    /// Of the executor of standing orders.
    pub(super) result_signer: Option<Arc<dyn ResultSigner>>,
    /// Whoever asks may be anybody: what is refused is counted by who asks, and each member has a quota.
    pub(super) for_anybody: bool,
    /// How long an executor has a ceremony without asking again.
    pub(super) lease: Duration,
    /// Standing orders that were verified before.
    pub(super) known_orders: Arc<KnownOrders>,
    /// The chain as it was walked last: whose documents are still the same is not walked again.
    walked: Arc<Mutex<Option<Walked>>>,
    /// Refused signatures of passkeys that are not written yet.
    pub(super) clones: Arc<Clones>,
}

/// A chain that holds, with the rows that it was read from.
struct Walked {
    rows: Vec<DocumentRow>,
    chains: Arc<Chains>,
    trusted: Arc<Trusted>,
}

/// Exact bytes for a custodian to sign, and the namespace to sign them under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningPayload {
    pub namespace: String,
    pub bytes: Vec<u8>,
}

/// Everything about a ceremony that a tally needs, fresh from the database and unverified but for
/// the chain.
pub(super) struct CeremonyFacts {
    pub(super) row: CeremonyRow,
    /// [`CeremonyRow::id`] as text.
    pub(super) id: String,
    pub(super) ceremony: Ceremony,
    pub(super) accepts: Vec<MemberSignature>,
    pub(super) chains: Arc<Chains>,
    pub(super) trusted: Arc<Trusted>,
    /// The roster and policy under which it was carried out, where others hold by now.
    pub(super) held_under: Option<Trusted>,
    pub(super) history: History,
    /// Of members, for the record; unverified.
    pub(super) notes: Vec<CeremonySignatureRow>,
}

impl CeremonyService {
    pub fn new(store: Store, env: Env, settings: &Settings, actor: String) -> Self {
        Self {
            log: Log::new(store.clone()),
            store,
            env,
            pin: settings.pin.clone(),
            safety: settings.safety,
            caches: Caches::serving(settings.longest_cached()),
            actor,
            result_signer: None,
            for_anybody: false,
            lease: LEASE,
            known_orders: Arc::default(),
            walked: Arc::default(),
            clones: Arc::default(),
        }
    }

    /// Writes down what another one counted: it looks at it again and again.
    pub fn keeping_refusals_of(self, other: &Self) -> Self {
        Self {
            clones: other.clones.clone(),
            ..self
        }
    }

    /// As the executor of standing orders, which signs what it does under them.
    pub fn with_result_signer(self, signer: Arc<dyn ResultSigner>) -> Self {
        Self {
            result_signer: Some(signer),
            ..self
        }
    }

    /// For callers of whom nothing is known but what they sign. A refusal is an error and no leaf: a leaf stays for ever,
    /// and anybody can be refused without end.
    pub fn for_anybody(store: Store, env: Env, settings: &Settings) -> Self {
        let actor = Actor::Service.to_string();
        Self {
            for_anybody: true,
            ..Self::new(store, env, settings, actor)
        }
    }

    /// Puts the signed genesis into the database; it has to be the one that is pinned.
    pub async fn install_genesis(&self, bytes: &[u8]) -> Result<Sha256Digest, Error> {
        let chains: Chains = json::require_canonical(bytes)?;
        trust::chain::walk(&chains, &self.pin)?;
        if !chains.changes.is_empty() {
            return Err(Error::Unfit(
                "the file contains documents besides the genesis".to_owned(),
            ));
        }
        let row = DocumentRow {
            place: 0,
            kind: DocumentKind::Genesis,
            version: 1,
            body: json::canonical(&chains.genesis)?,
            index: None,
        };
        let genesis = self.pin.genesis.to_string();
        let event = Event {
            kind: ActKind::Roster,
            action: "install-genesis",
            digest: Some(Sha256Digest::of(&row.body)),
            reference: Some(&genesis),
            ..self.event()
        };
        self.log
            .commit(&Change::InstallDocuments(vec![row]), &event)
            .await?;
        Ok(self.pin.genesis)
    }

    pub(super) fn event(&self) -> Event<'_> {
        Event::new(ActKind::Ceremony, "", &self.actor, self.env.now())
    }

    /// Writes down that somebody was refused.
    pub(super) async fn refused(
        &self,
        action: &str,
        ring: Option<&str>,
        why: &str,
    ) -> Result<(), Error> {
        if self.for_anybody {
            tracing::debug!(action, ring, why, "refused");
            return Ok(());
        }
        let now = self.env.now();
        let written = self.log.record_refusal(now, &self.actor, action, ring, why);
        written.await?;
        Ok(())
    }

    /// Walks the chain where its documents are not those of the last time.
    pub(super) async fn trusted(&self) -> Result<(Arc<Chains>, Arc<Trusted>), Error> {
        let rows = self.store.documents().await?;
        let lock = || self.walked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(walked) = lock().as_ref().filter(|walked| walked.rows == rows) {
            return Ok((walked.chains.clone(), walked.trusted.clone()));
        }
        let chains = unverified_chains(&rows)
            .map_err(Error::Roster)?
            .ok_or(Error::NoGenesis)?;
        let trusted = Arc::new(trust::chain::walk(&chains, &self.pin)?);
        let chains = Arc::new(chains);
        *lock() = Some(Walked {
            rows,
            chains: chains.clone(),
            trusted: trusted.clone(),
        });
        Ok((chains, trusted))
    }

    /// The roster and policy under which a ceremony was carried out, if others hold by now.
    fn held_under(
        &self,
        row: &CeremonyRow,
        (chains, trusted): (&Chains, &Trusted),
    ) -> Result<Option<Trusted>, Error> {
        let Some(execution) = &row.execution else {
            return Ok(None);
        };
        let then = Transcript::decode(execution)?.record.chains;
        if then == *chains {
            return Ok(None);
        }
        let then = trust::chain::walk(&then, &self.pin)?;
        match trusted.extends(&then) {
            true => Ok(Some(then)),
            false => Err(Error::Unfit(
                "it was held under a different chain of rosters".to_owned(),
            )),
        }
    }

    /// What was carried out before in the lines of a request. An attempt that failed or never
    /// started leaves no mark. Costs the same however many ceremonies there were.
    pub(super) async fn history(&self, request: &Request, id: &str) -> Result<History, Error> {
        let mut history = History {
            nonce_used: self
                .store
                .nonce_used(&request.nonce.to_string(), id)
                .await?,
            ..History::default()
        };
        for line in &request.lines {
            if let Some(last) = self.last_stop(&line.subject).await? {
                history.lines.insert(line.subject.clone(), last);
            }
            let Some(head) = self.store.line_head(&line.subject.to_string()).await? else {
                continue;
            };
            let draft = Transcript::decode(&head.execution)?;
            let before = Request::decode(draft.record.request.as_bytes())?;
            history.roster_version = history.roster_version.max(before.roster.version);
            history.policy_version = history.policy_version.max(before.policy.version);
            let last = Last {
                sequence: u64::try_from(head.seq)
                    .map_err(|_| Error::Unfit("a negative sequence number".to_owned()))?,
                digest: Sha256Digest::of(draft.acceptance.statement.as_bytes()),
            };
            let before = history.lines.get(&line.subject);
            if before.is_none_or(|stop| stop.sequence < last.sequence) {
                history.lines.insert(line.subject.clone(), last);
            }
        }
        Ok(history)
    }

    /// The row, if its request is the one that the id names: the id was read aloud, the row was not.
    pub(super) async fn row(&self, id: &str) -> Result<CeremonyRow, Error> {
        let row = self.store.ceremony(id).await?;
        let row = row.ok_or_else(|| Error::Unknown(id.to_owned()))?;
        if Sha256Digest::of(&row.request) != row.id {
            let why = "the request in the database does not match its id";
            let ring = row.ring.as_ref().map(Name::as_str);
            self.refused("ceremony", ring, why).await?;
            return Err(Error::Unfit(format!(
                "the request stored under {id} was changed after it was proposed"
            )));
        }
        Ok(row)
    }

    pub(super) async fn facts(&self, id: &str) -> Result<CeremonyFacts, Error> {
        let row = self.row(id).await?;
        let id = row.id.to_string();
        let (chains, trusted) = self.trusted().await?;
        let held_under = self.held_under(&row, (&chains, &trusted))?;
        let mut ceremony = Ceremony {
            request: row.request.clone(),
            proposal: None,
            approvals: Vec::new(),
            rejections: Vec::new(),
            cancellations: Vec::new(),
            suspensions: suspensions(&self.store, &trusted).await?,
            order: None,
        };
        let mut accepts = Vec::new();
        let mut notes = Vec::new();
        for signature in self.store.ceremony_signatures(&id).await? {
            match signature.purpose {
                purpose if is_said(purpose) => notes.push(signature),
                // Beside the transcript, once it is closed.
                Purpose::Witness => {}
                _ => sort(signature, &mut ceremony, &mut accepts)?,
            }
        }
        // Held on files: its signatures are in its transcript alone.
        if let (None, Some(transcript)) = (&ceremony.proposal, &row.transcript) {
            let transcript = Transcript::decode(transcript)?;
            ceremony = transcript.record.ceremony();
            accepts = transcript.acceptance.signatures;
        }
        let request = Request::decode(&row.request)?;
        // As it was when it was carried out.
        if ceremony.order.is_none() {
            ceremony.order = match &row.execution {
                Some(execution) => Transcript::decode(execution)?.record.order,
                None => self.order_of(&request).await?,
            };
        }
        let history = self.history(&request, &id).await?;
        Ok(CeremonyFacts {
            row,
            id,
            ceremony,
            accepts,
            chains,
            trusted,
            held_under,
            history,
            notes,
        })
    }

    /// Whether carrying it out touches the token; a revocation does not.
    pub async fn touches_token(&self, id: &str) -> Result<bool, Error> {
        let request = Request::decode(&self.row(id).await?.request)?;
        use trust::Operation as O;
        Ok(matches!(request.operation, O::Generate(_) | O::Destroy(_)))
    }

    /// The keys that it revokes or destroys.
    pub async fn kids(&self, id: &str) -> Result<Vec<Kid>, Error> {
        let request = Request::decode(&self.row(id).await?.request)?;
        use trust::Operation as O;
        Ok(match request.operation {
            O::Destroy(order) => order.keys.into_iter().map(|key| key.kid).collect(),
            O::Revoke(order) => vec![order.kid],
            O::EmergencyRotation(order) => vec![order.kid, order.standby],
            _ => Vec::new(),
        })
    }

    /// The request's bytes, and those of the last ceremony of the same line that was carried out.
    pub async fn request(&self, id: &str) -> Result<(Vec<u8>, Option<Vec<u8>>), Error> {
        let row = self.row(id).await?;
        let request = Request::decode(&row.request)?;
        let mut before = None;
        if let Some(line) = request.lines.first()
            && let Some(head) = self.store.line_head(&line.subject.to_string()).await?
            && head.ceremony != row.id.to_string()
        {
            before = Some(self.row(&head.ceremony).await?.request);
        }
        Ok((row.request, before))
    }

    pub async fn approval_payload(&self, id: &str) -> Result<SigningPayload, Error> {
        let row = self.row(id).await?;
        let request = Request::decode(&row.request)?;
        Ok(SigningPayload {
            namespace: request.namespace(Purpose::Approve).to_string(),
            bytes: request.message(Purpose::Approve, &row.request),
        })
    }

    /// To reject, or to cancel.
    pub async fn objection_payload(
        &self,
        id: &str,
        purpose: Purpose,
        reason: &str,
    ) -> Result<SigningPayload, Error> {
        let row = self.row(id).await?;
        let request = Request::decode(&row.request)?;
        let body = objection_body(&row.request, reason)?;
        Ok(SigningPayload {
            namespace: request.namespace(purpose).to_string(),
            bytes: objection_message(&request, purpose, &body),
        })
    }

    pub async fn acceptance_payload(&self, id: &str) -> Result<SigningPayload, Error> {
        let row = self.row(id).await?;
        let request = Request::decode(&row.request)?;
        let draft = draft(&row)?;
        Ok(SigningPayload {
            namespace: request.namespace(Purpose::Accept).to_string(),
            bytes: acceptance_message(&request, draft.acceptance.statement.as_bytes()),
        })
    }

    /// The transcript of a finished ceremony.
    pub async fn transcript(&self, id: &str) -> Result<Vec<u8>, Error> {
        let row = self.row(id).await?;
        self.store
            .transcript(&row.id.to_string())
            .await?
            .ok_or_else(|| Error::State {
                found: row.state.to_string(),
                needed: "closed",
            })
    }
}

/// What the line of a subject names as its last ceremony.
pub(super) fn statement_digest(execution: &[u8]) -> Result<Sha256Digest, Error> {
    let draft = trust::Transcript::decode(execution)?;
    Ok(Sha256Digest::of(draft.acceptance.statement.as_bytes()))
}

/// What the executor wrote: the transcript as it will be, without acceptances.
pub(super) fn draft(row: &CeremonyRow) -> Result<Transcript, Error> {
    let bytes = row.execution.as_deref().ok_or_else(|| Error::State {
        found: row.state.to_string(),
        needed: "executed",
    })?;
    Ok(Transcript::decode(bytes)?)
}

pub(super) fn objection_body(request: &[u8], reason: &str) -> Result<Vec<u8>, Error> {
    let body = ObjectionBody {
        v: V1,
        request_digest: Sha256Digest::of(request),
        reason: reason.to_owned(),
    };
    Ok(body.encode()?)
}

/// Whether signatures of this purpose are said for the record.
pub(super) fn is_said(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Note | Purpose::Exception)
}

fn sort(
    row: CeremonySignatureRow,
    ceremony: &mut Ceremony,
    accepts: &mut Vec<MemberSignature>,
) -> Result<(), Error> {
    let received_at = row.received_at;
    let signature = MemberSignature::decode(row.signature.as_bytes())?;
    let approval = |signature| Approval {
        signature,
        received_at,
    };
    match row.purpose {
        Purpose::Propose => ceremony.proposal = Some(approval(signature)),
        Purpose::Approve => ceremony.approvals.push(approval(signature)),
        purpose @ (Purpose::Reject | Purpose::Cancel) => {
            let objection = Objection {
                body: String::from_utf8(row.body)
                    .map_err(|_| Error::Unfit("a stored rejection is not UTF-8".to_owned()))?,
                signature,
                received_at,
            };
            match purpose {
                Purpose::Reject => ceremony.rejections.push(objection),
                _ => ceremony.cancellations.push(objection),
            }
        }
        Purpose::Accept => accepts.push(signature),
        other => {
            return Err(Error::Unfit(format!(
                "a signature in the namespace {:?}",
                other.word()
            )));
        }
    }
    Ok(())
}

/// Opens a file that is to be signed.
pub fn open_file(bytes: &[u8]) -> Result<File, Error> {
    review::open_file(bytes).map_err(|error| Error::Unfit(error.to_string()))
}
