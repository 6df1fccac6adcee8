-- Who proposed, and when the service took it, so that the proposals of a member are counted at the same cost however many
-- ceremonies there have been. It limits and finds; whom a ceremony names is in its request alone. Rows of before have
-- neither. Never edit this file once it has landed.

ALTER TABLE ceremony ADD COLUMN proposer TEXT;
ALTER TABLE ceremony ADD COLUMN filed_at BIGINT;

-- What a member proposed within a day.
CREATE INDEX ceremony_of_proposer ON ceremony (proposer, filed_at) WHERE proposer IS NOT NULL;
-- What a member has open.
CREATE INDEX ceremony_under_way_of_proposer ON ceremony (proposer)
    WHERE state IN ('proposed', 'approved', 'executing', 'executed');

CREATE FUNCTION chancery_ceremony_proposer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.proposer IS DISTINCT FROM OLD.proposer OR NEW.filed_at IS DISTINCT FROM OLD.filed_at THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'ceremony is immutable but for its state and results';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ceremony_proposer_immutable BEFORE UPDATE ON ceremony
    FOR EACH ROW EXECUTE FUNCTION chancery_ceremony_proposer();
