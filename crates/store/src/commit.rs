//! A change and its leaf, in one transaction.
//!
//! The log head is locked first and everything a change was planned on is read again under that
//! lock, so the checks here are races only against themselves. The schema checks once more; a
//! `Conflict` about `Constraint` means that these checks have a hole.

use crate::after_latest::AfterLatest;
use crate::change::Change;
use crate::clock_correction::{CORRECTION, Reckoned, reckon};
use crate::database::{Store, on};
use crate::engine::{Connection, Engine, Taken, expect_rows};
use crate::error::Error;
use crate::fence::{Fence, Head};
use crate::kept::KeptLeaf;
use crate::leaves::{Leaf, check_act};
use crate::log_head::{self, take_head};
use crate::{
    alerts, assets, ceremonies, ceremony_signatures, compromise, credentials, destruction,
    generation, jobs, keys, new_origin, notices, orders, passkeys, rings, rotation_events,
    rotation_lease, stops, tree, trust_documents, trust_statements,
};

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
    let (rotation, done) = change.unfenced();
    if let Some(fence) = rotation {
        rotation_lease::expect(tx, fence).await?;
    }
    apply::<E>(tx, done, index).await?;
    expect_rows(E::insert_leaves(tx, index, &[leaf.columns()]).await?, 1)?;
    if let Change::BeginOrigin(begin) = change {
        new_origin::enter(tx, begin).await?;
    }
    Ok(((index, leaf.body.clone()), head))
}

/// What goes on although the latest leaf lies ahead of the clock: a ceremony that corrects the log's times, and a new origin.
async fn passes_a_clock_ahead<C: Connection>(tx: &mut C, change: &Change) -> Result<bool, Error> {
    let ceremony = match change.unfenced().1 {
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
        Change::OfRotation { .. } => Err(Error::Malformed {
            what: "a change of two rotations",
        }),
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
        Change::ReportCompromise { row, most } => compromise::report(tx, row, *most).await,
        Change::DecideCompromise { id, decision } => compromise::decide(tx, id, decision).await,
        Change::DecideNotice(row) => notices::decide(tx, row).await,
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
        Change::UnpublishKey {
            ring,
            expected_version,
            kid,
            at,
        } => {
            rings::expect_ring_version(tx, ring, *expected_version).await?;
            keys::unpublish(tx, ring, kid, *at).await
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
