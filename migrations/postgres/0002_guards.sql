-- What a CHECK cannot say: append only, immutable columns, legal transitions. All of them raise
-- the class of an integrity violation (23), as a CHECK does.

CREATE FUNCTION chancery_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = TG_ARGV[0];
END $$;

-- Rows that are never changed and never leave. TRUNCATE counts as leaving.
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
CREATE TRIGGER key_object_no_delete BEFORE DELETE OR TRUNCATE ON key_object
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('key_object is never deleted');
CREATE TRIGGER signing_key_no_delete BEFORE DELETE OR TRUNCATE ON signing_key
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('signing_key is never deleted');
CREATE TRIGGER ceremony_line_no_delete BEFORE DELETE OR TRUNCATE ON ceremony_line
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('ceremony_line is never deleted');
CREATE TRIGGER order_use_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON order_use
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('order_use is append-only');
CREATE TRIGGER credential_no_delete BEFORE DELETE OR TRUNCATE ON credential
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('credential is never deleted');

-- Documents follow each other in the order of their chain.
CREATE FUNCTION chancery_document_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.place <> (SELECT COALESCE(MAX(place) + 1, 0) FROM trust_document) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'trust_document is append-only';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER trust_document_follows BEFORE INSERT ON trust_document
    FOR EACH ROW EXECUTE FUNCTION chancery_document_follows();

-- The log only grows, nothing in it is skipped, and every leaf is of a known kind. Once per
-- statement: it is the hot path.
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
    IF EXISTS (SELECT 1 FROM added WHERE NOT EXISTS
               (SELECT 1 FROM leaf_kind WHERE leaf_kind.word = added.kind)) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            MESSAGE = 'log_leaf has a kind that leaf_kind does not have';
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
  OR NEW.usage <> OLD.usage OR NEW.created_at <> OLD.created_at OR NEW.version <> OLD.version + 1)
EXECUTE FUNCTION chancery_refuse('ring is immutable but for its version');

CREATE TRIGGER ceremony_begins BEFORE INSERT ON ceremony FOR EACH ROW
WHEN (NEW.state NOT IN ('draft', 'proposed') OR NEW.execution IS NOT NULL OR NEW.transcript IS NOT NULL)
EXECUTE FUNCTION chancery_refuse('ceremony begins as draft or proposed');
CREATE TRIGGER ceremony_immutable BEFORE UPDATE ON ceremony FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.nonce <> OLD.nonce OR NEW.operation <> OLD.operation
  OR NEW.ring IS DISTINCT FROM OLD.ring OR NEW.request <> OLD.request
  OR NEW.created_at <> OLD.created_at
  OR (OLD.execution IS NOT NULL AND NEW.execution IS DISTINCT FROM OLD.execution)
  OR (OLD.transcript IS NOT NULL AND NEW.transcript IS DISTINCT FROM OLD.transcript))
EXECUTE FUNCTION chancery_refuse('ceremony is immutable but for its state and results');
-- What was done keeps its place; a key that nobody accepts gives it back.
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
    ELSE FALSE END)
EXECUTE FUNCTION chancery_refuse('illegal transition of ceremony');

CREATE TRIGGER ceremony_line_begins BEFORE INSERT ON ceremony_line FOR EACH ROW
WHEN (NEW.done <> 0)
EXECUTE FUNCTION chancery_refuse('ceremony_line begins as not done');
CREATE TRIGGER ceremony_line_immutable BEFORE UPDATE ON ceremony_line FOR EACH ROW
WHEN (NEW.ceremony <> OLD.ceremony OR NEW.subject <> OLD.subject OR NEW.seq <> OLD.seq)
EXECUTE FUNCTION chancery_refuse('ceremony_line is immutable but for being done');
-- What was carried out is done, and nothing else is.
CREATE FUNCTION chancery_line_done() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.done = 1) <> EXISTS (SELECT 1 FROM ceremony
               WHERE id = OLD.ceremony AND state IN ('executed', 'closed')) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'a line is done where its ceremony was carried out';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ceremony_line_done BEFORE UPDATE ON ceremony_line FOR EACH ROW
WHEN (NEW.done <> OLD.done) EXECUTE FUNCTION chancery_line_done();
-- Only the last place of a line is given back.
CREATE FUNCTION chancery_line_last() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM ceremony_line
               WHERE subject = OLD.subject AND done = 1 AND seq > OLD.seq) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'only the last place of a line is given back';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ceremony_line_last BEFORE UPDATE ON ceremony_line FOR EACH ROW
WHEN (OLD.done = 1 AND NEW.done = 0) EXECUTE FUNCTION chancery_line_last();

CREATE TRIGGER key_object_begins BEFORE INSERT ON key_object FOR EACH ROW
WHEN (NEW.state <> 'intended' OR NEW.kid IS NOT NULL)
EXECUTE FUNCTION chancery_refuse('key_object begins as intended');
CREATE TRIGGER key_object_immutable BEFORE UPDATE ON key_object FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.device <> OLD.device
  OR NEW.label <> OLD.label OR NEW.place <> OLD.place OR NEW.ring <> OLD.ring
  OR NEW.number <> OLD.number OR NEW.ceremony <> OLD.ceremony OR NEW.created_at <> OLD.created_at
  OR (OLD.kid IS NOT NULL AND NEW.kid IS DISTINCT FROM OLD.kid)
  OR (OLD.location IS NOT NULL AND NEW.location IS DISTINCT FROM OLD.location))
