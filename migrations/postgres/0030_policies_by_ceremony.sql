-- Ceremonies on the rotation policies of critical key types. One whose policy was overtaken by another version, or that was
-- not accepted in time, is given up, although it was carried out: it takes effect only when it is accepted. Never edit this
-- file once it has landed.

DROP TRIGGER ceremony_transition ON ceremony;
CREATE TRIGGER ceremony_transition BEFORE UPDATE ON ceremony FOR EACH ROW
WHEN (NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'draft' THEN NEW.state IN ('proposed', 'expired', 'cancelled')
    WHEN 'proposed' THEN NEW.state IN ('approved', 'rejected', 'expired', 'cancelled')
    WHEN 'approved' THEN NEW.state IN ('rejected', 'expired', 'cancelled', 'failed')
        OR (NEW.state = 'executing' AND OLD.operation IN ('generate', 'destroy'))
        OR (NEW.state = 'executed' AND OLD.operation NOT IN ('generate', 'destroy'))
    WHEN 'executing' THEN NEW.state IN ('executed', 'failed')
    WHEN 'executed' THEN NEW.state = 'closed' OR (OLD.operation = 'generate'
        AND NEW.state IN ('rejected', 'expired', 'cancelled', 'failed'))
        OR (OLD.operation IN ('ratification', 'rotation-policy') AND NEW.state = 'failed')
    ELSE FALSE END)
EXECUTE FUNCTION chancery_refuse('illegal transition of ceremony');

-- Versions still follow each other and none is replaced. But where rows were taken away, what a quorum decides next comes
-- behind a gap. Each version has a leaf of its own, so there are never more versions than leaves: nobody uses the numbers up
-- before the log has as many. And it is a leaf that is there or is written next: a row that took the place of a later one
-- would keep from deciding whoever comes to that place. (The head alone could be raised and lowered again.)
CREATE OR REPLACE FUNCTION chancery_rotation_policy_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version <= (SELECT COALESCE(MAX(version), 1) FROM rotation_policy WHERE key_type = NEW.key_type)
        OR NEW.version - 2 > NEW.idx
        OR NEW.idx >= (SELECT size FROM log_head)
        OR NEW.idx > (SELECT COALESCE(MAX(idx) + 1, 0) FROM log_leaf) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'rotation_policy is append-only';
    END IF;
    RETURN NEW;
END $$;

-- The leaves by which such policies take effect, by the policy that they name.
CREATE INDEX log_leaf_decision ON log_leaf (((body::jsonb) ->> 'asset'), idx)
    WHERE kind = 'ceremony' AND ((body::jsonb) ->> 'asset') IS NOT NULL;
