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
CREATE FUNCTION chancery_proposer_of(request BYTEA) RETURNS TEXT LANGUAGE plpgsql AS $$
BEGIN
    RETURN convert_from(request, 'UTF8')::json ->> 'proposer';
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;
DROP TRIGGER ceremony_proposer_immutable ON ceremony;
UPDATE ceremony SET proposer = chancery_proposer_of(request)
    WHERE proposer IS NULL AND chancery_proposer_of(request) IS NOT NULL;
CREATE TRIGGER ceremony_proposer_immutable BEFORE UPDATE ON ceremony
    FOR EACH ROW EXECUTE FUNCTION chancery_ceremony_proposer();
DROP FUNCTION chancery_proposer_of(BYTEA);
CREATE INDEX ceremony_of_member ON ceremony (proposer, created_at, id) WHERE proposer IS NOT NULL;

-- As the ceremony has it, whichever build files it.
ALTER TABLE ceremony_line ADD COLUMN created_at BIGINT;
UPDATE ceremony_line SET created_at = ceremony.created_at FROM ceremony WHERE ceremony.id = ceremony_line.ceremony;
CREATE INDEX ceremony_line_of_subject ON ceremony_line (subject, created_at, ceremony);
CREATE FUNCTION chancery_line_created() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.created_at := (SELECT created_at FROM ceremony WHERE id = NEW.ceremony);
    RETURN NEW;
END $$;
CREATE TRIGGER ceremony_line_created BEFORE INSERT ON ceremony_line
    FOR EACH ROW EXECUTE FUNCTION chancery_line_created();
CREATE TRIGGER ceremony_line_created_immutable BEFORE UPDATE ON ceremony_line FOR EACH ROW
WHEN (NEW.created_at IS DISTINCT FROM OLD.created_at)
EXECUTE FUNCTION chancery_refuse('ceremony_line is immutable but for being done');
