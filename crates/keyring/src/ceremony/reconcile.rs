//! After a crash: what the database intended against what the token holds.
//!
//! | database | token | what is done |
//! |---|---|---|
//! | intended | complete pair | adopted: the custodians approved exactly this `CKA_ID` |
//! | intended | complete pair that cannot be accepted | abandoned and reported; never published |
//! | intended | nothing | abandoned; the ceremony has failed and is proposed anew |
//! | intended | a public half alone | removed: it is of our intended `CKA_ID` and signs nothing; abandoned |
//! | intended | anything else | abandoned and reported; never published |
//! | destroying | nothing | the destruction is recorded |
//! | destroying | anything | still there: the ceremony has failed and is proposed anew |
//! | present, and its ceremony ended without a key | anything | reported: its private half is for a person to destroy |
//! | present, and its ceremony ended without a key | nothing | recorded as destroyed |
//! | present | not a pair | reported, critical |
//! | gone or abandoned | anything | reported; a person removes it with the vendor's tool |
//! | no row | anything | reported: born without a ceremony; never published, never touched |
//!
//! What another executor's lease says is under way is left alone, and so is what was begun less than two minutes ago without
//! one, unless the caller knows better ([`Alone`]); what is carried on a file is left alone in any case. A lease that ran out
//! says that its executor died: what it left is settled, and only then somebody else may go on. One object that cannot be settled does not
//! keep the others from it.
//!
//! And an executed ceremony that enough custodians have accepted is closed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use trust::{Destroy, DestroyKey, Location, Operation, Place, Request, Time};

use super::claim::is_on_a_file;
use super::error::{Error, Kind};
use super::service::CeremonyFacts;
use super::service::CeremonyService;
use store::{CeremonyState, HeldExecution, KeyObjectRow, ObjectState, UnreadableRow};
use token::{Executor, Found};
use trust::error_chain;

/// One disagreement between database and token, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub object: String,
    pub ring: String,
    pub finding: String,
    pub action: String,
}

/// Whether another executor may be at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// Somebody made sure that there is none.
    Yes,
    Unknown,
}

/// Objects on the token that are looked for together.
const TOGETHER: usize = 500;

/// Longer than any administrative call may take.
const UNDER_WAY: Duration = Duration::from_secs(120);

impl CeremonyService {
    pub async fn reconcile(
        &self,
        executor: &Executor,
        alone: Alone,
    ) -> Result<Vec<Finding>, Error> {
        let (serial, _) = executor.identity().await?;
        let device = format!("pkcs11/{serial}");
        let mut on_token: HashMap<String, Found> = executor
            .list()
            .await?
            .into_iter()
            .map(|found| {
                (
                    format!("{device}/{}", trust::hex::encode(&found.cka_id)),
                    found,
                )
            })
            .collect();
        let mut findings = self.close_accepted().await?;
        let held = self.store.held_executions().await?;
        let mut objects = self.store.objects_on(&device).await?;
        // What the token should not have any more, or never had; there may be any number that it does not have.
        let read = objects.read.iter().map(|row| row.id.as_str());
        let unread = objects.unreadable.iter().map(|row| row.key.as_str());
        let known: HashSet<&str> = read.chain(unread).collect();
        let others = on_token.keys().filter(|id| !known.contains(id.as_str()));
        let others: Vec<String> = others.cloned().collect();
        for part in others.chunks(TOGETHER) {
            let rows = self.store.objects(part).await?;
            objects.read.extend(rows.read);
            objects.unreadable.extend(rows.unreadable);
        }
        // Nothing is known of what they are about, so nothing is concluded.
        for row in &objects.unreadable {
            on_token.remove(&row.key);
            findings.push(Finding::unreadable(row));
        }
        for object in objects.read {
            // Objects of another token are another run's business.
            if object.device != device {
                continue;
            }
            let found = on_token.remove(&object.id);
            if let Some((finding, action)) = self.is_under_way(&object, &held, alone) {
                findings.push(Finding {
                    object: object.id,
                    ring: object.ring.to_string(),
                    finding: finding.to_owned(),
                    action: action.to_owned(),
                });
                continue;
            }
            match self.settle(&object, found.as_ref(), executor).await {
                Ok(finding) => findings.extend(finding),
                Err(error) => findings.push(Finding {
                    finding: format!("cannot be resolved: {}", error_chain(&error)),
                    action: "no action taken; fix the cause and reconcile again".to_owned(),
                    object: object.id,
                    ring: object.ring.to_string(),
                }),
            }
        }
        findings.extend(self.record_destroyed(&held, alone).await?);
        findings.extend(on_token.into_iter().map(|(object, found)| Finding {
            object,
            ring: found.label.clone(),
            finding: "on the token without a ceremony".to_owned(),
            action: "reported only; it is not trusted, published or changed".to_owned(),
        }));
        self.settle_leases(&held).await?;
        Ok(findings)
    }

