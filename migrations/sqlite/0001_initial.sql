-- The database keeps and orders; it also refuses half states, so that a defect above it, or a hand
-- in it, meets a constraint and not a wrong signature. Never edit this file once it has landed.
--
-- Instants are milliseconds since the Unix epoch, digests lower-case hex, flags 0 or 1.

-- Words that will grow are rows, so that a later migration adds one and changes no table. States of
-- our own machines are code, and stand where they are used.
CREATE TABLE leaf_kind (word TEXT NOT NULL PRIMARY KEY) STRICT;
INSERT INTO leaf_kind (word) VALUES
    ('sign'), ('key'), ('ring'), ('ceremony'), ('roster'), ('access'), ('refusal'), ('refusals'),
    ('admin'), ('log'), ('sealed-tree'), ('certificate'), ('data-key'), ('secret-read'), ('order'),
    ('rotation'), ('emergency'), ('policy'), ('alert'), ('suspension');
CREATE TABLE operation (word TEXT NOT NULL PRIMARY KEY) STRICT;
INSERT INTO operation (word) VALUES
    ('generate'), ('destroy'), ('revoke'), ('roster'), ('policy'), ('order'), ('order-withdrawal'),
    ('stop'), ('resume'), ('emergency-rotation'), ('ratification'), ('suspension'),
    ('recovery-roster'), ('veto'), ('ca-certificate'), ('tenant-deletion'), ('kek-disable'),
    ('kek-destroy'), ('clock-correction'), ('new-origin'), ('ring-migration'), ('relocation'),
    ('decryption-exception'), ('rotation-policy'), ('issuer-set');
CREATE TABLE algorithm (word TEXT NOT NULL PRIMARY KEY) STRICT;
INSERT INTO algorithm (word) VALUES
    ('ES256'), ('ES384'), ('PS256'), ('RS256'), ('Ed25519'), ('A256KW');
CREATE TABLE key_spec (word TEXT NOT NULL PRIMARY KEY) STRICT;
INSERT INTO key_spec (word) VALUES
    ('P-256'), ('P-384'), ('RSA-2048'), ('RSA-3072'), ('RSA-4096'), ('Ed25519'), ('AES-256');
CREATE TABLE usage (word TEXT NOT NULL PRIMARY KEY) STRICT;
INSERT INTO usage (word) VALUES
    ('structured'), ('raw'), ('sealed'), ('certificates'), ('log'), ('wrap');
CREATE TABLE location_kind (word TEXT NOT NULL PRIMARY KEY) STRICT;
INSERT INTO location_kind (word) VALUES ('pkcs11'), ('key-vault');
CREATE TABLE credential_kind (word TEXT NOT NULL PRIMARY KEY) STRICT;
INSERT INTO credential_kind (word) VALUES ('access-token'), ('mtls-san');
CREATE TABLE revocation_reason (word TEXT NOT NULL PRIMARY KEY) STRICT;
INSERT INTO revocation_reason (word) VALUES ('unspecified'), ('compromised'), ('superseded');
CREATE TABLE document_kind (word TEXT NOT NULL PRIMARY KEY) STRICT;
INSERT INTO document_kind (word) VALUES ('genesis'), ('roster'), ('policy');
CREATE TABLE signature_purpose (word TEXT NOT NULL PRIMARY KEY) STRICT;
INSERT INTO signature_purpose (word) VALUES
    ('propose'), ('approve'), ('reject'), ('cancel'), ('accept'), ('result'), ('suspend');

-- Whoever writes takes this row first. `size` is the next index of the log, so indexes are
-- contiguous and a revocation and a signature are strictly ordered. `version` rises with every
-- change that a replica's read model may have to see.
CREATE TABLE log_head (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    size    INTEGER NOT NULL CHECK (size >= 0),
    version INTEGER NOT NULL CHECK (version >= 0)
) STRICT;
INSERT INTO log_head (id, size, version) VALUES (1, 0, 0);

CREATE TABLE log_leaf (
    idx      INTEGER PRIMARY KEY CHECK (idx >= 0),
    time     INTEGER NOT NULL,
    kind     TEXT NOT NULL REFERENCES leaf_kind (word),
    ring     TEXT,
    kid      TEXT,
    sig_hash TEXT CHECK (length(sig_hash) = 64),
    body     TEXT NOT NULL CHECK (octet_length(body) <= 1024),
    CHECK (kind <> 'sign' OR (sig_hash IS NOT NULL AND kid IS NOT NULL AND ring IS NOT NULL))
) STRICT;
CREATE INDEX log_leaf_kid ON log_leaf (kid, idx) WHERE kid IS NOT NULL;
CREATE INDEX log_leaf_act ON log_leaf (idx) WHERE kind <> 'sign';

