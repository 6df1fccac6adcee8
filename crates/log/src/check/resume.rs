//! Going on where the last check without a finding came to.

use trust::finding::Findings;
use trust::tlog::merkle::leaf_hash;
use trust::tlog::tile::{Resource, TileId, WIDTH, tiles_for_root};

use super::files::fetch;
use super::leaves::{Read, Seal};
use super::state::{Mark, State};
use super::tree::{Block, Opened};
use super::{Error, Pass};
use store::{CheckpointRow, LeafFilter, LeafRow};

impl Pass<'_> {
    /// Takes up the last state, if it is one of this log; where the check begins.
    pub(super) async fn resume(&mut self, findings: &mut Findings) -> Result<i64, Error> {
        let Some((path, go_on)) = &self.auditor.state else {
            return Ok(0);
        };
        let state = match State::read(path) {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(0),
            Err(why) => {
                let path = path.display();
                findings.remark(format!("starts anew: {path} cannot be used: {why}"));
                return Ok(0);
            }
        };
        if let Err(why) = self.is_of_this_log(&state) {
            findings.remark(format!(
                "starts anew: the last check was of another log: {why}"
            ));
            return Ok(0);
        }
        let rows = self.auditor.store.checkpoints(state.size, 1).await?;
        let row = rows.into_iter().find(|row| row.size == state.size);
        if row.is_none() && state.size <= self.tables.tree.size {
            // A recovery puts the leaves back, and of the checkpoints only the last one.
            self.verified = Some((state.size, state.root));
            findings.remark(format!(
                "starts anew: the database has no checkpoint of the {} leaves that the check of {} verified; their root is compared",
                state.size, state.time
            ));
            return Ok(0);
        }
        if row.is_none_or(|row| row.root != state.root) {
            let what = format!(
                "the checkpoint of {} leaves that the check of {} verified is not in the database: it is older, or has another history",
                state.size, state.time
            );
            findings.add("checkpoint", None, what);
            return Ok(0);
        }
        if !go_on {
            // Hashed again, and nothing of what was verified may have gone.
            self.verified = Some((state.size, state.root));
            return Ok(0);
        }
        if let Err(why) = self.goes_on(&state).await? {
            findings.remark(format!("starts anew: {why}"));
            return Ok(0);
        }
        let from = state.mark.from;
        if let Some(why) = self.acts_before(from, &state.mark.seal).await? {
            findings.remark(format!("starts anew: {why}"));
            self.trail = self.trail.anew();
            return Ok(0);
        }
        if let Err(why) = self.edge(&state.mark).await? {
            findings.remark(format!("starts anew: the tree cannot be resumed: {why}"));
            return Ok(0);
        }
        self.trail.go_on(&state.mark);
        self.tree.checkpoints = state.mark.checkpoints;
        self.tree.signed_up_to = state.mark.signed_up_to.clone();
        self.saved = from;
        self.mark = state.mark;
        findings.remark(format!(
            "went on from leaf {from}, which the check of {} came to; --full hashes all leaves again",
            state.time
        ));
        Ok(from)
    }

    /// By its signed checkpoint, which is of the present origin.
    fn is_of_this_log(&self, state: &State) -> Result<(), String> {
        if state.genesis != self.auditor.pin.genesis || state.origin != self.tables.tree.origin {
            return Err("its genesis or origin differs".to_owned());
        }
        let said = self.tree.open_present(&state.note)?;
        let agrees = said.size == state.size.unsigned_abs()
            && said.root == state.root
            && said.origin == state.origin;
        match agrees {
            true => Ok(()),
            false => Err("its checkpoint is another one".to_owned()),
        }
    }

    /// Whether what is known of the leaves before is of use now.
    async fn goes_on(&self, state: &State) -> Result<Result<(), String>, Error> {
        let mark = &state.mark;
        let whole = mark.from >= 0 && mark.from % i64::from(WIDTH) == 0;
        let below = mark.from < state.size || (mark.from, state.size) == (0, 0);
        if !whole || !below || state.size > self.tables.tree.size {
            let why = format!("the last check was of {} leaves", state.size);
            return Ok(Err(why));
        }
        if mark.log_acts != self.mark.log_acts {
            let why = "times or the origin were corrected since the last check";
            return Ok(Err(why.to_owned()));
        }
        // One that is passed over is held against its row, which was compared with the leaves.
        let Some(published) = &self.published else {
            return Ok(Ok(()));
        };
        let size = published.size.cast_signed();
        if size == 0 || size > mark.from {
            return Ok(Ok(()));
        }
        let rows = self.auditor.store.checkpoints(size, 1).await?;
        let same = |row: &CheckpointRow| row.size == size && row.root == published.root;
        Ok(match rows.first().is_some_and(same) {
            true => Ok(()),
            false => Err(format!(
                "the database has no such checkpoint of {size} leaves as is published"
            )),
        })
    }

    /// The right edge of the tree out of the stored tiles, which may be wider by now.
    async fn edge(&mut self, mark: &Mark) -> Result<Result<(), String>, Error> {
        let size = self.tables.tree.size.unsigned_abs();
        let tiles: Vec<TileId> = tiles_for_root(mark.from.unsigned_abs());
        let now = |tile: &TileId| {
            let hashes = size >> (8 * u32::from(tile.level));
            let width = hashes.saturating_sub(tile.index * u64::from(WIDTH));
            Resource::Tile(TileId {
                width: width.min(u64::from(WIDTH)) as u16,
                ..*tile
            })
        };
        let wanted = tiles.iter().map(now).collect();
        let mut files = fetch(&self.auditor.storage, wanted).await?;
        for tile in &tiles {
            let bytes = files.remove(&now(tile)).flatten();
            files.insert(Resource::Tile(*tile), bytes);
        }
        Ok(self.tree.resume(mark.from, &files))
    }

    /// The acts before, each held against the tile that it stands in; why they are not those that were checked. The whole
    /// way through the log names what is wrong.
    async fn acts_before(&mut self, from: i64, seal: &Seal) -> Result<Option<String>, Error> {
        let mut findings = Findings::default();
        let mut next = 0;
        while next < from {
            let filter = LeafFilter {
                acts_only: true,
                from_index: next,
                ..LeafFilter::default()
            };
            let mut rows = self
                .auditor
                .store
                .leaves_of(&filter, store::MAX_PAGE)
                .await?;
            let full = rows.len() as i64 == store::MAX_PAGE;
            rows.retain(|row| row.index < from);
            next = match rows.last() {
                Some(last) if full => last.index + 1,
                _ => from,
            };
            self.in_their_tiles(&rows, &mut findings).await?;
            for row in &rows {
                let read = Read::new(row, row.body.as_bytes());
                self.trail.body(row, read, &mut findings);
            }
        }
        let same = findings.is_empty() && self.trail.seal == *seal;
        Ok((!same).then(|| format!("the acts below leaf {from} are not those that were checked")))
    }

    async fn in_their_tiles(&self, rows: &[LeafRow], findings: &mut Findings) -> Result<(), Error> {
        let wide = i64::from(WIDTH);
        let tree = &self.tables.tree;
        let in_one = |one: &LeafRow, other: &LeafRow| one.index / wide == other.index / wide;
        let block_of = |rows: &[LeafRow]| {
            let from = rows.first().map_or(0, |row| row.index - row.index % wide);
            let block = Block::between(from, from + wide, tree.size).next();
            block.map(|block| (from, block))
        };
        let blocks = rows.chunk_by(in_one).filter_map(block_of);
        let tiles = blocks.map(|(_, block)| block.tile()).collect();
        let files = fetch(&self.auditor.storage, tiles).await?;
        for rows in rows.chunk_by(in_one) {
            let Some((from, block)) = block_of(rows) else {
                continue;
            };
            let hashes = Opened::hashes_of(block, &files);
            for row in rows {
                let stored = hashes.get((row.index - from) as usize);
                if stored != Some(&leaf_hash(row.body.as_bytes())) {
                    let what = "the leaf in the database differs from the one in the tree";
                    findings.add("leaf", Some(row.index), what);
                }
            }
        }
        Ok(())
    }

    /// After a page: what is known of all leaves so far.
    pub(super) fn note_mark(&mut self, from: i64) {
        if from % i64::from(WIDTH) != 0 || from > self.tables.tree.size {
            return;
        }
        self.mark.from = from;
        self.mark.clock = self.trail.clock.clone();
        self.mark.corrected = self.trail.corrected().clone();
        self.mark.checkpoints = self.tree.checkpoints;
        self.mark.signed_up_to = self.tree.signed_up_to.clone();
        self.mark.unknown = self.trail.unknown.clone();
        self.mark.seal = self.trail.seal.clone();
    }

    /// A checkpoint was verified. Nothing is kept once there is a finding.
    pub(super) fn reach(&mut self, row: &CheckpointRow, findings: &mut Findings) {
        if self.auditor.state.is_none() || !findings.is_empty() || row.size < self.mark.from {
            return;
        }
        // One of an origin that has ended binds nobody to the leaves that came after.
        if !self.tree.is_present(row.size) {
            return;
        }
        let mut mark = self.mark.clone();
        // Those between the mark and this one are read again.
        mark.next_checkpoint = match mark.from {
            0 => 0,
            from => from + 1,
        };
        mark.roots.retain(|index, _| *index < mark.from);
        let mut state = State::new(
            self.auditor.pin.genesis,
            &self.tables.tree.origin,
            mark,
            row.time,
        );
        state.size = row.size;
        state.root = row.root;
        state.note = row.signed().to_owned();
        self.reached = Some(state);
        if self.mark.from >= self.saved + self.auditor.save {
            self.save(findings);
        }
    }

    /// Leaves the state where the next check finds it.
    pub(super) fn save(&mut self, findings: &mut Findings) {
        let Some((path, _)) = &self.auditor.state else {
            return;
        };
        if !findings.is_empty() {
            return;
        }
        if let Some(state) = self.reached.take() {
            if let Err(error) = state.write(path) {
                let path = path.display();
                findings.remark(format!("how far it came was not kept in {path}: {error}"));
            }
            self.saved = state.mark.from;
        }
    }
}

impl super::leaves::Trail {
    fn go_on(&mut self, mark: &Mark) {
        self.clock = mark.clock.clone();
        self.set_corrected(mark.corrected.clone());
        self.unknown = mark.unknown.clone();
    }
}
