-- The index of signatures in parts, each of 2 097 152 leaves: hashes are random, so what is added touches every page of
-- the part that is being filled, and no page of those before it. So it costs the same however long the log is.
-- Never edit this file once it has landed.

CREATE TABLE log_signature_part (
    part   BIGINT NOT NULL,
    prefix BYTEA NOT NULL CHECK (length(prefix) = 8),
    idx    BIGINT NOT NULL CHECK (idx / 2097152 = part),
    PRIMARY KEY (part, prefix, idx)
);
INSERT INTO log_signature_part (part, prefix, idx)
    SELECT idx / 2097152, prefix, idx FROM log_signature ORDER BY 1, 2, 3;
DROP TABLE log_signature;

CREATE TRIGGER log_signature_part_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log_signature_part
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_signature_part is append-only');
