-- Leases by name, and a version for each subject. Never edit this file once it has landed.

-- Who does a piece of work that one process does at a time, and until when (milliseconds, by the
-- clocks of the holders). No part of the trail: whoever loses one only does the work twice.
CREATE TABLE lease (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until  BIGINT NOT NULL
);
-- From here on the integrator's is here too; `holder` and `lease_until` of log_tree stay as they are.
INSERT INTO lease (name, holder, until)
    SELECT 'integrator', holder, lease_until FROM log_tree WHERE holder <> '';

-- What a replica has to read again: `value` is the size of the log after the last change of the
-- subject. Triggers write it, so that no change goes by it, whichever program makes it.
CREATE TABLE version (
    subject TEXT PRIMARY KEY,
    value   BIGINT NOT NULL CHECK (value >= 0)
);
INSERT INTO version (subject, value) SELECT word, size FROM log_head CROSS JOIN
    (VALUES ('keys'), ('trust'), ('credentials'), ('ceremonies'), ('log')) AS subjects (word);

CREATE TRIGGER version_no_delete BEFORE DELETE OR TRUNCATE ON version
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('version is never deleted');
CREATE TRIGGER version_grows BEFORE UPDATE ON version FOR EACH ROW
WHEN (NEW.subject <> OLD.subject OR NEW.value < OLD.value)
EXECUTE FUNCTION chancery_refuse('version only grows');

CREATE FUNCTION chancery_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = TG_ARGV[0];
    RETURN NULL;
END $$;
CREATE TRIGGER ring_changed AFTER INSERT OR UPDATE ON ring
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('keys');
CREATE TRIGGER signing_key_changed AFTER INSERT OR UPDATE ON signing_key
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('keys');
CREATE TRIGGER trust_document_changed AFTER INSERT ON trust_document
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('trust');
CREATE TRIGGER credential_changed AFTER INSERT OR UPDATE ON credential
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('credentials');
CREATE TRIGGER key_object_changed AFTER INSERT OR UPDATE ON key_object
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('ceremonies');
CREATE TRIGGER ceremony_changed AFTER INSERT OR UPDATE ON ceremony
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('ceremonies');
CREATE TRIGGER ceremony_line_changed AFTER INSERT OR UPDATE ON ceremony_line
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('ceremonies');
CREATE TRIGGER ceremony_signature_changed AFTER INSERT ON ceremony_signature
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('ceremonies');
CREATE TRIGGER order_use_changed AFTER INSERT ON order_use
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('ceremonies');
CREATE TRIGGER log_tree_pruned AFTER UPDATE OF pruned ON log_tree
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('log');
