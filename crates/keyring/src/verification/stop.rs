//! A stop of signing as a file, with the proof that the log tells of it.

use std::sync::Arc;

use trust::chain::Chains;
use trust::format::V1;
use trust::stop::{StopBody, chain_of};
use trust::stop_file::{StopFile, verify_stop_file};
use trust::{MemberSignature, Sha256Digest, error_chain};

use super::evidence::{EvidenceBuilder, NoEvidence};
use super::stop_files::KnownStop;
use crate::keys::Share;
use log::unverified_chains;

impl EvidenceBuilder {
    /// As it was signed, under the chain as it was, and with the proof as soon as a checkpoint covers its leaf. None where
    /// there is no such stop. What would be refused is never given away.
    pub async fn stop_file(&self, stop: &Sha256Digest) -> Result<Option<Vec<u8>>, NoEvidence> {
        // Before it is made: with a later checkpoint it is made again.
        let covered = self.covered();
        if let Some(known) = self.stops.get(stop).await
            && known.covered.is_none_or(|then| then == covered)
        {
            return Ok(Some(known.bytes.clone()));
        }
        let Some((bytes, proven)) = self.make_stop_file(stop).await? else {
            return Ok(None);
        };
        let known = KnownStop {
            bytes: bytes.clone(),
            covered: (!proven).then_some(covered),
        };
        self.stops.insert(*stop, Arc::new(known)).await;
        Ok(Some(bytes))
    }

    /// How many leaves the newest checkpoint covers.
    pub fn covered(&self) -> i64 {
        let published = self.proofs.published().checkpoint;
        published.map_or(0, |checkpoint| checkpoint.size)
    }

    /// And whether it has the proof.
    async fn make_stop_file(
        &self,
        stop: &Sha256Digest,
    ) -> Result<Option<(Vec<u8>, bool)>, NoEvidence> {
        let Some(row) = self.store.stop(&stop.to_string()).await? else {
            return Ok(None);
        };
        let broken = |error: &dyn std::error::Error| NoEvidence::Broken(error_chain(error));
        let body = StopBody::decode(&row.body).map_err(|error| broken(&error))?;
        let signature = MemberSignature::decode(row.signature.as_bytes());
        let documents = self.store.documents().await?;
        let chains = unverified_chains(&documents).map_err(|error| broken(&error))?;
        let chains: Option<Chains> = chains.and_then(|chains| chain_of(&chains, body.roster));
        let chains =
            chains.ok_or_else(|| NoEvidence::Broken("no such roster in the chain".to_owned()))?;
        let text = String::from_utf8(row.body).map_err(|error| broken(&error))?;
        let mut file = StopFile {
            body: text,
            chains,
            log_keys: Vec::new(),
            log_proofs: Vec::new(),
            signature: signature.map_err(|error| broken(&error))?,
            v: V1,
        };
        let index = row.index.unwrap_or(-1);
        if let Some((proofs, keys)) = self.logged(&[index]).await? {
            (file.log_proofs, file.log_keys) = (proofs, keys);
        }
        let pin = self.pin.clone();
        // Anybody may ask, and the chain is walked: on the threads that strangers have.
        let work = move || {
            let proven = !file.log_proofs.is_empty();
            let bytes = file.encode().map_err(|error| broken(&error))?;
            verify_stop_file(&bytes, &pin).map_err(|error| broken(&error))?;
            Ok(Some((bytes, proven)))
        };
        let done = self.keys.cpu().run(Share::Stranger, work).await;
        done.map_err(super::question::Error::from)?
    }
}
