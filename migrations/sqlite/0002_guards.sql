-- What a CHECK cannot say: append only, immutable columns, legal transitions.

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
CREATE TRIGGER key_object_no_delete BEFORE DELETE ON key_object
BEGIN SELECT RAISE(ABORT, 'key_object is never deleted'); END;
CREATE TRIGGER signing_key_no_delete BEFORE DELETE ON signing_key
BEGIN SELECT RAISE(ABORT, 'signing_key is never deleted'); END;
CREATE TRIGGER ceremony_line_no_delete BEFORE DELETE ON ceremony_line
BEGIN SELECT RAISE(ABORT, 'ceremony_line is never deleted'); END;
CREATE TRIGGER order_use_no_update BEFORE UPDATE ON order_use
BEGIN SELECT RAISE(ABORT, 'order_use is append-only'); END;
CREATE TRIGGER order_use_no_delete BEFORE DELETE ON order_use
BEGIN SELECT RAISE(ABORT, 'order_use is append-only'); END;
CREATE TRIGGER credential_no_delete BEFORE DELETE ON credential
BEGIN SELECT RAISE(ABORT, 'credential is never deleted'); END;

-- The log only grows; a restored backup shows as a smaller size, a write never makes one.
CREATE TRIGGER log_head_grows BEFORE UPDATE ON log_head
WHEN NEW.id <> OLD.id OR NEW.version < OLD.version
  OR NEW.size < (SELECT COALESCE(MAX(idx) + 1, 0) FROM log_leaf)
BEGIN SELECT RAISE(ABORT, 'log_head only grows'); END;

CREATE TRIGGER ring_immutable BEFORE UPDATE ON ring
WHEN NEW.name <> OLD.name OR NEW.algorithm <> OLD.algorithm OR NEW.key_spec <> OLD.key_spec
  OR NEW.usage <> OLD.usage OR NEW.created_at <> OLD.created_at OR NEW.version <> OLD.version + 1
BEGIN SELECT RAISE(ABORT, 'ring is immutable but for its version'); END;

CREATE TRIGGER ceremony_begins BEFORE INSERT ON ceremony
WHEN NEW.state NOT IN ('draft', 'proposed') OR NEW.execution IS NOT NULL OR NEW.transcript IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'ceremony begins as draft or proposed'); END;
CREATE TRIGGER ceremony_immutable BEFORE UPDATE ON ceremony
WHEN NEW.id <> OLD.id OR NEW.nonce <> OLD.nonce OR NEW.operation <> OLD.operation
  OR NEW.ring IS NOT OLD.ring OR NEW.request <> OLD.request OR NEW.created_at <> OLD.created_at
  OR (OLD.execution IS NOT NULL AND NEW.execution IS NOT OLD.execution)
  OR (OLD.transcript IS NOT NULL AND NEW.transcript IS NOT OLD.transcript)
BEGIN SELECT RAISE(ABORT, 'ceremony is immutable but for its state and results'); END;
-- What was done keeps its place; a key that nobody accepts gives it back.
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
    ELSE 0 END
BEGIN SELECT RAISE(ABORT, 'illegal transition of ceremony'); END;

CREATE TRIGGER ceremony_line_begins BEFORE INSERT ON ceremony_line
WHEN NEW.done <> 0 OR EXISTS (SELECT 1 FROM ceremony_line
     WHERE ceremony = NEW.ceremony AND subject = NEW.subject)
BEGIN SELECT RAISE(ABORT, 'ceremony_line begins as not done, once'); END;
CREATE TRIGGER ceremony_line_immutable BEFORE UPDATE ON ceremony_line
WHEN NEW.ceremony <> OLD.ceremony OR NEW.subject <> OLD.subject OR NEW.seq <> OLD.seq
BEGIN SELECT RAISE(ABORT, 'ceremony_line is immutable but for being done'); END;
-- What was carried out is done, and nothing else is.
CREATE TRIGGER ceremony_line_done BEFORE UPDATE ON ceremony_line
WHEN NEW.done <> OLD.done AND (NEW.done = 1) <> EXISTS (SELECT 1 FROM ceremony
     WHERE id = OLD.ceremony AND state IN ('executed', 'closed'))
BEGIN SELECT RAISE(ABORT, 'a line is done where its ceremony was carried out'); END;
-- Only the last place of a line is given back.
CREATE TRIGGER ceremony_line_last BEFORE UPDATE ON ceremony_line
WHEN OLD.done = 1 AND NEW.done = 0 AND EXISTS (SELECT 1 FROM ceremony_line
     WHERE subject = OLD.subject AND done = 1 AND seq > OLD.seq)
