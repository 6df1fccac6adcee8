-- The index of signatures in parts, each of 2 097 152 leaves: hashes are random, so what is added touches every page of
-- the part that is being filled, and no page of those before it. So it costs the same however long the log is.
-- Never edit this file once it has landed.

CREATE TABLE log_signature_part (
    part   INTEGER NOT NULL,
    prefix BLOB NOT NULL CHECK (length(prefix) = 8),
    idx    INTEGER NOT NULL CHECK (idx / 2097152 = part),
    PRIMARY KEY (part, prefix, idx)
) STRICT, WITHOUT ROWID;
INSERT INTO log_signature_part (part, prefix, idx)
    SELECT idx / 2097152, prefix, idx FROM log_signature ORDER BY 1, 2, 3;
DROP TABLE log_signature;

CREATE TRIGGER log_signature_part_no_update BEFORE UPDATE ON log_signature_part
BEGIN SELECT RAISE(ABORT, 'log_signature_part is append-only'); END;
CREATE TRIGGER log_signature_part_no_delete BEFORE DELETE ON log_signature_part
BEGIN SELECT RAISE(ABORT, 'log_signature_part is append-only'); END;
