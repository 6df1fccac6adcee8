//! The database's index of acts, which is found by what was read of the leaves. It proves nothing, but an act that it
//! lacks is one that nobody is told of.

use std::collections::{BTreeMap, HashMap};

use trust::Kid;
use trust::acts::Acts;
use trust::finding::Findings;

use super::Error;
use crate::act_index::KeyActs;
use store::{ActWord, Store};

/// Keys that are asked for together.
const TOGETHER: usize = 500;

/// All that the index has of the leaves below `head`, against `acts`.
pub async fn compare(
    store: &Store,
    head: i64,
    acts: &Acts,
    findings: &mut Findings,
) -> Result<(), Error> {
    // Asked first: what is below it is in the index by the time that the index is read.
    let end = store.acted().await?.size.min(head);
    let told = told(acts, end);
    let kids: Vec<&Kid> = told.keys().copied().collect();
    for part in kids.chunks(TOGETHER) {
        let asked: Vec<String> = part.iter().map(|kid| kid.as_str().to_owned()).collect();
        let mut found: HashMap<String, KeyActs> = HashMap::new();
        for act in store.acts_of_several(&asked).await? {
            if act.index < end {
                let acts = found.entry(act.subject).or_default();
                acts.record(act.index, act.word);
            }
        }
        for kid in part {
            let found = found.remove(kid.as_str()).unwrap_or_default();
            if told.get(*kid) != Some(&found) {
                let what = format!("the index of acts does not have the acts on key {kid}");
                findings.add("act_index", None, what);
            }
        }
    }
    let log = acts.log_acts.iter().map(|act| act.index);
    let log: Vec<i64> = log.filter(|index| *index < end).collect();
    let found = store.acts_of(store::LOG_ACTS).await?;
    let found = found.iter().map(|act| act.index);
    if log != found.filter(|index| *index < end).collect::<Vec<_>>() {
        let what = "the index of acts does not have what was done to the log";
        findings.add("act_index", None, what);
    }
    accepted(store, end, &told, findings).await
}

/// What there has to be of each key.
fn told(acts: &Acts, end: i64) -> BTreeMap<&Kid, KeyActs> {
    let mut told = BTreeMap::new();
    for (kid, acts) in &acts.keys {
        let mut of_key = KeyActs::default();
        for act in acts.iter().filter(|act| act.index < end) {
            let words = ActWord::of(&act.leaf).filter(|(of, _)| *of == kid);
            words.for_each(|(_, word)| of_key.record(act.index, word));
        }
        told.insert(kid, of_key);
    }
    told
}

/// The keys in the order of their acceptance.
async fn accepted(
    store: &Store,
    end: i64,
    told: &BTreeMap<&Kid, KeyActs>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let mut expected: Vec<(i64, &str)> = Vec::with_capacity(told.len());
    for (kid, acts) in told {
        expected.extend(acts.accepted.map(|index| (index, kid.as_str())));
    }
    expected.sort_unstable();
    let mut expected = (0..).zip(expected);
    let mut from = 0;
    loop {
        let page = store.accepted_from(from, store::MAX_PAGE).await?;
        let page: Vec<_> = page.into_iter().filter(|row| row.index < end).collect();
        let Some(last) = page.last() else { break };
        from = last.place + 1;
        for row in &page {
            let next = expected.next();
            if next != Some((row.place, (row.index, row.kid.as_str()))) {
                let what = format!(
                    "the index of acts has key {} at place {} of those that the log accepted, which is another one's",
                    row.kid, row.place
                );
                findings.add("act_index", Some(row.index), what);
                // Each that follows is at another place too.
                return Ok(());
            }
        }
    }
    if let Some((place, (index, kid))) = expected.next() {
        let what = format!(
            "the index of acts does not have key {kid} at place {place} of those that the log accepted"
        );
        findings.add("act_index", Some(index), what);
    }
    Ok(())
}
