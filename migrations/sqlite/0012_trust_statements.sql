-- What members say about whom to trust: the next roster or policy and suspensions, from the first signature on until
-- there are enough. Copies only, like trust_document: each signature is verified again whenever it matters. Never edit
-- this file once it has landed.

CREATE TABLE statement_kind (word TEXT NOT NULL PRIMARY KEY) STRICT;
INSERT INTO statement_kind (word) VALUES
    ('roster'), ('policy'), ('suspension'), ('recovery-roster'), ('recovery');
INSERT INTO document_kind (word) VALUES ('recovery-roster'), ('recovery');
INSERT INTO signature_purpose (word) VALUES
    ('roster'), ('policy'), ('recovery-roster'), ('recover'), ('veto');

CREATE TABLE trust_statement (
    -- Digest of the body.
    id         TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 64),
    kind       TEXT NOT NULL REFERENCES statement_kind (word),
    state      TEXT NOT NULL CHECK (state IN
               ('open', 'announced', 'effective', 'rejected', 'void', 'expired')),
    -- The newest document of the chain when it was written; of a suspension the roster.
    follows    TEXT NOT NULL CHECK (length(follows) = 64),
    opened_by  TEXT NOT NULL CHECK (opened_by <> ''),
    body       BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    closes_at  INTEGER NOT NULL CHECK (closes_at > created_at),
    updated_at INTEGER NOT NULL,
    -- Of a recovery: the leaf that announced it, and the one with which it took effect.
    announced  INTEGER,
    effect     INTEGER,
    CHECK (kind = 'recovery' OR (announced IS NULL AND effect IS NULL)),
    CHECK (effect IS NULL OR announced < effect),
    CHECK (state <> 'announced' OR announced IS NOT NULL)
) STRICT;
CREATE INDEX trust_statement_open ON trust_statement (created_at, id) WHERE state IN ('open', 'announced');
CREATE INDEX trust_statement_created ON trust_statement (created_at, id);
CREATE INDEX trust_statement_suspends ON trust_statement (follows, id)
    WHERE kind = 'suspension' AND state = 'effective';

CREATE TABLE trust_statement_signature (
    statement   TEXT NOT NULL REFERENCES trust_statement (id),
    purpose     TEXT NOT NULL REFERENCES signature_purpose (word),
    body        BLOB NOT NULL,
    signature   TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    -- The leaf that tells of it, and with it the order in which they came.
    idx         INTEGER NOT NULL UNIQUE,
    UNIQUE (statement, purpose, signature)
) STRICT;

CREATE TRIGGER trust_statement_begins BEFORE INSERT ON trust_statement
WHEN NEW.state <> 'open' OR EXISTS (SELECT 1 FROM trust_statement WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'trust_statement begins as open, once'); END;
CREATE TRIGGER trust_statement_no_delete BEFORE DELETE ON trust_statement
BEGIN SELECT RAISE(ABORT, 'trust_statement is never deleted'); END;
CREATE TRIGGER trust_statement_immutable BEFORE UPDATE ON trust_statement
WHEN NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.follows <> OLD.follows OR NEW.body <> OLD.body
  OR NEW.opened_by <> OLD.opened_by OR NEW.created_at <> OLD.created_at OR NEW.closes_at <> OLD.closes_at
  OR OLD.state NOT IN ('open', 'announced') OR (OLD.state = 'announced' AND NEW.state = 'open')
  OR (OLD.announced IS NOT NULL AND NEW.announced IS NOT OLD.announced)
  OR (OLD.effect IS NOT NULL AND NEW.effect IS NOT OLD.effect)
BEGIN SELECT RAISE(ABORT, 'trust_statement is immutable but for its end'); END;
CREATE TRIGGER trust_statement_signature_no_update BEFORE UPDATE ON trust_statement_signature
BEGIN SELECT RAISE(ABORT, 'trust_statement_signature is append-only'); END;
CREATE TRIGGER trust_statement_signature_no_delete BEFORE DELETE ON trust_statement_signature
BEGIN SELECT RAISE(ABORT, 'trust_statement_signature is append-only'); END;
CREATE TRIGGER trust_statement_signature_no_replace BEFORE INSERT ON trust_statement_signature
WHEN EXISTS (SELECT 1 FROM trust_statement_signature WHERE statement = NEW.statement
             AND purpose = NEW.purpose AND signature = NEW.signature)
BEGIN SELECT RAISE(ABORT, 'trust_statement_signature is append-only'); END;

-- Who waits for them is woken; who is suspended is read with roster and policy.
CREATE TRIGGER trust_statement_changed_by_insert AFTER INSERT ON trust_statement
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;
CREATE TRIGGER trust_statement_changed_by_update AFTER UPDATE ON trust_statement
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject IN ('ceremonies', 'trust'); END;
CREATE TRIGGER trust_statement_signature_changed_by_insert AFTER INSERT ON trust_statement_signature
BEGIN UPDATE version SET value = (SELECT size FROM log_head) WHERE subject = 'ceremonies'; END;

-- The leaf that tells of the installation: a ceremony under a roster was carried out before the next one.
ALTER TABLE trust_document ADD COLUMN idx INTEGER;

-- What is told of them is read off the log.
CREATE INDEX log_leaf_trust ON log_leaf (idx) WHERE kind IN ('roster', 'policy', 'suspension');
