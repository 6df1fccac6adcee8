-- Who proposed, and when the service took it, so that the proposals of a member are counted at the same cost however many
-- ceremonies there have been. It limits and finds; whom a ceremony names is in its request alone. Rows of before have
-- neither. Never edit this file once it has landed.

ALTER TABLE ceremony ADD COLUMN proposer TEXT;
ALTER TABLE ceremony ADD COLUMN filed_at INTEGER;

-- What a member proposed within a day.
CREATE INDEX ceremony_of_proposer ON ceremony (proposer, filed_at) WHERE proposer IS NOT NULL;
-- What a member has open.
CREATE INDEX ceremony_under_way_of_proposer ON ceremony (proposer)
    WHERE state IN ('proposed', 'approved', 'executing', 'executed');

CREATE TRIGGER ceremony_proposer_immutable BEFORE UPDATE ON ceremony
WHEN NEW.proposer IS NOT OLD.proposer OR NEW.filed_at IS NOT OLD.filed_at
BEGIN SELECT RAISE(ABORT, 'ceremony is immutable but for its state and results'); END;
