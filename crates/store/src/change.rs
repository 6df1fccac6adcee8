//! Every change that is no signature: one transaction each, with its leaf.
//!
//! The log head is locked first and everything a change was planned on is read again under that
//! lock, so the checks here are races only against themselves. The schema checks once more; a
//! `Conflict` about `Constraint` means that these checks have a hole.

use trust::{Kid, Location};

use crate::after_latest::AfterLatest;
use crate::alerts::{self, AlertRecord};
use crate::assets::{self, InventoryChange};
use crate::ceremonies::{self, CeremonyRow, CeremonyState};
use crate::ceremony_signatures::{self, CeremonySignatureRow};
use crate::clock_correction::{CORRECTION, Corrected, Reckoned, reckon};
use crate::credentials::{self, CredentialName, CredentialRow};
use crate::database::{Store, on};
use crate::engine::{Connection, Engine, Taken, expect_rows};
use crate::error::Error;
use crate::fence::{Fence, Head};
use crate::kept::KeptLeaf;
use crate::keys::{self, KeyRow};
use crate::leaves::{Leaf, check_act};
use crate::lines::{LineRow, OrderUseRow};
use crate::log_head::{self, take_head};
use crate::new_origin::{self, BeginOrigin};
use crate::objects::{KeyObjectRow, ObjectState};
use crate::orders::{self, OrderRow};
use crate::passkeys::{self, PasskeyAttestationRow};
use crate::rings::{self, RingRow};
use crate::rotation_events::{self, RotationEventRow, RotationMark, RotationPause, RotationWrite};
use crate::rotation_lease::RotationLease;
use crate::stops::{self, StopRow};
use crate::trust_documents::{self, DocumentRow};
use crate::trust_statements::{self, DecidedBy, RestoredDocument, StatementRow, StatementState};
use crate::{destruction, generation, jobs, tree};

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
    GrantCredential(CredentialRow),
    WithdrawCredential {
        name: CredentialName,
        at: i64,
    },
}

impl Change {
    /// Whether no replica has to read anything again for it.
    fn is_no_news(&self) -> bool {
        matches!(
            self,
            Self::Record
                | Self::BeginRotation(_)
                | Self::RecordRotation { .. }
                | Self::MarkRotation { .. }
                | Self::PauseRotations(_)
                | Self::PauseJob { .. }
                | Self::MarkAlert(_)
        )
    }
}

/// A change with its leaf: known beforehand, or decided under the log head.
enum Act<'a> {
    Planned(&'a Change, &'a Leaf),
    Undecided(&'a AfterLatest, Make<'a>),
}

/// Makes a change and its leaf for the instant that was decided.
type Make<'a> = &'a (dyn Fn(i64) -> (Change, Leaf) + Send + Sync);

