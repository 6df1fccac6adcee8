-- Of what people are told, each found by an index: withdrawals of standing orders in the order of the log, and rotations that
-- do not go on by themselves. Never edit this file once it has landed.

CREATE INDEX log_leaf_withdrawal ON log_leaf (idx) WHERE kind = 'order' AND substr(body, 1, 20) = '{"action":"withdraw"';

-- When a rotation that was there already was declared an emergency; one that was made by a declaration has none.
ALTER TABLE rotation_event ADD COLUMN declared_at BIGINT;
-- How often a person let a step be tried again: a failure after that is told again.
ALTER TABLE rotation_event ADD COLUMN retries BIGINT NOT NULL DEFAULT 0;

-- Rotations that wait for people or for a probe, or failed for good; which words those are, `rotation_told.rs` repeats.
CREATE INDEX rotation_event_needs_people ON rotation_event (due, id)
    WHERE ended_at IS NULL AND (state = 'failed' OR waits IN ('approval', 'order-used-up', 'order-ended', 'order-paused',
        'held', 'person', 'propagation', 'probe-contradicts', 'old-still-used'));
CREATE INDEX rotation_event_unpromoted ON rotation_event (due, id) WHERE ended_at IS NULL AND promoted_at IS NULL;
CREATE INDEX rotation_event_declared ON rotation_event (due, id) WHERE ended_at IS NULL AND cause = 'event';

-- Whoever declares an emergency answers for a rotation that was there already; an emergency stays one.
DROP TRIGGER rotation_event_immutable ON rotation_event;
CREATE TRIGGER rotation_event_immutable BEFORE UPDATE ON rotation_event FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.asset <> OLD.asset OR NEW.created_at <> OLD.created_at
    OR (NEW.requested_by <> OLD.requested_by AND NOT (OLD.cause <> 'event' AND NEW.cause = 'event'))
    OR (OLD.cause = 'event' AND NEW.cause <> 'event') OR NEW.lease_epoch < OLD.lease_epoch)
EXECUTE FUNCTION chancery_refuse('what a rotation was made with is immutable');
