-- How much each key has signed, counted behind the leaves and in bulk, so that the blast radius of a key
-- costs no more for what it ever signed. Never edit this file once it has landed.

-- By day of UTC.
CREATE TABLE log_key_day (
    kid         TEXT NOT NULL,
    day         INTEGER NOT NULL,
    signatures  INTEGER NOT NULL CHECK (signatures > 0),
    first_index INTEGER NOT NULL CHECK (first_index >= 0),
    last_index  INTEGER NOT NULL CHECK (last_index >= first_index),
    first_time  INTEGER NOT NULL,
    last_time   INTEGER NOT NULL CHECK (last_time >= first_time),
    PRIMARY KEY (kid, day)
) STRICT, WITHOUT ROWID;

-- The same by day and by block of 4 096 indexes: of the day that a question begins in, the blocks after
-- its instant are added, and the few that it falls into are counted leaf by leaf.
CREATE TABLE log_key_block (
    kid         TEXT NOT NULL,
    day         INTEGER NOT NULL,
    block       INTEGER NOT NULL CHECK (block >= 0),
    signatures  INTEGER NOT NULL CHECK (signatures > 0),
    first_index INTEGER NOT NULL CHECK (first_index >= 0),
    last_index  INTEGER NOT NULL CHECK (last_index >= first_index),
    first_time  INTEGER NOT NULL,
    last_time   INTEGER NOT NULL CHECK (last_time >= first_time),
    PRIMARY KEY (kid, day, block)
) STRICT, WITHOUT ROWID;

-- One row. All signatures below `size` are counted, and none from there on.
CREATE TABLE log_counted (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL CHECK (size >= 0)
) STRICT;
INSERT INTO log_counted (id, size) VALUES (1, 0);

CREATE TRIGGER log_key_day_no_delete BEFORE DELETE ON log_key_day
BEGIN SELECT RAISE(ABORT, 'log_key_day is never deleted'); END;
CREATE TRIGGER log_key_day_grows BEFORE UPDATE ON log_key_day
WHEN NEW.kid <> OLD.kid OR NEW.day <> OLD.day OR NEW.signatures <= OLD.signatures
    OR NEW.first_index <> OLD.first_index OR NEW.last_index <= OLD.last_index
    OR NEW.first_time > OLD.first_time OR NEW.last_time < OLD.last_time
BEGIN SELECT RAISE(ABORT, 'log_key_day only grows'); END;
CREATE TRIGGER log_key_block_no_delete BEFORE DELETE ON log_key_block
BEGIN SELECT RAISE(ABORT, 'log_key_block is never deleted'); END;
CREATE TRIGGER log_key_block_grows BEFORE UPDATE ON log_key_block
WHEN NEW.kid <> OLD.kid OR NEW.day <> OLD.day OR NEW.block <> OLD.block
    OR NEW.signatures <= OLD.signatures
    OR NEW.first_index <> OLD.first_index OR NEW.last_index <= OLD.last_index
    OR NEW.first_time > OLD.first_time OR NEW.last_time < OLD.last_time
BEGIN SELECT RAISE(ABORT, 'log_key_block only grows'); END;
CREATE TRIGGER log_counted_no_delete BEFORE DELETE ON log_counted
BEGIN SELECT RAISE(ABORT, 'log_counted is never deleted'); END;
CREATE TRIGGER log_counted_no_replace BEFORE INSERT ON log_counted
BEGIN SELECT RAISE(ABORT, 'log_counted has one row'); END;
CREATE TRIGGER log_counted_grows BEFORE UPDATE ON log_counted
WHEN NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.size > (SELECT size FROM log_head)
BEGIN SELECT RAISE(ABORT, 'log_counted only grows'); END;
