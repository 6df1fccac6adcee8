-- Archived keys and past ceremonies are read when somebody asks for them, so no start and no answer costs
-- more for how many there are. Never edit this file once it has landed.

-- Keys that sign or are about to: what every replica holds in memory.
CREATE INDEX signing_key_in_use ON signing_key (ring, number) WHERE state IN ('prepared', 'active');
-- Keys that have ended, by when: the newest of them are in a ring's key set.
CREATE INDEX signing_key_ended ON signing_key (ring, retired_at, number) WHERE retired_at IS NOT NULL;
-- Those that nobody revoked: however many were, the set of today does not look at them.
CREATE INDEX signing_key_ended_well ON signing_key (ring, retired_at, number) WHERE retired_at IS NOT NULL AND revoked_at IS NULL;
-- Keys by how long they were of use (under 1, 8, 64 ... hours; -1 has not ended): those that were of use at
-- an instant began within that time before it.
CREATE INDEX signing_key_life ON signing_key (ring, (
        CASE WHEN (CASE WHEN revoked_at IS NULL OR retired_at < revoked_at THEN retired_at ELSE revoked_at END) IS NULL THEN -1
        WHEN (CASE WHEN revoked_at IS NULL OR retired_at < revoked_at THEN retired_at ELSE revoked_at END) - published_at < 3600000 THEN 0
        WHEN (CASE WHEN revoked_at IS NULL OR retired_at < revoked_at THEN retired_at ELSE revoked_at END) - published_at < 28800000 THEN 1
        WHEN (CASE WHEN revoked_at IS NULL OR retired_at < revoked_at THEN retired_at ELSE revoked_at END) - published_at < 230400000 THEN 2
        WHEN (CASE WHEN revoked_at IS NULL OR retired_at < revoked_at THEN retired_at ELSE revoked_at END) - published_at < 1843200000 THEN 3
        WHEN (CASE WHEN revoked_at IS NULL OR retired_at < revoked_at THEN retired_at ELSE revoked_at END) - published_at < 14745600000 THEN 4
        WHEN (CASE WHEN revoked_at IS NULL OR retired_at < revoked_at THEN retired_at ELSE revoked_at END) - published_at < 117964800000 THEN 5
        WHEN (CASE WHEN revoked_at IS NULL OR retired_at < revoked_at THEN retired_at ELSE revoked_at END) - published_at < 943718400000 THEN 6
        ELSE 7 END
    ), published_at);
-- The latest ceremonies.
CREATE INDEX ceremony_created ON ceremony (created_at, id);

-- How many keys of a ring stand in each state. Triggers write it, whichever program makes the change.
CREATE TABLE key_count (
    ring  TEXT NOT NULL,
    state TEXT NOT NULL,
    keys  INTEGER NOT NULL CHECK (keys >= 0),
    PRIMARY KEY (ring, state)
) STRICT, WITHOUT ROWID;
INSERT INTO key_count (ring, state, keys) SELECT ring, state, COUNT(*) FROM signing_key GROUP BY ring, state;
CREATE TRIGGER key_count_insert AFTER INSERT ON signing_key
BEGIN
    INSERT INTO key_count (ring, state, keys) VALUES (NEW.ring, NEW.state, 1)
        ON CONFLICT (ring, state) DO UPDATE SET keys = keys + 1;
END;
CREATE TRIGGER key_count_update AFTER UPDATE OF state ON signing_key WHEN NEW.state <> OLD.state
BEGIN
    UPDATE key_count SET keys = keys - 1 WHERE ring = OLD.ring AND state = OLD.state AND keys > 0;
    INSERT INTO key_count (ring, state, keys) VALUES (NEW.ring, NEW.state, 1)
        ON CONFLICT (ring, state) DO UPDATE SET keys = keys + 1;
END;

-- Where the log tells of each key, written behind the leaves and in pieces, so that this migration does not
-- read the log. `subject` is a kid, or 'log' for what was done to the log; `act` is 'accepted', 'revoked' or ''.
CREATE TABLE log_key_act (
    subject TEXT NOT NULL,
    idx     INTEGER NOT NULL CHECK (idx >= 0),
    act     TEXT NOT NULL,
    PRIMARY KEY (subject, idx)
) STRICT, WITHOUT ROWID;

-- Keys in the order in which the log accepted them.
CREATE TABLE log_key_accepted (
    place INTEGER PRIMARY KEY CHECK (place >= 0),
    idx   INTEGER NOT NULL UNIQUE,
    kid   TEXT NOT NULL UNIQUE
) STRICT;

-- One row. All acts below `size` are in the two tables, and none from there on; `accepted` is the next place.
CREATE TABLE log_acted (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    size     INTEGER NOT NULL CHECK (size >= 0),
    accepted INTEGER NOT NULL CHECK (accepted >= 0)
) STRICT;
INSERT INTO log_acted (id, size, accepted) VALUES (1, 0, 0);

CREATE TRIGGER log_key_act_no_update BEFORE UPDATE ON log_key_act
BEGIN SELECT RAISE(ABORT, 'log_key_act is append-only'); END;
CREATE TRIGGER log_key_act_no_delete BEFORE DELETE ON log_key_act
BEGIN SELECT RAISE(ABORT, 'log_key_act is append-only'); END;
CREATE TRIGGER log_key_accepted_no_update BEFORE UPDATE ON log_key_accepted
BEGIN SELECT RAISE(ABORT, 'log_key_accepted is append-only'); END;
CREATE TRIGGER log_key_accepted_no_delete BEFORE DELETE ON log_key_accepted
BEGIN SELECT RAISE(ABORT, 'log_key_accepted is append-only'); END;
CREATE TRIGGER log_key_act_no_replace BEFORE INSERT ON log_key_act
WHEN EXISTS (SELECT 1 FROM log_key_act WHERE subject = NEW.subject AND idx = NEW.idx)
BEGIN SELECT RAISE(ABORT, 'log_key_act is append-only'); END;
CREATE TRIGGER log_key_accepted_no_replace BEFORE INSERT ON log_key_accepted
WHEN EXISTS (SELECT 1 FROM log_key_accepted WHERE place = NEW.place OR idx = NEW.idx OR kid = NEW.kid)
BEGIN SELECT RAISE(ABORT, 'log_key_accepted is append-only'); END;
CREATE TRIGGER log_acted_no_delete BEFORE DELETE ON log_acted
BEGIN SELECT RAISE(ABORT, 'log_acted is never deleted'); END;
CREATE TRIGGER log_acted_no_replace BEFORE INSERT ON log_acted
BEGIN SELECT RAISE(ABORT, 'log_acted has one row'); END;
CREATE TRIGGER log_acted_grows BEFORE UPDATE ON log_acted
WHEN NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.accepted < OLD.accepted
    OR NEW.size > (SELECT size FROM log_head)
BEGIN SELECT RAISE(ABORT, 'log_acted only grows'); END;
