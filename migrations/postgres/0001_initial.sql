-- The database keeps and orders; it also refuses half states, so that a defect above it, or a hand
-- in it, meets a constraint and not a wrong signature. Never edit this file once it has landed.
--
-- Instants are milliseconds since the Unix epoch, digests lower-case hex, flags 0 or 1.
--
-- The owner of these tables migrates; the service may run as another role, which then can neither
-- drop a trigger nor change the past:
--   GRANT SELECT ON ALL TABLES IN SCHEMA public TO chancery_service;
--   GRANT INSERT ON log_leaf, trust_document, ceremony_signature TO chancery_service;
--   GRANT INSERT, UPDATE ON ring, ceremony, token_object, signing_key, credential
--       TO chancery_service;
--   GRANT UPDATE ON log_head TO chancery_service;
--   GRANT INSERT, DELETE ON idempotency TO chancery_service;

-- Whoever writes takes this row first. `size` is the next index of the log, so indexes are
-- contiguous and a revocation and a signature are strictly ordered. `version` rises with every
-- change that a replica's read model may have to see.
CREATE TABLE log_head (
    id      BIGINT PRIMARY KEY CHECK (id = 1),
    size    BIGINT NOT NULL CHECK (size >= 0),
    version BIGINT NOT NULL CHECK (version >= 0)
);
INSERT INTO log_head (id, size, version) VALUES (1, 0, 0);

CREATE TABLE log_leaf (
    idx      BIGINT PRIMARY KEY CHECK (idx >= 0),
    time     BIGINT NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN
             ('sign', 'key', 'ring', 'ceremony', 'roster', 'access', 'refusal', 'admin')),
    ring     TEXT,
    kid      TEXT,
    sig_hash TEXT CHECK (length(sig_hash) = 64),
    body     TEXT NOT NULL CHECK (octet_length(body) <= 1024),
    CHECK ((kind = 'sign') = (sig_hash IS NOT NULL)),
    CHECK (kind <> 'sign' OR (kid IS NOT NULL AND ring IS NOT NULL))
);
-- The hashes fall all over this index, so what a signature costs here is the pages it touches:
-- twelve digits find one leaf in 2^48, and the index stays small.
CREATE INDEX log_leaf_sig_hash ON log_leaf (substr(sig_hash, 1, 12)) WHERE sig_hash IS NOT NULL;
CREATE INDEX log_leaf_kid ON log_leaf (kid, idx) WHERE kid IS NOT NULL;
CREATE INDEX log_leaf_act ON log_leaf (idx) WHERE kind <> 'sign';

