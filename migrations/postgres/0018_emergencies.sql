-- Stops of signing: what a custodian or a member on call signed to stop a ring, or all of them. Rows keep what was signed
-- and its place in the line that it shares with resumes. Whether a ring is stopped is in the log alone. Never edit this
-- file once it has landed.

INSERT INTO signature_purpose (word) VALUES ('stop');

CREATE TABLE emergency_stop (
    -- SHA-256 of the body.
    id        TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 64),
    -- `stop/RING`, or `stop/*`.
    subject   TEXT NOT NULL CHECK (subject LIKE 'stop/_%'),
    seq       BIGINT NOT NULL CHECK (seq >= 1),
    body      BYTEA NOT NULL,
    signature TEXT NOT NULL,
    at        BIGINT NOT NULL,
    -- The leaf that tells of it.
    idx       BIGINT NOT NULL UNIQUE,
    UNIQUE (subject, seq)
);

CREATE TRIGGER emergency_stop_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON emergency_stop
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('emergency_stop is append-only');

-- Behind the program's own check: a place in a line is a stop's or a resume's.
CREATE FUNCTION chancery_stop_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM ceremony_line WHERE subject = NEW.subject AND seq >= NEW.seq AND done = 1) THEN
        RAISE EXCEPTION 'a resume has this place in the line' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER emergency_stop_place BEFORE INSERT ON emergency_stop
    FOR EACH ROW EXECUTE FUNCTION chancery_stop_place();

CREATE TRIGGER emergency_stop_changed AFTER INSERT ON emergency_stop
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_changed('ceremonies');

-- What may keep a ring from signing: asked in the transaction of each signature.
CREATE INDEX log_leaf_emergency ON log_leaf (kind, idx) WHERE kind = 'emergency';
-- An emergency rotation is a revocation that says until when it has to be ratified.
CREATE INDEX log_leaf_unratified ON log_leaf (((body::jsonb) ->> 'action'), idx)
    WHERE kind = 'key' AND ((body::jsonb) ->> 'until') IS NOT NULL;
