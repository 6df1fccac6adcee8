-- How often each key signed in each hour, counted behind the leaves with the days (migration 6), and keys that have left the
-- key sets at the end of their grace (ADR 67). Never edit this file once it has landed.

-- By hour of UTC, for ninety days; `log_key_day` keeps the sums of each day.
CREATE TABLE log_key_hour (
    kid        TEXT NOT NULL,
    hour       INTEGER NOT NULL,
    signatures INTEGER NOT NULL CHECK (signatures > 0),
    PRIMARY KEY (kid, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX log_key_hour_old ON log_key_hour (hour, kid);

-- One row. Signatures below `since` were counted before there were hours.
CREATE TABLE log_hours (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    since INTEGER NOT NULL CHECK (since >= 0)
) STRICT;
INSERT INTO log_hours (id, since) SELECT 1, size FROM log_counted;

CREATE TRIGGER log_key_hour_grows BEFORE UPDATE ON log_key_hour
WHEN NEW.kid <> OLD.kid OR NEW.hour <> OLD.hour OR NEW.signatures <= OLD.signatures
BEGIN SELECT RAISE(ABORT, 'log_key_hour only grows'); END;
CREATE TRIGGER log_key_hour_kept BEFORE DELETE ON log_key_hour
WHEN OLD.hour > (SELECT clock FROM log_head) / 3600000 - 2160
BEGIN SELECT RAISE(ABORT, 'log_key_hour is kept for ninety days'); END;
CREATE TRIGGER log_hours_no_update BEFORE UPDATE ON log_hours
BEGIN SELECT RAISE(ABORT, 'log_hours is immutable'); END;
CREATE TRIGGER log_hours_no_delete BEFORE DELETE ON log_hours
BEGIN SELECT RAISE(ABORT, 'log_hours is immutable'); END;
CREATE TRIGGER log_hours_no_replace BEFORE INSERT ON log_hours
BEGIN SELECT RAISE(ABORT, 'log_hours is immutable'); END;

-- When it left the key sets: once, after its end, for good.
ALTER TABLE signing_key ADD COLUMN unpublished_at INTEGER;
CREATE INDEX signing_key_ended_published ON signing_key (ring, retired_at, number)
    WHERE retired_at IS NOT NULL AND revoked_at IS NULL AND unpublished_at IS NULL;
CREATE TRIGGER signing_key_begins_published BEFORE INSERT ON signing_key
WHEN NEW.unpublished_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'signing_key begins in the key sets'); END;
CREATE TRIGGER signing_key_unpublished BEFORE UPDATE ON signing_key
WHEN NEW.unpublished_at IS NOT OLD.unpublished_at AND (OLD.unpublished_at IS NOT NULL
    OR OLD.state NOT IN ('retired', 'archived') OR NEW.unpublished_at < OLD.retired_at)
BEGIN SELECT RAISE(ABORT, 'a key leaves the key sets once, after its end'); END;
-- Of those that are retired or archived so many have left the sets.
CREATE TRIGGER key_count_unpublished AFTER UPDATE OF unpublished_at ON signing_key
WHEN OLD.unpublished_at IS NULL AND NEW.unpublished_at IS NOT NULL
BEGIN
    INSERT INTO key_count (ring, state, keys) VALUES (NEW.ring, 'unpublished', 1)
        ON CONFLICT (ring, state) DO UPDATE SET keys = keys + 1;
END;
CREATE TRIGGER key_count_unpublished_revoked AFTER UPDATE OF state ON signing_key
WHEN NEW.state = 'revoked' AND OLD.state <> 'revoked' AND NEW.unpublished_at IS NOT NULL
BEGIN
    UPDATE key_count SET keys = keys - 1 WHERE ring = NEW.ring AND state = 'unpublished' AND keys > 0;
END;
