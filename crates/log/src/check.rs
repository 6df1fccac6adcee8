//! The whole log, held against database, tiles and what is published, while the service runs.
//!
//! Tables and the size of the log are read between two equal versions of the database, so the acts
//! below that size and the rows agree, or something is wrong. Documents of ceremonies are read in pages,
//! tallied and not kept. Leaves are read in pages; what is kept of them are the acts. A check goes on
//! where the last one without a finding came to; of the leaves before, the acts are read again and held
//! against their tiles, because the rows of all tables are compared with them.

mod act_index;
mod ceremonies;
mod emergency;
mod files;
mod keys;
mod leaves;
mod notes;
mod orders;
mod page;
mod policies;
mod records;
mod resume;
mod state;
mod statements;
mod tables;
mod tree;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trust::leaf::ActKind;
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::tile::WIDTH;
use trust::{Kid, Pin, Sha256Digest};

use self::files::fetch;
use self::leaves::{Read, Trail};
use self::page::{Leafed, Page, Span, pages};
use self::state::{Mark, State};
use self::tables::Tables;
use self::tree::{Opened, OriginKeys, Tree, compare_upper, is_pruned};
use crate::act_index::ActIndex;
use crate::rotation_policies::PolicyError;
use crate::storage::{Error as StorageError, Storage};
use crate::suspended::SuspensionsError;
use store::{self, CheckpointRow, Store};
use trust::acts::Acts;
use trust::finding::{Finding, Findings};

/// Leaves of one page: whole blocks of 256.
const PAGE: i64 = 16 * WIDTH as i64;

/// Leaves after which it is kept how far the check came.
const SAVE: i64 = 1 << 20;

/// Checkpoints of one page.
const CHECKPOINTS: i64 = 1_000;

