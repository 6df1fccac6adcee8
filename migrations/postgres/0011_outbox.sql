-- What people and other services are to be told, kept until they acknowledged it (ADR 53). No part of the trail: every
-- message tells of something that the log has. Never edit this file once it has landed.

-- One row. Acts of the log below `size` have their messages, and none from there on. What happened before this
-- migration is not told of.
CREATE TABLE outbox_told (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL CHECK (size >= 0)
);
INSERT INTO outbox_told (id, size) SELECT 1, size FROM log_head;

-- `dedup` names what happened, so that it is told of once; `data` is JSON and holds no secret.
CREATE TABLE outbox_message (
    id         TEXT PRIMARY KEY,
    dedup      TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    data       TEXT NOT NULL CHECK (length(data) <= 16384),
    created_at BIGINT NOT NULL
);
-- The oldest go first.
CREATE INDEX outbox_message_created ON outbox_message (created_at);

-- One for each message, receiver and, of a mail, person. `since` is when it began to wait.
CREATE TABLE outbox_delivery (
    message     TEXT NOT NULL REFERENCES outbox_message (id) ON DELETE CASCADE,
    receiver    TEXT NOT NULL,
    recipient   TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts    BIGINT NOT NULL CHECK (attempts >= 0),
    since       BIGINT NOT NULL,
    next_at     BIGINT NOT NULL,
    finished_at BIGINT CHECK ((finished_at IS NULL) = (state = 'waiting')),
    error       TEXT CHECK (length(error) <= 512),
    PRIMARY KEY (message, receiver, recipient)
);
-- What is due at a receiver, and how much waits for it.
CREATE INDEX outbox_delivery_due ON outbox_delivery (receiver, next_at, message, recipient) WHERE state = 'waiting';
-- The latest of each state, and what has waited longest.
CREATE INDEX outbox_delivery_state ON outbox_delivery (state, since, message);

-- What was not kept for a receiver because too much waited for it already.
CREATE TABLE outbox_receiver (
    name       TEXT PRIMARY KEY,
    dropped    BIGINT NOT NULL CHECK (dropped > 0),
    dropped_at BIGINT NOT NULL
);

-- Conditions that hold, for receivers that are told of them again and again. `ended_at` is told until it is
-- acknowledged; then the row goes.
CREATE TABLE outbox_alert (
    receiver   TEXT NOT NULL,
    key        TEXT NOT NULL,
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    data       TEXT NOT NULL CHECK (length(data) <= 16384),
    started_at BIGINT NOT NULL,
    ended_at   BIGINT,
    told_at    BIGINT,
    PRIMARY KEY (receiver, key)
);

CREATE TRIGGER outbox_told_one_row BEFORE INSERT OR DELETE OR TRUNCATE ON outbox_told
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('outbox_told has one row');
CREATE FUNCTION chancery_told_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.size > (SELECT size FROM log_head) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'outbox_told only grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER outbox_told_grows BEFORE UPDATE ON outbox_told
    FOR EACH ROW EXECUTE FUNCTION chancery_told_grows();
-- What was acknowledged is not sent again.
CREATE TRIGGER outbox_delivery_is_over BEFORE UPDATE ON outbox_delivery FOR EACH ROW
    WHEN (OLD.state = 'delivered')
    EXECUTE FUNCTION chancery_refuse('a delivery that was acknowledged is over');
