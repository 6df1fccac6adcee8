//! Ceremonies as a list shows them: page by page, from the newest on.

use serde::Serialize;
use trust::{Line, MemberId, Name, Request, Sha256Digest, Time};

use super::error::Error;
use super::service::CeremonyService;
use store::{CeremonyHeadRow, CeremonyState, CeremonyUnderWay, Heads};

/// Most ceremonies of a page.
pub const PAGE_MAX: usize = 100;

/// Rows that a page looks at where several things are asked for: what is dropped is looked at too, so a page may be short
/// and have a next one.
const LOOKED_AT: usize = 500;

/// Which ceremonies are asked for; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub state: Option<StateFilter>,
    pub operation: Option<String>,
    pub ring: Option<Name>,
    pub proposer: Option<MemberId>,
    /// As text, such as `ring/integrity`.
    pub subject: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFilter {
    /// Proposed and not ended.
    Open,
    /// Ended, well or otherwise.
    Past,
    Is(CeremonyState),
}

/// The place behind which a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub created_at: Time,
    pub id: Sha256Digest,
}

/// A ceremony in a list. Nothing of it was tallied: the row says how far it is.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    pub ceremony: Sha256Digest,
    pub lines: Vec<Line>,
    pub operation: String,
    pub ring: Option<Name>,
    pub state: &'static str,
    pub proposer: Option<MemberId>,
    pub reason: String,
    pub created_at: Time,
    pub approve_by: Time,
    pub execute_by: Time,
    pub updated_at: Time,
}

pub struct Page {
    pub ceremonies: Vec<Summary>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Cursor>,
    /// Ids of rows that cannot be read.
    pub unreadable: Vec<String>,
}

/// Whether a ceremony in this state waits for somebody.
fn is_open(state: CeremonyState) -> bool {
    use CeremonyState as S;
    matches!(
        state,
        S::Proposed | S::Approved | S::Executing | S::Executed
    )
}

impl Summary {
    /// None where the stored request cannot be read, or is not the one that the id names.
    pub(super) fn of(row: &CeremonyHeadRow) -> Option<Self> {
        if Sha256Digest::of(&row.request) != row.id {
            return None;
        }
        let request = Request::decode(&row.request).ok()?;
        Some(Self {
            ceremony: row.id,
            lines: request.lines,
            operation: row.operation.to_string(),
            ring: row.ring.clone(),
            state: row.state.as_str(),
            proposer: request.proposer,
            reason: request.reason,
            created_at: row.created_at,
            approve_by: request.approve_by,
            execute_by: request.execute_by,
            updated_at: row.updated_at,
        })
    }

    /// The same where the request was read before.
    pub(super) fn with(row: &CeremonyUnderWay, request: &Request) -> Self {
        Self {
            ceremony: row.id,
            lines: request.lines.clone(),
            operation: row.operation.to_string(),
            ring: row.ring.clone(),
            state: row.state.as_str(),
            proposer: request.proposer.clone(),
            reason: request.reason.clone(),
            created_at: row.created_at,
            approve_by: request.approve_by,
            execute_by: request.execute_by,
            updated_at: row.updated_at,
        }
    }

    /// As far as the request says.
    fn fits(&self, filter: &Filter) -> bool {
        let proposer = filter.proposer.as_ref();
        let subject = filter.subject.as_ref();
        proposer.is_none_or(|member| self.proposer.as_ref() == Some(member))
            && subject.is_none_or(|subject| {
                let mut lines = self.lines.iter();
                lines.any(|line| line.subject.to_string() == *subject)
            })
    }
}

