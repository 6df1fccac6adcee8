-- Conditions that people are told of while they hold, each with its state: one row for a rule and a subject, however many
-- replicas look at once. Housekeeping writes what is seen; what a person does to one has its leaf. One that is over stays for a
-- limited time. Never edit this file once it has landed.

CREATE TABLE alert (
    -- `al_` and half of the SHA-256 of its name and subject.
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 35),
    -- A rule of the crate `calendar`.
    name            TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 40),
    subject         TEXT NOT NULL CHECK (length(subject) BETWEEN 1 AND 300),
    level           BIGINT NOT NULL CHECK (level BETWEEN 1 AND 3),
    detail          TEXT NOT NULL CHECK (length(detail) <= 1000),
    phase           TEXT NOT NULL CHECK (phase IN ('pending', 'firing', 'resolved')),
    -- Since when it is pending, or when it began to fire.
    since           BIGINT NOT NULL,
    -- Since when its condition does not hold, while it fires.
    clear_since     BIGINT CHECK (clear_since IS NULL OR phase = 'firing'),
    resolved_at     BIGINT CHECK ((resolved_at IS NULL) = (phase <> 'resolved')),
    acknowledged_at BIGINT,
    acknowledged_by TEXT CHECK ((acknowledged_by IS NULL) = (acknowledged_at IS NULL)),
    silenced_until  BIGINT,
    silenced_by     TEXT CHECK ((silenced_by IS NULL) = (silenced_until IS NULL)),
    -- How often it came back within a day.
    episode         BIGINT NOT NULL DEFAULT 0 CHECK (episode >= 0),
    -- Whether it is told together with others.
    together        BIGINT NOT NULL DEFAULT 0 CHECK (together IN (0, 1)),
    -- What is to be told of it and has no message yet, and which news of this row that is.
    news            TEXT,
    news_number     BIGINT NOT NULL DEFAULT 0,
    changed_at      BIGINT NOT NULL,
    -- Rises with each change: of two who saw the same one writes.
    version         BIGINT NOT NULL CHECK (version >= 1)
);
CREATE INDEX alert_open ON alert (id) WHERE resolved_at IS NULL;
CREATE INDEX alert_news ON alert (id) WHERE news IS NOT NULL;
CREATE INDEX alert_resolved ON alert (resolved_at, id) WHERE resolved_at IS NOT NULL;
CREATE INDEX alert_told_alone ON alert (name, id) WHERE phase = 'firing' AND together = 0;
CREATE INDEX alert_told_together ON alert (name, since) WHERE phase = 'firing' AND together = 1;
CREATE INDEX alert_since ON alert (since, id);
CREATE INDEX alert_open_since ON alert (since, id) WHERE resolved_at IS NULL;
CREATE INDEX alert_silenced ON alert (silenced_until) WHERE silenced_until IS NOT NULL;
