//! Rotation policies and key types of this installation: each row against the leaf that tells of it, and each leaf against
//! its row. A policy of a critical key type rests on the transcript of a ceremony beside it.

use std::collections::{BTreeMap, BTreeSet};

use calendar::Word;
use calendar::key_type::KeyType;
use trust::acts::{Act, Acts};
use trust::finding::Findings;
use trust::leaf::ActKind;
use trust::{Operation, Pin, Sha256Digest, error_chain};

use super::Error;
use crate::rotation_policies::{policy_in_force, with_own};
use store::{KeyTypeRow, MAX_PAGE, PolicyRow, Rows, Store, policy_asset};

/// A version of a policy, without what it says.
pub struct Version {
    index: i64,
    key_type: Word,
    version: u32,
    digest: Sha256Digest,
}

impl Version {
    fn of(row: &PolicyRow) -> Result<Self, store::Error> {
        Ok(Self {
            index: row.index,
            key_type: row.document.key_type.clone(),
            version: row.document.version,
            digest: row.digest()?,
        })
    }
}

/// Policies as the database has them.
pub struct Policies {
    pub rows: Rows<Version>,
    pub types: Rows<KeyTypeRow>,
}

impl Policies {
    pub async fn read(store: &Store) -> Result<Self, store::Error> {
        let mut rows = Rows {
            read: Vec::new(),
            unreadable: Vec::new(),
        };
        let mut from = 0;
        loop {
            let page = store.rotation_policies_from(from, MAX_PAGE).await?;
            let there = page.read.len() + page.unreadable.len();
            let last = page.read.last().map(|row| row.index);
            for row in &page.read {
                rows.read.push(Version::of(row)?);
            }
            rows.unreadable.extend(page.unreadable);
            match last {
                Some(last) if there as i64 == MAX_PAGE => from = last + 1,
                _ => break,
            }
        }
        Ok(Self {
            rows,
            types: store.key_types().await?,
        })
    }
}

/// Policies and key types, and what is in force of critical ones.
pub async fn compare(
    store: &Store,
    (policies, acts, pin): (&Policies, &Acts, &Pin),
    findings: &mut Findings,
) -> Result<(), Error> {
    // One that cannot be read is a finding already.
    let rows = policies.types.read.iter().cloned();
    let types = with_own(rows).map_err(Error::Policies)?;
    let told = told(acts);
    for row in &policies.rows.read {
        let act = told.get(&row.index).copied();
        let critical = types
            .get(row.key_type.as_str())
            .is_some_and(KeyType::is_critical);
        if let Err(why) = rests((store, pin), (row, critical), act).await? {
            let (of, version) = (&row.key_type, row.version);
            let what = format!("version {version} of the policy of {of}: {why}");
            findings.add("policy_unlogged", act.map(|act| act.index), what);
        }
    }
    let there: BTreeSet<i64> = policies.rows.read.iter().map(|row| row.index).collect();
    if policies.rows.unreadable.is_empty() {
        for act in told.values().filter(|act| !there.contains(&act.index)) {
            let of = act.leaf.asset.as_deref().unwrap_or_default();
            let version = act.leaf.version.unwrap_or_default();
            let what = format!("version {version} of {of} is in the log but not in the database");
            findings.add("policy_missing", Some(act.index), what);
        }
    }
    added(&policies.types, acts, findings)?;
    for key_type in types.iter().filter(|key_type| key_type.is_critical()) {
        let found = policy_in_force(store, pin, &key_type.name).await;
        for fault in found.map_err(Error::Policies)?.faults {
            findings.add("policy_undecided", None, fault);
        }
    }
    Ok(())
}

/// Leaves by which a policy took effect, by their places.
fn told(acts: &Acts) -> BTreeMap<i64, &Act> {
    let set = acts.statements.iter().filter(|act| is(act, "set"));
    let closed = acts.ceremonies.values().flatten();
    let decided = closed.filter(|act| {
        let of_policy = |asset: &String| asset.starts_with("policy/");
        act.leaf.action == "accepted" && act.leaf.asset.as_ref().is_some_and(of_policy)
    });
    let all = set.chain(decided);
    all.map(|act| (act.index, act.as_ref())).collect()
}

fn is(act: &Act, action: &str) -> bool {
    (act.leaf.kind, act.leaf.action.as_str()) == (ActKind::Policy, action)
        && act.leaf.reference.is_none()
}

/// Whether the leaf of a policy says so, and the ceremony that it names where there is one.
async fn rests(
    (store, pin): (&Store, &Pin),
    (row, critical): (&Version, bool),
    act: Option<&Act>,
) -> Result<Result<(), String>, Error> {
    let Some(act) = act else {
        return Ok(Err("the log does not tell of it".to_owned()));
    };
    let named = (
        act.leaf.asset.as_deref() == Some(&*policy_asset(row.key_type.as_str())),
        act.leaf.version == Some(row.version.into()),
    );
    if named != (true, true) {
        return Ok(Err("its leaf tells of another".to_owned()));
    }
    let digest = row.digest;
    let Some(ceremony) = &act.leaf.reference else {
        return Ok(match (critical, act.leaf.digest == Some(digest)) {
            (true, _) => Err("only the quorum changes it, and no ceremony did".to_owned()),
            (false, true) => Ok(()),
            (false, false) => Err("it differs from its leaf".to_owned()),
        });
    };
    let Some(bytes) = store.transcript(ceremony).await? else {
        return Ok(Err("its ceremony has no transcript".to_owned()));
    };
    let verified = match trust::verify_transcript(&bytes, pin) {
        Ok(verified) => verified,
        Err(error) => return Ok(Err(error_chain(&error))),
    };
    let decided = match &verified.request().operation {
        Operation::RotationPolicy(order) => Some(order.decided().digest),
        _ => None,
    };
    Ok(
        match decided == Some(digest) && act.leaf.digest == Some(verified.core_digest()) {
            true => Ok(()),
            false => Err("it differs from what its ceremony decided".to_owned()),
        },
    )
}

/// Key types that this installation added.
fn added(rows: &Rows<KeyTypeRow>, acts: &Acts, findings: &mut Findings) -> Result<(), Error> {
    let mut told: BTreeMap<Sha256Digest, i64> = acts
        .statements
        .iter()
        .filter(|act| is(act, "add-type"))
        .filter_map(|act| Some((act.leaf.digest?, act.index)))
        .collect();
    for row in &rows.read {
        if told.remove(&row.digest()?).is_none() {
            let what = format!("the key type {} is not in the log", row.key_type.name);
            findings.add("key_type_unlogged", None, what);
        }
    }
    if rows.unreadable.is_empty() {
        for index in told.into_values() {
            let what = "a key type that was added is not in the database, or is another there";
            findings.add("key_type_missing", Some(index), what);
        }
    }
    Ok(())
}
