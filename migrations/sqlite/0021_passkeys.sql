-- What is kept of passkeys beside the roster, which names them: how often each has signed, and what came with its
-- registration. Neither is part of the trail: signatures are verified and counted without it. Never edit this file once
-- it has landed.

-- One row for each credential of a roster that ever signed here.
CREATE TABLE passkey_counter (
    -- The credential's id, base64url.
    credential TEXT NOT NULL PRIMARY KEY CHECK (length(credential) BETWEEN 22 AND 1364),
    -- As the authenticator counts; 0 where it does not.
    sign_count INTEGER NOT NULL CHECK (sign_count BETWEEN 0 AND 4294967295)
) STRICT, WITHOUT ROWID;

-- Of the key that an assertion over the next roster proved.
CREATE TABLE passkey_attestation (
    statement  TEXT NOT NULL REFERENCES trust_statement (id),
    credential TEXT NOT NULL CHECK (length(credential) BETWEEN 22 AND 1364),
    -- The attestation object, CBOR.
    attestation BLOB NOT NULL CHECK (length(attestation) <= 16384),
    PRIMARY KEY (statement, credential)
) STRICT;
CREATE TRIGGER passkey_attestation_no_update BEFORE UPDATE ON passkey_attestation
BEGIN SELECT RAISE(ABORT, 'passkey_attestation is append-only'); END;
CREATE TRIGGER passkey_attestation_no_delete BEFORE DELETE ON passkey_attestation
BEGIN SELECT RAISE(ABORT, 'passkey_attestation is append-only'); END;
CREATE TRIGGER passkey_attestation_no_replace BEFORE INSERT ON passkey_attestation
WHEN EXISTS (SELECT 1 FROM passkey_attestation
             WHERE statement = NEW.statement AND credential = NEW.credential)
BEGIN SELECT RAISE(ABORT, 'passkey_attestation is append-only'); END;

-- A counter that goes back is what tells of a copy of the key.
CREATE TRIGGER passkey_counter_rises BEFORE UPDATE ON passkey_counter
WHEN NEW.credential <> OLD.credential OR NEW.sign_count < OLD.sign_count
BEGIN SELECT RAISE(ABORT, 'passkey_counter never goes back'); END;
CREATE TRIGGER passkey_counter_no_delete BEFORE DELETE ON passkey_counter
BEGIN SELECT RAISE(ABORT, 'passkey_counter is never deleted'); END;
-- Only a lower one: an upsert begins as an insert of the row that is there.
CREATE TRIGGER passkey_counter_no_replace BEFORE INSERT ON passkey_counter
WHEN EXISTS (SELECT 1 FROM passkey_counter
             WHERE credential = NEW.credential AND sign_count > NEW.sign_count)
BEGIN SELECT RAISE(ABORT, 'passkey_counter never goes back'); END;
