//! What a member reads before signing, in one piece and in exact bytes.

use std::sync::Arc;

use trust::{Request, Sha256Digest, Trusted};

use super::error::Error;
use super::note::Note;
use super::report::Report;
use super::service::{CeremonyService, draft};
use store::CeremonyState;

/// A ceremony as it is now.
pub struct Reading {
    pub report: Report,
    pub request: Vec<u8>,
    /// From the execution on, with the acceptances so far.
    pub transcript: Option<Vec<u8>>,
    /// The last ceremony on its first subject that was carried out before it.
    pub previous: Option<Sha256Digest>,
    pub notes: Vec<Note>,
}

impl CeremonyService {
    /// Whether it is closed: then everybody may read it.
    pub async fn is_closed(&self, id: &str) -> Result<bool, Error> {
        Ok(self.store.ceremony_state(id).await? == Some(CeremonyState::Closed))
    }

    pub async fn reading(&self, id: &str) -> Result<Reading, Error> {
        let facts = self.facts(id).await?;
        let report = self.report_of(&facts)?;
        let transcript = match (&facts.row.transcript, &facts.row.execution) {
            (Some(transcript), _) => Some(transcript.clone()),
            (None, Some(_)) => Some(facts.acceptances()?.0.encode()?),
            (None, None) => None,
        };
        let request = Request::decode(&facts.row.request)?;
        let mut previous = None;
        if let Some(line) = request.lines.first()
            && let Some(before) = line.sequence.checked_sub(1).filter(|before| *before > 0)
        {
            let subject = line.subject.to_string();
            previous = self.store.done_at(&subject, before.cast_signed()).await?;
        }
        Ok(Reading {
            report,
            transcript,
            previous,
            notes: facts.notes(),
            request: facts.row.request,
        })
    }

    /// Genesis, rosters and policies as they are stored, in canonical JSON; none before the genesis.
    pub async fn chains(&self) -> Result<Option<Vec<u8>>, Error> {
        let documents = self.store.documents().await?;
        let chains = log::unverified_chains(&documents).map_err(Error::Roster)?;
        let chains = chains.map(|chains| trust::json::canonical(&chains));
        Ok(chains.transpose()?)
    }

    /// What holds now.
    pub async fn roster_and_policy(&self) -> Result<Arc<Trusted>, Error> {
        Ok(self.trusted().await?.1)
    }

    /// The exact bytes of the statement that is accepted.
    pub async fn statement(&self, id: &str) -> Result<Vec<u8>, Error> {
        let row = self.row(id).await?;
        Ok(draft(&row)?.acceptance.statement.into_bytes())
    }
}
