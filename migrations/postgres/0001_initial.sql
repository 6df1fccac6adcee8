-- The database keeps and orders; it also refuses half states, so that a defect above it, or a hand
-- in it, meets a constraint and not a wrong signature. Never edit this file once it has landed.
--
-- Instants are milliseconds since the Unix epoch, digests lower-case hex, flags 0 or 1.
--
-- The owner of these tables migrates; the service may run as another role, which then can neither
-- drop a trigger nor change the past: deploy/postgres/roles.sql.

-- Words that will grow are rows, so that a later migration adds one and changes no table. States of
-- our own machines are code, and stand where they are used.
CREATE TABLE leaf_kind (word TEXT PRIMARY KEY);
INSERT INTO leaf_kind (word) VALUES
    ('sign'), ('key'), ('ring'), ('ceremony'), ('roster'), ('access'), ('refusal'), ('refusals'),
    ('admin'), ('log'), ('sealed-tree'), ('certificate'), ('data-key'), ('secret-read'), ('order'),
    ('rotation'), ('emergency'), ('policy'), ('alert'), ('suspension');
CREATE TABLE operation (word TEXT PRIMARY KEY);
INSERT INTO operation (word) VALUES
    ('generate'), ('destroy'), ('revoke'), ('roster'), ('policy'), ('order'), ('order-withdrawal'),
    ('stop'), ('resume'), ('emergency-rotation'), ('ratification'), ('suspension'),
    ('recovery-roster'), ('veto'), ('ca-certificate'), ('tenant-deletion'), ('kek-disable'),
    ('kek-destroy'), ('clock-correction'), ('new-origin'), ('ring-migration'), ('relocation'),
    ('decryption-exception'), ('rotation-policy'), ('issuer-set');
CREATE TABLE algorithm (word TEXT PRIMARY KEY);
INSERT INTO algorithm (word) VALUES
    ('ES256'), ('ES384'), ('PS256'), ('RS256'), ('Ed25519'), ('A256KW');
CREATE TABLE key_spec (word TEXT PRIMARY KEY);
INSERT INTO key_spec (word) VALUES
    ('P-256'), ('P-384'), ('RSA-2048'), ('RSA-3072'), ('RSA-4096'), ('Ed25519'), ('AES-256');
CREATE TABLE usage (word TEXT PRIMARY KEY);
INSERT INTO usage (word) VALUES
    ('structured'), ('raw'), ('sealed'), ('certificates'), ('log'), ('wrap');
CREATE TABLE location_kind (word TEXT PRIMARY KEY);
INSERT INTO location_kind (word) VALUES ('pkcs11'), ('key-vault');
CREATE TABLE credential_kind (word TEXT PRIMARY KEY);
INSERT INTO credential_kind (word) VALUES ('access-token'), ('mtls-san');
CREATE TABLE revocation_reason (word TEXT PRIMARY KEY);
INSERT INTO revocation_reason (word) VALUES ('unspecified'), ('compromised'), ('superseded');
CREATE TABLE document_kind (word TEXT PRIMARY KEY);
INSERT INTO document_kind (word) VALUES ('genesis'), ('roster'), ('policy');
CREATE TABLE signature_purpose (word TEXT PRIMARY KEY);
INSERT INTO signature_purpose (word) VALUES
    ('propose'), ('approve'), ('reject'), ('cancel'), ('accept'), ('result'), ('suspend');

-- Whoever writes takes this row first. `size` is the next index of the log, so indexes are
-- contiguous and a revocation and a signature are strictly ordered. `version` rises with every
-- change that a replica's read model may have to see.
CREATE TABLE log_head (
    id      BIGINT PRIMARY KEY CHECK (id = 1),
    size    BIGINT NOT NULL CHECK (size >= 0),
    version BIGINT NOT NULL CHECK (version >= 0)
);
INSERT INTO log_head (id, size, version) VALUES (1, 0, 0);

-- `kind` is a word of `leaf_kind`: a trigger looks once for each statement, where a foreign key
-- would lock a row of that table for each leaf (docs/adr/0013).
CREATE TABLE log_leaf (
    idx      BIGINT PRIMARY KEY CHECK (idx >= 0),
    time     BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    ring     TEXT,
    kid      TEXT,
    sig_hash TEXT CHECK (length(sig_hash) = 64),
    body     TEXT NOT NULL CHECK (octet_length(body) <= 1024),
    CHECK (kind <> 'sign' OR (sig_hash IS NOT NULL AND kid IS NOT NULL AND ring IS NOT NULL))
);
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

