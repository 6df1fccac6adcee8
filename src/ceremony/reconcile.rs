//! After a crash: what the database intended against what the token holds.
//!
//! | database | token | what is done |
//! |---|---|---|
//! | intended | complete pair | adopted: the custodians approved exactly this `CKA_ID` |
//! | intended | complete pair that cannot be accepted | abandoned and reported; never published |
//! | intended | nothing | abandoned; the ceremony has failed and is proposed anew |
//! | intended | half a pair | abandoned and reported; never published |
//! | destroying | nothing | the destruction is recorded |
//! | destroying | anything | still there: the ceremony has failed and is proposed anew |
//! | present | not a pair | reported, critical |
//! | gone or abandoned | anything | reported; a person removes it with the vendor's tool |
//! | no row | anything | reported: born without a ceremony; never published, never touched |
//!
//! What was begun less than two minutes ago may still be under way in another executor and is left
//! alone, unless the caller knows better ([`Alone`]). One object that cannot be settled does not
//! keep the others from it.
//!
//! And an executed ceremony that enough custodians have accepted is closed.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use trust::{Kid, Operation, Request, Time};

use super::{Error, Kind, Office};
use crate::store::{CeremonyState, TokenObjectRow};
use crate::telemetry::chain;
use crate::token::{Executor, Found};

/// One disagreement between database and token, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub cka_id: String,
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

/// Longer than any administrative call may take.
const UNDER_WAY: Duration = Duration::from_secs(120);

impl Office {
    pub async fn reconcile(
        &self,
        executor: &Executor,
        alone: Alone,
    ) -> Result<Vec<Finding>, Error> {
        let mut on_token: HashMap<String, Found> = executor
            .list()
            .await?
            .into_iter()
            .map(|found| (hex(&found.cka_id), found))
            .collect();
        let (serial, _) = executor.identity().await?;
        let mut findings = self.close_accepted().await?;
        for object in self.store.token_objects().await? {
            // Objects of another token are another run's business.
            if object.token_serial != serial {
                continue;
            }
            let found = on_token.remove(&object.cka_id);
            if alone == Alone::Unknown && self.is_under_way(&object) {
                findings.push(Finding {
                    cka_id: object.cka_id,
                    ring: object.ring,
                    finding: "begun a moment ago, perhaps still under way".to_owned(),
                    action: "left alone; --alone settles it".to_owned(),
                });
                continue;
            }
            match self.settle(&object, found.as_ref(), executor).await {
                Ok(finding) => findings.extend(finding),
                Err(error) => findings.push(Finding {
                    finding: format!("cannot be settled: {}", chain(&error)),
                    action: "none; look at it and reconcile again".to_owned(),
                    cka_id: object.cka_id,
                    ring: object.ring,
                }),
            }
        }
        findings.extend(on_token.into_iter().map(|(cka_id, found)| Finding {
            cka_id,
            ring: found.label.clone(),
            finding: "on the token without a ceremony".to_owned(),
            action: "reported; it is not trusted, published or touched".to_owned(),
        }));
        Ok(findings)
    }

    fn is_under_way(&self, object: &TokenObjectRow) -> bool {
        let begun = matches!(object.state.as_str(), "intended" | "destroying");
        let age = self
            .ambient
            .now()
            .since(Time::from_millis(object.updated_at));
        begun && age < UNDER_WAY
    }

