-- Standing orders: keys of a ring that custodians approved in advance. Rows find and limit; what an order permits is in
-- its transcript alone, and whether it was withdrawn is in the log. Never edit this file once it has landed.

CREATE TABLE standing_order (
    -- The nonce of the request that asked for it.
    id           TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    ceremony     TEXT NOT NULL UNIQUE REFERENCES ceremony (id),
    ring         TEXT NOT NULL REFERENCES ring (name),
    uses         INTEGER NOT NULL CHECK (uses BETWEEN 1 AND 366),
    not_before   INTEGER NOT NULL,
    not_after    INTEGER NOT NULL CHECK (not_after > not_before),
    accepted_at  INTEGER NOT NULL,
    -- What a custodian signed to withdraw it, and the leaf that tells of it.
    withdrawn_at INTEGER,
    withdrawal   BLOB,
    signature    TEXT,
    idx          INTEGER UNIQUE,
    CHECK ((withdrawn_at IS NULL) = (withdrawal IS NULL)),
    CHECK ((withdrawn_at IS NULL) = (signature IS NULL)),
    CHECK ((withdrawn_at IS NULL) = (idx IS NULL))
) STRICT;
CREATE INDEX standing_order_accepted ON standing_order (accepted_at, id);

CREATE TRIGGER standing_order_begins BEFORE INSERT ON standing_order
WHEN NEW.withdrawn_at IS NOT NULL OR EXISTS (SELECT 1 FROM standing_order WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'standing_order begins as not withdrawn, once'); END;
CREATE TRIGGER standing_order_no_delete BEFORE DELETE ON standing_order
BEGIN SELECT RAISE(ABORT, 'standing_order is never deleted'); END;
CREATE TRIGGER standing_order_immutable BEFORE UPDATE ON standing_order
WHEN NEW.id <> OLD.id OR NEW.ceremony <> OLD.ceremony OR NEW.ring <> OLD.ring OR NEW.uses <> OLD.uses
  OR NEW.not_before <> OLD.not_before OR NEW.not_after <> OLD.not_after
  OR NEW.accepted_at <> OLD.accepted_at OR OLD.withdrawn_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'standing_order is immutable but for its withdrawal, once'); END;

-- Behind the program's own check, which says why.
CREATE TRIGGER order_use_permitted BEFORE INSERT ON order_use
WHEN EXISTS (SELECT 1 FROM standing_order WHERE id = NEW.order_id
             AND (withdrawn_at IS NOT NULL OR NEW.use_number > uses))
BEGIN SELECT RAISE(ABORT, 'the standing order is withdrawn or used up'); END;

CREATE TRIGGER standing_order_changed_by_insert AFTER INSERT ON standing_order
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;
CREATE TRIGGER standing_order_changed_by_update AFTER UPDATE ON standing_order
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;

-- What the log tells of one order: its uses and its withdrawal.
CREATE INDEX log_leaf_order ON log_leaf (json_extract(body, '$.ref'), idx) WHERE kind = 'order';