-- Copies only: trust comes from walking the chain from the pinned genesis. `place` is the order of
-- the chain: the genesis has 0, and rosters and policies follow each other in one line.
CREATE TABLE trust_document (
    place   BIGINT PRIMARY KEY CHECK (place >= 0),
    kind    TEXT NOT NULL REFERENCES document_kind (word),
    version BIGINT NOT NULL CHECK (version >= 1),
    body    BYTEA NOT NULL,
    CHECK ((kind = 'genesis') = (place = 0)),
    CHECK (kind <> 'genesis' OR version = 1),
    UNIQUE (kind, version)
);

CREATE TABLE ring (
    name       TEXT PRIMARY KEY CHECK (name <> ''),
    algorithm  TEXT NOT NULL REFERENCES algorithm (word),
    key_spec   TEXT NOT NULL REFERENCES key_spec (word),
    -- A ring that signs bare digests never signs structures: a digest could be one of a structure.
    usage      TEXT NOT NULL REFERENCES usage (word),
    created_at BIGINT NOT NULL,
    version    BIGINT NOT NULL
);

CREATE TABLE ceremony (
    id         TEXT PRIMARY KEY CHECK (length(id) = 64),
    operation  TEXT NOT NULL REFERENCES operation (word),
    ring       TEXT REFERENCES ring (name),
    state      TEXT NOT NULL CHECK (state IN ('draft', 'proposed', 'approved', 'executing',
               'executed', 'closed', 'rejected', 'expired', 'cancelled', 'failed')),
    nonce      TEXT NOT NULL UNIQUE CHECK (length(nonce) = 32),
    request    BYTEA NOT NULL,
    execution  BYTEA,
    transcript BYTEA,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CHECK (operation <> 'generate' OR ring IS NOT NULL),
    CHECK ((state = 'closed') = (transcript IS NOT NULL)),
    CHECK (state <> 'executed' OR execution IS NOT NULL)
);

-- The places of a ceremony in the lines of its subjects. Many may be proposed as the next of a
-- subject; the first that is carried out is (`done`). One that is stuck half way holds no place: a
-- revocation must be possible just then.
CREATE TABLE ceremony_line (
    ceremony TEXT NOT NULL REFERENCES ceremony (id),
    subject  TEXT NOT NULL CHECK (subject <> ''),
    seq      BIGINT NOT NULL CHECK (seq >= 1),
    done     BIGINT NOT NULL CHECK (done IN (0, 1)),
    PRIMARY KEY (ceremony, subject)
);
CREATE UNIQUE INDEX ceremony_line_place ON ceremony_line (subject, seq) WHERE done = 1;

-- Each use of a standing order is taken once.
CREATE TABLE order_use (
    order_id   TEXT NOT NULL CHECK (length(order_id) = 32),
    use_number BIGINT NOT NULL CHECK (use_number >= 1),
    ceremony   TEXT NOT NULL UNIQUE REFERENCES ceremony (id),
    PRIMARY KEY (order_id, use_number)
);

CREATE TABLE ceremony_signature (
    ceremony    TEXT NOT NULL REFERENCES ceremony (id),
    purpose     TEXT NOT NULL REFERENCES signature_purpose (word),
    body        BYTEA NOT NULL,
    signature   TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    -- The leaf that tells of it, and with it the order in which they came.
    idx         BIGINT NOT NULL UNIQUE,
    UNIQUE (ceremony, purpose, signature)
);

-- Private halves and secret keys on devices. What a place or a location is made of is JSON of
-- `trust`; here stand only the words by which it is told from others.
CREATE TABLE key_object (
    id          TEXT PRIMARY KEY CHECK (id <> ''),
    kind        TEXT NOT NULL REFERENCES location_kind (word),
    device      TEXT NOT NULL,
    label       TEXT NOT NULL,
    place       TEXT NOT NULL,
    location    TEXT,
    ring        TEXT NOT NULL REFERENCES ring (name),
    number      BIGINT NOT NULL CHECK (number >= 1),
    ceremony    TEXT NOT NULL UNIQUE REFERENCES ceremony (id),
    state       TEXT NOT NULL CHECK (state IN
                ('intended', 'present', 'destroying', 'destroyed', 'abandoned')),
    kid         TEXT,
    -- The ceremony that destroys it, or last meant to.
    destruction TEXT REFERENCES ceremony (id),
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    CHECK (state NOT IN ('present', 'destroying') OR (kid IS NOT NULL AND location IS NOT NULL)),
    CHECK (state <> 'destroying' OR destruction IS NOT NULL)
);
CREATE UNIQUE INDEX key_object_label ON key_object (device, label)
    WHERE state IN ('intended', 'present', 'destroying');