-- The first answer to a request. Pruned after its time, so it is no part of the trail.
CREATE TABLE idempotency (
    principal    TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    response     TEXT NOT NULL,
    idx          BIGINT NOT NULL,
    time         BIGINT NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_time ON idempotency (time);

-- Copies only: trust comes from walking the chain from the pinned genesis.
CREATE TABLE trust_document (
    kind    TEXT NOT NULL CHECK (kind IN ('genesis', 'roster', 'policy')),
    version BIGINT NOT NULL CHECK (version >= 1),
    body    BYTEA NOT NULL,
    CHECK (kind <> 'genesis' OR version = 1),
    PRIMARY KEY (kind, version)
);

CREATE TABLE ring (
    name       TEXT PRIMARY KEY CHECK (name <> ''),
    algorithm  TEXT NOT NULL CHECK (algorithm IN ('ES256', 'ES384', 'PS256', 'RS256', 'Ed25519')),
    key_spec   TEXT NOT NULL CHECK (key_spec IN
               ('P-256', 'P-384', 'RSA-2048', 'RSA-3072', 'RSA-4096', 'Ed25519')),
    -- A ring that signs bare digests never signs structures: a digest could be one of a structure.
    usage      TEXT NOT NULL CHECK (usage IN ('structured', 'raw')),
    critical   BIGINT NOT NULL CHECK (critical IN (0, 1)),
    created_at BIGINT NOT NULL,
    version    BIGINT NOT NULL
);

CREATE TABLE ceremony (
    id         TEXT PRIMARY KEY CHECK (length(id) = 64),
    seq        BIGINT NOT NULL CHECK (seq >= 1),
    operation  TEXT NOT NULL CHECK (operation IN ('generate', 'destroy', 'revoke')),
    ring       TEXT NOT NULL REFERENCES ring (name),
    state      TEXT NOT NULL CHECK (state IN ('proposed', 'approved', 'executing', 'executed',
               'closed', 'rejected', 'expired', 'cancelled', 'failed')),
    request    BYTEA NOT NULL,
    execution  BYTEA,
    transcript BYTEA,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CHECK ((state = 'closed') = (transcript IS NOT NULL)),
    CHECK (state <> 'executed' OR execution IS NOT NULL)
);
-- Many may be proposed as the next ceremony; the first that is carried out is. One that is stuck
-- half way does not hold the number: a revocation must be possible just then.
CREATE UNIQUE INDEX ceremony_sequence ON ceremony (seq) WHERE state IN ('executed', 'closed');

CREATE TABLE ceremony_signature (
    ceremony    TEXT NOT NULL REFERENCES ceremony (id),
    purpose     TEXT NOT NULL CHECK (purpose IN ('approve', 'reject', 'accept')),
    body        BYTEA NOT NULL,
    signature   TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    -- The leaf that tells of it, and with it the order in which they came.
    idx         BIGINT NOT NULL UNIQUE,
    UNIQUE (ceremony, purpose, signature)
);

CREATE TABLE token_object (
    cka_id       TEXT PRIMARY KEY CHECK (length(cka_id) = 32),
    token_serial TEXT NOT NULL,
    token_label  TEXT NOT NULL,
    label        TEXT NOT NULL,
    ring         TEXT NOT NULL REFERENCES ring (name),
    number       BIGINT NOT NULL CHECK (number >= 1),
    ceremony     TEXT NOT NULL UNIQUE REFERENCES ceremony (id),
    state        TEXT NOT NULL CHECK (state IN
                 ('intended', 'present', 'destroying', 'destroyed', 'abandoned')),
    kid          TEXT UNIQUE,
    -- The ceremony that destroys it, or last meant to.
    destruction  TEXT UNIQUE REFERENCES ceremony (id),
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    CHECK (state NOT IN ('present', 'destroying') OR kid IS NOT NULL),
    CHECK (state <> 'destroying' OR destruction IS NOT NULL)
);
CREATE UNIQUE INDEX token_object_label ON token_object (token_serial, label)
    WHERE state IN ('intended', 'present', 'destroying');
-- One act on a token at a time.
CREATE UNIQUE INDEX token_object_unsettled ON token_object (token_serial)
    WHERE state IN ('intended', 'destroying');
CREATE UNIQUE INDEX token_object_number ON token_object (ring, number)
    WHERE state IN ('intended', 'present', 'destroying');

CREATE TABLE signing_key (
    kid               TEXT PRIMARY KEY CHECK (length(kid) = 43),
    ring              TEXT NOT NULL REFERENCES ring (name),
    number            BIGINT NOT NULL CHECK (number >= 1),
    state             TEXT NOT NULL CHECK (state IN
                      ('prepared', 'active', 'retired', 'archived', 'revoked')),
    role              TEXT CHECK (role IN ('primary', 'secondary')),
    spki              BYTEA NOT NULL UNIQUE,
    cka_id            TEXT NOT NULL UNIQUE REFERENCES token_object (cka_id),
    token_serial      TEXT NOT NULL,
    token_label       TEXT NOT NULL,
    published_at      BIGINT NOT NULL,
    activate_at       BIGINT NOT NULL,
    retire_at         BIGINT NOT NULL,
    activated_at      BIGINT,
    demoted_at        BIGINT,
    retired_at        BIGINT,
    archived_at       BIGINT,
    revoked_at        BIGINT,
    revocation_reason TEXT CHECK (revocation_reason IN ('unspecified', 'compromised', 'superseded')),
    compromised_since BIGINT,
    ceremony          TEXT NOT NULL UNIQUE REFERENCES ceremony (id),
    UNIQUE (ring, number),
    CHECK ((state = 'active') = (role IS NOT NULL)),
    CHECK (state <> 'active' OR activated_at IS NOT NULL),
    CHECK (state NOT IN ('retired', 'archived') OR retired_at IS NOT NULL),
    CHECK (state <> 'archived' OR archived_at IS NOT NULL),
    CHECK ((state = 'revoked') = (revoked_at IS NOT NULL)),
    CHECK ((state = 'revoked') = (revocation_reason IS NOT NULL)),
    CHECK (compromised_since IS NULL OR COALESCE(revocation_reason, '') = 'compromised')
);
CREATE UNIQUE INDEX signing_key_one_primary ON signing_key (ring) WHERE role = 'primary';

CREATE TABLE credential (
    kind         TEXT NOT NULL CHECK (kind IN ('access-token', 'mtls-san')),
    value        TEXT NOT NULL,
    principal    TEXT NOT NULL,
    roles        TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    withdrawn_at BIGINT,
    CHECK (kind <> 'access-token' OR length(value) = 64),
    PRIMARY KEY (kind, value)
);
