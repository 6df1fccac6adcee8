-- Emergencies cost the same however many there were: what keeps a ring from signing is found from its newest stop and its
-- newest emergency rotation on. And a ratification that came too late ends. Never edit this file once it has landed.

-- Of each ring, the empty one being all rings: stops, what ends them, and rotations that have to be ratified.
CREATE INDEX log_leaf_stop ON log_leaf (COALESCE(json_extract(body, '$.ring'), ''), idx)
    WHERE kind = 'emergency' AND substr(body, 1, 17) = '{"action":"stop",';
CREATE INDEX log_leaf_stop_end ON log_leaf (COALESCE(json_extract(body, '$.ring'), ''), idx)
    WHERE kind = 'emergency' AND substr(body, 1, 17) <> '{"action":"stop",';
CREATE INDEX log_leaf_rotation ON log_leaf (COALESCE(json_extract(body, '$.ring'), ''), idx)
    WHERE kind = 'key' AND json_extract(body, '$.until') IS NOT NULL;

-- Passkeys that may be copied: of them people are told.
CREATE INDEX log_leaf_passkey ON log_leaf (idx)
    WHERE kind = 'refusal' AND substr(body, 1, 26) = '{"action":"cloned-passkey"';

-- What was done keeps its place; a key that nobody accepts gives it back, and so does a ratification that nobody may
-- accept any more.
DROP TRIGGER ceremony_transition;
CREATE TRIGGER ceremony_transition BEFORE UPDATE ON ceremony
WHEN NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'draft' THEN NEW.state IN ('proposed', 'expired', 'cancelled')
    WHEN 'proposed' THEN NEW.state IN ('approved', 'rejected', 'expired', 'cancelled')
    WHEN 'approved' THEN NEW.state IN ('rejected', 'expired', 'cancelled', 'failed')
        OR (NEW.state = 'executing' AND OLD.operation IN ('generate', 'destroy'))
        OR (NEW.state = 'executed' AND OLD.operation NOT IN ('generate', 'destroy'))
    WHEN 'executing' THEN NEW.state IN ('executed', 'failed')
    WHEN 'executed' THEN NEW.state = 'closed' OR (OLD.operation = 'generate'
        AND NEW.state IN ('rejected', 'expired', 'cancelled', 'failed'))
        OR (OLD.operation = 'ratification' AND NEW.state = 'failed')
    ELSE 0 END
BEGIN SELECT RAISE(ABORT, 'illegal transition of ceremony'); END;
