-- Ceremonies are found by what they are: by state, operation, proposer and subject, each in the order of a list, so that a
-- filter that nothing fits reads nothing. It finds; what a ceremony says is in its request alone. Never edit this file
-- once it has landed.

-- Those that have ended, and those that ended in one way. Each in other words than what is under way, so that a planner
-- takes neither for another.
CREATE INDEX ceremony_past ON ceremony (created_at, id)
    WHERE state NOT IN ('proposed', 'approved', 'executing', 'executed');
CREATE INDEX ceremony_of_end ON ceremony (state, created_at, id)
    WHERE state IN ('closed', 'rejected', 'expired', 'cancelled', 'failed');
CREATE INDEX ceremony_of_operation ON ceremony (operation, created_at, id);

-- Rows of before migration 13 have no proposer yet. One whose request cannot be read keeps none.
DROP TRIGGER ceremony_proposer_immutable;
UPDATE ceremony SET proposer = CASE WHEN json_valid(CAST(request AS TEXT))
        THEN json_extract(CAST(request AS TEXT), '$.proposer') END
    WHERE proposer IS NULL;
CREATE TRIGGER ceremony_proposer_immutable BEFORE UPDATE ON ceremony
WHEN NEW.proposer IS NOT OLD.proposer OR NEW.filed_at IS NOT OLD.filed_at
BEGIN SELECT RAISE(ABORT, 'ceremony is immutable but for its state and results'); END;
CREATE INDEX ceremony_of_member ON ceremony (proposer, created_at, id) WHERE proposer IS NOT NULL;

-- As the ceremony has it, whichever build files it.
ALTER TABLE ceremony_line ADD COLUMN created_at INTEGER;
UPDATE ceremony_line SET created_at = (SELECT created_at FROM ceremony WHERE id = ceremony_line.ceremony);
CREATE INDEX ceremony_line_of_subject ON ceremony_line (subject, created_at, ceremony);
CREATE TRIGGER ceremony_line_created AFTER INSERT ON ceremony_line
BEGIN
    UPDATE ceremony_line SET created_at = (SELECT created_at FROM ceremony WHERE id = NEW.ceremony)
    WHERE ceremony = NEW.ceremony AND subject = NEW.subject AND created_at IS NULL;
END;
CREATE TRIGGER ceremony_line_created_immutable BEFORE UPDATE ON ceremony_line
WHEN OLD.created_at IS NOT NULL AND NEW.created_at IS NOT OLD.created_at
BEGIN SELECT RAISE(ABORT, 'ceremony_line is immutable but for being done'); END;
