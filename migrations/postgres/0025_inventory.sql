-- What there is that rotates, and by which rules: classes of assets with their policies, assets whose values somebody else
-- keeps, what is said of a ring beside its keys, and one view over all of them. Nothing here permits anything: whether a key
-- may be made is the quorum's (ADR 55). Never edit this file once it has landed.

-- Classes of assets. The sixteen that every installation begins with are described in the program
-- (crates/calendar/src/key_type.rs); one that an installation added has its description here.
CREATE TABLE key_type (
    word     TEXT NOT NULL PRIMARY KEY CHECK (length(word) BETWEEN 1 AND 40),
    -- Canonical JSON.
    document TEXT CHECK (length(document) <= 4096),
    added_at BIGINT,
    added_by TEXT,
    CHECK ((document IS NULL) = (added_at IS NULL)),
    CHECK ((document IS NULL) = (added_by IS NULL))
);
INSERT INTO key_type (word) VALUES
    ('master_encryption'), ('data_encryption'), ('signing'), ('jwt_signing'),
    ('api_signature'), ('token_encryption'), ('database_encryption'), ('file_encryption'),
    ('session_encryption'), ('tls_certificate'), ('mesh_certificate'), ('client_certificate'),
    ('database_credential'), ('service_bus_key'), ('api_key'), ('webhook_secret');

-- Where a value is.
CREATE TABLE asset_storage (word TEXT NOT NULL PRIMARY KEY);
INSERT INTO asset_storage (word) VALUES ('hsm'), ('wrapped'), ('files'), ('mesh'), ('issued');

-- The rules of a class, version by version. The figures that a class begins with are version 1 and have no row.
CREATE TABLE rotation_policy (
    key_type   TEXT NOT NULL REFERENCES key_type (word),
    version    BIGINT NOT NULL CHECK (version >= 2),
    -- Canonical JSON.
    document   TEXT NOT NULL CHECK (length(document) <= 16384),
    reason     TEXT NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    changed_by TEXT NOT NULL CHECK (changed_by <> ''),
    changed_at BIGINT NOT NULL,
    -- The leaf that tells of it.
    idx        BIGINT NOT NULL UNIQUE,
    PRIMARY KEY (key_type, version)
);

-- Keys, secrets and certificates whose values somebody else keeps. One that is out of use is retired and never deleted.
CREATE TABLE external_asset (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) <= 200 AND id LIKE 'external/%'),
    key_type      TEXT NOT NULL REFERENCES key_type (word),
    purpose       TEXT NOT NULL CHECK (length(purpose) <= 200),
    -- Who answers for it, if not the team of its class's policy.
    owner         TEXT CHECK (length(owner) BETWEEN 1 AND 40),
    storage       TEXT NOT NULL REFERENCES asset_storage (word),
    -- An object of texts, canonical JSON.
    labels        TEXT NOT NULL CHECK (length(labels) <= 4096),
    registered_at BIGINT NOT NULL,
    registered_by TEXT NOT NULL CHECK (registered_by <> ''),
    changed_at    BIGINT NOT NULL,
    retired_at    BIGINT
);
CREATE INDEX external_asset_of_type ON external_asset (key_type, id);
-- What is not out of use, however much is.
CREATE INDEX external_asset_in_use ON external_asset (id) WHERE retired_at IS NULL;
CREATE INDEX external_asset_of_type_in_use ON external_asset (key_type, id) WHERE retired_at IS NULL;

CREATE TABLE external_version (
    asset       TEXT COLLATE "C" NOT NULL REFERENCES external_asset (id),
    number      BIGINT NOT NULL CHECK (number BETWEEN 1 AND 4294967295),
    state       TEXT NOT NULL CHECK (state IN
                ('prepared', 'primary', 'secondary', 'retired', 'archived', 'revoked')),
    -- Since when it has this state.
    since       BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    -- When it became the primary.
    rotated_at  BIGINT,
    -- When it ends by itself.
    expires_at  BIGINT CHECK (expires_at > created_at),
    reported_at BIGINT NOT NULL,
    reported_by TEXT NOT NULL CHECK (reported_by <> ''),
    PRIMARY KEY (asset, number),
    CHECK (state <> 'primary' OR rotated_at IS NOT NULL)
);
CREATE UNIQUE INDEX external_version_one_primary ON external_version (asset) WHERE state = 'primary';
-- What is used or about to be: of each asset few, however often it rotated.
CREATE INDEX external_version_in_use ON external_version (asset, number)
    WHERE state IN ('prepared', 'primary', 'secondary');
-- What rotated longest ago.
CREATE INDEX external_version_rotated ON external_version (rotated_at, asset) WHERE state = 'primary';
-- A rotation that is reported is known by its asset and its time, whatever became of its version since.
CREATE UNIQUE INDEX external_version_reported ON external_version (asset, rotated_at);

-- What is said of a ring beside its keys. One without a row has the class of its usage.
CREATE TABLE ring_asset (
    ring       TEXT NOT NULL PRIMARY KEY REFERENCES ring (name),
    key_type   TEXT NOT NULL REFERENCES key_type (word),
    purpose    TEXT NOT NULL CHECK (length(purpose) <= 200),
    owner      TEXT CHECK (length(owner) BETWEEN 1 AND 40),
    labels     TEXT NOT NULL CHECK (length(labels) <= 4096),
    changed_at BIGINT NOT NULL,
    changed_by TEXT NOT NULL CHECK (changed_by <> '')
);

