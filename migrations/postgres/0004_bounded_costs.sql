-- What is asked of a table that grows is found by an index, and where a clean-up ended is kept, so that
-- no statement costs more for what was ever written. Never edit this file once it has landed.

-- Acts on keys, in ceremonies and on the log; refusals are many and not among them.
CREATE INDEX log_leaf_key_act ON log_leaf (idx) WHERE kind IN ('key', 'ceremony', 'log');

-- Acts on a device under way.
CREATE INDEX key_object_under_way ON key_object (device) WHERE state IN ('intended', 'destroying');

-- The number of a ring's next key.
CREATE INDEX key_object_ring ON key_object (ring, number);

-- Ceremonies that a replica looks for at its start.
CREATE INDEX ceremony_open ON ceremony (state) WHERE state IN ('executing', 'executed');

-- Below this index no signature has its body any more. It follows `pruned`, which says what may go.
ALTER TABLE log_tree ADD COLUMN emptied BIGINT NOT NULL DEFAULT 0 CHECK (emptied >= 0);
CREATE TRIGGER log_tree_emptied BEFORE UPDATE OF emptied ON log_tree FOR EACH ROW
WHEN (NEW.emptied < OLD.emptied OR NEW.emptied > NEW.pruned)
EXECUTE FUNCTION chancery_refuse('log_tree only grows');