BEGIN SELECT RAISE(ABORT, 'only the last place of a line is given back'); END;

CREATE TRIGGER key_object_begins BEFORE INSERT ON key_object
WHEN NEW.state <> 'intended' OR NEW.kid IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'key_object begins as intended'); END;
CREATE TRIGGER key_object_immutable BEFORE UPDATE ON key_object
WHEN NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.device <> OLD.device
  OR NEW.label <> OLD.label OR NEW.place <> OLD.place OR NEW.ring <> OLD.ring
  OR NEW.number <> OLD.number OR NEW.ceremony <> OLD.ceremony OR NEW.created_at <> OLD.created_at
  OR (OLD.kid IS NOT NULL AND NEW.kid IS NOT OLD.kid)
  OR (OLD.location IS NOT NULL AND NEW.location IS NOT OLD.location)
BEGIN SELECT RAISE(ABORT, 'key_object is immutable but for its state'); END;
CREATE TRIGGER key_object_transition BEFORE UPDATE ON key_object
WHEN NEW.state <> OLD.state AND NOT CASE OLD.state
    WHEN 'intended' THEN NEW.state IN ('present', 'abandoned', 'destroyed')
    WHEN 'present' THEN NEW.state IN ('destroying', 'destroyed')
    WHEN 'destroying' THEN NEW.state IN ('destroyed', 'present')
    ELSE 0 END
BEGIN SELECT RAISE(ABORT, 'illegal transition of key_object'); END;

CREATE TRIGGER signing_key_begins BEFORE INSERT ON signing_key
WHEN NEW.state <> 'prepared'
BEGIN SELECT RAISE(ABORT, 'signing_key begins as prepared'); END;
CREATE TRIGGER signing_key_immutable BEFORE UPDATE ON signing_key
WHEN NEW.kid <> OLD.kid OR NEW.ring <> OLD.ring OR NEW.number <> OLD.number
  OR NEW.spki <> OLD.spki OR NEW.object <> OLD.object OR NEW.published_at <> OLD.published_at
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
-- A revocation stays as old as it is and changes only to a more severe one: to a compromise, or to
-- one from earlier on; without a beginning it is from the beginning.
CREATE TRIGGER signing_key_revocation BEFORE UPDATE ON signing_key
WHEN OLD.state = 'revoked' AND (NEW.revoked_at <> OLD.revoked_at
  OR ((NEW.revocation_reason <> OLD.revocation_reason
       OR NEW.compromised_since IS NOT OLD.compromised_since)
      AND NOT (NEW.revocation_reason = 'compromised' AND (OLD.revocation_reason <> 'compromised'
               OR (OLD.compromised_since IS NOT NULL AND (NEW.compromised_since IS NULL
                   OR NEW.compromised_since < OLD.compromised_since))))))
BEGIN SELECT RAISE(ABORT, 'a revocation changes only to a more severe one'); END;
CREATE TRIGGER signing_key_archived BEFORE UPDATE ON signing_key
WHEN OLD.archived_at IS NOT NULL AND NEW.archived_at IS NOT OLD.archived_at
BEGIN SELECT RAISE(ABORT, 'a private half is destroyed once'); END;

-- INSERT OR REPLACE deletes without firing a delete trigger unless recursive_triggers is on (the
-- service turns it on; a hand in the database may not), so the tables that must keep every row
-- refuse an existing key themselves. For the log this is also the rule that nothing is skipped.
CREATE TRIGGER log_leaf_contiguous BEFORE INSERT ON log_leaf
WHEN NEW.idx <> (SELECT COALESCE(MAX(idx) + 1, 0) FROM log_leaf)
BEGIN SELECT RAISE(ABORT, 'log_leaf is contiguous'); END;
CREATE TRIGGER trust_document_no_replace BEFORE INSERT ON trust_document
WHEN NEW.place <> (SELECT COALESCE(MAX(place) + 1, 0) FROM trust_document)
BEGIN SELECT RAISE(ABORT, 'trust_document is append-only'); END;
CREATE TRIGGER ceremony_signature_no_replace BEFORE INSERT ON ceremony_signature
WHEN EXISTS (SELECT 1 FROM ceremony_signature WHERE ceremony = NEW.ceremony
             AND purpose = NEW.purpose AND signature = NEW.signature)
