-- What people and other services are to be told, kept until they acknowledged it (ADR 53). No part of the trail: every
-- message tells of something that the log has. Never edit this file once it has landed.

-- One row. Acts of the log below `size` have their messages, and none from there on. What happened before this
-- migration is not told of.
CREATE TABLE outbox_told (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL CHECK (size >= 0)
) STRICT;
INSERT INTO outbox_told (id, size) SELECT 1, size FROM log_head;

-- `dedup` names what happened, so that it is told of once; `data` is JSON and holds no secret.
CREATE TABLE outbox_message (
    id         TEXT PRIMARY KEY,
    dedup      TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    data       TEXT NOT NULL CHECK (length(data) <= 16384),
    created_at INTEGER NOT NULL
) STRICT;
-- The oldest go first.
CREATE INDEX outbox_message_created ON outbox_message (created_at);

-- One for each message, receiver and, of a mail, person. `since` is when it began to wait.
CREATE TABLE outbox_delivery (
    message     TEXT NOT NULL REFERENCES outbox_message (id) ON DELETE CASCADE,
    receiver    TEXT NOT NULL,
    recipient   TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts    INTEGER NOT NULL CHECK (attempts >= 0),
    since       INTEGER NOT NULL,
    next_at     INTEGER NOT NULL,
    finished_at INTEGER CHECK ((finished_at IS NULL) = (state = 'waiting')),
    error       TEXT CHECK (length(error) <= 512),
    PRIMARY KEY (message, receiver, recipient)
) STRICT, WITHOUT ROWID;
-- What is due at a receiver, and how much waits for it.
CREATE INDEX outbox_delivery_due ON outbox_delivery (receiver, next_at, message, recipient) WHERE state = 'waiting';
-- The latest of each state, and what has waited longest.
CREATE INDEX outbox_delivery_state ON outbox_delivery (state, since, message);

-- What was not kept for a receiver because too much waited for it already.
CREATE TABLE outbox_receiver (
    name       TEXT PRIMARY KEY,
    dropped    INTEGER NOT NULL CHECK (dropped > 0),
    dropped_at INTEGER NOT NULL
) STRICT;

-- Conditions that hold, for receivers that are told of them again and again. `ended_at` is told until it is
-- acknowledged; then the row goes.
CREATE TABLE outbox_alert (
    receiver   TEXT NOT NULL,
    key        TEXT NOT NULL,
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    data       TEXT NOT NULL CHECK (length(data) <= 16384),
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    told_at    INTEGER,
    PRIMARY KEY (receiver, key)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER outbox_told_no_delete BEFORE DELETE ON outbox_told
BEGIN SELECT RAISE(ABORT, 'outbox_told is never deleted'); END;
CREATE TRIGGER outbox_told_no_replace BEFORE INSERT ON outbox_told
BEGIN SELECT RAISE(ABORT, 'outbox_told has one row'); END;
CREATE TRIGGER outbox_told_grows BEFORE UPDATE ON outbox_told
WHEN NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.size > (SELECT size FROM log_head)
BEGIN SELECT RAISE(ABORT, 'outbox_told only grows'); END;
-- What was acknowledged is not sent again.
CREATE TRIGGER outbox_delivery_is_over BEFORE UPDATE ON outbox_delivery WHEN OLD.state = 'delivered'
BEGIN SELECT RAISE(ABORT, 'a delivery that was acknowledged is over'); END;
