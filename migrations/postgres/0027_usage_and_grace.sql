-- How often each key signed in each hour, counted behind the leaves with the days (migration 6), and keys that have left the
-- key sets at the end of their grace (ADR 67). Never edit this file once it has landed.

-- By hour of UTC, for ninety days; `log_key_day` keeps the sums of each day.
CREATE TABLE log_key_hour (
    kid        TEXT NOT NULL,
    hour       BIGINT NOT NULL,
    signatures BIGINT NOT NULL CHECK (signatures > 0),
    PRIMARY KEY (kid, hour)
);
CREATE INDEX log_key_hour_old ON log_key_hour (hour, kid);

-- One row. Signatures below `since` were counted before there were hours.
CREATE TABLE log_hours (
    id    BIGINT PRIMARY KEY CHECK (id = 1),
    since BIGINT NOT NULL CHECK (since >= 0)
);
INSERT INTO log_hours (id, since) SELECT 1, size FROM log_counted;

CREATE TRIGGER log_key_hour_grows BEFORE UPDATE ON log_key_hour FOR EACH ROW
WHEN (NEW.kid <> OLD.kid OR NEW.hour <> OLD.hour OR NEW.signatures <= OLD.signatures)
EXECUTE FUNCTION chancery_refuse('log_key_hour only grows');
CREATE TRIGGER log_key_hour_no_truncate BEFORE TRUNCATE ON log_key_hour
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_key_hour is kept for ninety days');
CREATE FUNCTION chancery_hour_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.hour > (SELECT clock FROM log_head) / 3600000 - 2160 THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'log_key_hour is kept for ninety days';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER log_key_hour_kept BEFORE DELETE ON log_key_hour
    FOR EACH ROW EXECUTE FUNCTION chancery_hour_kept();
CREATE TRIGGER log_hours_immutable BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON log_hours
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_hours is immutable');

-- When it left the key sets: once, after its end, for good.
ALTER TABLE signing_key ADD COLUMN unpublished_at BIGINT;
CREATE INDEX signing_key_ended_published ON signing_key (ring, retired_at, number)
    WHERE retired_at IS NOT NULL AND revoked_at IS NULL AND unpublished_at IS NULL;
CREATE TRIGGER signing_key_begins_published BEFORE INSERT ON signing_key FOR EACH ROW
WHEN (NEW.unpublished_at IS NOT NULL)
EXECUTE FUNCTION chancery_refuse('signing_key begins in the key sets');
CREATE TRIGGER signing_key_unpublished BEFORE UPDATE ON signing_key FOR EACH ROW
WHEN (NEW.unpublished_at IS DISTINCT FROM OLD.unpublished_at AND (OLD.unpublished_at IS NOT NULL
    OR OLD.state NOT IN ('retired', 'archived') OR NEW.unpublished_at < OLD.retired_at))
EXECUTE FUNCTION chancery_refuse('a key leaves the key sets once, after its end');
-- Of those that are retired or archived so many have left the sets. With the rights of the owner of the schema, as the
-- other counts of keys.
CREATE FUNCTION chancery_key_unpublished() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.state = 'revoked' THEN
        EXECUTE format('UPDATE %I.key_count SET keys = keys - 1 WHERE ring = $1 AND state = ''unpublished'' AND keys > 0',
            TG_TABLE_SCHEMA) USING NEW.ring;
    ELSE
        EXECUTE format('INSERT INTO %I.key_count AS counted (ring, state, keys) VALUES ($1, ''unpublished'', 1)
            ON CONFLICT (ring, state) DO UPDATE SET keys = counted.keys + 1', TG_TABLE_SCHEMA) USING NEW.ring;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER key_count_unpublished AFTER UPDATE OF unpublished_at ON signing_key
    FOR EACH ROW WHEN (OLD.unpublished_at IS NULL AND NEW.unpublished_at IS NOT NULL)
    EXECUTE FUNCTION chancery_key_unpublished();
CREATE TRIGGER key_count_unpublished_revoked AFTER UPDATE OF state ON signing_key
    FOR EACH ROW WHEN (NEW.state = 'revoked' AND OLD.state <> 'revoked' AND NEW.unpublished_at IS NOT NULL)
    EXECUTE FUNCTION chancery_key_unpublished();
