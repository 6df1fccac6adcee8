-- What members say about whom to trust: the next roster or policy and suspensions, from the first signature on until
-- there are enough. Copies only, like trust_document: each signature is verified again whenever it matters. Never edit
-- this file once it has landed.

CREATE TABLE statement_kind (word TEXT NOT NULL PRIMARY KEY);
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
    body       BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    closes_at  BIGINT NOT NULL CHECK (closes_at > created_at),
    updated_at BIGINT NOT NULL,
    -- Of a recovery: the leaf that announced it, and the one with which it took effect.
    announced  BIGINT,
    effect     BIGINT,
    CHECK (kind = 'recovery' OR (announced IS NULL AND effect IS NULL)),
    CHECK (effect IS NULL OR announced < effect),
    CHECK (state <> 'announced' OR announced IS NOT NULL)
);
CREATE INDEX trust_statement_open ON trust_statement (created_at, id) WHERE state IN ('open', 'announced');
CREATE INDEX trust_statement_created ON trust_statement (created_at, id);
CREATE INDEX trust_statement_suspends ON trust_statement (follows, id)
    WHERE kind = 'suspension' AND state = 'effective';

CREATE TABLE trust_statement_signature (
    statement   TEXT NOT NULL REFERENCES trust_statement (id),
    purpose     TEXT NOT NULL REFERENCES signature_purpose (word),
    body        BYTEA NOT NULL,
    signature   TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    -- The leaf that tells of it, and with it the order in which they came.
    idx         BIGINT NOT NULL UNIQUE,
    UNIQUE (statement, purpose, signature)
);

CREATE TRIGGER trust_statement_begins BEFORE INSERT ON trust_statement FOR EACH ROW
WHEN (NEW.state <> 'open')
EXECUTE FUNCTION chancery_refuse('trust_statement begins as open, once');
CREATE TRIGGER trust_statement_no_delete BEFORE DELETE OR TRUNCATE ON trust_statement
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('trust_statement is never deleted');
CREATE TRIGGER trust_statement_immutable BEFORE UPDATE ON trust_statement FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.follows <> OLD.follows OR NEW.body <> OLD.body
  OR NEW.opened_by <> OLD.opened_by OR NEW.created_at <> OLD.created_at OR NEW.closes_at <> OLD.closes_at
  OR OLD.state NOT IN ('open', 'announced') OR (OLD.state = 'announced' AND NEW.state = 'open')
  OR (OLD.announced IS NOT NULL AND NEW.announced IS DISTINCT FROM OLD.announced)
  OR (OLD.effect IS NOT NULL AND NEW.effect IS DISTINCT FROM OLD.effect))
EXECUTE FUNCTION chancery_refuse('trust_statement is immutable but for its end');
CREATE TRIGGER trust_statement_signature_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON trust_statement_signature
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('trust_statement_signature is append-only');

-- Who waits for them is woken; who is suspended is read with roster and policy.
CREATE TRIGGER trust_statement_changed AFTER INSERT OR UPDATE ON trust_statement
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('ceremonies');
CREATE TRIGGER trust_statement_ended AFTER UPDATE ON trust_statement
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('trust');
CREATE TRIGGER trust_statement_signature_changed AFTER INSERT ON trust_statement_signature
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('ceremonies');

-- The leaf that tells of the installation: a ceremony under a roster was carried out before the next one.
ALTER TABLE trust_document ADD COLUMN idx BIGINT;

-- What is told of them is read off the log.
CREATE INDEX log_leaf_trust ON log_leaf (idx) WHERE kind IN ('roster', 'policy', 'suspension');
