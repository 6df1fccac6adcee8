//! A log in which nothing is published yet.

use std::sync::Arc;
use std::time::Instant;

use trust::tlog::tile::Resource;
use trust::{Kid, Sha256Digest};

use super::World;
use crate::app::{Evidence, Later, Roll};
use keyring::verification::{Claim, KeyLife, NoEvidence};
use log::{self, Published, Receipt};

impl Evidence for World {
    fn of_leaf(&self, _: i64) -> Later<Result<Vec<u8>, NoEvidence>> {
        Box::pin(async { Err(NoEvidence::NotFound) })
    }

    fn of_claim(&self, _: Claim, _: Option<Vec<u8>>) -> Later<Result<Vec<u8>, NoEvidence>> {
        Box::pin(async { Err(NoEvidence::NotInLog) })
    }

    fn transcript_of(&self, kid: Kid) -> Later<Result<Vec<u8>, NoEvidence>> {
        Box::pin(async move { Ok(format!(r#"{{"of":"{kid}"}}"#).into_bytes()) })
    }

    fn life_of(&self, _: Kid) -> Later<Result<KeyLife, NoEvidence>> {
        let act = trust::evidence::Logged {
            leaf: "leaf".to_owned(),
            proof: "proof".to_owned(),
        };
        let life = KeyLife {
            life: vec![act],
            pending: vec![9],
            log_keys: vec!["log-kid".to_owned()],
        };
        Box::pin(async { Ok(life) })
    }
}

impl Roll for World {
    fn published(&self) -> Published {
        Published::default()
    }

    fn file(&self, _: Resource) -> Later<Result<Option<Arc<Vec<u8>>>, log::ProofError>> {
        Box::pin(async { Ok(None) })
    }

    fn covered(&self, _: i64, _: Instant) -> Later<bool> {
        Box::pin(async { false })
    }

    fn receipt(&self, _: i64) -> Later<Result<Option<Receipt>, log::ProofError>> {
        Box::pin(async { Ok(None) })
    }

    fn consistency(
        &self,
        _: u64,
        _: u64,
    ) -> Later<Result<Option<Vec<Sha256Digest>>, log::ProofError>> {
        Box::pin(async { Ok(None) })
    }
}
