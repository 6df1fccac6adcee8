//! Where statements are: in the database of this machine, or at a service that is reached over HTTP and not believed.

use std::path::Path;

use serde_json::{Value, json};
use trust::{Purpose, Sha256Digest, Trusted};

use super::super::ceremony::{Remote, Session};
use super::super::context::failed;
use super::super::{CliContext, World};
use keyring::ceremony::CeremonyService;
use store::StatementKind;
use verify::output::Failure;

pub enum Place {
    Here(Box<CeremonyService>),
    There(Box<Session>),
}

/// A statement as it was read; its body is the one that the id names.
pub struct Fetched {
    pub kind: StatementKind,
    pub body: Vec<u8>,
    pub report: Value,
}

impl Place {
    pub async fn open(path: &Path, remote: &Remote, world: &World) -> Result<Self, Failure> {
        match remote.is_given()? {
            true => Ok(Self::There(Box::new(remote.open().await?))),
            false => {
                let open = CliContext::new(path, world).await?;
                Ok(Self::Here(Box::new(open.ceremonies(world))))
            }
        }
    }

    /// Roster and policy, walked from the pinned genesis.
    pub async fn trusted(&self) -> Result<std::sync::Arc<Trusted>, Failure> {
        match self {
            Self::Here(service) => service.roster_and_policy().await.map_err(failed),
            Self::There(session) => Ok(session.trusted()),
        }
    }

    pub async fn file(
        &self,
        kind: StatementKind,
        body: Vec<u8>,
        signature: &str,
    ) -> Result<Value, Failure> {
        match self {
            Self::Here(service) => {
                let report = service.open_statement(kind, body, signature).await;
                value(&report.map_err(failed)?)
            }
            Self::There(session) => {
                let body = String::from_utf8(body).map_err(Failure::refused)?;
                let body = json!({"kind": kind.as_str(), "body": body, "signature": signature});
                session.post("/v1/trust/statements", &body).await
            }
        }
    }

    /// With the attestation of a new passkey, where it is one's signature.
    pub async fn sign(
        &self,
        id: Sha256Digest,
        signature: &str,
        attestation: Option<Vec<u8>>,
    ) -> Result<Value, Failure> {
        match self {
            Self::Here(service) => {
                let id = id.to_string();
                let report = match attestation {
                    None => service.sign_statement(&id, signature).await,
                    Some(attestation) => {
                        service
                            .sign_statement_by_passkey(&id, signature, attestation)
                            .await
                    }
                };
                value(&report.map_err(failed)?)
            }
            Self::There(session) => {
                let mut body = json!({"purpose": "sign", "signature": signature});
                if let Some(attestation) = attestation {
                    body["attestation"] = trust::base64url::encode(&attestation).into();
                }
                let path = format!("/v1/trust/statements/{id}/signatures");
                session.post(&path, &body).await
            }
        }
    }

    /// A rejection or a veto.
    pub async fn object(
        &self,
        purpose: Purpose,
        id: Sha256Digest,
        reason: &str,
        signature: &str,
    ) -> Result<Value, Failure> {
        match self {
            Self::Here(service) => {
                let id = id.to_string();
                let report = match purpose {
                    Purpose::Veto => service.veto_statement(&id, reason, signature).await,
                    _ => service.reject_statement(&id, reason, signature).await,
                };
                value(&report.map_err(failed)?)
            }
            Self::There(session) => {
                let word = purpose.word();
                let body = json!({"purpose": word, "reason": reason, "signature": signature});
                let path = format!("/v1/trust/statements/{id}/signatures");
                session.post(&path, &body).await
            }
        }
    }

    /// Over HTTP whoever reads shows by `key` who that is.
    pub async fn fetch(
        &self,
        world: &World,
        key: Option<&Path>,
        id: Sha256Digest,
    ) -> Result<Fetched, Failure> {
        let (kind, body, report) = match self {
            Self::Here(service) => {
                let id = id.to_string();
                let (kind, body) = service.statement_body(&id).await.map_err(failed)?;
                let report = service.statement_report(&id).await.map_err(failed)?;
                (kind, body, value(&report)?)
            }
            Self::There(session) => {
                let path = format!("/v1/trust/statements/{id}");
                let answer = session.read(world, required(key)?, &path).await?;
                let answer: Value = serde_json::from_slice(&answer).map_err(Failure::refused)?;
                let body = answer["body"].as_str().unwrap_or_default().to_owned();
                let kind = answer["statement"]["kind"].as_str();
                let kind = kind.and_then(StatementKind::of);
                let kind =
                    kind.ok_or_else(|| Failure::refused("a statement of an unknown kind"))?;
                (kind, body.into_bytes(), answer["statement"].clone())
            }
        };
        match Sha256Digest::of(&body) == id {
            true => Ok(Fetched { kind, body, report }),
            false => Err(Failure::refused(format!(
                "what was given is another document than {id}"
            ))),
        }
    }

    /// The newest.
    pub async fn list(
        &self,
        world: &World,
        key: Option<&Path>,
        limit: usize,
    ) -> Result<Vec<Value>, Failure> {
        match self {
            Self::Here(service) => {
                let (statements, _) = service.statements(None, limit).await.map_err(failed)?;
                statements.iter().map(value).collect()
            }
            Self::There(session) => {
                let path = format!("/v1/trust/statements?limit={limit}");
                let answer = session.read(world, required(key)?, &path).await?;
                let answer: Value = serde_json::from_slice(&answer).map_err(Failure::refused)?;
                Ok(answer["statements"].as_array().cloned().unwrap_or_default())
            }
        }
    }
}

fn required(key: Option<&Path>) -> Result<&Path, Failure> {
    key.ok_or_else(|| Failure::usage("--url requires --key: who reads signs the request"))
}

fn value(report: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(report).map_err(Failure::refused)
}
