-- Leases by name, and a version for each subject. Never edit this file once it has landed.

-- Who does a piece of work that one process does at a time, and until when (milliseconds, by the
-- clocks of the holders). No part of the trail: whoever loses one only does the work twice.
CREATE TABLE lease (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until  INTEGER NOT NULL
) STRICT;
-- From here on the integrator's is here too; `holder` and `lease_until` of log_tree stay as they are.
INSERT INTO lease (name, holder, until)
    SELECT 'integrator', holder, lease_until FROM log_tree WHERE holder <> '';

-- What a replica has to read again: `value` is the size of the log after the last change of the
-- subject. Triggers write it, so that no change goes by it, whichever program makes it.
CREATE TABLE version (
    subject TEXT PRIMARY KEY,
    value   INTEGER NOT NULL CHECK (value >= 0)
) STRICT;
INSERT INTO version (subject, value) SELECT word, size FROM log_head CROSS JOIN
    (SELECT 'keys' AS word UNION ALL SELECT 'trust' UNION ALL SELECT 'credentials'
     UNION ALL SELECT 'ceremonies' UNION ALL SELECT 'log');

CREATE TRIGGER version_no_delete BEFORE DELETE ON version
BEGIN SELECT RAISE(ABORT, 'version is never deleted'); END;
CREATE TRIGGER version_grows BEFORE UPDATE ON version
WHEN NEW.subject <> OLD.subject OR NEW.value < OLD.value
BEGIN SELECT RAISE(ABORT, 'version only grows'); END;

CREATE TRIGGER ring_changed_by_insert AFTER INSERT ON ring
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'keys'; END;
CREATE TRIGGER ring_changed_by_update AFTER UPDATE ON ring
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'keys'; END;
CREATE TRIGGER signing_key_changed_by_insert AFTER INSERT ON signing_key
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'keys'; END;
CREATE TRIGGER signing_key_changed_by_update AFTER UPDATE ON signing_key
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'keys'; END;
CREATE TRIGGER trust_document_changed_by_insert AFTER INSERT ON trust_document
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'trust'; END;
CREATE TRIGGER credential_changed_by_insert AFTER INSERT ON credential
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'credentials'; END;
CREATE TRIGGER credential_changed_by_update AFTER UPDATE ON credential
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'credentials'; END;
CREATE TRIGGER key_object_changed_by_insert AFTER INSERT ON key_object
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;
CREATE TRIGGER key_object_changed_by_update AFTER UPDATE ON key_object
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;
CREATE TRIGGER ceremony_changed_by_insert AFTER INSERT ON ceremony
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;
CREATE TRIGGER ceremony_changed_by_update AFTER UPDATE ON ceremony
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;
CREATE TRIGGER ceremony_line_changed_by_insert AFTER INSERT ON ceremony_line
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;
CREATE TRIGGER ceremony_line_changed_by_update AFTER UPDATE ON ceremony_line
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;
CREATE TRIGGER ceremony_signature_changed_by_insert AFTER INSERT ON ceremony_signature
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;
CREATE TRIGGER order_use_changed_by_insert AFTER INSERT ON order_use
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;
CREATE TRIGGER log_tree_pruned AFTER UPDATE OF pruned ON log_tree
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'log'; END;