    async fn settle(
        &self,
        object: &TokenObjectRow,
        found: Option<&Found>,
        executor: &Executor,
    ) -> Result<Option<Finding>, Error> {
        let finding = |finding: &str, action: &str| {
            Some(Finding {
                cka_id: object.cka_id.clone(),
                ring: object.ring.clone(),
                finding: finding.to_owned(),
                action: action.to_owned(),
            })
        };
        Ok(match (object.state.as_str(), found) {
            ("intended", Some(pair)) if pair.is_complete() => {
                match self.adopt(object, executor).await {
                    Ok(_) => finding(
                        "generated, not recorded",
                        "adopted; custodians accept it or not",
                    ),
                    // Token or database are out of reach: nothing is known, nothing is concluded.
                    Err(error) if error.kind() == Kind::Unavailable => return Err(error),
                    Err(error) => {
                        let held = self.held(&object.ceremony).await?;
                        let why = format!("cannot be accepted: {error}");
                        self.resolve(&held, &object.cka_id, "abandoned", &why)
                            .await?;
                        finding(&why, "abandoned; remove it from the token by hand")
                    }
                }
            }
            ("intended", found) => {
                let held = self.held(&object.ceremony).await?;
                let (why, action) = match found {
                    None => ("intended, never generated", "abandoned; propose it anew"),
                    Some(_) => ("half a pair", "abandoned; remove it from the token by hand"),
                };
                self.resolve(&held, &object.cka_id, "abandoned", why)
                    .await?;
                finding(why, action)
            }
            ("destroying", None) => {
                let held = self.held(&object.ceremony_in_progress(self).await?).await?;
                let request = Request::decode(&held.row.request)?;
                if let Operation::Destroy(order) = &request.operation {
                    let at = Time::from_millis(object.updated_at);
                    let how = "destroyed, found after a crash";
                    match self.record_destruction(&held, order, at, how).await {
                        // Another ceremony took its place in the line meanwhile.
                        Err(Error::Store(error)) if error.is_conflict() => {
                            let why = "destroyed; its ceremony was overtaken";
                            self.resolve(&held, &object.cka_id, "destroyed", why)
                                .await?;
                        }
                        done => done?,
                    }
                }
                finding("destroyed, not recorded", "recorded")
            }
            ("destroying", Some(_)) => {
                let held = self.held(&object.ceremony_in_progress(self).await?).await?;
                let why = "meant to be destroyed, still there";
                self.resolve(&held, &object.cka_id, "present", why).await?;
                finding(why, "the ceremony has failed; propose it anew")
            }
            ("present", Some(pair)) if pair.is_complete() => None,
            ("present", _) => finding("missing or incomplete on the token", "reported: CRITICAL"),
            (_, Some(_)) => finding("recorded as gone, still on the token", "reported"),
            (_, None) => None,
        })
    }

    /// Two custodians accepted at once, or a crash came between an acceptance and the closing.
    async fn close_accepted(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        for row in self.store.ceremonies().await? {
            if row.state != CeremonyState::Executed {
                continue;
            }
            let (finding, action) = match self.close_if_accepted(&row.id).await {
                Ok(false) => continue,
                Ok(true) => ("was accepted, not closed".to_owned(), "closed"),
                Err(error) => (chain(&error), "none"),
            };
            findings.push(Finding {
                cka_id: "-".to_owned(),
                ring: row.ring,
                finding: format!("ceremony {}: {finding}", row.id),
                action: action.to_owned(),
            });
        }
        Ok(findings)
    }

    async fn adopt(&self, object: &TokenObjectRow, executor: &Executor) -> Result<Kid, Error> {
        let held = self.held(&object.ceremony).await?;
        let request = Request::decode(&held.row.request)?;
        let Operation::Generate(order) = &request.operation else {
            return Err(Error::Unfit(
                "an intended object belongs to no generation".to_owned(),
            ));
        };
        let born = executor.read_back(order.cka_id.0).await?;
        let intended_at = Time::from_millis(object.created_at);
        self.record_birth(
            &held,
            order,
            &born,
            executor,
            intended_at,
            "adopted after a crash",
        )
        .await
    }
}

impl TokenObjectRow {
    /// The ceremony that is destroying it; the row itself names the one that bore it.
    async fn ceremony_in_progress(&self, office: &Office) -> Result<String, Error> {
        for row in office.store.ceremonies().await? {
            let request = Request::decode(&row.request)?;
            if let (CeremonyState::Executing, Operation::Destroy(order)) =
                (row.state, &request.operation)
                && order.cka_id.to_string() == self.cka_id
            {
                return Ok(row.id);
            }
        }
        Err(Error::Unfit(format!(
            "no ceremony is destroying {}",
            self.cka_id
        )))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