/// How long a checkpoint may take from its row to its publication.
const PUBLICATION: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database cannot be read")]
    Store(#[from] store::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the database kept changing during the check")]
    Restless,
    #[error("the reading of leaves stopped")]
    Stopped,
    #[error("the tally of transcripts was not finished")]
    Unfinished,
    #[error("suspensions cannot be read")]
    Suspensions(#[from] SuspensionsError),
    #[error("policies cannot be read")]
    Policies(#[source] PolicyError),
}

/// What there is and what is wrong with it.
#[derive(Debug)]
pub struct Report {
    pub leaves: i64,
    /// Leaves below were checked before, and hashed again only where they tell of an act.
    pub resumed_at: i64,
    pub checkpoints: u64,
    pub keys: usize,
    pub findings: Vec<Finding>,
    /// Worth knowing and not wrong.
    pub remarks: Vec<String>,
}

/// Holds everything against everything.
pub struct Auditor {
    store: Store,
    storage: Storage,
    pin: Pin,
    origin: String,
    /// Where it is kept how far a check came, and whether it goes on from there.
    state: Option<(PathBuf, bool)>,
    page: i64,
    save: i64,
    /// Ceremonies whose documents are read together.
    ceremonies: usize,
}

impl Auditor {
    pub fn new(store: Store, storage: Storage, pin: Pin, origin: String) -> Self {
        Self {
            store,
            storage,
            pin,
            origin,
            state: None,
            page: PAGE,
            save: SAVE,
            ceremonies: ceremonies::PAGE,
        }
    }

    /// Reads so many tiles' leaves at a time, and keeps after each how far it came.
    pub fn with_pages_of(mut self, tiles: u16) -> Self {
        self.page = i64::from(tiles.max(1)) * i64::from(WIDTH);
        self.save = 1;
        self
    }

    /// Reads the documents of so many ceremonies at a time.
    pub fn with_ceremonies_of(mut self, ceremonies: u16) -> Self {
        self.ceremonies = usize::from(ceremonies.max(1));
        self
    }

    /// Keeps how far it comes in this file, and goes on from there unless it starts anew.
    pub fn with_state(mut self, path: PathBuf, anew: bool) -> Self {
        self.state = Some((path, !anew));
        self
    }

    /// `progress` is told how many leaves of how many were read.
    pub async fn check(&self, mut progress: impl FnMut(i64, i64)) -> Result<Report, Error> {
        let mut findings = Findings::default();
        // What is published first: the tree that is read after it is as large or larger.
        let published = self.published().await?;
        let tables = self.tables().await?;
        if let Some(why) = &tables.distrusted {
            findings.add("chain", None, why);
        }
        let examined = keys::examine(&tables.keys.read, &tables.ceremonies);
        let log_keys = keys::log_keys(&examined, &self.origin);
        let published = self.open_published(published, &tables, &log_keys, &mut findings);
        let log_acts = ActIndex::of_log(&self.store, &self.pin).await?;
        let ended = log_acts
            .ended_origins()
            .into_iter()
            .map(|ended| OriginKeys {
                keys: keys::log_keys(&examined, &ended.origin),
                origin: ended.origin,
                until: ended.size,
            });
        let present = OriginKeys {
            origin: tables.tree.origin.clone(),
            until: i64::MAX,
            keys: log_keys,
        };
        let origins: Vec<OriginKeys> = ended.chain([present]).collect();
        let emergency = Arc::new(self.emergency(&tables).await?);
        let mut pass = Pass {
            auditor: self,
            tables: &tables,
            tree: Tree::new(&tables.tree, &origins),
            trail: Trail::corrected_by(log_acts.times()).stopped_by(emergency.clone()),
            due: VecDeque::new(),
            mark: Mark {
                log_acts: log_acts.log_acts().iter().map(|act| act.index).collect(),
                ..Mark::default()
            },
            reached: None,
            saved: 0,
            published,
            verified: None,
        };
        let resumed_at = pass.resume(&mut findings).await?;
        pass.run(&mut progress, &mut findings).await?;
        pass.save(&mut findings);
        let Pass {
            tree, trail, mark, ..
        } = pass;
        let roots = mark.roots;
        self.heads(&tables, &mut findings).await?;
        ended_keys(&tree, &trail.acts, &mut findings);
        records::unreadable(&tables.keys.unreadable, &mut findings);
        records::unreadable(&tables.ceremonies.unreadable, &mut findings);
        records::unreadable(&tables.votes.unreadable, &mut findings);
        records::unreadable(&tables.rings.unreadable, &mut findings);
        records::unreadable(&tables.credentials.unreadable, &mut findings);
        let is_unreadable = |kid: &Kid| tables.keys.is_unreadable(kid.as_str());
        let held = keys::Held {
            acts: &trail.acts,
            documents: &tables.documents,
            suspensions: &tables.suspensions,
        };
        keys::compare(&examined, is_unreadable, &held, &mut findings);
        records::unreadable(&tables.orders.rows.unreadable, &mut findings);
        let held = orders::Held {
            acts: &trail.acts,
            ceremonies: &tables.ceremonies,
            documents: &tables.documents,
            pin: &self.pin,
        };
        orders::compare(&tables.orders, &held, &mut findings);
        records::ceremonies(
            &tables.ceremonies,
            &tables.documents,
            &trail.acts,
            &mut findings,
        );
        let did = records::done(&self.store, &tables.ceremonies, &trail.acts, &self.pin).await?;
        records::log_acts(&did, &roots, &tables.tree.origin, &mut findings);
        emergency::faults(&emergency, &mut findings);
        emergency::rotations(&self.store, &tables.ceremonies, &trail.acts, &mut findings).await?;
        records::votes(&tables.votes, &trail.acts, &mut findings);
        records::unreadable(&tables.signed.unreadable, &mut findings);
        statements::signatures(&tables.signed, &trail.acts, &mut findings);
        records::unreadable(&tables.statements.unreadable, &mut findings);
        statements::states(&tables.statements, &trail.acts, &mut findings);
        let times = log_acts.times();
        statements::recoveries(&tables.recoveries, &trail.acts, &times, &mut findings);
        records::notes(
            &tables.ceremonies,
            &tables.votes,
            &trail.acts,
            &mut findings,
        );
        records::documents(&tables.documents, &trail.acts, &mut findings);
        records::credentials(&tables.credentials, &trail.acts, &mut findings);
        records::rings(&tables.rings, &trail.acts, &mut findings);
        records::unreadable(&tables.policies.rows.unreadable, &mut findings);
        records::unreadable(&tables.policies.types.unreadable, &mut findings);
        let held = (&tables.policies, &trail.acts, &self.pin);
        policies::compare(&self.store, held, &mut findings).await?;
        act_index::compare(&self.store, tables.head, &trail.acts, &mut findings).await?;
        remarks(&tables, &trail, &mut findings);
        let checkpoints = tree.checkpoints;
        let (findings, remarks) = findings.into_parts();
        Ok(Report {
            leaves: tables.head,
            resumed_at,
            checkpoints,
            keys: tables.keys.read.len() + tables.keys.unreadable.len(),
            findings,
            remarks,
        })
    }

    /// The bytes of the published checkpoint. One that was signed a moment ago is waited for.
    async fn published(&self) -> Result<Option<Vec<u8>>, Error> {
        let signed = self.store.last_checkpoint().await?.is_some();
        for attempt in [Duration::ZERO, PUBLICATION] {
            tokio::time::sleep(attempt).await;
            if let Some(present) = self.storage.checkpoint().await? {
                return Ok(Some(present.bytes));
            }
            if !signed {
                break;
            }
        }
        Ok(None)
    }

    fn open_published(
        &self,
        bytes: Option<Vec<u8>>,
        tables: &Tables,
        keys: &BTreeMap<Kid, VerifierKey>,
        findings: &mut Findings,
    ) -> Option<Checkpoint> {
        let origin = &tables.tree.origin;
        if !origin.is_empty() && *origin != self.origin {
            let what = format!(
                "the log's origin is {origin}, the configuration says {}",
                self.origin
            );
            findings.add("origin", None, what);
        }
        let bytes = bytes?;
        let keys: Vec<VerifierKey> = keys.values().cloned().collect();
        let opened = Note::parse(&bytes).and_then(|note| checkpoint::open(&note, &keys));
        match opened {
            Err(error) => {
                let what = format!("the published checkpoint is not signed by this log: {error}");
                findings.add("published", None, what);
                None
            }
            Ok(checkpoint) if checkpoint.size > tables.tree.size as u64 => {
                let what = format!(
                    "the published checkpoint has {} leaves, the tree in the database has {}: the \
                     database is older than the log",
                    checkpoint.size, tables.tree.size
                );
                findings.add("behind", None, what);
                None
            }
            Ok(checkpoint) => Some(checkpoint),
        }
    }

    /// Head, tree and checkpoints against what is there now: each is read after what it bounds.
    async fn heads(&self, tables: &Tables, findings: &mut Findings) -> Result<(), Error> {
        if tables.tree.size > tables.head {
            let what = format!(
                "the tree has {} leaves, but the log has only {}",
                tables.tree.size, tables.head
            );
            findings.add("head", None, what);
        }
        let last = self.store.last_checkpoint().await?;
        let tree = self.store.tree().await?;
        if let Some(last) = last.filter(|last| last.size > tree.size) {
            let what = format!(
                "a checkpoint of size {} exceeds the tree size {}",
                last.size, tree.size
            );
            findings.add("checkpoint", None, what);
        }
        let size = self.store.log_size().await?;
        let beyond = self.store.leaves(size, 1).await?;
        if let Some(leaf) = beyond.first()
            && self.store.log_size().await? <= leaf.index
        {
            let what = format!("the log head records {size} leaves, but a leaf beyond it exists");
            findings.add("head", Some(leaf.index), what);
        }
        Ok(())
    }
}

/// One way through the leaves.
struct Pass<'a> {
    auditor: &'a Auditor,
    tables: &'a Tables,
    tree: Tree<'a>,
    trail: Trail,
    /// Checkpoints that are read and not reached.
    due: VecDeque<CheckpointRow>,
    /// What is known so far, as of the last page.
    mark: Mark,
    /// The last checkpoint that was verified, with what was known before it.
    reached: Option<State>,
    /// How far the last state that was written is.
    saved: i64,
    published: Option<Checkpoint>,
    /// Size and root of what the last check verified, where the database has no checkpoint of it.
    verified: Option<(i64, Sha256Digest)>,
}

impl Pass<'_> {
    async fn run(
        &mut self,
        progress: &mut impl FnMut(i64, i64),
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let (size, head) = (self.tables.tree.size, self.tables.head);
        self.checkpoints(findings).await?;
        let span = Span {
            from: self.tree.size(),
            head,
            tree: size,
            page: self.auditor.page,
        };
        let (store, storage) = (&self.auditor.store, &self.auditor.storage);
        let mut ahead = pages(store.clone(), storage.clone(), span);
        let mut from = span.from;
        while from < head {
            let page = ahead.recv().await.ok_or(Error::Stopped)??;
            if page.rows.is_empty() {
                let what = format!("this leaf and all below {head} are not in the database");
                findings.add("missing", Some(from), what);
                return Ok(());
            }
            from = page.to;
            self.page(page, findings).await?;
            self.upper(from >= size, findings).await?;
            self.note_mark(from);
            progress(from, head);
        }
        Ok(())
    }

    async fn page(&mut self, page: Page, findings: &mut Findings) -> Result<(), Error> {
        let Page {
            from,
            to,
            rows,
            blocks,
            files,
        } = page;
        let pruned = self.tables.tree.pruned;
        let opened: Vec<Opened<'_>> = blocks
            .iter()
            .map(|block| Opened::new(*block, &files, pruned, findings))
            .collect();
        let mut rows = rows.into_iter().peekable();
        for index in from..to {
            let row = rows.next_if(|leafed| leafed.row.index == index);
            let block = opened.get(((index - from) / i64::from(WIDTH)) as usize);
            let block = block.filter(|_| index < self.tables.tree.size);
            self.leaf(index, row, block, findings);
            self.checkpoints(findings).await?;
        }
        Ok(())
    }

    fn leaf(
        &mut self,
        index: i64,
        leafed: Option<Leafed>,
        block: Option<&Opened<'_>>,
        findings: &mut Findings,
    ) {
        let mut there = None;
        match leafed {
            Some(Leafed { row, hash, read }) => {
                let read = match is_pruned(&row, &self.tables.tree) {
                    false => Some(read.unwrap_or_else(|| Read::new(&row, row.body.as_bytes()))),
                    true => {
                        let body = block.and_then(|block| block.body(index));
                        body.map(|body| Read::new(&row, body))
                    }
                };
                self.trail.row(&row, read, findings);
                there = Some((row, hash));
            }
            None => findings.add("missing", Some(index), "the leaf is not in the database"),
        }
        let Some(block) = block else { return };
        let (row, hash) = match &there {
            Some((row, hash)) => (Some(row), Some(*hash)),
            None => (None, None),
        };
        if row.is_some_and(|row| row.kind == "log") {
            self.mark.roots.insert(index, self.tree.root());
        }
        self.tree.leaf(index, row, hash, block, findings);
        let size = self.tree.size();
        if let Some(published) = &self.published
            && published.size == size as u64
            && published.root != self.tree.root()
        {
            let what = format!(
                "the root of the published checkpoint of {size} leaves differs from that of the leaves in the database"
            );
            findings.add("published", None, what);
        }
        if let Some((verified, root)) = self.verified
            && verified == size
            && root != self.tree.root()
        {
            let what = format!(
                "the root of the {size} leaves that the last check verified differs from that of the leaves in the database"
            );
            findings.add("checkpoint", None, what);
        }
        if size == self.tables.tree.size {
            self.tree.end(self.trail.clock.at(), findings);
        }
    }

    /// Those that are of what went in so far.
    async fn checkpoints(&mut self, findings: &mut Findings) -> Result<(), Error> {
        let size = self.tree.size();
        if self.due.is_empty() && self.mark.next_checkpoint <= size {
            let store = &self.auditor.store;
            let rows = store.checkpoints(self.mark.next_checkpoint, CHECKPOINTS);
            self.due = rows.await?.into();
            self.mark.next_checkpoint = self.due.back().map_or(i64::MAX, |row| row.size + 1);
        }
        while let Some(row) = self.due.pop_front_if(|row| row.size <= size) {
            self.tree.checkpoint(&row, self.trail.clock.at(), findings);
            self.reach(&row, findings);
        }
        Ok(())
    }

    async fn upper(&mut self, end: bool, findings: &mut Findings) -> Result<(), Error> {
        let expected = self.tree.upper_tiles(end);
        if expected.is_empty() {
            return Ok(());
        }
        let wanted = expected.iter().map(|(resource, _)| *resource).collect();
        let files = fetch(&self.auditor.storage, wanted).await?;
        compare_upper(&expected, &files, findings);
        Ok(())
    }
}

