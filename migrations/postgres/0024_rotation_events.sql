-- Rotations as they run, the jobs of the scheduler and what verifiers acknowledge (ADR 64). The log tells of the beginning,
-- the promotion and the end of each rotation; the rest of these rows is how far it is. Never edit this file once it has landed.

-- One rotation of one asset: its new version. `look_at` is when somebody looks at it next. Whoever runs it has the lease, by
-- the database's clock; each of its writes names the epoch of the lease. Words are those of the crate `calendar`.
CREATE TABLE rotation_event (
    id               TEXT PRIMARY KEY CHECK (length(id) = 39 AND substr(id, 1, 3) = 'kr_'),
    asset            TEXT NOT NULL CHECK (length(asset) <= 200),
    key_type         TEXT NOT NULL,
    version          BIGINT NOT NULL CHECK (version > 0),
    previous_version BIGINT,
    cause            TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN
        ('scheduled', 'running', 'waiting', 'done', 'failed', 'rolled-back', 'cancelled')),
    slot             BIGINT NOT NULL,
    due              BIGINT NOT NULL,
    consent          TEXT NOT NULL CHECK (consent IN ('automatic', 'order', 'ceremony')),
    order_id         TEXT,
    ceremony         TEXT,
    made             TEXT,
    published_at     BIGINT,
    promoted_at      BIGINT,
    retired_at       BIGINT,
    requested_by     TEXT NOT NULL,
    reason           TEXT,
    held             BIGINT NOT NULL DEFAULT 0 CHECK (held IN (0, 1)),
    cancel           BIGINT NOT NULL DEFAULT 0 CHECK (cancel IN (0, 1)),
    roll_back        BIGINT NOT NULL DEFAULT 0 CHECK (roll_back IN (0, 1)),
    waits            TEXT,
    detail           TEXT CHECK (length(detail) <= 2000),
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    ended_at         BIGINT CHECK ((ended_at IS NULL) = (state IN ('scheduled', 'running', 'waiting', 'failed'))),
    look_at          BIGINT NOT NULL,
    lease_owner      TEXT NOT NULL DEFAULT '' CHECK (length(lease_owner) <= 80),
    lease_epoch      BIGINT NOT NULL DEFAULT 0,
    lease_until      BIGINT NOT NULL DEFAULT 0
);
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
    attempt    BIGINT NOT NULL CHECK (attempt > 0),
    -- Among all attempts of the rotation, in the order in which they began.
    place      BIGINT NOT NULL CHECK (place > 0),
    started_at BIGINT NOT NULL,
    ended_at   BIGINT CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    outcome    TEXT CHECK (outcome IN ('done', 'transient', 'person', 'retried')),
    actor      TEXT NOT NULL,
    why        TEXT CHECK (length(why) <= 2000),
    evidence   TEXT CHECK (length(evidence) <= 8192),
    PRIMARY KEY (event, step, attempt)
);

-- What a person or a reporter says of a step that happens elsewhere.
CREATE TABLE rotation_report (
    event       TEXT NOT NULL REFERENCES rotation_event (id),
    step        TEXT NOT NULL,
    reported_at BIGINT NOT NULL,
    reported_by TEXT NOT NULL,
    evidence    TEXT NOT NULL CHECK (length(evidence) <= 8192),
    PRIMARY KEY (event, step)
);

-- One row: whether the scheduler is paused.
CREATE TABLE rotation_pause (
    id        BIGINT PRIMARY KEY CHECK (id = 1),
    paused_at BIGINT,
    paused_by TEXT,
    reason    TEXT
);
INSERT INTO rotation_pause (id) VALUES (1);

CREATE TABLE job (
    name      TEXT PRIMARY KEY,
    cron      TEXT NOT NULL CHECK (length(cron) <= 100),
    paused    BIGINT NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    last_slot BIGINT NOT NULL,
    catch_up  BIGINT NOT NULL CHECK (catch_up >= 0)
);

-- A run of a job, for one slot; of a job one at a time.
CREATE TABLE job_run (
    job         TEXT NOT NULL REFERENCES job (name),
    slot        BIGINT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    missed      BIGINT NOT NULL CHECK (missed >= 0),
    lease_owner TEXT NOT NULL,
    lease_epoch BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    started_at  BIGINT NOT NULL,
    ended_at    BIGINT CHECK ((ended_at IS NULL) = (state = 'running')),
    summary     TEXT CHECK (length(summary) <= 16384),
    PRIMARY KEY (job, slot)
);
CREATE UNIQUE INDEX job_run_open ON job_run (job) WHERE ended_at IS NULL;

-- Verifiers who say that they have a key.
CREATE TABLE propagation_ack (
    kid       TEXT NOT NULL CHECK (length(kid) <= 100),
    principal TEXT NOT NULL CHECK (length(principal) <= 200),
    at        BIGINT NOT NULL,
    PRIMARY KEY (kid, principal)
);

CREATE TRIGGER rotation_event_no_delete BEFORE DELETE OR TRUNCATE ON rotation_event
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('rotation_event is never deleted');
CREATE TRIGGER rotation_event_immutable BEFORE UPDATE ON rotation_event FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.asset <> OLD.asset OR NEW.created_at <> OLD.created_at
    OR NEW.requested_by <> OLD.requested_by OR NEW.lease_epoch < OLD.lease_epoch)
EXECUTE FUNCTION chancery_refuse('what a rotation was made with is immutable');
CREATE TRIGGER rotation_event_is_over BEFORE UPDATE ON rotation_event FOR EACH ROW
WHEN (OLD.ended_at IS NOT NULL)
EXECUTE FUNCTION chancery_refuse('a rotation that ended is over');
CREATE TRIGGER rotation_step_no_delete BEFORE DELETE OR TRUNCATE ON rotation_step
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('rotation_step is never deleted');
CREATE TRIGGER rotation_step_done BEFORE UPDATE ON rotation_step FOR EACH ROW
WHEN (OLD.outcome IN ('done', 'retried'))
EXECUTE FUNCTION chancery_refuse('a step that is done stays done');
CREATE TRIGGER rotation_pause_no_delete BEFORE DELETE OR TRUNCATE ON rotation_pause
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('rotation_pause is never deleted');
