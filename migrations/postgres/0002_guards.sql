-- What a CHECK cannot say: append only, immutable columns, legal transitions. All of them raise
-- the class of an integrity violation (23), as a CHECK does.

CREATE FUNCTION chancery_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = TG_ARGV[0];
END $$;

-- Rows that are never changed and never leave. TRUNCATE counts as leaving.
CREATE TRIGGER log_leaf_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log_leaf
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_leaf is append-only');
CREATE TRIGGER trust_document_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trust_document
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('trust_document is append-only');
CREATE TRIGGER ceremony_signature_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON ceremony_signature
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('ceremony_signature is append-only');

-- Rows that never leave.
CREATE TRIGGER log_head_no_delete BEFORE DELETE OR TRUNCATE ON log_head
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_head is never deleted');
CREATE TRIGGER ring_no_delete BEFORE DELETE OR TRUNCATE ON ring
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('ring is never deleted');
CREATE TRIGGER ceremony_no_delete BEFORE DELETE OR TRUNCATE ON ceremony
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('ceremony is never deleted');
CREATE TRIGGER token_object_no_delete BEFORE DELETE OR TRUNCATE ON token_object
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('token_object is never deleted');
CREATE TRIGGER signing_key_no_delete BEFORE DELETE OR TRUNCATE ON signing_key
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('signing_key is never deleted');
CREATE TRIGGER credential_no_delete BEFORE DELETE OR TRUNCATE ON credential
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('credential is never deleted');

-- The log only grows, and nothing in it is skipped. Once per statement: it is the hot path.
CREATE FUNCTION chancery_log_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.version < OLD.version
        OR NEW.size < (SELECT COALESCE(MAX(idx) + 1, 0) FROM log_leaf) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'log_head only grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_head_grows BEFORE UPDATE ON log_head
    FOR EACH ROW EXECUTE FUNCTION chancery_log_grows();

CREATE FUNCTION chancery_log_contiguous() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lowest BIGINT;
    highest BIGINT;
    number BIGINT;
BEGIN
    SELECT MIN(idx), MAX(idx), COUNT(*) INTO lowest, highest, number FROM added;
    IF number > 0 AND (highest - lowest + 1 <> number
        OR highest <> (SELECT MAX(idx) FROM log_leaf)
        OR (lowest > 0 AND NOT EXISTS (SELECT 1 FROM log_leaf WHERE idx = lowest - 1))) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'log_leaf is contiguous';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER log_leaf_contiguous AFTER INSERT ON log_leaf
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_log_contiguous();

-- Wakes the replicas. Signatures do not touch `version` and so do not pay for this.
CREATE FUNCTION chancery_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('chancery', NEW.version::text);
    RETURN NULL;
END $$;
CREATE TRIGGER log_head_notify AFTER UPDATE OF version ON log_head
    FOR EACH ROW WHEN (NEW.version <> OLD.version) EXECUTE FUNCTION chancery_notify();

CREATE TRIGGER ring_immutable BEFORE UPDATE ON ring FOR EACH ROW
WHEN (NEW.name <> OLD.name OR NEW.algorithm <> OLD.algorithm OR NEW.key_spec <> OLD.key_spec
  OR NEW.usage <> OLD.usage OR NEW.critical <> OLD.critical OR NEW.created_at <> OLD.created_at
  OR NEW.version <> OLD.version + 1)
EXECUTE FUNCTION chancery_refuse('ring is immutable but for its version');

CREATE TRIGGER ceremony_begins BEFORE INSERT ON ceremony FOR EACH ROW
WHEN (NEW.state <> 'proposed' OR NEW.execution IS NOT NULL OR NEW.transcript IS NOT NULL)
EXECUTE FUNCTION chancery_refuse('ceremony begins as proposed');
CREATE TRIGGER ceremony_immutable BEFORE UPDATE ON ceremony FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.seq <> OLD.seq OR NEW.operation <> OLD.operation
  OR NEW.ring <> OLD.ring OR NEW.request <> OLD.request OR NEW.created_at <> OLD.created_at
  OR (OLD.execution IS NOT NULL AND NEW.execution IS DISTINCT FROM OLD.execution)
  OR (OLD.transcript IS NOT NULL AND NEW.transcript IS DISTINCT FROM OLD.transcript))