-- The first answer to a request. Pruned after its time, so it is no part of the trail.
CREATE TABLE idempotency (
    principal    TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    response     TEXT NOT NULL,
    idx          INTEGER NOT NULL,
    time         INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT;
CREATE INDEX idempotency_time ON idempotency (time);

-- Copies only: trust comes from walking the chain from the pinned genesis. `place` is the order of
-- the chain: the genesis has 0, and rosters and policies follow each other in one line.
CREATE TABLE trust_document (
    place   INTEGER PRIMARY KEY CHECK (place >= 0),
    kind    TEXT NOT NULL REFERENCES document_kind (word),
    version INTEGER NOT NULL CHECK (version >= 1),
    body    BLOB NOT NULL,
    CHECK ((kind = 'genesis') = (place = 0)),
    CHECK (kind <> 'genesis' OR version = 1),
    UNIQUE (kind, version)
) STRICT;

CREATE TABLE ring (
    name       TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
    algorithm  TEXT NOT NULL REFERENCES algorithm (word),
    key_spec   TEXT NOT NULL REFERENCES key_spec (word),
    -- A ring that signs bare digests never signs structures: a digest could be one of a structure.
    usage      TEXT NOT NULL REFERENCES usage (word),
    created_at INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT;

CREATE TABLE ceremony (
    id         TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 64),
    operation  TEXT NOT NULL REFERENCES operation (word),
    ring       TEXT REFERENCES ring (name),
    state      TEXT NOT NULL CHECK (state IN ('draft', 'proposed', 'approved', 'executing',
               'executed', 'closed', 'rejected', 'expired', 'cancelled', 'failed')),
    nonce      TEXT NOT NULL UNIQUE CHECK (length(nonce) = 32),
    request    BLOB NOT NULL,
    execution  BLOB,
    transcript BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CHECK (operation <> 'generate' OR ring IS NOT NULL),
    CHECK ((state = 'closed') = (transcript IS NOT NULL)),
    CHECK (state <> 'executed' OR execution IS NOT NULL)
) STRICT;

-- The places of a ceremony in the lines of its subjects. Many may be proposed as the next of a
-- subject; the first that is carried out is (`done`). One that is stuck half way holds no place: a
-- revocation must be possible just then.
CREATE TABLE ceremony_line (
    ceremony TEXT NOT NULL REFERENCES ceremony (id),
    subject  TEXT NOT NULL CHECK (subject <> ''),
    seq      INTEGER NOT NULL CHECK (seq >= 1),
    done     INTEGER NOT NULL CHECK (done IN (0, 1)),
    PRIMARY KEY (ceremony, subject)
) STRICT;
CREATE UNIQUE INDEX ceremony_line_place ON ceremony_line (subject, seq) WHERE done = 1;

-- Each use of a standing order is taken once.
CREATE TABLE order_use (
    order_id   TEXT NOT NULL CHECK (length(order_id) = 32),
    use_number INTEGER NOT NULL CHECK (use_number >= 1),
    ceremony   TEXT NOT NULL UNIQUE REFERENCES ceremony (id),
    PRIMARY KEY (order_id, use_number)
) STRICT;

CREATE TABLE ceremony_signature (
    ceremony    TEXT NOT NULL REFERENCES ceremony (id),
    purpose     TEXT NOT NULL REFERENCES signature_purpose (word),
    body        BLOB NOT NULL,
    signature   TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    -- The leaf that tells of it, and with it the order in which they came.
    idx         INTEGER NOT NULL UNIQUE,
    UNIQUE (ceremony, purpose, signature)
) STRICT;

-- Private halves and secret keys on devices. What a place or a location is made of is JSON of
-- `trust`; here stand only the words by which it is told from others.
CREATE TABLE key_object (
    id          TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
    kind        TEXT NOT NULL REFERENCES location_kind (word),
    device      TEXT NOT NULL,
    label       TEXT NOT NULL,
    place       TEXT NOT NULL,
    location    TEXT,
    ring        TEXT NOT NULL REFERENCES ring (name),
    number      INTEGER NOT NULL CHECK (number >= 1),
    ceremony    TEXT NOT NULL UNIQUE REFERENCES ceremony (id),
    state       TEXT NOT NULL CHECK (state IN
                ('intended', 'present', 'destroying', 'destroyed', 'abandoned')),
    kid         TEXT,
    -- The ceremony that destroys it, or last meant to.
    destruction TEXT REFERENCES ceremony (id),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    CHECK (state NOT IN ('present', 'destroying') OR (kid IS NOT NULL AND location IS NOT NULL)),
    CHECK (state <> 'destroying' OR destruction IS NOT NULL)
) STRICT;
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
    kid               TEXT NOT NULL PRIMARY KEY CHECK (length(kid) = 43),
    ring              TEXT NOT NULL REFERENCES ring (name),
    number            INTEGER NOT NULL CHECK (number >= 1),
    state             TEXT NOT NULL CHECK (state IN
                      ('prepared', 'active', 'retired', 'archived', 'revoked')),
    role              TEXT CHECK (role IN ('primary', 'secondary')),
    spki              BLOB NOT NULL UNIQUE,
    -- Where it was made.
    object            TEXT NOT NULL UNIQUE REFERENCES key_object (id),
    published_at      INTEGER NOT NULL,
    activate_at       INTEGER NOT NULL,
    retire_at         INTEGER NOT NULL,
    activated_at      INTEGER,
    demoted_at        INTEGER,
    retired_at        INTEGER,
    archived_at       INTEGER,
    revoked_at        INTEGER,
    revocation_reason TEXT REFERENCES revocation_reason (word),
    compromised_since INTEGER,
    ceremony          TEXT NOT NULL UNIQUE REFERENCES ceremony (id),
    UNIQUE (ring, number),
    CHECK ((state = 'active') = (role IS NOT NULL)),
    CHECK (state <> 'active' OR activated_at IS NOT NULL),
    CHECK (state NOT IN ('retired', 'archived') OR retired_at IS NOT NULL),
    CHECK (state <> 'archived' OR archived_at IS NOT NULL),
    CHECK ((state = 'revoked') = (revoked_at IS NOT NULL)),
    CHECK ((state = 'revoked') = (revocation_reason IS NOT NULL)),
    CHECK (compromised_since IS NULL OR COALESCE(revocation_reason, '') = 'compromised')
) STRICT;
CREATE UNIQUE INDEX signing_key_one_primary ON signing_key (ring) WHERE role = 'primary';

