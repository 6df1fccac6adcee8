-- A log that lost published leaves for good begins anew under another origin. Never edit this file once it has landed.

-- As before, but for the origin: it changes in the transaction of the leaf that tells of it, which follows the leaves that
-- are taken over and rests on a ceremony that is closed.
CREATE OR REPLACE FUNCTION chancery_tree_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.clock < OLD.clock OR NEW.pruned < OLD.pruned
        OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
        OR NEW.size > (SELECT size FROM log_head)
        OR NEW.pruned > NEW.size THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'log_tree only grows';
    END IF;
    -- By itself, so that nobody else needs to read what it reads.
    IF OLD.origin <> '' AND NEW.origin <> OLD.origin THEN
        IF NOT EXISTS (
            SELECT 1 FROM log_leaf l JOIN ceremony c ON c.id = l.body::json ->> 'ref'
            WHERE l.idx = NEW.size AND NEW.size + 1 = (SELECT size FROM log_head) AND l.kind = 'log'
              AND l.body::json ->> 'action' = 'new-origin'
              AND l.body::json ->> 'origin' = NEW.origin
              AND l.body::json ->> 'first' = NEW.size::text
              AND c.operation = 'new-origin' AND c.state = 'closed') THEN
            RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
                MESSAGE = 'log_tree only grows';
        END IF;
    END IF;
    RETURN NEW;
END $$;
