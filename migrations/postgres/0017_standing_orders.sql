-- Standing orders: keys of a ring that custodians approved in advance. Rows find and limit; what an order permits is in
-- its transcript alone, and whether it was withdrawn is in the log. Never edit this file once it has landed.

CREATE TABLE standing_order (
    -- The nonce of the request that asked for it.
    id           TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    ceremony     TEXT NOT NULL UNIQUE REFERENCES ceremony (id),
    ring         TEXT NOT NULL REFERENCES ring (name),
    uses         BIGINT NOT NULL CHECK (uses BETWEEN 1 AND 366),
    not_before   BIGINT NOT NULL,
    not_after    BIGINT NOT NULL CHECK (not_after > not_before),
    accepted_at  BIGINT NOT NULL,
    -- What a custodian signed to withdraw it, and the leaf that tells of it.
    withdrawn_at BIGINT,
    withdrawal   BYTEA,
    signature    TEXT,
    idx          BIGINT UNIQUE,
    CHECK ((withdrawn_at IS NULL) = (withdrawal IS NULL)),
    CHECK ((withdrawn_at IS NULL) = (signature IS NULL)),
    CHECK ((withdrawn_at IS NULL) = (idx IS NULL))
);
CREATE INDEX standing_order_accepted ON standing_order (accepted_at, id);

CREATE TRIGGER standing_order_begins BEFORE INSERT ON standing_order FOR EACH ROW
WHEN (NEW.withdrawn_at IS NOT NULL)
EXECUTE FUNCTION chancery_refuse('standing_order begins as not withdrawn, once');
CREATE TRIGGER standing_order_no_delete BEFORE DELETE OR TRUNCATE ON standing_order
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('standing_order is never deleted');
CREATE TRIGGER standing_order_immutable BEFORE UPDATE ON standing_order FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.ceremony <> OLD.ceremony OR NEW.ring <> OLD.ring OR NEW.uses <> OLD.uses
  OR NEW.not_before <> OLD.not_before OR NEW.not_after <> OLD.not_after
  OR NEW.accepted_at <> OLD.accepted_at OR OLD.withdrawn_at IS NOT NULL)
EXECUTE FUNCTION chancery_refuse('standing_order is immutable but for its withdrawal, once');

-- Behind the program's own check, which says why.
CREATE FUNCTION chancery_order_use_permitted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM standing_order WHERE id = NEW.order_id
               AND (withdrawn_at IS NOT NULL OR NEW.use_number > uses)) THEN
        RAISE EXCEPTION 'the standing order is withdrawn or used up' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER order_use_permitted BEFORE INSERT ON order_use
    FOR EACH ROW EXECUTE FUNCTION chancery_order_use_permitted();

CREATE TRIGGER standing_order_changed AFTER INSERT OR UPDATE ON standing_order
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('ceremonies');

-- What the log tells of one order: its uses and its withdrawal.
CREATE INDEX log_leaf_order ON log_leaf (((body::jsonb) ->> 'ref'), idx) WHERE kind = 'order';
