-- What a CHECK cannot say: append only, immutable columns, legal transitions.

CREATE TRIGGER log_leaf_no_update BEFORE UPDATE ON log_leaf
BEGIN SELECT RAISE(ABORT, 'log_leaf is append-only'); END;
CREATE TRIGGER log_leaf_no_delete BEFORE DELETE ON log_leaf
BEGIN SELECT RAISE(ABORT, 'log_leaf is append-only'); END;
CREATE TRIGGER trust_document_no_update BEFORE UPDATE ON trust_document
BEGIN SELECT RAISE(ABORT, 'trust_document is append-only'); END;
CREATE TRIGGER trust_document_no_delete BEFORE DELETE ON trust_document
BEGIN SELECT RAISE(ABORT, 'trust_document is append-only'); END;
CREATE TRIGGER ceremony_signature_no_update BEFORE UPDATE ON ceremony_signature
BEGIN SELECT RAISE(ABORT, 'ceremony_signature is append-only'); END;
CREATE TRIGGER ceremony_signature_no_delete BEFORE DELETE ON ceremony_signature
BEGIN SELECT RAISE(ABORT, 'ceremony_signature is append-only'); END;

CREATE TRIGGER log_head_no_delete BEFORE DELETE ON log_head
BEGIN SELECT RAISE(ABORT, 'log_head is never deleted'); END;
CREATE TRIGGER ring_no_delete BEFORE DELETE ON ring
BEGIN SELECT RAISE(ABORT, 'ring is never deleted'); END;
CREATE TRIGGER ceremony_no_delete BEFORE DELETE ON ceremony
BEGIN SELECT RAISE(ABORT, 'ceremony is never deleted'); END;
CREATE TRIGGER token_object_no_delete BEFORE DELETE ON token_object
BEGIN SELECT RAISE(ABORT, 'token_object is never deleted'); END;
CREATE TRIGGER signing_key_no_delete BEFORE DELETE ON signing_key
BEGIN SELECT RAISE(ABORT, 'signing_key is never deleted'); END;
CREATE TRIGGER credential_no_delete BEFORE DELETE ON credential
BEGIN SELECT RAISE(ABORT, 'credential is never deleted'); END;

-- The log only grows; a restored backup shows as a smaller size, a write never makes one.
CREATE TRIGGER log_head_grows BEFORE UPDATE ON log_head
WHEN NEW.id <> OLD.id OR NEW.version < OLD.version
  OR NEW.size < (SELECT COALESCE(MAX(idx) + 1, 0) FROM log_leaf)
BEGIN SELECT RAISE(ABORT, 'log_head only grows'); END;

CREATE TRIGGER ring_immutable BEFORE UPDATE ON ring
WHEN NEW.name <> OLD.name OR NEW.algorithm <> OLD.algorithm OR NEW.key_spec <> OLD.key_spec
  OR NEW.usage <> OLD.usage OR NEW.critical <> OLD.critical OR NEW.created_at <> OLD.created_at
  OR NEW.version <> OLD.version + 1
BEGIN SELECT RAISE(ABORT, 'ring is immutable but for its version'); END;

CREATE TRIGGER ceremony_begins BEFORE INSERT ON ceremony
WHEN NEW.state <> 'proposed' OR NEW.execution IS NOT NULL OR NEW.transcript IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'ceremony begins as proposed'); END;
CREATE TRIGGER ceremony_immutable BEFORE UPDATE ON ceremony
WHEN NEW.id <> OLD.id OR NEW.seq <> OLD.seq OR NEW.operation <> OLD.operation
  OR NEW.ring <> OLD.ring OR NEW.request <> OLD.request OR NEW.created_at <> OLD.created_at
  OR (OLD.execution IS NOT NULL AND NEW.execution IS NOT OLD.execution)
  OR (OLD.transcript IS NOT NULL AND NEW.transcript IS NOT OLD.transcript)
BEGIN SELECT RAISE(ABORT, 'ceremony is immutable but for its state and results'); END;
-- What was destroyed or revoked keeps its number; a key that nobody accepts gives it back.
CREATE TRIGGER ceremony_transition BEFORE UPDATE ON ceremony
WHEN NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'proposed' THEN NEW.state IN ('approved', 'rejected', 'expired', 'cancelled')
    WHEN 'approved' THEN NEW.state IN ('rejected', 'expired', 'cancelled', 'failed')
        OR (NEW.state = 'executing' AND OLD.operation <> 'revoke')
        OR (NEW.state = 'executed' AND OLD.operation = 'revoke')
    WHEN 'executing' THEN NEW.state IN ('executed', 'failed')
    WHEN 'executed' THEN NEW.state = 'closed' OR (OLD.operation = 'generate'
        AND NEW.state IN ('rejected', 'expired', 'cancelled', 'failed'))
    ELSE 0 END
BEGIN SELECT RAISE(ABORT, 'illegal transition of ceremony'); END;

