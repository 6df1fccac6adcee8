//! All tables but the leaves, at one instant.

use std::sync::Arc;

use trust::chain::Recovered;
use trust::error_chain;
use trust::order_log::Suspended;

use super::ceremonies::{Ceremonies, Chain};
use super::orders::Orders;
use super::policies::Policies;
use super::records::Vote;
use super::statements::Statement;
use super::{Auditor, Error};
use crate::rows::unverified_chains;
use crate::suspended::suspended_by_log;
use store::{CredentialRow, DocumentRow, KeyRow, PageStart, RingRow, Rows, Store, TreeRow};

/// How often the tables are read again because something happened meanwhile. Documents of ceremonies are read once, so
/// all but the first time are short, and end in a service that has much to do too.
const ATTEMPTS: usize = 50;

pub struct Tables {
    pub tree: TreeRow,
    pub head: i64,
    pub keys: Rows<KeyRow>,
    pub ceremonies: Ceremonies,
    pub votes: Rows<Vote>,
    /// Signatures over rosters, policies and suspensions.
    pub signed: Rows<Vote>,
    pub statements: Rows<Statement>,
    pub documents: Vec<DocumentRow>,
    /// Of the chain, oldest first.
    pub recoveries: Vec<Recovered>,
    /// Why roster and policy do not verify.
    pub distrusted: Option<String>,
    pub credentials: Rows<CredentialRow>,
    pub rings: Rows<RingRow>,
    pub orders: Orders,
    pub policies: Policies,
    /// Of all times, by the log.
    pub suspensions: Vec<Suspended>,
}

/// Signatures that are read together.
const VOTES: i64 = 2_000;

/// Statements that are read together, with their bodies.
const STATEMENTS: i64 = 200;

/// What members signed.
#[derive(Clone, Copy)]
enum Signed {
    Ceremonies,
    /// Whom to trust.
    Statements,
}

/// All of these signatures, as digests.
async fn votes(store: &Store, signed: Signed) -> Result<Rows<Vote>, Error> {
    let mut votes = Rows {
        read: Vec::new(),
        unreadable: Vec::new(),
    };
    let mut next = Some(PageStart::default());
    while let Some(start) = next {
        let page = match signed {
            Signed::Ceremonies => store.votes(&start, VOTES).await?,
            Signed::Statements => store.all_statement_signatures(&start, VOTES).await?,
        };
        votes.read.extend(page.rows.read.into_iter().map(Vote::new));
        votes.unreadable.extend(page.rows.unreadable);
        next = page.next;
    }
    Ok(votes)
}

/// What members say about whom to trust, and what became of it.
async fn statements(store: &Store) -> Result<Rows<Statement>, Error> {
    let mut statements = Rows {
        read: Vec::new(),
        unreadable: Vec::new(),
    };
    let mut next = Some(PageStart::default());
    while let Some(start) = next {
        let page = store.all_statements(&start, STATEMENTS).await?;
        let read = page.rows.read.into_iter().map(Statement::new);
        statements.read.extend(read);
        statements.unreadable.extend(page.rows.unreadable);
        next = page.next;
    }
    Ok(statements)
}

impl Auditor {
    pub(super) async fn tables(&self) -> Result<Tables, Error> {
        let store = &self.store;
        let mut documents = store.documents().await?;
        let (mut chain, mut distrusted) = self.chain(&documents);
        let mut ceremonies = Ceremonies::default();
        for _ in 0..ATTEMPTS {
            let version = store.version().await?;
            let now = store.documents().await?;
            if now != documents {
                documents = now;
                (chain, distrusted) = self.chain(&documents);
                // What was tallied from another roster is tallied again.
                ceremonies = Ceremonies::default();
            }
            let keys = store.keys().await?;
            ceremonies
                .refresh(store, &keys.read, &chain, self.ceremonies)
                .await?;
            let signed = votes(store, Signed::Statements).await?;
            let votes = votes(store, Signed::Ceremonies).await?;
            let statements = statements(store).await?;
            let credentials = store.credentials().await?;
            let rings = store.rings().await?;
            let orders = Orders::read(store).await?;
            let policies = Policies::read(store).await?;
            let suspensions = suspended_by_log(store, &self.pin, &documents, &[]).await?;
            // Signatures change no version: the tree is read just before the log that is as long or longer.
            let tree = store.tree().await?;
            let head = store.log_size().await?;
            if store.version().await? == version {
                return Ok(Tables {
                    tree,
                    head,
                    keys,
                    ceremonies,
                    votes,
                    signed,
                    statements,
                    recoveries: chain.recoveries(),
                    documents,
                    distrusted,
                    credentials,
                    rings,
                    orders,
                    policies,
                    suspensions,
                });
            }
        }
        Err(Error::Restless)
    }

    /// Roster and policy, or why there are none.
    fn chain(&self, documents: &[DocumentRow]) -> (Arc<Chain>, Option<String>) {
        let (trusted, why) = match unverified_chains(documents) {
            Ok(None) => (None, None),
            Ok(Some(chains)) => match trust::chain::walk(&chains, &self.pin) {
                Ok(trusted) => (Some(trusted), None),
                Err(error) => {
                    let why = format!("roster and policy do not verify: {}", error_chain(&error));
                    (None, Some(why))
                }
            },
            Err(error) => (None, Some(error_chain(&error))),
        };
        let pin = self.pin.clone();
        let orders = trust::tally::KnownOrders::default();
        (
            Arc::new(Chain {
                pin,
                trusted,
                orders,
            }),
            why,
        )
    }
}
