//! Standing orders: each row against the transcript that it rests on, its withdrawal and its uses against their leaves, and
//! each leaf against the row that it told of.

use std::collections::{BTreeMap, BTreeSet};

use trust::acts::{Act, Acts};
use trust::finding::Findings;
use trust::leaf::ActKind;
use trust::order_log::ACCEPTED;
use trust::withdrawal::{USE, WITHDRAW, verify_withdrawal};
use trust::{MemberSignature, Pin, Sha256Digest, Trusted};

use super::ceremonies::Ceremonies;
use crate::rows::unverified_chains;
use store::{DocumentRow, OrderRow, OrderWithdrawalRow, PageStart, Rows, Store, UseRow};

/// Standing orders as the database has them, with the uses that were taken.
pub struct Orders {
    pub rows: Rows<OrderRow>,
    pub uses: BTreeMap<String, Vec<UseRow>>,
}

impl Orders {
    pub async fn read(store: &Store) -> Result<Self, store::Error> {
        let mut orders = Self {
            rows: Rows {
                read: Vec::new(),
                unreadable: Vec::new(),
            },
            uses: BTreeMap::new(),
        };
        let mut next = Some(PageStart::default());
        while let Some(start) = next {
            let page = store.all_orders(&start, PAGE).await?;
            for row in &page.rows.read {
                let id = row.id.to_string();
                let uses = store.uses_of(&id).await?;
                orders.uses.insert(id, uses);
            }
            orders.rows.read.extend(page.rows.read);
            orders.rows.unreadable.extend(page.rows.unreadable);
            next = page.next;
        }
        Ok(orders)
    }
}

/// Orders that are read together.
const PAGE: i64 = 1_000;

/// What orders are held against.
pub struct Held<'a> {
    pub acts: &'a Acts,
    pub ceremonies: &'a Ceremonies,
    pub documents: &'a [DocumentRow],
    pub pin: &'a Pin,
}

/// Orders and what became of them.
pub fn compare(orders: &Orders, held: &Held<'_>, findings: &mut Findings) {
    let (uses_of, orders) = (&orders.uses, &orders.rows);
    let mut there = BTreeSet::new();
    for row in &orders.read {
        there.insert(row.id.to_string());
        of_row(row, held, findings);
        let of_order = uses_of.get(&row.id.to_string());
        uses(
            row,
            of_order.map_or(&[], Vec::as_slice),
            held.acts,
            findings,
        );
    }
    for (order, acts) in &held.acts.orders {
        if there.contains(order) || orders.is_unreadable(order) {
            continue;
        }
        let index = acts.first().map(|act| act.index);
        let what = format!("standing order {order} is in the log but not in the database");
        findings.add("order_missing", index, what);
    }
    for row in held.ceremonies.iter() {
        if row.operation.as_str() != "order" {
            continue;
        }
        let accepted = acceptance(held.acts, row.id);
        let found = orders.read.iter().any(|order| order.ceremony == row.id);
        if let Some(accepted) = accepted.filter(|_| !found && orders.unreadable.is_empty()) {
            let what = format!(
                "the standing order of ceremony {} is not in the database",
                row.id
            );
            findings.add("order_missing", Some(accepted.index), what);
        }
    }
}

/// The leaf that accepted the ceremony of an order.
fn acceptance(acts: &Acts, ceremony: Sha256Digest) -> Option<&Act> {
    let acts = acts.of_ceremony(&ceremony.to_string());
    let is_acceptance =
        |act: &&Act| act.leaf.kind == ActKind::Ceremony && act.leaf.action == ACCEPTED;
    acts.iter().map(AsRef::as_ref).find(is_acceptance)
}