CREATE TRIGGER token_object_begins BEFORE INSERT ON token_object
WHEN NEW.state <> 'intended' OR NEW.kid IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'token_object begins as intended'); END;
CREATE TRIGGER token_object_immutable BEFORE UPDATE ON token_object
WHEN NEW.cka_id <> OLD.cka_id OR NEW.token_serial <> OLD.token_serial
  OR NEW.token_label <> OLD.token_label OR NEW.label <> OLD.label OR NEW.ring <> OLD.ring
  OR NEW.number <> OLD.number OR NEW.ceremony <> OLD.ceremony OR NEW.created_at <> OLD.created_at
  OR (OLD.kid IS NOT NULL AND NEW.kid IS NOT OLD.kid)
BEGIN SELECT RAISE(ABORT, 'token_object is immutable but for its state'); END;
CREATE TRIGGER token_object_transition BEFORE UPDATE ON token_object
WHEN NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'intended' THEN NEW.state IN ('present', 'abandoned', 'destroyed')
    WHEN 'present' THEN NEW.state IN ('destroying', 'destroyed')
    WHEN 'destroying' THEN NEW.state IN ('destroyed', 'present')
    ELSE 0 END
BEGIN SELECT RAISE(ABORT, 'illegal transition of token_object'); END;

CREATE TRIGGER signing_key_begins BEFORE INSERT ON signing_key
WHEN NEW.state <> 'prepared'
BEGIN SELECT RAISE(ABORT, 'signing_key begins as prepared'); END;
CREATE TRIGGER signing_key_immutable BEFORE UPDATE ON signing_key
WHEN NEW.kid <> OLD.kid OR NEW.ring <> OLD.ring OR NEW.number <> OLD.number
  OR NEW.spki <> OLD.spki OR NEW.cka_id <> OLD.cka_id OR NEW.token_serial <> OLD.token_serial
  OR NEW.token_label <> OLD.token_label OR NEW.published_at <> OLD.published_at
  OR NEW.activate_at <> OLD.activate_at OR NEW.retire_at <> OLD.retire_at
  OR NEW.ceremony <> OLD.ceremony
BEGIN SELECT RAISE(ABORT, 'signing_key is immutable but for its state'); END;
-- A primary never retires: it is demoted first, so the ring has its next one.
CREATE TRIGGER signing_key_transition BEFORE UPDATE ON signing_key
WHEN NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'prepared' THEN NEW.state IN ('active', 'revoked')
    WHEN 'active' THEN NEW.state = 'revoked' OR (NEW.state = 'retired' AND OLD.role = 'secondary')
    WHEN 'retired' THEN NEW.state IN ('archived', 'revoked')
    WHEN 'archived' THEN NEW.state = 'revoked'
    ELSE 0 END
BEGIN SELECT RAISE(ABORT, 'illegal transition of signing_key'); END;
-- A revocation is final in every word.
CREATE TRIGGER signing_key_revocation BEFORE UPDATE ON signing_key
WHEN OLD.state = 'revoked' AND (NEW.revoked_at <> OLD.revoked_at
  OR NEW.revocation_reason <> OLD.revocation_reason
  OR NEW.compromised_since IS NOT OLD.compromised_since)
BEGIN SELECT RAISE(ABORT, 'a revocation is final'); END;

-- INSERT OR REPLACE deletes without firing a delete trigger unless recursive_triggers is on (the
-- service turns it on; a hand in the database may not), so the tables that must keep every row
-- refuse an existing key themselves. For the log this is also the rule that nothing is skipped.
CREATE TRIGGER log_leaf_contiguous BEFORE INSERT ON log_leaf
WHEN NEW.idx <> (SELECT COALESCE(MAX(idx) + 1, 0) FROM log_leaf)
BEGIN SELECT RAISE(ABORT, 'log_leaf is contiguous'); END;
CREATE TRIGGER trust_document_no_replace BEFORE INSERT ON trust_document
WHEN EXISTS (SELECT 1 FROM trust_document WHERE kind = NEW.kind AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'trust_document is append-only'); END;
CREATE TRIGGER ceremony_signature_no_replace BEFORE INSERT ON ceremony_signature
WHEN EXISTS (SELECT 1 FROM ceremony_signature WHERE ceremony = NEW.ceremony
             AND purpose = NEW.purpose AND signature = NEW.signature)
BEGIN SELECT RAISE(ABORT, 'ceremony_signature is append-only'); END;
CREATE TRIGGER signing_key_no_replace BEFORE INSERT ON signing_key
WHEN EXISTS (SELECT 1 FROM signing_key WHERE kid = NEW.kid OR spki = NEW.spki
             OR cka_id = NEW.cka_id OR ceremony = NEW.ceremony
             OR (ring = NEW.ring AND number = NEW.number))
BEGIN SELECT RAISE(ABORT, 'signing_key is never replaced'); END;
