//! Every change that is no signature: what each is, and what it conflicts with.

use trust::{Kid, Location};

use crate::alerts::AlertRecord;
use crate::assets::InventoryChange;
use crate::ceremonies::{CeremonyRow, CeremonyState};
use crate::ceremony_signatures::CeremonySignatureRow;
use crate::clock_correction::Corrected;
use crate::compromise::{CompromiseDecision, CompromiseRow, MostReports};
use crate::credentials::{CredentialName, CredentialRow};
use crate::keys::KeyRow;
use crate::lines::{LineRow, OrderUseRow};
use crate::new_origin::BeginOrigin;
use crate::notices::NoticeRow;
use crate::objects::{KeyObjectRow, ObjectState};
use crate::orders::OrderRow;
use crate::passkeys::PasskeyAttestationRow;
use crate::rings::RingRow;
use crate::rotation_events::{RotationEventRow, RotationMark, RotationPause, RotationWrite};
use crate::rotation_lease::{RotationFence, RotationLease};
use crate::stops::StopRow;
use crate::trust_documents::DocumentRow;
use crate::trust_statements::{DecidedBy, RestoredDocument, StatementRow, StatementState};

/// Every change there is, apart from signatures. Each is one transaction with its leaf; each
/// checks in SQL what it was planned on and fails with `Conflict` where that has changed.
#[derive(Debug, Clone)]
pub enum Change {
    /// Only the leaf: a refusal, a report.
    Record,
    InstallDocuments(Vec<DocumentRow>),
    /// The next roster, the next policy or a suspension, with its first signature.
    OpenStatement {
        row: Box<StatementRow>,
        signature: CeremonySignatureRow,
    },
    /// Only while it is open.
    SignStatement(CeremonySignatureRow),
    /// The same by a new passkey, with what came with its registration.
    SignStatementByPasskey {
        signature: CeremonySignatureRow,
        attestation: PasskeyAttestationRow,
    },
    /// Open, and not any more; a document by [`Self::InstallDocument`].
    EndStatement {
        id: String,
        to: StatementState,
        at: i64,
    },
    /// A recovery has all its signatures: this leaf says so, and its delay begins.
    AnnounceRecovery {
        id: String,
        at: i64,
    },
    /// The delay has passed without a veto: this leaf says so.
    EffectRecovery {
        id: String,
        at: i64,
    },
    /// The statement takes effect as the next document of the chain, unless something came since by which it might not.
    /// Open ceremonies and other open documents are void.
    InstallDocument {
        statement: String,
        document: DocumentRow,
        decided: DecidedBy,
        at: i64,
    },
    /// Documents that the database lost come back behind those that it has, each with the leaf that tells of it.
    RestoreDocuments {
        documents: Vec<RestoredDocument>,
        at: i64,
    },
    CreateRing(RingRow),
    /// Each line must be one more than the last of its subject that was carried out. The proposer's
    /// signature comes with it, or the use of a standing order.
    ProposeCeremony {
        row: Box<CeremonyRow>,
        lines: Vec<LineRow>,
        proposal: Option<CeremonySignatureRow>,
        order: Option<OrderUseRow>,
    },
    /// Only while proposed or approved (approve, reject, cancel) or executed (accept).
    AddCeremonySignature(CeremonySignatureRow),
    /// The same of what is bounded in number, as long as just so many of this purpose are there: whoever counted them, and
    /// whose they are, counted all.
    AddToRecord {
        signature: CeremonySignatureRow,
        before: i64,
    },
    MoveCeremony {
        id: String,
        from: CeremonyState,
        to: CeremonyState,
        at: i64,
    },
    /// approved → executing, and the object is intended. From here on the token may hold it.
    IntendGeneration {
        ceremony: String,
        object: Box<KeyObjectRow>,
        at: i64,
    },
    /// executing → executed; intended → present.
    RecordGeneration {
        ceremony: String,
        object: String,
        location: Box<Location>,
        kid: Kid,
        execution: Vec<u8>,
        at: i64,
    },
    /// executed → closed; the key appears as prepared. Bumps the version.
    AcceptKey {
        ceremony: String,
        key: Box<KeyRow>,
        transcript: Vec<u8>,
        at: i64,
    },
    /// One transaction moves the pointer: `old` (the present primary, if any) becomes secondary,
    /// `new` (prepared, or secondary for a roll-back) becomes primary.
    SwitchPrimary {
        ring: String,
        expected_version: i64,
        old: Option<String>,
        new: String,
        at: i64,
    },
    /// secondary → retired.
    RetireKey {
        ring: String,
        expected_version: i64,
        kid: String,
        at: i64,
    },
    /// A key that has ended leaves the key sets, for good: at the end of its ring's grace.
    UnpublishKey {
        ring: String,
        expected_version: i64,
        kid: String,
        at: i64,
    },
    /// approved → executing; each object present → destroying.
    IntendDestruction {
        ceremony: String,
        objects: Vec<String>,
        at: i64,
    },
    /// Of a destruction that is executing or has failed: retired → archived, or a revoked key's
    /// private half is gone; destroying → destroyed.
    ArchiveKey {
        ceremony: String,
        ring: String,
        kid: String,
        object: String,
        at: i64,
    },
    /// executing → executed for a destruction whose objects are all gone; approved → executed for
    /// what is carried out by its record alone.
    ExecuteCeremony {
        ceremony: String,
        execution: Vec<u8>,
        at: i64,
    },
    /// approved → executed; any → revoked, whatever is under way on the device; a revoked key only by
    /// a more severe revocation. A revoked primary leaves the ring without a primary until the next
    /// switch, unless `successor` (a prepared or secondary key) takes over in the same transaction.
    RevokeKey {
        ceremony: String,
        ring: String,
        expected_version: i64,
        kid: String,
        reason: String,
        compromised_since: Option<i64>,
        successor: Option<String>,
        execution: Vec<u8>,
        at: i64,
    },
    /// executed → closed, for everything but the birth of a key.
    CloseCeremony {
        ceremony: String,
        transcript: Vec<u8>,
        at: i64,
        /// What the log's clock is taken back by.
        corrected: Option<Corrected>,
    },
    /// executed → closed, for a standing order: keys may be made under it.
    AcceptOrder {
        order: Box<OrderRow>,
        transcript: Vec<u8>,
        at: i64,
    },
    /// Once, by this leaf. What waits under the order is void; what was made and not accepted under it never is.
    WithdrawOrder {
        /// Hex.
        order: String,
        body: Vec<u8>,
        signature: String,
        at: i64,
    },
    /// By this leaf, if it is the next of its line: no signature is released that was made without knowing of it.
    StopSigning(Box<StopRow>),
    /// The log goes on under another origin, whose first leaf this is; the whole ceremony with it.
    BeginOrigin(Box<BeginOrigin>),
    /// Reconciliation's result for an object: `abandoned` (never came to be, or will never be
    /// accepted), `present` (was not destroyed) or `destroyed` (never accepted); the ceremony becomes
    /// failed.
    ResolveObject {
        ceremony: String,
        object: String,
        state: ObjectState,
        at: i64,
    },
    /// The bodies of signatures below this index may go from now on; never fewer than before.
    Prune {
        below: i64,
    },
    /// A rotation begins; a conflict where another one of its version does already.
    BeginRotation(Box<RotationEventRow>),
    /// The promotion or the end of a rotation, by whoever has its lease.
    RecordRotation {
        lease: RotationLease,
        done: Box<RotationWrite>,
    },
    /// What a rotation does elsewhere, to a ring or to an order: only while whoever does it has the rotation, and nobody wants
    /// it otherwise.
    OfRotation {
        fence: RotationFence,
        change: Box<Change>,
    },
    /// A person wants it to go otherwise; only while it may.
    MarkRotation {
        event: String,
        mark: RotationMark,
        at: i64,
    },
    /// The scheduler is paused from now on, or no more.
    PauseRotations(RotationPause),
    /// The same of one job; a conflict where it is so already.
    PauseJob {
        job: String,
        paused: bool,
    },
    /// Of the inventory or of what assets rotate by.
    Inventory(Box<InventoryChange>),
    /// A person acknowledges or silences an alert, as they saw it.
    MarkAlert(Box<AlertRecord>),
    /// A principal says that somebody else may have a key; a conflict where it is said already, and nothing beyond so many of a
    /// principal.
    ReportCompromise {
        row: Box<CompromiseRow>,
        most: MostReports,
    },
    /// A person dismisses a report or declared the emergency; only while it is open.
    DecideCompromise {
        id: String,
        decision: CompromiseDecision,
    },
    /// An audience outside is told of an incident, or not; a conflict where that is decided.
    DecideNotice(Box<NoticeRow>),
    GrantCredential(CredentialRow),
    WithdrawCredential {
        name: CredentialName,
        at: i64,
    },
}

impl Change {
    /// What is done, and the rotation that it is done for.
    pub(crate) fn unfenced(&self) -> (Option<&RotationFence>, &Self) {
        match self {
            Self::OfRotation { fence, change } => (Some(fence), change),
            change => (None, change),
        }
    }

    /// Whether no replica has to read anything again for it.
    pub(crate) fn is_no_news(&self) -> bool {
        matches!(
            self.unfenced().1,
            Self::Record
                | Self::BeginRotation(_)
                | Self::RecordRotation { .. }
                | Self::MarkRotation { .. }
                | Self::PauseRotations(_)
                | Self::PauseJob { .. }
                | Self::MarkAlert(_)
                | Self::ReportCompromise { .. }
                | Self::DecideCompromise { .. }
                | Self::DecideNotice(_)
        )
    }
}