/// If we die before COMMIT nothing has happened; after it, everything has, the leaf included.
async fn commit<E: Engine>(engine: &E, fence: &Fence, act: Act<'_>) -> Result<KeptLeaf, Error> {
    if let Act::Planned(_, leaf) = &act {
        check_act(leaf)?;
    }
    let reckoned = match &act {
        Act::Planned(
            Change::CloseCeremony {
                corrected: Some(corrected),
                ..
            },
            _,
        ) => Some(reckon(engine, std::slice::from_ref(corrected)).await?),
        _ => None,
    };
    let mut tx = engine.begin().await?;
    match write(engine, &mut tx, fence, &act, reckoned).await {
        Ok((written, head)) => {
            engine.commit(tx).await?;
            fence.raise(written.0 + 1, &head);
            Ok(written)
        }
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn write<E: Engine>(
    engine: &E,
    tx: &mut E::Transaction,
    fence: &Fence,
    act: &Act<'_>,
    reckoned: Option<Reckoned>,
) -> Result<(KeptLeaf, Head), Error> {
    let taken = Taken {
        leaves: 1,
        is_news: !matches!(act, Act::Planned(change, _) if change.is_no_news()),
        time: match act {
            Act::Planned(_, leaf) => leaf.time,
            Act::Undecided(..) => 0,
        },
    };
    let before = fence.before();
    let head = take_head(tx, engine.head(), taken).await?;
    let index = head.size - 1;
    let checked = fence.check(before, &head, index);
    let decided;
    let (change, leaf) = match act {
        Act::Planned(change, leaf) => (*change, *leaf),
        Act::Undecided(when, make) => {
            decided = make(when.instant(head.clock));
            check_act(&decided.1)?;
            log_head::raise_clock(tx, decided.1.time).await?;
            (&decided.0, &decided.1)
        }
    };
    match checked {
        // Of a log that a wrong clock wrote to, only the ceremony that says so goes on, and a new origin.
        Err(Error::ClockAhead { .. }) if passes_a_clock_ahead(tx, change).await? => {}
        checked => checked?,
    }
    if let Some(reckoned) = reckoned {
        reckoned.set_back(tx, index, leaf.time).await?;
    }
    apply::<E>(tx, change, index).await?;
    expect_rows(E::insert_leaves(tx, index, &[leaf.columns()]).await?, 1)?;
    if let Change::BeginOrigin(begin) = change {
        new_origin::enter(tx, begin).await?;
    }
    Ok(((index, leaf.body.clone()), head))
}

/// What goes on although the latest leaf lies ahead of the clock: a ceremony that corrects the log's times, and a new origin.
async fn passes_a_clock_ahead<C: Connection>(tx: &mut C, change: &Change) -> Result<bool, Error> {
    let ceremony = match change {
        Change::ProposeCeremony { row, .. } => return Ok(row.operation.as_str() == CORRECTION),
        Change::AddCeremonySignature(row) | Change::AddToRecord { signature: row, .. } => {
            row.ceremony.to_string()
        }
        Change::MoveCeremony { id, .. } => id.clone(),
        Change::ExecuteCeremony { ceremony, .. } | Change::CloseCeremony { ceremony, .. } => {
            ceremony.clone()
        }
        Change::BeginOrigin(_) => return Ok(true),
        _ => return Ok(false),
    };
    Ok(ceremonies::standing(tx, &ceremony).await?.operation == CORRECTION)
}

async fn apply<E: Engine>(
    tx: &mut E::Transaction,
    change: &Change,
    index: i64,
) -> Result<(), Error> {
    match change {
        Change::Record => Ok(()),
        Change::InstallDocuments(documents) => {
            trust_documents::install_documents(tx, documents, index).await
        }
        Change::OpenStatement { row, signature } => {
            trust_statements::open(tx, row, signature, index).await
        }
        Change::SignStatement(row) => trust_statements::sign(tx, row, index).await,
        Change::SignStatementByPasskey {
            signature,
            attestation,
        } => {
            trust_statements::sign(tx, signature, index).await?;
            let statement = signature.ceremony.to_string();
            passkeys::keep_attestation(tx, &statement, attestation).await
        }
        Change::EndStatement { id, to, at } => trust_statements::end(tx, id, *to, *at).await,
        Change::AnnounceRecovery { id, at } => trust_statements::announce(tx, id, *at, index).await,
        Change::EffectRecovery { id, at } => trust_statements::effect(tx, id, *at, index).await,
        Change::InstallDocument {
            statement,
            document,
            decided,
            at,
        } => trust_statements::install(tx, statement, (document, decided), *at, index).await,
        Change::RestoreDocuments { documents, at } => {
            trust_statements::restore(tx, documents, *at).await
        }
        Change::CreateRing(ring) => rings::create_ring(tx, ring).await,
        Change::Prune { below } => tree::allow_pruning(tx, *below).await,
        Change::BeginRotation(row) => rotation_events::begin(tx, row).await,
        Change::RecordRotation { lease, done } => rotation_events::record(tx, lease, done).await,
        Change::MarkRotation { event, mark, at } => {
            rotation_events::mark(tx, event, mark, *at).await
        }
        Change::PauseRotations(pause) => rotation_events::set_pause(tx, pause).await,
        Change::PauseJob { job, paused } => jobs::pause(tx, job, *paused).await,
        Change::Inventory(change) => assets::apply::<E>(tx, change, index).await,
        Change::MarkAlert(record) => alerts::mark(tx, record).await,
        Change::GrantCredential(credential) => credentials::grant(tx, credential).await,
        Change::WithdrawCredential { name, at } => credentials::withdraw(tx, name, *at).await,
        Change::ProposeCeremony {
            row,
            lines,
            proposal,
            order,
        } => ceremonies::propose(tx, row, lines, proposal.as_ref(), order.as_ref(), index).await,
        Change::AddCeremonySignature(row) => ceremonies::add_signature(tx, row, index).await,
        Change::AddToRecord { signature, before } => {
            ceremony_signatures::expect_so_many(tx, signature, *before).await?;
            ceremonies::add_signature(tx, signature, index).await
        }
        Change::MoveCeremony { id, from, to, at } => {
            ceremonies::move_by_hand(tx, id, *from, *to, *at).await
        }
        Change::IntendGeneration {
            ceremony,
            object,
            at,
        } => generation::intend_generation(tx, ceremony, object, *at).await,
        Change::RecordGeneration {
            ceremony,
            object,
            location,
            kid,
            execution,
            at,
        } => {
            let made = generation::Made {
                object,
                location,
                kid,
            };
            generation::record_generation(tx, ceremony, &made, execution, *at).await
        }
        Change::IntendDestruction {
            ceremony,
            objects,
            at,
        } => destruction::intend_destruction(tx, ceremony, objects, *at).await,
        Change::ExecuteCeremony {
            ceremony,
            execution,
            at,
        } => ceremonies::execute(tx, ceremony, execution, *at).await,
        Change::BeginOrigin(begin) => new_origin::hold(tx, begin, index).await,
        Change::ResolveObject {
            ceremony,
            object,
            state,
            at,
        } => destruction::resolve_object(tx, ceremony, object, *state, *at).await,
        Change::AcceptKey {
            ceremony,
            key,
            transcript,
            at,
        } => keys::accept(tx, ceremony, key, transcript, *at).await,
        Change::AcceptOrder {
            order,
            transcript,
            at,
        } => orders::accept(tx, order, transcript, *at).await,
        Change::WithdrawOrder {
            order,
            body,
            signature,
            at,
        } => orders::withdraw(tx, order, (body, signature), *at, index).await,
        Change::StopSigning(row) => stops::stop(tx, row, index).await,
        Change::SwitchPrimary {
            ring,
            expected_version,
            old,
            new,
            at,
        } => {
            rings::expect_ring_version(tx, ring, *expected_version).await?;
            keys::switch_primary(tx, ring, old.as_deref(), new, *at).await
        }
        Change::RetireKey {
            ring,
            expected_version,
            kid,
            at,
        } => {
            rings::expect_ring_version(tx, ring, *expected_version).await?;
            keys::retire(tx, ring, kid, *at).await
        }
        Change::ArchiveKey {
            ceremony,
            ring,
            kid,
            object,
            at,
        } => keys::archive(tx, ceremony, ring, (kid, object), *at).await,
        Change::RevokeKey {
            ceremony,
            ring,
            expected_version,
            kid,
            reason,
            compromised_since,
            successor,
            execution,
            at,
        } => {
            rings::expect_ring_version(tx, ring, *expected_version).await?;
            let revocation = keys::Revocation {
                kid,
                reason,
                since: *compromised_since,
                at: *at,
            };
            keys::revoke(
                tx,
                ceremony,
                ring,
                &revocation,
                successor.as_deref(),
                execution,
            )
            .await
        }
        Change::CloseCeremony {
            ceremony,
            transcript,
            at,
            // `write` has set the clock.
            corrected: _,
        } => ceremonies::close_effective(tx, ceremony, transcript, *at).await,
    }
}

async fn commit_at<E: Engine>(
    engine: &E,
    fence: &Fence,
    when: &AfterLatest,
    make: Make<'_>,
) -> Result<KeptLeaf, Error> {
    commit(engine, fence, Act::Undecided(when, make)).await
}

/// Only a leaf, whatever else is so.
pub(crate) async fn record<E: Engine>(
    engine: &E,
    fence: &Fence,
    leaf: &Leaf,
) -> Result<i64, Error> {
    let written = commit(engine, fence, Act::Planned(&Change::Record, leaf)).await?;
    Ok(written.0)
}

impl Store {
    /// Until a published checkpoint covers it.
    fn keep_written(&self, written: KeptLeaf) -> Result<i64, Error> {
        let index = written.0;
        match self.kept.keep(std::iter::once(written)) {
            true => Ok(index),
            false => Err(Error::HeldBack),
        }
    }

    /// One change with its leaf, both of an instant that no earlier leaf is later than; the index of the
    /// leaf.
    pub async fn commit_at(
        &self,
        when: &AfterLatest,
        make: &(dyn Fn(i64) -> (Change, Leaf) + Send + Sync),
    ) -> Result<i64, Error> {
        let written = on!(self, engine => commit_at(engine, &self.fence, when, make))?;
        self.keep_written(written)
    }

    /// One change with its leaf; the index of the leaf.
    pub async fn commit(&self, change: &Change, leaf: &Leaf) -> Result<i64, Error> {
        let written = on!(self, engine => commit(engine, &self.fence, Act::Planned(change, leaf)))?;
        self.keep_written(written)
    }
}