-- All that rotates, a row for each asset; `version` is the primary, or the newest where none is, and of what is out of use
-- `rotated_at` and `expires_at` are those of that one. A further kind (data keys,
-- secrets, certificates) joins by a migration of its own: it drops the view and creates it anew with one more
-- `UNION ALL SELECT`, whose first column is `kind/name[/scope]` and has an index, so that a page costs the same however many
-- assets there are. A scalar subquery looks at one row of an index; a join or an aggregate would read all rows for a page,
-- and so would columns whose types differ, which is why some are cast (SQLite: restriction 25 of its query flattener).
CREATE VIEW inventory (asset, kind, key_type, owner, state, storage, algorithm, version, created_at, rotated_at,
    expires_at, purpose, labels, changed_at, retired_at) AS
SELECT id, 'external', key_type, owner,
    CASE WHEN retired_at IS NOT NULL THEN 'retired'
        WHEN (SELECT number FROM external_version WHERE asset = id AND state = 'primary') IS NOT NULL THEN 'active'
        WHEN (SELECT state FROM external_version WHERE asset = id ORDER BY number DESC LIMIT 1) = 'revoked' THEN 'revoked'
        ELSE 'prepared' END,
    storage, CAST(NULL AS TEXT),
    COALESCE((SELECT number FROM external_version WHERE asset = id AND state = 'primary'),
        (SELECT number FROM external_version WHERE asset = id ORDER BY number DESC LIMIT 1), 0),
    registered_at,
    CASE WHEN retired_at IS NULL
        THEN (SELECT rotated_at FROM external_version WHERE asset = id AND state = 'primary')
        ELSE (SELECT rotated_at FROM external_version WHERE asset = id ORDER BY number DESC LIMIT 1) END,
    CASE WHEN retired_at IS NULL
        THEN (SELECT expires_at FROM external_version WHERE asset = id AND state = 'primary')
        ELSE (SELECT expires_at FROM external_version WHERE asset = id ORDER BY number DESC LIMIT 1) END,
    purpose, labels, changed_at, retired_at
FROM external_asset
UNION ALL
SELECT ('signing/' || ring.name) COLLATE "C", 'signing',
    CAST(COALESCE(told.key_type, CASE ring.usage WHEN 'wrap' THEN 'master_encryption' ELSE 'signing' END) AS TEXT),
    told.owner,
    CASE WHEN (SELECT number FROM signing_key AS k WHERE k.ring = ring.name AND role = 'primary') IS NOT NULL THEN 'active'
        WHEN (SELECT state FROM signing_key AS k WHERE k.ring = ring.name ORDER BY number DESC LIMIT 1) = 'revoked' THEN 'revoked'
        ELSE 'prepared' END,
    CAST('hsm' AS TEXT), ring.algorithm,
    COALESCE((SELECT number FROM signing_key AS k WHERE k.ring = ring.name AND role = 'primary'),
        (SELECT number FROM signing_key AS k WHERE k.ring = ring.name ORDER BY number DESC LIMIT 1), 0),
    ring.created_at,
    (SELECT activated_at FROM signing_key AS k WHERE k.ring = ring.name AND role = 'primary'),
    CAST(NULL AS BIGINT), CAST(COALESCE(told.purpose, '') AS TEXT), CAST(COALESCE(told.labels, '{}') AS TEXT),
    told.changed_at, CAST(NULL AS BIGINT)
FROM ring LEFT JOIN ring_asset AS told ON told.ring = ring.name;

CREATE TRIGGER key_type_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON key_type
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('key_type is append-only');

CREATE TRIGGER rotation_policy_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rotation_policy
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('rotation_policy is append-only');
-- Versions follow each other without a gap.
CREATE FUNCTION chancery_rotation_policy_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version <> (SELECT COALESCE(MAX(version), 1) + 1 FROM rotation_policy WHERE key_type = NEW.key_type) THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',
            MESSAGE = 'rotation_policy is append-only';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rotation_policy_follows BEFORE INSERT ON rotation_policy
    FOR EACH ROW EXECUTE FUNCTION chancery_rotation_policy_follows();

CREATE TRIGGER external_asset_no_delete BEFORE DELETE OR TRUNCATE ON external_asset
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('external_asset is never deleted');
CREATE TRIGGER external_asset_immutable BEFORE UPDATE ON external_asset FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.registered_at <> OLD.registered_at OR NEW.registered_by <> OLD.registered_by
  OR OLD.retired_at IS NOT NULL)
EXECUTE FUNCTION chancery_refuse('external_asset is immutable but for its description, and once retired as a whole');

CREATE TRIGGER external_version_no_delete BEFORE DELETE OR TRUNCATE ON external_version
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('external_version is never deleted');
CREATE TRIGGER external_version_immutable BEFORE UPDATE ON external_version FOR EACH ROW
WHEN (NEW.asset <> OLD.asset OR NEW.number <> OLD.number OR NEW.created_at <> OLD.created_at
  OR NEW.reported_at <> OLD.reported_at OR NEW.reported_by <> OLD.reported_by
  OR (OLD.rotated_at IS NOT NULL AND NEW.rotated_at IS DISTINCT FROM OLD.rotated_at)
  OR (OLD.expires_at IS NOT NULL AND NEW.expires_at IS DISTINCT FROM OLD.expires_at)
  OR (OLD.state = 'revoked' AND NEW.state <> 'revoked'))
EXECUTE FUNCTION chancery_refuse('external_version is immutable but for its state');

CREATE TRIGGER ring_asset_no_delete BEFORE DELETE OR TRUNCATE ON ring_asset
    FOR EACH STATEMENT EXECUTE FUNCTION chancery_refuse('ring_asset is never deleted');
