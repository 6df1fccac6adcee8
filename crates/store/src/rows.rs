//! Rows as the database keeps them. Instants are milliseconds since the Unix epoch (`i64`),
//! digests lower-case hex, kids as in RFC 7638. Nothing here has been verified.

/// One entry of the audit trail, and later one leaf of the Merkle log: canonical JSON of at most
/// 1 KiB in `body`, the other members repeated beside it so that SQL can find them.
#[derive(Debug, Clone)]
pub struct Leaf {
    pub time: i64,
    /// `sign`, or the word of a [`trust::leaf::ActKind`].
    pub kind: &'static str,
    pub ring: Option<String>,
    pub kid: Option<String>,
    /// SHA-256 of the signature in its canonical form, hex; only on `sign`.
    pub sig_hash: Option<String>,
    pub body: String,
}

/// A leaf with its place.
#[derive(Debug, Clone)]
pub struct LeafRow {
    pub index: i64,
    pub time: i64,
    pub kind: String,
    pub ring: Option<String>,
    pub kid: Option<String>,
    pub sig_hash: Option<String>,
    pub body: String,
}

/// How far the Merkle tree goes. `size` and `root` change together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeRow {
    pub size: i64,
    /// Hex.
    pub root: String,
    /// The latest time of any leaf in the tree.
    pub clock: i64,
    /// First line of every checkpoint; empty until the first swap.
    pub origin: String,
    /// Who integrates, until when.
    pub holder: String,
    pub lease_until: i64,
    /// Bodies of signatures below this index may be gone.
    pub pruned: i64,
}

/// A checkpoint that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    pub size: i64,
    /// Hex.
    pub root: String,
    pub time: i64,
    /// The latest time of any leaf that it covers.
    pub clock: i64,
    /// The log's key that signed it.
    pub kid: String,
    /// The signed note with the log's own signature only.
    pub note: String,
    /// Lines of witnesses, in the order in which they came.
    pub cosignatures: String,
}

impl CheckpointRow {
    /// The note with all its signatures.
    pub fn signed(&self) -> String {
        format!("{}{}", self.note, self.cosignatures)
    }
}

/// Where a signature stands in the trail: the earliest leaf with its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    pub sig_hash: String,
    pub index: i64,
    pub time: i64,
    pub kid: String,
}

/// Which leaves to read, oldest first. `kid` is served by an index, `acts_only` too; a ring alone
/// is searched for along the log, so give it bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafFilter {
    pub kid: Option<String>,
    pub ring: Option<String>,
    /// Everything but signatures.
    pub acts_only: bool,
    pub from_index: i64,
    /// Both ends count.
    pub since: i64,
    pub until: i64,
}

impl Default for LeafFilter {
    fn default() -> Self {
        Self {
            kid: None,
            ring: None,
            acts_only: false,
            from_index: 0,
            since: i64::MIN,
            until: i64::MAX,
        }
    }
}

/// One signature on its way out: released only when its leaf is committed.
#[derive(Debug, Clone)]
pub struct SignatureRecord {
    pub leaf: Leaf,
    /// The key that signed; the transaction refuses it unless it is active.
    pub kid: String,
    pub idempotency: Option<Idempotency>,
}

/// What makes a repeated request return the first answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub principal: String,
    pub key: String,
    /// SHA-256 of the request that the key was first used for, hex.
    pub request_hash: String,
    /// The answer as JSON, without the index (the index is the leaf's).
    pub response: String,
}

/// A stored answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentAnswer {
    pub request_hash: String,
    pub response: String,
    pub index: i64,
    pub time: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureOutcome {
    Committed {
        index: i64,
    },
    /// The key is not active any more (or never was): the signature must not leave.
    KeyMayNotSign,
    /// The idempotency key was used before, perhaps by another replica a moment ago.
    AnsweredBefore(IdempotentAnswer),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingRow {
    pub name: String,
    /// `ES256` … as [`trust::Algorithm`] writes it.
    pub algorithm: String,
    /// `P-256` … as [`trust::KeySpec`] writes it.
    pub key_spec: String,
    /// `structured` … as [`trust::Usage`] writes it; one for all of its keys.
    pub usage: String,
    pub created_at: i64,
    /// Rises with every change of the ring; a change names the version it was planned on.
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    pub kid: String,
    pub ring: String,
    pub number: i64,
    /// `prepared`, `active`, `retired`, `archived`, `revoked`.
    pub state: String,
    /// `primary` or `secondary` while active.
    pub role: Option<String>,
    pub spki: Vec<u8>,
    /// Where it was made, by [`KeyObjectRow::id`].
    pub object: String,
    /// Where that is: [`trust::Location`] as canonical JSON.
    pub location: String,
    pub published_at: i64,
    /// From the approved request: not before, and until.
    pub activate_at: i64,
    pub retire_at: i64,
    pub activated_at: Option<i64>,
    /// When it stopped being the primary the last time.
    pub demoted_at: Option<i64>,
    pub retired_at: Option<i64>,
    pub archived_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub revocation_reason: Option<String>,
    pub compromised_since: Option<i64>,
    /// The ceremony that bore it.
    pub ceremony: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CeremonyState {
    Draft,
    Proposed,
    Approved,
    Executing,
    Executed,
    Closed,
    Rejected,
    Expired,
    Cancelled,
    Failed,
}

impl CeremonyState {
    /// As the database writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Executing => "executing",
            Self::Executed => "executed",
            Self::Closed => "closed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "draft" => Self::Draft,
            "proposed" => Self::Proposed,
            "approved" => Self::Approved,
            "executing" => Self::Executing,
            "executed" => Self::Executed,
            "closed" => Self::Closed,
            "rejected" => Self::Rejected,
            "expired" => Self::Expired,
            "cancelled" => Self::Cancelled,
            "failed" => Self::Failed,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CeremonyRow {
    /// SHA-256 of the request, hex.
    pub id: String,
    /// The word of a [`trust::Operation`].
    pub operation: String,
    /// Of operations on one ring.
    pub ring: Option<String>,
    pub state: CeremonyState,
    /// Of the request, hex; used once.
    pub nonce: String,
    /// The exact bytes custodians sign.
    pub request: Vec<u8>,
    /// Written by the executor: what it did and read back, canonical JSON.
    pub execution: Option<Vec<u8>>,
    /// The transcript, once closed.
    pub transcript: Option<Vec<u8>>,
    pub created_at: i64,
    pub updated_at: i64,
}

/// A ceremony's place in the line of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineRow {
    /// [`trust::Subject`] as text.
    pub subject: String,
    pub seq: i64,
}

/// The last ceremony of a line that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineHeadRow {
    pub seq: i64,
    pub ceremony: String,
    pub execution: Vec<u8>,
}

/// A use of a standing order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderUseRow {
    /// Hex.
    pub order: String,
    pub number: i64,
}

