-- Rotations as they run, the jobs of the scheduler and what verifiers acknowledge (ADR 64). The log tells of the beginning,
-- the promotion and the end of each rotation; the rest of these rows is how far it is. Never edit this file once it has landed.

-- One rotation of one asset: its new version. `look_at` is when somebody looks at it next. Whoever runs it has the lease, by
-- the database's clock; each of its writes names the epoch of the lease. Words are those of the crate `calendar`.
CREATE TABLE rotation_event (
    id               TEXT PRIMARY KEY CHECK (length(id) = 39 AND substr(id, 1, 3) = 'kr_'),
    asset            TEXT NOT NULL CHECK (length(asset) <= 200),
    key_type         TEXT NOT NULL,
    version          INTEGER NOT NULL CHECK (version > 0),
    previous_version INTEGER,
    cause            TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN
        ('scheduled', 'running', 'waiting', 'done', 'failed', 'rolled-back', 'cancelled')),
    slot             INTEGER NOT NULL,
    due              INTEGER NOT NULL,
    consent          TEXT NOT NULL CHECK (consent IN ('automatic', 'order', 'ceremony')),
    order_id         TEXT,
    ceremony         TEXT,
    made             TEXT,
    published_at     INTEGER,
    promoted_at      INTEGER,
    retired_at       INTEGER,
    requested_by     TEXT NOT NULL,
    reason           TEXT,
    held             INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1)),
    cancel           INTEGER NOT NULL DEFAULT 0 CHECK (cancel IN (0, 1)),
    roll_back        INTEGER NOT NULL DEFAULT 0 CHECK (roll_back IN (0, 1)),
    waits            TEXT,
    detail           TEXT CHECK (length(detail) <= 2000),
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    ended_at         INTEGER CHECK ((ended_at IS NULL) = (state IN ('scheduled', 'running', 'waiting', 'failed'))),
    look_at          INTEGER NOT NULL,
    lease_owner      TEXT NOT NULL DEFAULT '' CHECK (length(lease_owner) <= 80),
    lease_epoch      INTEGER NOT NULL DEFAULT 0,
    lease_until      INTEGER NOT NULL DEFAULT 0
) STRICT;
-- A version is made by one rotation; one that came to nothing makes room for another.
CREATE UNIQUE INDEX rotation_event_version ON rotation_event (asset, version)
    WHERE state NOT IN ('cancelled', 'rolled-back');
CREATE INDEX rotation_event_due ON rotation_event (look_at, id) WHERE ended_at IS NULL;
CREATE INDEX rotation_event_open ON rotation_event (asset, version) WHERE ended_at IS NULL;
CREATE INDEX rotation_event_created ON rotation_event (created_at, id);
CREATE INDEX rotation_event_of_asset ON rotation_event (asset, created_at, id);
CREATE INDEX rotation_event_ended ON rotation_event (ended_at, id) WHERE ended_at IS NOT NULL;

-- An attempt at a step. One that has no end was begun by somebody who died, or is under way.
CREATE TABLE rotation_step (
    event      TEXT NOT NULL REFERENCES rotation_event (id),
    step       TEXT NOT NULL,
    attempt    INTEGER NOT NULL CHECK (attempt > 0),
    -- Among all attempts of the rotation, in the order in which they began.
    place      INTEGER NOT NULL CHECK (place > 0),
    started_at INTEGER NOT NULL,
    ended_at   INTEGER CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    outcome    TEXT CHECK (outcome IN ('done', 'transient', 'person', 'retried')),
    actor      TEXT NOT NULL,
    why        TEXT CHECK (length(why) <= 2000),
    evidence   TEXT CHECK (length(evidence) <= 8192),
    PRIMARY KEY (event, step, attempt)
) STRICT, WITHOUT ROWID;

-- What a person or a reporter says of a step that happens elsewhere.
CREATE TABLE rotation_report (
    event       TEXT NOT NULL REFERENCES rotation_event (id),
    step        TEXT NOT NULL,
    reported_at INTEGER NOT NULL,
    reported_by TEXT NOT NULL,
    evidence    TEXT NOT NULL CHECK (length(evidence) <= 8192),
    PRIMARY KEY (event, step)
) STRICT, WITHOUT ROWID;

-- One row: whether the scheduler is paused.
CREATE TABLE rotation_pause (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    paused_at INTEGER,
    paused_by TEXT,
    reason    TEXT
) STRICT;
INSERT INTO rotation_pause (id) VALUES (1);

CREATE TABLE job (
    name      TEXT PRIMARY KEY,
    cron      TEXT NOT NULL CHECK (length(cron) <= 100),
    paused    INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    last_slot INTEGER NOT NULL,
    catch_up  INTEGER NOT NULL CHECK (catch_up >= 0)
) STRICT;

-- A run of a job, for one slot; of a job one at a time.
CREATE TABLE job_run (
    job         TEXT NOT NULL REFERENCES job (name),
    slot        INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    missed      INTEGER NOT NULL CHECK (missed >= 0),
    lease_owner TEXT NOT NULL,
    lease_epoch INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER CHECK ((ended_at IS NULL) = (state = 'running')),
    summary     TEXT CHECK (length(summary) <= 16384),
    PRIMARY KEY (job, slot)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX job_run_open ON job_run (job) WHERE ended_at IS NULL;

-- Verifiers who say that they have a key.
CREATE TABLE propagation_ack (
    kid       TEXT NOT NULL CHECK (length(kid) <= 100),
    principal TEXT NOT NULL CHECK (length(principal) <= 200),
    at        INTEGER NOT NULL,
    PRIMARY KEY (kid, principal)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER rotation_event_no_delete BEFORE DELETE ON rotation_event
BEGIN SELECT RAISE(ABORT, 'rotation_event is never deleted'); END;
CREATE TRIGGER rotation_event_immutable BEFORE UPDATE ON rotation_event
WHEN NEW.id <> OLD.id OR NEW.asset <> OLD.asset OR NEW.created_at <> OLD.created_at
    OR NEW.requested_by <> OLD.requested_by OR NEW.lease_epoch < OLD.lease_epoch
BEGIN SELECT RAISE(ABORT, 'what a rotation was made with is immutable'); END;
CREATE TRIGGER rotation_event_is_over BEFORE UPDATE ON rotation_event WHEN OLD.ended_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a rotation that ended is over'); END;
CREATE TRIGGER rotation_step_no_delete BEFORE DELETE ON rotation_step
BEGIN SELECT RAISE(ABORT, 'rotation_step is never deleted'); END;
CREATE TRIGGER rotation_step_done BEFORE UPDATE ON rotation_step WHEN OLD.outcome IN ('done', 'retried')
BEGIN SELECT RAISE(ABORT, 'a step that is done stays done'); END;
CREATE TRIGGER rotation_pause_no_delete BEFORE DELETE ON rotation_pause
BEGIN SELECT RAISE(ABORT, 'rotation_pause is never deleted'); END;
