//! After a crash: what the database intended against what the token holds.
//!
//! | database | token | what is done |
//! |---|---|---|
//! | intended | complete pair | adopted: the custodians approved exactly this `CKA_ID` |
//! | intended | nothing | abandoned; the ceremony has failed and is proposed anew |
//! | intended | one half | reported; a person decides |
//! | destroying | nothing | the destruction is recorded |
//! | destroying | anything | reported; the ceremony is executed again by a new request |
//! | present | not a pair | reported, critical |
//! | no row | anything | reported: born without a ceremony; never published, never touched |

use std::collections::HashMap;

use serde::Serialize;
use trust::{Operation, Request, Time};

use super::{Error, Office};
use crate::store::{CeremonyState, TokenObjectRow};
use crate::token::{Executor, Found};

/// One disagreement between database and token, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub cka_id: String,
    pub ring: String,
    pub finding: String,
    pub action: String,
}

impl Office {
    pub async fn reconcile(&self, executor: &Executor) -> Result<Vec<Finding>, Error> {
        let mut on_token: HashMap<String, Found> = executor
            .list()
            .await?
            .into_iter()
            .map(|found| (hex(&found.cka_id), found))
            .collect();
        let (serial, _) = executor.identity().await?;
        let mut findings = Vec::new();
        for object in self.store.token_objects().await? {
            // Objects of another token are another run's business.
            if object.token_serial != serial {
                continue;
            }
            let found = on_token.remove(&object.cka_id);
            if let Some(finding) = self.settle(&object, found.as_ref(), executor).await? {
                findings.push(finding);
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
                self.adopt(object, executor).await?;
                finding(
                    "generated, not recorded",
                    "adopted; custodians accept it or not",
                )
            }
            ("intended", None) => {
                let held = self.held(&object.ceremony).await?;
                self.abandon(&held, &object.cka_id, "not on the token after a crash")
                    .await?;
                finding("intended, never generated", "abandoned; propose it anew")
            }
            ("intended", Some(_)) => finding(
                "half a pair",
                "reported; remove it by hand, then reconcile again",
            ),
            ("destroying", None) => {
                let held = self.held(&object.ceremony_in_progress(self).await?).await?;
                let request = Request::decode(&held.row.request)?;
                if let Operation::Destroy(order) = &request.operation {
                    let at = Time::from_millis(object.updated_at);
                    self.record_destruction(&held, order, at, "destroyed, found after a crash")
                        .await?;
                }
                finding("destroyed, not recorded", "recorded")
            }
            ("destroying", Some(_)) => finding(
                "meant to be destroyed, still there",
                "reported; propose its destruction anew",
            ),
            ("present", Some(pair)) if pair.is_complete() => None,
            ("present", _) => finding("missing or incomplete on the token", "reported: CRITICAL"),
            (_, Some(_)) => finding("recorded as gone, still on the token", "reported"),
            (_, None) => None,
        })
    }

    async fn adopt(&self, object: &TokenObjectRow, executor: &Executor) -> Result<(), Error> {
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
