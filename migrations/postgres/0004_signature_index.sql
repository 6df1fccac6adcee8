-- Where a signature stands in the log, by its hash. Hashes are random, so that each one written
-- with its leaf costs a page of its own; here they come many at once, in order, after the leaves
-- (src/store/index.rs). Until then the leaves themselves are looked through.
--
-- Grants beside those of 0001 and 0003, for a service that does not own its tables:
--   GRANT INSERT ON log_signature TO chancery_service;
--   GRANT UPDATE ON log_indexed TO chancery_service;

DROP INDEX log_leaf_sig_hash;

-- `prefix`: the first eight bytes of the hash. The leaf says whether the rest is the same.
CREATE TABLE log_signature (
    prefix BYTEA NOT NULL CHECK (length(prefix) = 8),
    idx    BIGINT NOT NULL,
    PRIMARY KEY (prefix, idx)
);

-- One row. All signatures below `size` are in `log_signature`, and none from there on.
CREATE TABLE log_indexed (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL CHECK (size >= 0)
);
INSERT INTO log_indexed (id, size) VALUES (1, 0);

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
