//! Every change that is no signature: one transaction each, with its leaf.
//!
//! The log head is locked first and everything a change was planned on is read again under that
//! lock, so the checks here are races only against themselves. The schema checks once more; a
//! `Conflict` about `Constraint` means that these checks have a hole.

mod ceremony;
mod key;
mod register;

use super::engine::{Connection, Engine, Value};
use super::error::{Error, Subject};
use super::rows::{Change, Leaf};
use super::signatures::{check_leaf, expect_rows, take_head};
use super::statements;

/// If we die before COMMIT nothing has happened; after it, everything has, the leaf included.
pub(super) async fn commit<E: Engine>(
    engine: &E,
    change: &Change,
    leaf: &Leaf,
) -> Result<i64, Error> {
    check_leaf(leaf)?;
    if leaf.kind == "sign" {
        return Err(Error::Malformed {
            what: "a signature that passes by the fence",
        });
    }
    let mut tx = engine.begin().await?;
    match write::<E>(&mut tx, change, leaf).await {
        Ok(index) => engine.commit(tx).await.map(|()| index),
        Err(error) => {
            engine.rollback(tx).await;
            Err(error)
        }
    }
}

async fn write<E: Engine>(
    tx: &mut E::Transaction,
    change: &Change,
    leaf: &Leaf,
) -> Result<i64, Error> {
    let news = i64::from(!matches!(change, Change::Record));
    let index = take_head(tx, statements::HEAD_CHANGE, news).await? - 1;
    apply(tx, change, index).await?;
    expect_rows(E::insert_leaves(tx, index, &[leaf]).await?, 1)?;
    Ok(index)
}

async fn apply<C: Connection>(tx: &mut C, change: &Change, index: i64) -> Result<(), Error> {
    match change {
        Change::Record => Ok(()),
        Change::InstallDocuments(documents) => register::install_documents(tx, documents).await,
        Change::CreateRing(ring) => register::create_ring(tx, ring).await,
        Change::Prune { below } => register::allow_pruning(tx, *below).await,
        Change::GrantCredential(credential) => register::grant(tx, credential).await,
        Change::WithdrawCredential { kind, value, at } => {
            register::withdraw(tx, kind, value, *at).await
        }
        Change::ProposeCeremony {
            row,
            lines,
            proposal,
            order,
        } => ceremony::propose(tx, row, lines, proposal.as_ref(), order.as_ref(), index).await,
        Change::AddCeremonySignature(row) => ceremony::add_signature(tx, row, index).await,
        Change::MoveCeremony { id, from, to, at } => {
            ceremony::move_by_hand(tx, id, *from, *to, *at).await
        }
        Change::IntendGeneration {
            ceremony,
            object,
            at,
        } => ceremony::intend_generation(tx, ceremony, object, *at).await,
        Change::RecordGeneration {
            ceremony,
            object,
            location,
            kid,
            execution,
            at,
        } => {
            let made = ceremony::Made {
                object,
                location,
                kid,
            };
            ceremony::record_generation(tx, ceremony, &made, execution, *at).await
        }
        Change::IntendDestruction {
            ceremony,
            objects,
            at,
        } => ceremony::intend_destruction(tx, ceremony, objects, *at).await,
        Change::ExecuteCeremony {
            ceremony,
            execution,
            at,
        } => ceremony::execute(tx, ceremony, execution, *at).await,
        Change::ResolveObject {
            ceremony,
            object,
            state,
            at,
        } => ceremony::resolve_object(tx, ceremony, object, state, *at).await,
        Change::AcceptKey {
            ceremony,
            key,
            transcript,
            at,
        } => key::accept(tx, ceremony, key, transcript, *at).await,
        Change::SwitchPrimary {
            ring,
            expected_version,
            old,
            new,
            at,
        } => {
            key::expect_ring_version(tx, ring, *expected_version).await?;
            key::switch_primary(tx, ring, old.as_deref(), new, *at).await
        }
        Change::RetireKey {
            ring,
            expected_version,
            kid,
            at,
        } => {
            key::expect_ring_version(tx, ring, *expected_version).await?;
            key::retire(tx, ring, kid, *at).await
        }
        Change::ArchiveKey {
            ceremony,
            ring,
            kid,
            object,
            at,
        } => key::archive(tx, ceremony, ring, (kid, object), *at).await,
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
            key::expect_ring_version(tx, ring, *expected_version).await?;
            let revocation = key::Revocation {
                kid,
                reason,
                since: *compromised_since,
                at: *at,
            };
            key::revoke(
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
        } => ceremony::close_effective(tx, ceremony, transcript, *at).await,
    }
}

/// An update that names in its WHERE what it was planned on.
async fn guarded<C: Connection>(
    tx: &mut C,
    sql: &'static str,
    values: &[Value<'_>],
    what: Subject,
) -> Result<(), Error> {
    match tx.execute(sql, values).await? {
        1 => Ok(()),
        _ => Err(Error::conflict(what)),
    }
}