BEGIN SELECT RAISE(ABORT, 'ceremony_signature is append-only'); END;
CREATE TRIGGER signing_key_no_replace BEFORE INSERT ON signing_key
WHEN EXISTS (SELECT 1 FROM signing_key WHERE kid = NEW.kid OR spki = NEW.spki
             OR object = NEW.object OR ceremony = NEW.ceremony
             OR (ring = NEW.ring AND number = NEW.number))
BEGIN SELECT RAISE(ABORT, 'signing_key is never replaced'); END;
CREATE TRIGGER order_use_no_replace BEFORE INSERT ON order_use
WHEN EXISTS (SELECT 1 FROM order_use WHERE ceremony = NEW.ceremony
             OR (order_id = NEW.order_id AND use_number = NEW.use_number))
BEGIN SELECT RAISE(ABORT, 'order_use is append-only'); END;

CREATE TRIGGER log_tree_no_delete BEFORE DELETE ON log_tree
BEGIN SELECT RAISE(ABORT, 'log_tree is never deleted'); END;
CREATE TRIGGER log_tree_no_replace BEFORE INSERT ON log_tree
BEGIN SELECT RAISE(ABORT, 'log_tree has one row'); END;
CREATE TRIGGER log_tree_grows BEFORE UPDATE ON log_tree
WHEN NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.clock < OLD.clock OR NEW.pruned < OLD.pruned
  OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
  OR (OLD.origin <> '' AND NEW.origin <> OLD.origin)
  OR NEW.size > (SELECT size FROM log_head)
  OR NEW.pruned > NEW.size
BEGIN SELECT RAISE(ABORT, 'log_tree only grows'); END;

CREATE TRIGGER log_checkpoint_no_delete BEFORE DELETE ON log_checkpoint
BEGIN SELECT RAISE(ABORT, 'log_checkpoint is append-only'); END;
CREATE TRIGGER log_checkpoint_no_replace BEFORE INSERT ON log_checkpoint
WHEN EXISTS (SELECT 1 FROM log_checkpoint WHERE size = NEW.size)
BEGIN SELECT RAISE(ABORT, 'log_checkpoint is append-only'); END;
CREATE TRIGGER log_checkpoint_swapped BEFORE INSERT ON log_checkpoint
WHEN NOT EXISTS (SELECT 1 FROM log_tree WHERE size = NEW.size AND root = NEW.root)
BEGIN SELECT RAISE(ABORT, 'a checkpoint is of the tree that was swapped in'); END;
CREATE TRIGGER log_checkpoint_cosigned BEFORE UPDATE ON log_checkpoint
WHEN NEW.size <> OLD.size OR NEW.root <> OLD.root OR NEW.time <> OLD.time
  OR NEW.clock <> OLD.clock OR NEW.kid <> OLD.kid OR NEW.note <> OLD.note
  OR substr(NEW.cosignatures, 1, length(OLD.cosignatures)) <> OLD.cosignatures
BEGIN SELECT RAISE(ABORT, 'a checkpoint only gains cosignatures'); END;

-- After retention the body of a signature may go, nothing else of a leaf, and of an act nothing.
CREATE TRIGGER log_leaf_no_update BEFORE UPDATE ON log_leaf
WHEN NEW.idx <> OLD.idx OR NEW.time <> OLD.time OR NEW.kind <> OLD.kind
  OR NEW.ring IS NOT OLD.ring OR NEW.kid IS NOT OLD.kid OR NEW.sig_hash IS NOT OLD.sig_hash
  OR NEW.body <> '' OR OLD.kind <> 'sign' OR OLD.idx >= (SELECT pruned FROM log_tree)
BEGIN SELECT RAISE(ABORT, 'log_leaf is append-only'); END;

CREATE TRIGGER log_signature_no_update BEFORE UPDATE ON log_signature
BEGIN SELECT RAISE(ABORT, 'log_signature is append-only'); END;
CREATE TRIGGER log_signature_no_delete BEFORE DELETE ON log_signature
BEGIN SELECT RAISE(ABORT, 'log_signature is append-only'); END;
CREATE TRIGGER log_indexed_no_delete BEFORE DELETE ON log_indexed
BEGIN SELECT RAISE(ABORT, 'log_indexed is never deleted'); END;
CREATE TRIGGER log_indexed_no_replace BEFORE INSERT ON log_indexed
BEGIN SELECT RAISE(ABORT, 'log_indexed has one row'); END;
CREATE TRIGGER log_indexed_grows BEFORE UPDATE ON log_indexed
WHEN NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.size > (SELECT size FROM log_head)
BEGIN SELECT RAISE(ABORT, 'log_indexed only grows'); END;
