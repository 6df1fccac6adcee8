-- The Merkle log over `log_leaf`. Tiles stand as files or objects; the database holds only what
-- has to be swapped under a condition: how far the tree goes, and which checkpoints were signed.
--
-- Grants beside those of 0001, for a service that does not own its tables:
--   GRANT UPDATE (size, root, clock, origin, holder, lease_until) ON log_tree TO chancery_service;
--   GRANT INSERT ON log_checkpoint TO chancery_service;
--   GRANT UPDATE (cosignatures) ON log_checkpoint TO chancery_service;
-- and for whoever prunes after retention, nobody else:
--   GRANT UPDATE (pruned) ON log_tree TO chancery_archivist;
--   GRANT INSERT, UPDATE (body) ON log_leaf TO chancery_archivist;
-- All of them together: deploy/postgres/roles.sql.

-- One row. `size` and `root` change together, by compare-and-swap, and never backwards. `clock` is
-- the latest time of any leaf below `size`: no leaf at or above `size` existed before it.
-- `pruned` is the first index whose body has to be kept.
CREATE TABLE log_tree (
    id          BIGINT PRIMARY KEY CHECK (id = 1),
    size        BIGINT NOT NULL CHECK (size >= 0),
    root        TEXT NOT NULL CHECK (length(root) = 64),
    clock       BIGINT NOT NULL,
    origin      TEXT NOT NULL,
    holder      TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    pruned      BIGINT NOT NULL CHECK (pruned >= 0)
);
-- The root of the empty tree is the hash of nothing (RFC 6962 section 2.1).
INSERT INTO log_tree (id, size, root, clock, origin, holder, lease_until, pruned) VALUES
    (1, 0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 0, '', '', 0, 0);

-- Every checkpoint that was ever signed. `note` is the text with the log's own signature;
-- `cosignatures` are the witnesses' lines, added when they come.
CREATE TABLE log_checkpoint (
    size         BIGINT PRIMARY KEY CHECK (size >= 0),
    root         TEXT NOT NULL CHECK (length(root) = 64),
    time         BIGINT NOT NULL,
    clock        BIGINT NOT NULL,
    kid          TEXT NOT NULL REFERENCES signing_key (kid),
    note         TEXT NOT NULL,
    cosignatures TEXT NOT NULL
);

CREATE TRIGGER log_tree_no_delete BEFORE INSERT OR DELETE OR TRUNCATE ON log_tree
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_tree has one row');
CREATE FUNCTION chancery_tree_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.clock < OLD.clock OR NEW.pruned < OLD.pruned
        OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
        OR (OLD.origin <> '' AND NEW.origin <> OLD.origin)
        OR NEW.size > (SELECT size FROM log_head)
        OR NEW.pruned > NEW.size THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'log_tree only grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_tree_grows BEFORE UPDATE ON log_tree
    FOR EACH ROW EXECUTE FUNCTION chancery_tree_grows();

CREATE TRIGGER log_checkpoint_append_only BEFORE DELETE OR TRUNCATE ON log_checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_checkpoint is append-only');
CREATE FUNCTION chancery_checkpoint_swapped() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM log_tree WHERE size = NEW.size AND root = NEW.root) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'a checkpoint is of the tree that was swapped in';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_checkpoint_swapped BEFORE INSERT ON log_checkpoint
    FOR EACH ROW EXECUTE FUNCTION chancery_checkpoint_swapped();
CREATE TRIGGER log_checkpoint_cosigned BEFORE UPDATE ON log_checkpoint FOR EACH ROW
WHEN (NEW.size <> OLD.size OR NEW.root <> OLD.root OR NEW.time <> OLD.time
  OR NEW.clock <> OLD.clock OR NEW.kid <> OLD.kid OR NEW.note <> OLD.note
  OR left(NEW.cosignatures, length(OLD.cosignatures)) <> OLD.cosignatures)
EXECUTE FUNCTION chancery_refuse('a checkpoint only gains cosignatures');

-- After retention the body of a signature may go, nothing else of a leaf, and of an act nothing.
DROP TRIGGER log_leaf_append_only ON log_leaf;
CREATE TRIGGER log_leaf_append_only BEFORE DELETE OR TRUNCATE ON log_leaf
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_leaf is append-only');
CREATE FUNCTION chancery_leaf_pruned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.idx <> OLD.idx OR NEW.time <> OLD.time OR NEW.kind <> OLD.kind
        OR NEW.ring IS DISTINCT FROM OLD.ring OR NEW.kid IS DISTINCT FROM OLD.kid
        OR NEW.sig_hash IS DISTINCT FROM OLD.sig_hash
        OR NEW.body <> '' OR OLD.kind <> 'sign' OR OLD.idx >= (SELECT pruned FROM log_tree) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'log_leaf is append-only';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_leaf_no_update BEFORE UPDATE ON log_leaf
    FOR EACH ROW EXECUTE FUNCTION chancery_leaf_pruned();
