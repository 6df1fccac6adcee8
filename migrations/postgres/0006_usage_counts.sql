-- How much each key has signed, counted behind the leaves and in bulk, so that the blast radius of a key
-- costs no more for what it ever signed. Never edit this file once it has landed.

-- By day of UTC.
CREATE TABLE log_key_day (
    kid         TEXT NOT NULL,
    day         BIGINT NOT NULL,
    signatures  BIGINT NOT NULL CHECK (signatures > 0),
    first_index BIGINT NOT NULL CHECK (first_index >= 0),
    last_index  BIGINT NOT NULL CHECK (last_index >= first_index),
    first_time  BIGINT NOT NULL,
    last_time   BIGINT NOT NULL CHECK (last_time >= first_time),
    PRIMARY KEY (kid, day)
);

-- The same by day and by block of 4 096 indexes: of the day that a question begins in, the blocks after
-- its instant are added, and the few that it falls into are counted leaf by leaf.
CREATE TABLE log_key_block (
    kid         TEXT NOT NULL,
    day         BIGINT NOT NULL,
    block       BIGINT NOT NULL CHECK (block >= 0),
    signatures  BIGINT NOT NULL CHECK (signatures > 0),
    first_index BIGINT NOT NULL CHECK (first_index >= 0),
    last_index  BIGINT NOT NULL CHECK (last_index >= first_index),
    first_time  BIGINT NOT NULL,
    last_time   BIGINT NOT NULL CHECK (last_time >= first_time),
    PRIMARY KEY (kid, day, block)
);

-- One row. All signatures below `size` are counted, and none from there on.
CREATE TABLE log_counted (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL CHECK (size >= 0)
);
INSERT INTO log_counted (id, size) VALUES (1, 0);

CREATE TRIGGER log_key_day_no_delete BEFORE DELETE OR TRUNCATE ON log_key_day
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_key_day is never deleted');
CREATE TRIGGER log_key_day_grows BEFORE UPDATE ON log_key_day FOR EACH ROW
WHEN (NEW.kid <> OLD.kid OR NEW.day <> OLD.day OR NEW.signatures <= OLD.signatures
    OR NEW.first_index <> OLD.first_index OR NEW.last_index <= OLD.last_index
    OR NEW.first_time > OLD.first_time OR NEW.last_time < OLD.last_time)
EXECUTE FUNCTION chancery_refuse('log_key_day only grows');
CREATE TRIGGER log_key_block_no_delete BEFORE DELETE OR TRUNCATE ON log_key_block
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_key_block is never deleted');
CREATE TRIGGER log_key_block_grows BEFORE UPDATE ON log_key_block FOR EACH ROW
WHEN (NEW.kid <> OLD.kid OR NEW.day <> OLD.day OR NEW.block <> OLD.block
    OR NEW.signatures <= OLD.signatures
    OR NEW.first_index <> OLD.first_index OR NEW.last_index <= OLD.last_index
    OR NEW.first_time > OLD.first_time OR NEW.last_time < OLD.last_time)
EXECUTE FUNCTION chancery_refuse('log_key_block only grows');
CREATE TRIGGER log_counted_one_row BEFORE INSERT OR DELETE OR TRUNCATE ON log_counted
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('log_counted has one row');
CREATE FUNCTION chancery_counted_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.size > (SELECT size FROM log_head) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'log_counted only grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_counted_grows BEFORE UPDATE ON log_counted
    FOR EACH ROW EXECUTE FUNCTION chancery_counted_grows();
