-- Who hears of an alert that nobody looks after, reports of compromised keys, what is told to the outside, and the weekly digest.
-- Never edit this file once it has landed.

-- Since when it counts, how many of the four levels are to know of it, and how many of them have their message.
ALTER TABLE alert ADD COLUMN escalates_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE alert ADD COLUMN escalated BIGINT NOT NULL DEFAULT 0 CHECK (escalated BETWEEN 0 AND 4);
ALTER TABLE alert ADD COLUMN escalated_told BIGINT NOT NULL DEFAULT 0 CHECK (escalated_told BETWEEN 0 AND 4);
UPDATE alert SET escalates_since = since;
CREATE INDEX alert_escalation ON alert (id) WHERE escalated > escalated_told AND phase = 'firing';

-- A named principal says that somebody else may have a key. It is open until a person dismisses it or declares the emergency; each
-- report and each decision has its leaf.
CREATE TABLE compromise_report (
    -- `cr_` and half of the SHA-256 of the principal and the name that they gave it.
    id                TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 35),
    principal         TEXT NOT NULL CHECK (length(principal) BETWEEN 1 AND 300),
    report            TEXT NOT NULL CHECK (length(report) BETWEEN 1 AND 100),
    asset             TEXT NOT NULL CHECK (length(asset) BETWEEN 1 AND 300),
    key_type          TEXT NOT NULL CHECK (length(key_type) BETWEEN 1 AND 64),
    kid               TEXT CHECK (length(kid) BETWEEN 1 AND 100),
    source            TEXT NOT NULL CHECK (length(source) BETWEEN 1 AND 100),
    reason            TEXT NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    evidence          TEXT CHECK (length(evidence) BETWEEN 1 AND 2000),
    compromised_since BIGINT,
    received_at       BIGINT NOT NULL,
    -- Counted from the epoch, for the bound per principal.
    day               BIGINT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('open', 'dismissed', 'declared')),
    decided_at        BIGINT CHECK ((decided_at IS NULL) = (state = 'open')),
    decided_by        TEXT CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    decision          TEXT CHECK ((decision IS NULL) = (decided_at IS NULL)),
    -- The rotation that was declared; none where the key was revoked already.
    rotation          TEXT CHECK (rotation IS NULL OR state = 'declared')
);
CREATE INDEX compromise_report_day ON compromise_report (principal, day);
CREATE INDEX compromise_report_received ON compromise_report (received_at, id);
CREATE INDEX compromise_report_open ON compromise_report (received_at, id) WHERE state = 'open';
CREATE INDEX compromise_report_open_of ON compromise_report (principal) WHERE state = 'open';
CREATE TRIGGER compromise_report_no_delete BEFORE DELETE OR TRUNCATE ON compromise_report
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('a report is never deleted');
CREATE TRIGGER compromise_report_is_decided BEFORE UPDATE ON compromise_report FOR EACH ROW
WHEN (OLD.state <> 'open')
EXECUTE FUNCTION chancery_refuse('a report that was decided is over');

-- Whether an audience outside is told of an incident, as a person decided. Each has its leaf.
CREATE TABLE notice (
    -- `no_` and half of the SHA-256 of incident, audience and decision.
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 35),
    incident   TEXT NOT NULL CHECK (length(incident) BETWEEN 1 AND 100),
    audience   TEXT NOT NULL CHECK (length(audience) BETWEEN 1 AND 40),
    decision   TEXT NOT NULL CHECK (decision IN ('notify', 'do-not-notify')),
    reason     TEXT NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    -- What is sent, as JSON.
    body       TEXT NOT NULL CHECK (length(body) <= 8000),
    decided_at BIGINT NOT NULL,
    decided_by TEXT NOT NULL CHECK (length(decided_by) BETWEEN 1 AND 300),
    UNIQUE (incident, audience, decision)
);
CREATE INDEX notice_decided ON notice (decided_at, id);
CREATE INDEX log_leaf_notice ON log_leaf (idx) WHERE kind = 'alert' AND substr(body, 1, 18) = '{"action":"notify"';
CREATE TRIGGER notice_no_delete BEFORE DELETE OR TRUNCATE ON notice
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('a notice is never deleted');
CREATE TRIGGER notice_no_update BEFORE UPDATE ON notice
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('a notice is never changed');

-- What happened in a week, one for each slot, whichever replica made it.
CREATE TABLE weekly_digest (
    slot    BIGINT NOT NULL PRIMARY KEY,
    -- Its lines, as JSON.
    body    TEXT NOT NULL CHECK (length(body) <= 14000),
    made_at BIGINT NOT NULL,
    -- Whether it has its messages.
    told    BIGINT NOT NULL DEFAULT 0 CHECK (told IN (0, 1))
);
CREATE INDEX weekly_digest_untold ON weekly_digest (slot) WHERE told = 0;