fn of_row(row: &OrderRow, held: &Held<'_>, findings: &mut Findings) {
    let id = row.id;
    let ordered = held
        .ceremonies
        .get(&row.ceremony)
        .map(|known| &known.ordered);
    match (ordered, acceptance(held.acts, row.ceremony)) {
        (_, None) => {
            let what = format!("no ceremony in the log accepted the standing order {id}");
            findings.add("order_unlogged", None, what);
        }
        (Some(Some(Ok(order))), Some(accepted)) => {
            let bounds = (order.not_before, order.not_after);
            let same = order.id == id
                && (&order.ring, order.uses) == (&row.ring, row.uses)
                && bounds == (row.not_before, row.not_after)
                && accepted.leaf.time == row.accepted_at;
            if !same {
                let what =
                    format!("the row of the standing order {id} differs from its transcript");
                findings.add("order_row", Some(accepted.index), what);
            }
        }
        (Some(Some(Err(why))), Some(accepted)) => {
            let what = format!("standing order {id}: {why}");
            findings.add("transcript", Some(accepted.index), what);
        }
        (_, Some(accepted)) => {
            let what = format!("the ceremony of the standing order {id} ordered nothing");
            findings.add("order_row", Some(accepted.index), what);
        }
    }
    let of_order = held.acts.orders.get(&id.to_string());
    let mut told = of_order.into_iter().flatten();
    let told = told.find(|act| act.leaf.action == WITHDRAW);
    match (&row.withdrawal, told.map(AsRef::as_ref)) {
        (None, None) => {}
        (Some(withdrawal), Some(told)) if withdrawal.index == told.index => {
            if let Err(why) = held.withdrawal(row, withdrawal, told) {
                let what = format!("the withdrawal of the standing order {id}: {why}");
                findings.add("order_withdrawal", Some(told.index), what);
            }
        }
        (withdrawal, told) => {
            let index = told.map(|told| told.index);
            let index = index.or(withdrawal.as_ref().map(|row| row.index));
            let what = format!("row and log disagree whether the standing order {id} is withdrawn");
            findings.add("order_withdrawal", index, what);
        }
    }
}

impl Held<'_> {
    /// What is wrong with a withdrawal of which a leaf tells.
    fn withdrawal(
        &self,
        row: &OrderRow,
        withdrawal: &OrderWithdrawalRow,
        told: &Act,
    ) -> Result<(), String> {
        if withdrawal.at != told.leaf.time {
            return Err("its time differs from the one in its leaf".to_owned());
        }
        let digest = Sha256Digest::of(withdrawal.signature.as_bytes());
        if told.leaf.digest != Some(digest) {
            return Err("its signature differs from the one in its leaf".to_owned());
        }
        let signature = MemberSignature::decode(withdrawal.signature.as_bytes());
        let signature = signature.map_err(|error| error.to_string())?;
        let trusted = self.then(told.index)?;
        let of = (row.id, row.ceremony);
        verify_withdrawal(&trusted, of, &withdrawal.body, &signature)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Roster and policy when a leaf was written: whoever withdrew an order may have left since.
    fn then(&self, index: i64) -> Result<Trusted, String> {
        let before = |row: &&DocumentRow| row.index.is_none_or(|installed| installed < index);
        let then: Vec<DocumentRow> = self.documents.iter().take_while(before).cloned().collect();
        let chains = unverified_chains(&then).map_err(|error| trust::error_chain(&error))?;
        let chains = chains.ok_or_else(|| "there was no roster".to_owned())?;
        trust::chain::walk(&chains, self.pin).map_err(|error| trust::error_chain(&error))
    }
}

/// Uses that were taken: each row against the leaf that took it, and each leaf against its row.
fn uses(row: &OrderRow, uses: &[UseRow], acts: &Acts, findings: &mut Findings) {
    let of_order = acts.orders.get(&row.id.to_string());
    let taken = of_order.into_iter().flatten();
    let taken: Vec<&Act> = taken
        .map(AsRef::as_ref)
        .filter(|act| act.leaf.action == USE)
        .collect();
    let same = |act: &Act, used: &UseRow| {
        act.leaf.use_number == Some(u64::from(used.number))
            && act.leaf.digest == Some(used.ceremony)
    };
    for used in uses {
        if !taken.iter().any(|act| same(act, used)) {
            let (id, number) = (row.id, used.number);
            let what = format!("the log does not tell of use {number} of the standing order {id}");
            findings.add("order_use", None, what);
        }
    }
    for act in taken {
        if !uses.iter().any(|used| same(act, used)) {
            let what = format!(
                "a use of the standing order {} is not in the database",
                row.id
            );
            findings.add("order_use", Some(act.index), what);
        }
    }
}
