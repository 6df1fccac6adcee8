-- Where a signature stands in the log, by its hash. Hashes are random, so that each one written
-- with its leaf costs a page of its own; here they come many at once, in order, after the leaves
-- (src/store/index.rs). Until then the leaves themselves are looked through.

DROP INDEX log_leaf_sig_hash;

-- `prefix`: the first eight bytes of the hash. The leaf says whether the rest is the same.
CREATE TABLE log_signature (
    prefix BLOB NOT NULL CHECK (length(prefix) = 8),
    idx    INTEGER NOT NULL,
    PRIMARY KEY (prefix, idx)
) STRICT, WITHOUT ROWID;

-- One row. All signatures below `size` are in `log_signature`, and none from there on.
CREATE TABLE log_indexed (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL CHECK (size >= 0)
) STRICT;
INSERT INTO log_indexed (id, size) VALUES (1, 0);

CREATE TRIGGER log_signature_no_update BEFORE UPDATE ON log_signature
BEGIN SELECT RAISE(ABORT, 'log_signature is append-only'); END;
CREATE TRIGGER log_signature_no_delete BEFORE DELETE ON log_signature
BEGIN SELECT RAISE(ABORT, 'log_signature is append-only'); END;
CREATE TRIGGER log_indexed_no_delete BEFORE DELETE ON log_indexed
BEGIN SELECT RAISE(ABORT, 'log_indexed is never deleted'); END;
CREATE TRIGGER log_indexed_no_replace BEFORE INSERT ON log_indexed
BEGIN SELECT RAISE(ABORT, 'log_indexed has one row'); END;
CREATE TRIGGER log_indexed_grows BEFORE UPDATE ON log_indexed
WHEN NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.size > (SELECT size FROM log_head)
BEGIN SELECT RAISE(ABORT, 'log_indexed only grows'); END;
