//! Rosters and policies that the database lost come back from a copy: the log names each of them by its digest, so it does
//! not matter whose copy it is.

use trust::leaf::Leaf;
use trust::{Chains, Sha256Digest, Transcript, json};

use super::error::Error;
use super::service::CeremonyService;
use log::{Event, document_rows};
use store::{Change, RestoredDocument};
use trust::leaf::ActKind;

impl CeremonyService {
    /// Puts back what the database lacks of the chain in a file, as `GET /v1/trust` answers it, or of the one in a
    /// transcript. How many documents that were.
    pub async fn restore_documents(&self, file: &[u8]) -> Result<usize, Error> {
        let chains: Chains = match json::require_canonical(file) {
            Ok(chains) => chains,
            Err(error) => match Transcript::decode(file) {
                Ok(transcript) => transcript.record.chains,
                Err(_) => return Err(error.into()),
            },
        };
        trust::chain::walk(&chains, &self.pin)?;
        let there = self.store.documents().await?;
        let all = document_rows(&chains)?;
        let same = there.iter().zip(&all);
        let same = same.filter(|(there, of_file)| there.body == of_file.body);
        if same.count() < there.len() {
            return Err(Error::Unfit(
                "the database has a document that the file does not have in this place".to_owned(),
            ));
        }
        let mut told = Vec::new();
        for leaf in self.store.installations().await? {
            if let Ok(Leaf::Act(act)) = Leaf::parse(leaf.body.as_bytes()) {
                told.push((leaf.index, act));
            }
        }
        let mut after = there.iter().filter_map(|row| row.index).max().unwrap_or(-1);
        let mut documents = Vec::new();
        for row in all.into_iter().skip(there.len()) {
            let digest = Some(Sha256Digest::of(&row.body));
            let mut leaves = told.iter();
            let leaf = leaves.find(|(index, act)| *index > after && act.digest == digest);
            let (index, act) = leaf.ok_or_else(|| {
                let (kind, version) = (row.kind, row.version);
                Error::Unfit(format!(
                    "the log does not tell of the installation of {kind} {version}"
                ))
            })?;
            after = *index;
            documents.push(RestoredDocument {
                row,
                statement: act.reference.clone().unwrap_or_default(),
                index: *index,
            });
        }
        let count = documents.len();
        if count == 0 {
            return Ok(0);
        }
        let at = self.env.now();
        let change = Change::RestoreDocuments {
            documents,
            at: at.millis(),
        };
        let event = Event {
            kind: ActKind::Admin,
            action: "restore-documents",
            ..self.event()
        };
        self.log.commit(&change, &event).await?;
        Ok(count)
    }
}
