//! What a member reads before signing, in one piece and in exact bytes; and what everybody reads once it is closed.

use std::sync::Arc;

use trust::{Request, Sha256Digest, Transcript, Trusted};

use super::error::Error;
use super::note::{Note, noted_in};
use super::report::Report;
use super::service::{CeremonyService, draft};
use store::CeremonyState;

/// A ceremony as it is now.
pub struct Reading {
    /// It never changes any more.
    pub is_closed: bool,
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

    /// A closed one is read from its transcript alone, under the roster of its time.
    pub async fn reading(&self, id: &str) -> Result<Reading, Error> {
        let row = self.row(id).await?;
        if let (CeremonyState::Closed, Some(transcript)) = (row.state, &row.transcript) {
            return Ok(Reading {
                is_closed: true,
                report: self.finished(transcript)?,
                notes: noted_in(&Transcript::decode(transcript)?),
                previous: self.previous(&Request::decode(&row.request)?).await?,
                transcript: row.transcript,
                request: row.request,
            });
        }
        let facts = self.facts(id).await?;
        let report = self.report_of(&facts)?;
        let transcript = match &facts.row.execution {
            Some(_) => Some(facts.acceptances()?.0.encode()?),
            None => None,
        };
        Ok(Reading {
            is_closed: false,
            report,
            transcript,
            previous: self.previous(&Request::decode(&facts.row.request)?).await?,
            notes: facts.notes(),
            request: facts.row.request,
        })
    }

    /// The ceremony that took the place before the request's on its first subject.
    pub async fn previous(&self, request: &Request) -> Result<Option<Sha256Digest>, Error> {
        let Some(line) = request.lines.first() else {
            return Ok(None);
        };
        match line.sequence.checked_sub(1).filter(|before| *before > 0) {
            Some(before) => {
                let subject = line.subject.to_string();
                Ok(self.store.done_at(&subject, before.cast_signed()).await?)
            }
            None => Ok(None),
        }
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