EXECUTE FUNCTION chancery_refuse('key_object is immutable but for its state');
CREATE TRIGGER key_object_transition BEFORE UPDATE ON key_object FOR EACH ROW
WHEN (NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'intended' THEN NEW.state IN ('present', 'abandoned', 'destroyed')
    WHEN 'present' THEN NEW.state IN ('destroying', 'destroyed')
    WHEN 'destroying' THEN NEW.state IN ('destroyed', 'present')
    ELSE FALSE END)
EXECUTE FUNCTION chancery_refuse('illegal transition of key_object');

CREATE TRIGGER signing_key_begins BEFORE INSERT ON signing_key FOR EACH ROW
WHEN (NEW.state <> 'prepared')
EXECUTE FUNCTION chancery_refuse('signing_key begins as prepared');
CREATE TRIGGER signing_key_immutable BEFORE UPDATE ON signing_key FOR EACH ROW
WHEN (NEW.kid <> OLD.kid OR NEW.ring <> OLD.ring OR NEW.number <> OLD.number
  OR NEW.spki <> OLD.spki OR NEW.object <> OLD.object OR NEW.published_at <> OLD.published_at
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
-- A revocation stays as old as it is and changes only to a more severe one: to a compromise, or to
-- one from earlier on; without a beginning it is from the beginning.
CREATE TRIGGER signing_key_revocation BEFORE UPDATE ON signing_key FOR EACH ROW
WHEN (OLD.state = 'revoked' AND (NEW.revoked_at <> OLD.revoked_at
  OR ((NEW.revocation_reason <> OLD.revocation_reason
       OR NEW.compromised_since IS DISTINCT FROM OLD.compromised_since)
      AND NOT (NEW.revocation_reason = 'compromised' AND (OLD.revocation_reason <> 'compromised'
               OR (OLD.compromised_since IS NOT NULL AND (NEW.compromised_since IS NULL
                   OR NEW.compromised_since < OLD.compromised_since)))))))
EXECUTE FUNCTION chancery_refuse('a revocation changes only to a more severe one');
CREATE TRIGGER signing_key_archived BEFORE UPDATE ON signing_key FOR EACH ROW
WHEN (OLD.archived_at IS NOT NULL AND NEW.archived_at IS DISTINCT FROM OLD.archived_at)
EXECUTE FUNCTION chancery_refuse('a private half is destroyed once');

CREATE TRIGGER log_tree_no_delete BEFORE INSERT OR DELETE OR TRUNCATE ON log_tree
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_tree has one row');
CREATE FUNCTION chancery_tree_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.clock < OLD.clock OR NEW.pruned < OLD.pruned
        OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
        OR (OLD.origin <> '' AND NEW.origin <> OLD.origin)
        OR NEW.size > (SELECT size FROM log_head)
        OR NEW.pruned > NEW.size THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'log_tree only grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_tree_grows BEFORE UPDATE ON log_tree
    FOR EACH ROW EXECUTE FUNCTION chancery_tree_grows();

CREATE TRIGGER log_checkpoint_append_only BEFORE DELETE OR TRUNCATE ON log_checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_checkpoint is append-only');
CREATE FUNCTION chancery_checkpoint_swapped() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM log_tree WHERE size = NEW.size AND root = NEW.root) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'a checkpoint is of the tree that was swapped in';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_checkpoint_swapped BEFORE INSERT ON log_checkpoint
    FOR EACH ROW EXECUTE FUNCTION chancery_checkpoint_swapped();
CREATE TRIGGER log_checkpoint_cosigned BEFORE UPDATE ON log_checkpoint FOR EACH ROW
WHEN (NEW.size <> OLD.size OR NEW.root <> OLD.root OR NEW.time <> OLD.time
  OR NEW.clock <> OLD.clock OR NEW.kid <> OLD.kid OR NEW.note <> OLD.note
  OR left(NEW.cosignatures, length(OLD.cosignatures)) <> OLD.cosignatures)
EXECUTE FUNCTION chancery_refuse('a checkpoint only gains cosignatures');

-- After retention the body of a signature may go, nothing else of a leaf, and of an act nothing.
CREATE TRIGGER log_leaf_append_only BEFORE DELETE OR TRUNCATE ON log_leaf
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_leaf is append-only');
CREATE FUNCTION chancery_leaf_pruned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.idx <> OLD.idx OR NEW.time <> OLD.time OR NEW.kind <> OLD.kind
        OR NEW.ring IS DISTINCT FROM OLD.ring OR NEW.kid IS DISTINCT FROM OLD.kid
        OR NEW.sig_hash IS DISTINCT FROM OLD.sig_hash
        OR NEW.body <> '' OR OLD.kind <> 'sign' OR OLD.idx >= (SELECT pruned FROM log_tree) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'log_leaf is append-only';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_leaf_no_update BEFORE UPDATE ON log_leaf
    FOR EACH ROW EXECUTE FUNCTION chancery_leaf_pruned();

CREATE TRIGGER log_signature_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log_signature
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_signature is append-only');
CREATE TRIGGER log_indexed_one_row BEFORE INSERT OR DELETE OR TRUNCATE ON log_indexed
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_indexed has one row');
CREATE FUNCTION chancery_indexed_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.size > (SELECT size FROM log_head) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'log_indexed only grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_indexed_grows BEFORE UPDATE ON log_indexed
    FOR EACH ROW EXECUTE FUNCTION chancery_indexed_grows();