CREATE TABLE credential (
    kind         TEXT NOT NULL REFERENCES credential_kind (word),
    value        TEXT NOT NULL,
    principal    TEXT NOT NULL,
    roles        TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    withdrawn_at INTEGER,
    CHECK (kind <> 'access-token' OR length(value) = 64),
    PRIMARY KEY (kind, value)
) STRICT;

-- The Merkle log over `log_leaf`. Tiles stand as files or objects; the database holds only what
-- has to be swapped under a condition: how far the tree goes, and which checkpoints were signed.

-- One row. `size` and `root` change together, by compare-and-swap, and never backwards. `clock` is
-- the latest time of any leaf below `size`: no leaf at or above `size` existed before it.
-- `pruned` is the first index whose body has to be kept.
CREATE TABLE log_tree (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    size        INTEGER NOT NULL CHECK (size >= 0),
    root        TEXT NOT NULL CHECK (length(root) = 64),
    clock       INTEGER NOT NULL,
    origin      TEXT NOT NULL,
    holder      TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    pruned      INTEGER NOT NULL CHECK (pruned >= 0)
) STRICT;
-- The root of the empty tree is the hash of nothing (RFC 6962 section 2.1).
INSERT INTO log_tree (id, size, root, clock, origin, holder, lease_until, pruned) VALUES
    (1, 0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 0, '', '', 0, 0);

-- Every checkpoint that was ever signed. `note` is the text with the log's own signature;
-- `cosignatures` are the witnesses' lines, added when they come.
CREATE TABLE log_checkpoint (
    size         INTEGER PRIMARY KEY CHECK (size >= 0),
    root         TEXT NOT NULL CHECK (length(root) = 64),
    time         INTEGER NOT NULL,
    clock        INTEGER NOT NULL,
    kid          TEXT NOT NULL REFERENCES signing_key (kid),
    note         TEXT NOT NULL,
    cosignatures TEXT NOT NULL
) STRICT;

-- Where a signature stands in the log, by its hash. Hashes are random, so that each one written
-- with its leaf would cost a page of its own; here they come many at once, in order, after the
-- leaves (src/store/index.rs). Until then the leaves themselves are looked through.
-- `prefix`: the first eight bytes of the hash. The leaf says whether the rest is the same.
CREATE TABLE log_signature (
    prefix BLOB NOT NULL CHECK (length(prefix) = 8),
    idx    INTEGER NOT NULL,
    PRIMARY KEY (prefix, idx)
) STRICT, WITHOUT ROWID;

-- One row. All signatures below `size` are in `log_signature`, and none from there on.
CREATE TABLE log_indexed (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL CHECK (size >= 0)
) STRICT;
INSERT INTO log_indexed (id, size) VALUES (1, 0);