-- A key may come to be on several devices, and is on each of them once.
CREATE UNIQUE INDEX key_object_kid ON key_object (kid, device)
    WHERE state IN ('present', 'destroying');
-- One birth on a device at a time.
CREATE UNIQUE INDEX key_object_unsettled ON key_object (device) WHERE state = 'intended';
CREATE UNIQUE INDEX key_object_number ON key_object (ring, number, device)
    WHERE state IN ('intended', 'present', 'destroying');
CREATE INDEX key_object_destruction ON key_object (destruction) WHERE destruction IS NOT NULL;

CREATE TABLE signing_key (
    kid               TEXT PRIMARY KEY CHECK (length(kid) = 43),
    ring              TEXT NOT NULL REFERENCES ring (name),
    number            BIGINT NOT NULL CHECK (number >= 1),
    state             TEXT NOT NULL CHECK (state IN
                      ('prepared', 'active', 'retired', 'archived', 'revoked')),
    role              TEXT CHECK (role IN ('primary', 'secondary')),
    spki              BYTEA NOT NULL UNIQUE,
    -- Where it was made.
    object            TEXT NOT NULL UNIQUE REFERENCES key_object (id),
    published_at      BIGINT NOT NULL,
    activate_at       BIGINT NOT NULL,
    retire_at         BIGINT NOT NULL,
    activated_at      BIGINT,
    demoted_at        BIGINT,
    retired_at        BIGINT,
    archived_at       BIGINT,
    revoked_at        BIGINT,
    revocation_reason TEXT REFERENCES revocation_reason (word),
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
    kind         TEXT NOT NULL REFERENCES credential_kind (word),
    value        TEXT NOT NULL,
    principal    TEXT NOT NULL,
    roles        TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    withdrawn_at BIGINT,
    CHECK (kind <> 'access-token' OR length(value) = 64),
    PRIMARY KEY (kind, value)
);

-- The Merkle log over `log_leaf`. Tiles stand as files or objects; the database holds only what
-- has to be swapped under a condition: how far the tree goes, and which checkpoints were signed.

-- One row. `size` and `root` change together, by compare-and-swap, and never backwards. `clock` is
-- the latest time of any leaf below `size`: no leaf at or above `size` existed before it.
-- `pruned` is the first index whose body has to be kept.
CREATE TABLE log_tree (
    id          BIGINT PRIMARY KEY CHECK (id = 1),
    size        BIGINT NOT NULL CHECK (size >= 0),
    root        TEXT NOT NULL CHECK (length(root) = 64),
    clock       BIGINT NOT NULL,
    origin      TEXT NOT NULL,
    holder      TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    pruned      BIGINT NOT NULL CHECK (pruned >= 0)
);
-- The root of the empty tree is the hash of nothing (RFC 6962 section 2.1).
INSERT INTO log_tree (id, size, root, clock, origin, holder, lease_until, pruned) VALUES
    (1, 0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 0, '', '', 0, 0);

-- Every checkpoint that was ever signed. `note` is the text with the log's own signature;
-- `cosignatures` are the witnesses' lines, added when they come.
CREATE TABLE log_checkpoint (
    size         BIGINT PRIMARY KEY CHECK (size >= 0),
    root         TEXT NOT NULL CHECK (length(root) = 64),
    time         BIGINT NOT NULL,
    clock        BIGINT NOT NULL,
    kid          TEXT NOT NULL REFERENCES signing_key (kid),
    note         TEXT NOT NULL,
    cosignatures TEXT NOT NULL
);

-- Where a signature stands in the log, by its hash. Hashes are random, so that each one written
-- with its leaf would cost a page of its own; here they come many at once, in order, after the
-- leaves (src/store/index.rs). Until then the leaves themselves are looked through.
-- `prefix`: the first eight bytes of the hash. The leaf says whether the rest is the same.
CREATE TABLE log_signature (
    prefix BYTEA NOT NULL CHECK (length(prefix) = 8),
    idx    BIGINT NOT NULL,
    PRIMARY KEY (prefix, idx)
);

-- One row. All signatures below `size` are in `log_signature`, and none from there on.
CREATE TABLE log_indexed (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL CHECK (size >= 0)
);
INSERT INTO log_indexed (id, size) VALUES (1, 0);
