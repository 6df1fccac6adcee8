-- The Merkle log over `log_leaf`. Tiles stand as files or objects; the database holds only what
-- has to be swapped under a condition: how far the tree goes, and which checkpoints were signed.

-- One row. `size` and `root` change together, by compare-and-swap, and never backwards. `clock` is
-- the latest time of any leaf below `size`: no leaf at or above `size` existed before it.
-- `pruned` is the first index whose body has to be kept.
CREATE TABLE log_tree (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    size        INTEGER NOT NULL CHECK (size >= 0),
    root        TEXT NOT NULL CHECK (length(root) = 64),
    clock       INTEGER NOT NULL,
    origin      TEXT NOT NULL,
    holder      TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    pruned      INTEGER NOT NULL CHECK (pruned >= 0)
) STRICT;
-- The root of the empty tree is the hash of nothing (RFC 6962 section 2.1).
INSERT INTO log_tree (id, size, root, clock, origin, holder, lease_until, pruned) VALUES
    (1, 0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 0, '', '', 0, 0);

-- Every checkpoint that was ever signed. `note` is the text with the log's own signature;
-- `cosignatures` are the witnesses' lines, added when they come.
CREATE TABLE log_checkpoint (
    size         INTEGER PRIMARY KEY CHECK (size >= 0),
    root         TEXT NOT NULL CHECK (length(root) = 64),
    time         INTEGER NOT NULL,
    clock        INTEGER NOT NULL,
    kid          TEXT NOT NULL REFERENCES signing_key (kid),
    note         TEXT NOT NULL,
    cosignatures TEXT NOT NULL
) STRICT;

CREATE TRIGGER log_tree_no_delete BEFORE DELETE ON log_tree
BEGIN SELECT RAISE(ABORT, 'log_tree is never deleted'); END;
CREATE TRIGGER log_tree_no_replace BEFORE INSERT ON log_tree
BEGIN SELECT RAISE(ABORT, 'log_tree has one row'); END;
CREATE TRIGGER log_tree_grows BEFORE UPDATE ON log_tree
WHEN NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.clock < OLD.clock OR NEW.pruned < OLD.pruned
  OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
  OR (OLD.origin <> '' AND NEW.origin <> OLD.origin)
  OR NEW.size > (SELECT size FROM log_head)
  OR NEW.pruned > NEW.size
BEGIN SELECT RAISE(ABORT, 'log_tree only grows'); END;

CREATE TRIGGER log_checkpoint_no_delete BEFORE DELETE ON log_checkpoint
BEGIN SELECT RAISE(ABORT, 'log_checkpoint is append-only'); END;
CREATE TRIGGER log_checkpoint_no_replace BEFORE INSERT ON log_checkpoint
WHEN EXISTS (SELECT 1 FROM log_checkpoint WHERE size = NEW.size)
BEGIN SELECT RAISE(ABORT, 'log_checkpoint is append-only'); END;
CREATE TRIGGER log_checkpoint_swapped BEFORE INSERT ON log_checkpoint
WHEN NOT EXISTS (SELECT 1 FROM log_tree WHERE size = NEW.size AND root = NEW.root)
BEGIN SELECT RAISE(ABORT, 'a checkpoint is of the tree that was swapped in'); END;
CREATE TRIGGER log_checkpoint_cosigned BEFORE UPDATE ON log_checkpoint
WHEN NEW.size <> OLD.size OR NEW.root <> OLD.root OR NEW.time <> OLD.time
  OR NEW.clock <> OLD.clock OR NEW.kid <> OLD.kid OR NEW.note <> OLD.note
  OR substr(NEW.cosignatures, 1, length(OLD.cosignatures)) <> OLD.cosignatures
BEGIN SELECT RAISE(ABORT, 'a checkpoint only gains cosignatures'); END;

-- After retention the body of a signature may go, nothing else of a leaf, and of an act nothing.
DROP TRIGGER log_leaf_no_update;
CREATE TRIGGER log_leaf_no_update BEFORE UPDATE ON log_leaf
WHEN NEW.idx <> OLD.idx OR NEW.time <> OLD.time OR NEW.kind <> OLD.kind
  OR NEW.ring IS NOT OLD.ring OR NEW.kid IS NOT OLD.kid OR NEW.sig_hash IS NOT OLD.sig_hash
  OR NEW.body <> '' OR OLD.kind <> 'sign' OR OLD.idx >= (SELECT pruned FROM log_tree)
BEGIN SELECT RAISE(ABORT, 'log_leaf is append-only'); END;