    /// Of executors that died: nothing that they left is unknown any more. One that cannot be read keeps no other waiting.
    async fn settle_leases(&self, held: &[HeldExecution]) -> Result<(), Error> {
        let mut failed = None;
        for held in held.iter().filter(|held| held.left.is_none()) {
            let id = held.ceremony.to_string();
            match self.store.ceremony_state(&id).await {
                Ok(Some(CeremonyState::Executing)) => {}
                Ok(_) => {
                    self.store.settle_execution(&id).await?;
                }
                Err(error) if error.is_corrupt() => failed = failed.or(Some(error)),
                Err(error) => return Err(error.into()),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Destructions of which every key is gone and recorded, and the statement of all of them is not: whoever carried them
    /// out died in between. As of the intent, when the quorum held.
    async fn record_destroyed(
        &self,
        held: &[HeldExecution],
        alone: Alone,
    ) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        for id in self.store.executing().await? {
            let mut held = held.iter();
            let lapsed = match held.find(|held| held.ceremony.to_string() == id) {
                Some(held) if held.left.is_none() => true,
                Some(held) if alone == Alone::Unknown || is_on_a_file(&held.holder) => continue,
                _ => alone == Alone::Yes,
            };
            let (finding, action) = match self.record_if_destroyed(&id, lapsed).await {
                Ok(false) => continue,
                Ok(true) => ("destroyed, and not stated".to_owned(), "recorded"),
                Err(error) if error.kind() == Kind::Unavailable && !is_corrupt(&error) => {
                    return Err(error);
                }
                Err(error) => (error_chain(&error), "none"),
            };
            findings.push(Finding {
                object: "-".to_owned(),
                ring: String::new(),
                finding: format!("ceremony {id}: {finding}"),
                action: action.to_owned(),
            });
        }
        Ok(findings)
    }

    /// `is_left`: nobody is at its last step just now.
    async fn record_if_destroyed(&self, id: &str, is_left: bool) -> Result<bool, Error> {
        let facts = self.facts(id).await?;
        let request = Request::decode(&facts.row.request)?;
        let Operation::Destroy(order) = &request.operation else {
            return Ok(false);
        };
        let at = facts.row.updated_at;
        let young = self.env.now().since(at) < UNDER_WAY && !is_left;
        if facts.row.state != CeremonyState::Executing || young {
            return Ok(false);
        }
        self.record_if_all_gone(&facts, order, at).await?;
        Ok(self.row(id).await?.state != CeremonyState::Executing)
    }

    /// Why an object is left alone.
    fn is_under_way(
        &self,
        object: &KeyObjectRow,
        held: &[HeldExecution],
        alone: Alone,
    ) -> Option<(&'static str, &'static str)> {
        let ceremony = match object.state {
            ObjectState::Intended => Some(object.ceremony),
            ObjectState::Destroying => object.destruction,
            _ => return None,
        };
        let mut held = held.iter();
        let young = self.env.now().since(object.updated_at) < UNDER_WAY;
        match held.find(|held| Some(held.ceremony) == ceremony) {
            Some(held) if held.left.is_none() => None,
            Some(held) if is_on_a_file(&held.holder) => Some((
                "carried out elsewhere, and its result comes on a file",
                "left unchanged; `chancery executor import` brings the result, `chancery executor recall` ends it",
            )),
            Some(_) if alone == Alone::Unknown => Some((
                "in progress in another executor",
                "left unchanged; --alone resolves it",
            )),
            None if young && alone == Alone::Unknown => Some((
                "started less than two minutes ago and possibly still in progress",
                "left unchanged; --alone resolves it",
            )),
            _ => None,
        }
    }

    async fn settle(
        &self,
        object: &KeyObjectRow,
        found: Option<&Found>,
        executor: &Executor,
    ) -> Result<Option<Finding>, Error> {
        let finding = |finding: &str, action: &str| {
            Some(Finding {
                object: object.id.clone(),
                ring: object.ring.to_string(),
                finding: finding.to_owned(),
                action: action.to_owned(),
            })
        };
        Ok(match (object.state, found) {
            (ObjectState::Intended, Some(pair)) if pair.is_complete() => {
                match self.adopt(object, executor).await {
                    Ok(true) => finding("generated but not recorded", "adopted and accepted"),
                    Ok(false) => finding(
                        "generated but not recorded",
                        "adopted; custodians decide whether to accept it",
                    ),
                    // Under a standing order only its executor knows, and its key may be away for a while.
                    Err(Error::NoResultSigner | Error::ResultSigner(_)) => finding(
                        "generated but not recorded, under a standing order",
                        "left to the order's executor",
                    ),
                    // Token or database are out of reach: nothing is known, nothing is concluded.
                    Err(error) if error.kind() == Kind::Unavailable => return Err(error),
                    Err(error) => {
                        let facts = self.facts(&object.ceremony.to_string()).await?;
                        let why = format!("cannot be accepted: {error}");
                        self.resolve(&facts, &object.id, ObjectState::Abandoned, &why)
                            .await?;
                        finding(&why, "abandoned; remove it from the token manually")
                    }
                }
            }
            (ObjectState::Intended, found) => {
                let facts = self.facts(&object.ceremony.to_string()).await?;
                let (why, action) = match found {
                    None => ("planned but never generated", "abandoned; propose it again"),
                    // If we die after the removal, the next run finds nothing and abandons it.
                    Some(half) if remove_public_half(object, half, executor).await? => (
                        "a public key without its private key",
                        "removed from the token; propose it again",
                    ),
                    Some(_) => (
                        "only one half of the key pair",
                        "abandoned; remove it from the token manually",
                    ),
                };
                self.resolve(&facts, &object.id, ObjectState::Abandoned, why)
                    .await?;
                finding(why, action)
            }
            (ObjectState::Destroying, None) => {
                let facts = self.facts(&in_progress(object)?).await?;
                let request = Request::decode(&facts.row.request)?;
                if let Operation::Destroy(order) = &request.operation {
                    let at = object.updated_at;
                    let here = |key: &&DestroyKey| is_at(key, &object.id);
                    if let Some(key) = order.keys.iter().find(here) {
                        self.archive(&facts, key, at).await?;
                    }
                    self.record_if_all_gone(&facts, order, at).await?;
                }
                finding("destroyed but not recorded", "recorded")
            }
            (ObjectState::Destroying, Some(_)) => {
                let facts = self.facts(&in_progress(object)?).await?;
                let why = "should have been destroyed but still exists";
                self.resolve(&facts, &object.id, ObjectState::Present, why)
                    .await?;
                finding(why, "the ceremony has failed; propose it again")
            }
            (ObjectState::Present, found) if self.is_given_up(object).await? => match found {
                Some(_) => finding(
                    "its ceremony ended without acceptance: the key will never be published",
                    "none; destroy its private half, remove it from the token manually",
                ),
                None => {
                    let facts = self.facts(&object.ceremony.to_string()).await?;
                    let why = "never accepted, and gone from the token";
                    self.resolve(&facts, &object.id, ObjectState::Destroyed, why)
                        .await?;
                    finding(why, "recorded as destroyed")
                }
            },
            (ObjectState::Present, Some(pair)) if pair.is_complete() => None,
            (ObjectState::Present, _) => {
                finding("missing or incomplete on the token", "reported as CRITICAL")
            }
            (_, Some(_)) => finding("recorded as destroyed but still on the token", "reported"),
            (_, None) => None,
        })
    }

    /// Whether the ceremony that made it ended, and not with a key.
    async fn is_given_up(&self, object: &KeyObjectRow) -> Result<bool, Error> {
        let ceremony = object.ceremony.to_string();
        let made_by = self.store.ceremony_mark(&ceremony).await?;
        use CeremonyState as S;
        Ok(made_by.is_some_and(|made_by| {
            matches!(
                made_by.state,
                S::Rejected | S::Expired | S::Cancelled | S::Failed
            )
        }))
    }

    /// Two custodians accepted at once, or a crash came between an acceptance and the closing.
    async fn close_accepted(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        let rows = self.store.executed_ceremonies().await?;
        findings.extend(rows.unreadable.iter().map(Finding::unreadable));
        for row in rows.read {
            let (finding, action) = match self.close_if_accepted(&row.id.to_string()).await {
                Ok(false) => continue,
                Ok(true) => ("accepted but not closed".to_owned(), "closed"),
                Err(error) => (error_chain(&error), "none"),
            };
            findings.push(Finding {
                object: "-".to_owned(),
                ring: row.ring.map(|ring| ring.to_string()).unwrap_or_default(),
                finding: format!("ceremony {}: {finding}", row.id),
                action: action.to_owned(),
            });
        }
        Ok(findings)
    }

    /// The last key of a destruction is gone: custodians may accept it. Where another ceremony of a
    /// key took this one's place in its line meanwhile, the fact stays recorded and the ceremony
    /// has failed.
    async fn record_if_all_gone(
        &self,
        facts: &CeremonyFacts,
        order: &Destroy,
        at: Time,
    ) -> Result<(), Error> {
        let named = |id: &str| order.keys.iter().any(|key| is_at(key, id));
        let locations = order.keys.iter().flat_map(|key| &key.locations);
        let ids: Vec<String> = locations.map(Location::object).collect();
        let objects = self.store.objects(&ids).await?;
        let mut read = objects.read.iter();
        let left = read.any(|row| named(&row.id) && row.state != ObjectState::Destroyed);
        if left || objects.unreadable.iter().any(|row| named(&row.key)) {
            return Ok(());
        }
        let how = "destroyed, found after a crash";
        match self.record_destruction(facts, order, at, how).await {
            Err(Error::Store(error)) if error.is_conflict() => {
                let executing = CeremonyState::Executing;
                self.move_to(facts, executing, CeremonyState::Failed, "overtaken")
                    .await
            }
            done => done,
        }
    }

    async fn adopt(&self, object: &KeyObjectRow, executor: &Executor) -> Result<bool, Error> {
        let facts = self.facts(&object.ceremony.to_string()).await?;
        let request = Request::decode(&facts.row.request)?;
        let Operation::Generate(order) = &request.operation else {
            return Err(Error::Unfit(
                "a planned key object belongs to no generation ceremony".to_owned(),
            ));
        };
        let Place::Pkcs11(place) = &order.place else {
            return Err(Error::Unfit("no key on a PKCS#11 token".to_owned()));
        };
        let generated = executor.read_back(place.cka_id.0).await?;
        let intended_at = object.created_at;
        self.record_generation(
            &facts,
            order,
            &generated,
            executor,
            intended_at,
            "adopted after a crash",
        )
        .await?;
        // Where the executor's signature accepts it.
        Box::pin(self.close_if_accepted(&facts.id)).await
    }
}

/// Of one row alone.
fn is_corrupt(error: &Error) -> bool {
    matches!(error, Error::Store(error) if error.is_corrupt())
}

impl Finding {
    /// Nothing is known of what it is about.
    pub(super) fn unreadable(row: &UnreadableRow) -> Self {
        Self {
            object: match row.table {
                "key_object" => row.key.clone(),
                _ => "-".to_owned(),
            },
            ring: "-".to_owned(),
            finding: row.to_string(),
            action: "no action taken; fix the cause and reconcile again".to_owned(),
        }
    }
}

/// Whether a public half was there without its private half, and is removed; everything else is for
/// a person.
async fn remove_public_half(
    object: &KeyObjectRow,
    found: &Found,
    executor: &Executor,
) -> Result<bool, Error> {
    let serial = object.device.strip_prefix("pkcs11/");
    let cka_id = <[u8; 16]>::try_from(found.cka_id.as_slice());
    let (Some(serial), Ok(cka_id), true) = (serial, cka_id, found.is_public_half()) else {
        return Ok(false);
    };
    Ok(executor.remove_public_half(serial, cka_id).await?)
}

/// The ceremony that is destroying it; the row names the one that bore it as well.
fn in_progress(object: &KeyObjectRow) -> Result<String, Error> {
    let destruction = object.destruction.map(|id| id.to_string());
    destruction.ok_or_else(|| Error::Unfit(format!("no ceremony is destroying {}", object.id)))
}

/// Whether a copy of the key is this object.
fn is_at(key: &DestroyKey, object: &str) -> bool {
    let mut locations = key.locations.iter();
    locations.any(|location| location.object() == object)
}