/// A member's signature as it came in; verified at every tally, never here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CeremonySignatureRow {
    pub ceremony: String,
    /// `propose`, `approve`, `reject`, `cancel`, `accept`.
    pub purpose: String,
    /// The signed body for `reject` and `cancel`; empty where it is the request or the statement.
    pub body: Vec<u8>,
    /// [`trust::MemberSignature`] as canonical JSON.
    pub signature: String,
    pub received_at: i64,
}

/// A custodian's signature with the leaf that tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteRow {
    pub index: i64,
    pub vote: CeremonySignatureRow,
}

/// A version of the roster or the policy, as signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRow {
    /// Its place in the chain: the genesis has 0.
    pub place: i64,
    /// `genesis`, `roster`, `policy`.
    pub kind: String,
    pub version: i64,
    /// The whole signed document as `trust` encodes it.
    pub body: Vec<u8>,
}

/// A private half or a secret key on a device. Written before the device is touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyObjectRow {
    /// [`trust::Place::object`].
    pub id: String,
    /// [`trust::Place::kind`].
    pub kind: String,
    /// [`trust::Place::device`].
    pub device: String,
    /// [`trust::Place::label`]; one on a device.
    pub label: String,
    /// [`trust::Place`] as canonical JSON.
    pub place: String,
    /// [`trust::Location`] as canonical JSON, once it is there.
    pub location: Option<String>,
    pub ring: String,
    pub number: i64,
    pub ceremony: String,
    /// `intended`, `present`, `destroying`, `destroyed`, `abandoned`.
    pub state: String,
    pub kid: Option<String>,
    /// The ceremony that destroys it, or last meant to.
    pub destruction: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRow {
    /// `access-token` (value: SHA-256 of the token, hex) or `mtls-san` (value: the SAN).
    pub kind: String,
    pub value: String,
    pub principal: String,
    /// JSON array of roles: `"operator"`, `"auditor"`, `"signer:<ring>"`.
    pub roles: String,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub withdrawn_at: Option<i64>,
}

impl CredentialRow {
    /// What the trail says was granted: SHA-256 over `[kind, value, principal, roles, created_at,
    /// expires_at]` as JSON. A withdrawal is an entry of its own.
    pub fn digest(&self) -> trust::Sha256Digest {
        let granted = serde_json::json!([
            self.kind,
            self.value,
            self.principal,
            self.roles,
            self.created_at,
            self.expires_at,
        ]);
        trust::Sha256Digest::of(granted.to_string().as_bytes())
    }
}

/// Every change there is, apart from signatures. Each is one transaction with its leaf; each
/// checks in SQL what it was planned on and fails with `Conflict` where that has changed.
#[derive(Debug, Clone)]
pub enum Change {
    /// Only the leaf: a refusal, a report.
    Record,
    InstallDocuments(Vec<DocumentRow>),
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
    MoveCeremony {
        id: String,
        from: CeremonyState,
        to: CeremonyState,
        at: i64,
    },
    /// approved → executing, and the object is intended. From here on the token may hold it.
    IntendGeneration {
        ceremony: String,
        object: KeyObjectRow,
        at: i64,
    },
    /// executing → executed; intended → present.
    RecordGeneration {
        ceremony: String,
        object: String,
        location: String,
        kid: String,
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
    },
    /// Reconciliation's result for an object: `abandoned` (never came to be, or will never be
    /// accepted), `present` (was not destroyed) or `destroyed` (never accepted); the ceremony becomes
    /// failed.
    ResolveObject {
        ceremony: String,
        object: String,
        state: String,
        at: i64,
    },
    /// The bodies of signatures below this index may go from now on; never fewer than before.
    Prune {
        below: i64,
    },
    GrantCredential(CredentialRow),
    WithdrawCredential {
        kind: String,
        value: String,
        at: i64,
    },
}

impl std::fmt::Display for CeremonyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