/// A checkpoint that covers the end of its own key was signed after it: the fence would have refused it.
fn ended_keys(tree: &Tree<'_>, acts: &Acts, findings: &mut Findings) {
    for (kid, acts) in &acts.keys {
        let Some(&size) = tree.signed_up_to.get(kid) else {
            continue;
        };
        let ends = |act: &&std::sync::Arc<trust::acts::Act>| {
            let leaf = &act.leaf;
            let revoked = leaf.action == "revoke" && leaf.previous_kid.as_ref() == Some(kid);
            leaf.kind == ActKind::Key && (revoked || leaf.action == "retire")
        };
        if let Some(end) = acts.iter().find(ends)
            && size > end.index
        {
            let what =
                format!("key {kid} signed a checkpoint of {size} leaves after its end of life");
            findings.add("checkpoint", Some(end.index), what);
        }
    }
}

fn remarks(tables: &Tables, trail: &Trail, findings: &mut Findings) {
    let tail = tables.head - tables.tree.size;
    if tail > 0 {
        findings.remark(format!(
            "{tail} leaves are not yet integrated into the tree"
        ));
    }
    if tables.tree.pruned > 0 {
        let pruned = tables.tree.pruned;
        findings.remark(format!(
            "bodies of signature leaves below {pruned} may be pruned; their hashes were checked"
        ));
    }
    for (kind, count) in &trail.unknown {
        findings.remark(format!(
            "unknown_kind: {count} leaves have the kind {kind:?}, which this version does not know"
        ));
    }
    if trail.without_digest > 0 {
        let count = trail.without_digest;
        findings.remark(format!(
            "{count} acts written by an older version contain no digest: their rows were not compared"
        ));
    }
}