EXECUTE FUNCTION chancery_refuse('ceremony is immutable but for its state and results');
-- What was destroyed or revoked keeps its number; a key that nobody accepts gives it back.
CREATE TRIGGER ceremony_transition BEFORE UPDATE ON ceremony FOR EACH ROW
WHEN (NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'proposed' THEN NEW.state IN ('approved', 'rejected', 'expired', 'cancelled')
    WHEN 'approved' THEN NEW.state IN ('rejected', 'expired', 'cancelled', 'failed')
        OR (NEW.state = 'executing' AND OLD.operation <> 'revoke')
        OR (NEW.state = 'executed' AND OLD.operation = 'revoke')
    WHEN 'executing' THEN NEW.state IN ('executed', 'failed')
    WHEN 'executed' THEN NEW.state = 'closed' OR (OLD.operation = 'generate'
        AND NEW.state IN ('rejected', 'expired', 'cancelled', 'failed'))
    ELSE FALSE END)
EXECUTE FUNCTION chancery_refuse('illegal transition of ceremony');

CREATE TRIGGER token_object_begins BEFORE INSERT ON token_object FOR EACH ROW
WHEN (NEW.state <> 'intended' OR NEW.kid IS NOT NULL)
EXECUTE FUNCTION chancery_refuse('token_object begins as intended');
CREATE TRIGGER token_object_immutable BEFORE UPDATE ON token_object FOR EACH ROW
WHEN (NEW.cka_id <> OLD.cka_id OR NEW.token_serial <> OLD.token_serial
  OR NEW.token_label <> OLD.token_label OR NEW.label <> OLD.label OR NEW.ring <> OLD.ring
  OR NEW.number <> OLD.number OR NEW.ceremony <> OLD.ceremony OR NEW.created_at <> OLD.created_at
  OR (OLD.kid IS NOT NULL AND NEW.kid IS DISTINCT FROM OLD.kid))
EXECUTE FUNCTION chancery_refuse('token_object is immutable but for its state');
CREATE TRIGGER token_object_transition BEFORE UPDATE ON token_object FOR EACH ROW
WHEN (NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'intended' THEN NEW.state IN ('present', 'abandoned', 'destroyed')
    WHEN 'present' THEN NEW.state IN ('destroying', 'destroyed')
    WHEN 'destroying' THEN NEW.state IN ('destroyed', 'present')
    ELSE FALSE END)
EXECUTE FUNCTION chancery_refuse('illegal transition of token_object');

CREATE TRIGGER signing_key_begins BEFORE INSERT ON signing_key FOR EACH ROW
WHEN (NEW.state <> 'prepared')
EXECUTE FUNCTION chancery_refuse('signing_key begins as prepared');
CREATE TRIGGER signing_key_immutable BEFORE UPDATE ON signing_key FOR EACH ROW
WHEN (NEW.kid <> OLD.kid OR NEW.ring <> OLD.ring OR NEW.number <> OLD.number
  OR NEW.spki <> OLD.spki OR NEW.cka_id <> OLD.cka_id OR NEW.token_serial <> OLD.token_serial
  OR NEW.token_label <> OLD.token_label OR NEW.published_at <> OLD.published_at
  OR NEW.activate_at <> OLD.activate_at OR NEW.retire_at <> OLD.retire_at
  OR NEW.ceremony <> OLD.ceremony)
EXECUTE FUNCTION chancery_refuse('signing_key is immutable but for its state');
-- A primary never retires: it is demoted first, so the ring has its next one.
CREATE TRIGGER signing_key_transition BEFORE UPDATE ON signing_key FOR EACH ROW
WHEN (NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'prepared' THEN NEW.state IN ('active', 'revoked')
    WHEN 'active' THEN NEW.state = 'revoked' OR (NEW.state = 'retired' AND OLD.role = 'secondary')
    WHEN 'retired' THEN NEW.state IN ('archived', 'revoked')
    WHEN 'archived' THEN NEW.state = 'revoked'
    ELSE FALSE END)
EXECUTE FUNCTION chancery_refuse('illegal transition of signing_key');
-- A revocation is final in every word.
CREATE TRIGGER signing_key_revocation BEFORE UPDATE ON signing_key FOR EACH ROW
WHEN (OLD.state = 'revoked' AND (NEW.revoked_at <> OLD.revoked_at
  OR NEW.revocation_reason <> OLD.revocation_reason
  OR NEW.compromised_since IS DISTINCT FROM OLD.compromised_since))
EXECUTE FUNCTION chancery_refuse('a revocation is final');
