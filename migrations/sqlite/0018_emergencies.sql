-- Stops of signing: what a custodian or a member on call signed to stop a ring, or all of them. Rows keep what was signed
-- and its place in the line that it shares with resumes. Whether a ring is stopped is in the log alone. Never edit this
-- file once it has landed.

INSERT INTO signature_purpose (word) VALUES ('stop');

CREATE TABLE emergency_stop (
    -- SHA-256 of the body.
    id        TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 64),
    -- `stop/RING`, or `stop/*`.
    subject   TEXT NOT NULL CHECK (subject LIKE 'stop/_%'),
    seq       INTEGER NOT NULL CHECK (seq >= 1),
    body      BLOB NOT NULL,
    signature TEXT NOT NULL,
    at        INTEGER NOT NULL,
    -- The leaf that tells of it.
    idx       INTEGER NOT NULL UNIQUE,
    UNIQUE (subject, seq)
) STRICT;

CREATE TRIGGER emergency_stop_no_update BEFORE UPDATE ON emergency_stop
BEGIN SELECT RAISE(ABORT, 'emergency_stop is append-only'); END;
CREATE TRIGGER emergency_stop_no_delete BEFORE DELETE ON emergency_stop
BEGIN SELECT RAISE(ABORT, 'emergency_stop is append-only'); END;
CREATE TRIGGER emergency_stop_no_replace BEFORE INSERT ON emergency_stop
WHEN EXISTS (SELECT 1 FROM emergency_stop WHERE id = NEW.id OR idx = NEW.idx
             OR (subject = NEW.subject AND seq = NEW.seq))
BEGIN SELECT RAISE(ABORT, 'emergency_stop is append-only'); END;

-- Behind the program's own check: a place in a line is a stop's or a resume's.
CREATE TRIGGER emergency_stop_place BEFORE INSERT ON emergency_stop
WHEN EXISTS (SELECT 1 FROM ceremony_line WHERE subject = NEW.subject AND seq >= NEW.seq AND done = 1)
BEGIN SELECT RAISE(ABORT, 'a resume has this place in the line'); END;

CREATE TRIGGER emergency_stop_changed AFTER INSERT ON emergency_stop
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;

-- What may keep a ring from signing: asked in the transaction of each signature.
CREATE INDEX log_leaf_emergency ON log_leaf (kind, idx) WHERE kind = 'emergency';
-- An emergency rotation is a revocation that says until when it has to be ratified.
CREATE INDEX log_leaf_unratified ON log_leaf (kind, idx)
    WHERE kind = 'key' AND json_extract(body, '$.until') IS NOT NULL;