impl Filter {
    /// What is asked for, each with an index that finds just that, the rarest first as far as one can tell.
    fn sources(&self) -> Vec<Heads<'_>> {
        let subject = self.subject.as_deref().map(Heads::OfSubject);
        let open = match self.state {
            Some(StateFilter::Open) => true,
            Some(StateFilter::Is(state)) => is_open(state),
            Some(StateFilter::Past) | None => false,
        };
        let open = open.then_some(Heads::UnderWay);
        let proposer = self.proposer.as_ref();
        let state = match self.state {
            Some(StateFilter::Is(state)) if open.is_none() => Some(Heads::EndedAs(state)),
            _ => None,
        };
        let past = (self.state == Some(StateFilter::Past)).then_some(Heads::Past);
        let all = [
            subject,
            open,
            proposer.map(|member| Heads::OfProposer(member.as_str())),
            state,
            self.ring.as_ref().map(|ring| Heads::OfRing(ring.as_str())),
            self.operation.as_deref().map(Heads::OfOperation),
            past,
        ];
        let mut sources: Vec<_> = all.into_iter().flatten().collect();
        if sources.is_empty() {
            sources.push(Heads::All);
        }
        sources
    }

    /// As far as the row says, for which no request is parsed.
    fn takes(&self, row: &CeremonyHeadRow) -> bool {
        let state = match self.state {
            None => true,
            Some(StateFilter::Open) => is_open(row.state),
            Some(StateFilter::Past) => !is_open(row.state),
            Some(StateFilter::Is(state)) => row.state == state,
        };
        let operation = self.operation.as_ref();
        let ring = self.ring.as_ref();
        let proposer = self.proposer.as_ref();
        state
            && proposer.is_none_or(|proposer| row.proposer.as_ref() == Some(proposer))
            && operation.is_none_or(|operation| row.operation.as_str() == operation)
            && ring.is_none_or(|ring| row.ring.as_ref() == Some(ring))
    }
}

/// Before which instant and id a page begins.
type Before = (i64, String);

impl CeremonyService {
    /// Costs the same however many ceremonies there have been.
    pub async fn page(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        let limit = limit.clamp(1, PAGE_MAX);
        let before = after.map_or((i64::MAX, String::new()), |cursor| {
            (cursor.created_at.millis(), cursor.id.to_string())
        });
        let sources = filter.sources();
        let none = Page {
            ceremonies: Vec::new(),
            next: None,
            unreadable: Vec::new(),
        };
        let (which, before, looked_at) = match sources.as_slice() {
            // Of what is open a state may be asked for, and that is little at any time.
            [Heads::UnderWay] if filter.state != Some(StateFilter::Open) => {
                (Heads::UnderWay, before, LOOKED_AT)
            }
            // The statement finds just what is asked for; one more than is shown tells whether there is a next page.
            [one] => (*one, before, limit + 1),
            [first, ..] => match self.first_possible(&sources, before).await? {
                Some(before) => (*first, before, LOOKED_AT),
                None => return Ok(none),
            },
            [] => return Ok(none),
        };
        let before = (before.0, before.1.as_str());
        let rows = self.store.ceremony_heads(which, before, looked_at as i64);
        let rows = rows.await?;
        let mut unreadable: Vec<_> = rows.unreadable.into_iter().map(|row| row.key).collect();
        let mut left = rows.read.len() + unreadable.len() >= looked_at;
        let mut ceremonies = Vec::new();
        let mut last = None;
        for row in rows.read {
            if ceremonies.len() == limit {
                left = true;
                break;
            }
            last = Some(Cursor {
                created_at: row.created_at,
                id: row.id,
            });
            if !filter.takes(&row) {
                continue;
            }
            match Summary::of(&row) {
                Some(summary) if summary.fits(filter) => ceremonies.push(summary),
                Some(_) => {}
                None => unreadable.push(row.id.to_string()),
            }
        }
        Ok(Page {
            ceremonies,
            next: last.filter(|_| left),
            unreadable,
        })
    }

    /// Nothing newer is of all sources, since of one of them nothing newer is there; none where one has nothing at all. So
    /// what is rare is found behind any number of others.
    async fn first_possible(
        &self,
        sources: &[Heads<'_>],
        mut before: Before,
    ) -> Result<Option<Before>, Error> {
        for which in sources {
            let (at, id) = (before.0, before.1.as_str());
            let found = self.store.ceremony_heads(*which, (at, id), 1).await?;
            match found.read.first() {
                // Behind it, and before all that is older: longer than any id that it is compared with.
                Some(row) => before = (row.created_at.millis(), format!("{}0", row.id)),
                // One that cannot be read is told by the page.
                None if !found.unreadable.is_empty() => {}
                None => return Ok(None),
            }
        }
        Ok(Some(before))
    }
}
