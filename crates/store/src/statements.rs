//! The statements that both engines understand as they stand. A test prepares each of them on
//! each engine; together with the contract suite that stands in for checks at compile time.

/// Names the statements and lists them for that test.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$doc])* pub(super) const $name: &str = $sql;)*
        #[cfg(test)]
        pub(super) const ALL: &[&str] = &[$($name),*];
    };
}

macro_rules! key_columns {
    () => {
        "k.kid, k.ring, k.number, k.state, k.role, k.spki, k.object, o.location, k.published_at, \
         k.activate_at, k.retire_at, k.activated_at, k.demoted_at, k.retired_at, k.archived_at, \
         k.revoked_at, k.revocation_reason, k.compromised_since, k.ceremony"
    };
}
macro_rules! ceremony_columns {
    () => {
        "id, operation, ring, state, nonce, request, execution, transcript, created_at, updated_at"
    };
}
macro_rules! object_columns {
    () => {
        "id, kind, device, label, place, location, ring, number, ceremony, state, kid, destruction, \
         created_at, updated_at"
    };
}
macro_rules! checkpoint_columns {
    () => {
        "size, root, time, clock, kid, note, cosignatures"
    };
}
macro_rules! leaf_columns {
    () => {
        "idx, time, kind, ring, kid, sig_hash, body"
    };
}

statements! {
    // --- the log head: the first statement of every transaction that writes
    HEAD_SIGN = "UPDATE log_head SET size = size + $1 WHERE id = 1 RETURNING size";
    /// One leaf; `$1` is 1 where replicas have to look again.
    HEAD_CHANGE =
        "UPDATE log_head SET size = size + 1, version = version + $1 WHERE id = 1 RETURNING size";
    HEAD_SET = "UPDATE log_head SET size = $1 WHERE id = 1";
    LOG_SIZE = "SELECT size FROM log_head WHERE id = 1";
    VERSION = "SELECT version FROM log_head WHERE id = 1";

    // --- reading
    RINGS = "SELECT name, algorithm, key_spec, usage, created_at, version
        FROM ring ORDER BY name";
    KEYS = concat!("SELECT ", key_columns!(), " FROM signing_key k
        JOIN key_object o ON o.id = k.object ORDER BY k.ring, k.number");
    CEREMONIES = concat!("SELECT ", ceremony_columns!(), " FROM ceremony ORDER BY created_at, id");
    CEREMONY = concat!("SELECT ", ceremony_columns!(), " FROM ceremony WHERE id = $1");
    TRANSCRIPT = "SELECT transcript FROM ceremony WHERE id = $1";
    CEREMONY_SIGNATURES = "SELECT ceremony, purpose, body, signature, received_at
        FROM ceremony_signature WHERE ceremony = $1 ORDER BY idx";
    VOTES_OF = "SELECT ceremony, purpose, body, signature, received_at, idx
        FROM ceremony_signature WHERE ceremony = $1 ORDER BY idx";
    VOTES = "SELECT ceremony, purpose, body, signature, received_at, idx
        FROM ceremony_signature ORDER BY idx";
    /// The last ceremony of a line that was carried out.
    LINE_HEAD = "SELECT l.seq, l.ceremony, c.execution FROM ceremony_line l
        JOIN ceremony c ON c.id = l.ceremony
        WHERE l.subject = $1 AND l.done = 1 ORDER BY l.seq DESC LIMIT 1";
    NONCE_USED = "SELECT COUNT(*) FROM ceremony
        WHERE nonce = $1 AND id <> $2 AND state IN ('executed', 'closed')";
    DOCUMENTS = "SELECT place, kind, version, body FROM trust_document ORDER BY place";
    KEY_OBJECTS =
        concat!("SELECT ", object_columns!(), " FROM key_object ORDER BY ring, number, created_at");
    CREDENTIALS = "SELECT kind, value, principal, roles, created_at, expires_at, withdrawn_at
        FROM credential ORDER BY kind, principal, value";
    LEAF = concat!("SELECT ", leaf_columns!(), " FROM log_leaf WHERE idx = $1");
    LEAVES =
        concat!("SELECT ", leaf_columns!(), " FROM log_leaf WHERE idx >= $1 ORDER BY idx LIMIT $2");
    LEAVES_OF_KID = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kid = $1 AND idx >= $2 AND time >= $3 AND time <= $4 ORDER BY idx LIMIT $5");
    LEAVES_OF_RING = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE ring = $1 AND idx >= $2 AND time >= $3 AND time <= $4 ORDER BY idx LIMIT $5");
    /// Everything but signatures.
    LEAVES_OF_ACTS = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kind <> 'sign' AND idx >= $1 AND time >= $2 AND time <= $3 ORDER BY idx LIMIT $4");
    /// Acts that may tell of a key.
    LEAVES_OF_KEYS = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE kind <> 'sign' AND kind IN ('key', 'ceremony', 'log') AND idx >= $1
        ORDER BY idx LIMIT $2");
    LATEST_TIME = "SELECT MAX(time) FROM log_leaf WHERE idx >= $1 AND idx <= $2";
    LEAVES_OF_TIME = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE idx >= $1 AND time >= $2 AND time <= $3 ORDER BY idx LIMIT $4");
    LEAVES_OF_SEVERAL = concat!("SELECT ", leaf_columns!(), " FROM log_leaf
        WHERE (CAST($1 AS TEXT) IS NULL OR kid = $1) AND (CAST($2 AS TEXT) IS NULL OR ring = $2)
            AND ($3 = 0 OR kind <> 'sign')
            AND idx >= $4 AND time >= $5 AND time <= $6 ORDER BY idx LIMIT $7");
    ANSWER = "SELECT request_hash, response, idx, time FROM idempotency
        WHERE principal = $1 AND key = $2";
    FORGET_ANSWERS = "DELETE FROM idempotency WHERE time < $1";

    // --- the tree
    TREE = "SELECT size, root, clock, origin, holder, lease_until, pruned FROM log_tree
        WHERE id = 1";
    /// A lease that is a minute ahead of what anybody asks for is of a clock that ran ahead.
    LEASE = "UPDATE log_tree SET holder = $1, lease_until = $3
        WHERE id = 1 AND (holder = $1 OR lease_until <= $2 OR lease_until > $3 + 60000)";
    SWAP_TREE = "UPDATE log_tree SET size = $3, root = $4, clock = $5, origin = $6
        WHERE id = 1 AND size = $1 AND root = $2";
    INDEXED = "SELECT log_indexed.size, log_head.size FROM log_indexed CROSS JOIN log_head";
    HASHES = "SELECT idx, sig_hash FROM log_leaf
        WHERE idx >= $1 AND idx < $2 AND kind = 'sign' ORDER BY idx";
    MOVE_INDEXED = "UPDATE log_indexed SET size = $2 WHERE id = 1 AND size = $1";
    HEAD_LOCK = "UPDATE log_head SET size = size WHERE id = 1";
    CHECKPOINT =
        concat!("SELECT ", checkpoint_columns!(), " FROM log_checkpoint WHERE size = $1");
    LAST_CHECKPOINT = concat!("SELECT ", checkpoint_columns!(), " FROM log_checkpoint
        ORDER BY size DESC LIMIT 1");
    /// The first that covers a leaf.
    CHECKPOINT_OVER = concat!("SELECT ", checkpoint_columns!(), " FROM log_checkpoint
        WHERE size > $1 ORDER BY size LIMIT 1");
    /// The last that does not cover it.
    CHECKPOINT_BEFORE = concat!("SELECT ", checkpoint_columns!(), " FROM log_checkpoint
        WHERE size <= $1 ORDER BY size DESC LIMIT 1");
    CHECKPOINTS = concat!("SELECT ", checkpoint_columns!(), " FROM log_checkpoint
        WHERE size >= $1 ORDER BY size LIMIT $2");
    INSERT_CHECKPOINT = "INSERT INTO log_checkpoint
        (size, root, time, clock, kid, note, cosignatures) VALUES ($1, $2, $3, $4, $5, $6, '')";
    COSIGN = "UPDATE log_checkpoint SET cosignatures = $3 WHERE size = $1 AND cosignatures = $2";
    FIRST_BODY = "SELECT idx FROM log_leaf WHERE kind = 'sign' AND body <> ''
        ORDER BY idx LIMIT 1";
    PRUNE_MARK = "UPDATE log_tree SET pruned = $1
        WHERE id = 1 AND pruned < $1 AND size >= $1";
    PRUNE = "UPDATE log_leaf SET body = ''
        WHERE idx >= $1 AND idx < $2 AND kind = 'sign' AND body <> ''";

    // --- documents, rings, credentials
    LAST_DOCUMENT = "SELECT COALESCE(MAX(version), 0) FROM trust_document WHERE kind = $1";
    NEXT_DOCUMENT = "SELECT COALESCE(MAX(place) + 1, 0) FROM trust_document";
    INSERT_DOCUMENT =
        "INSERT INTO trust_document (place, kind, version, body) VALUES ($1, $2, $3, $4)";
    INSERT_RING = "INSERT INTO ring
        (name, algorithm, key_spec, usage, created_at, version)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING";
    RING_VERSION = "SELECT version FROM ring WHERE name = $1";
    TOUCH_RING = "UPDATE ring SET version = version + 1 WHERE name = $1";
    /// A name of a certificate may be granted again once withdrawn; a token never comes back.
    GRANT_CREDENTIAL = "INSERT INTO credential
        (kind, value, principal, roles, created_at, expires_at, withdrawn_at)
        VALUES ($1, $2, $3, $4, $5, $6, NULL)
        ON CONFLICT (kind, value) DO UPDATE SET principal = excluded.principal,
            roles = excluded.roles, created_at = excluded.created_at,
            expires_at = excluded.expires_at, withdrawn_at = NULL
        WHERE credential.kind = 'mtls-san' AND credential.withdrawn_at IS NOT NULL";
    WITHDRAW_CREDENTIAL = "UPDATE credential SET withdrawn_at = $3
        WHERE kind = $1 AND value = $2 AND withdrawn_at IS NULL";
    CREDENTIAL_EXISTS = "SELECT 1 FROM credential WHERE kind = $1 AND value = $2";

    // --- ceremonies
    LAST_OF_LINE = "SELECT COALESCE(MAX(seq), 0) FROM ceremony_line
        WHERE subject = $1 AND done = 1";
    LINES = "SELECT subject, seq FROM ceremony_line WHERE ceremony = $1 ORDER BY subject";
    INSERT_LINE = "INSERT INTO ceremony_line (ceremony, subject, seq, done)
        VALUES ($1, $2, $3, 0)";
    LINES_DONE = "UPDATE ceremony_line SET done = 1 WHERE ceremony = $1 AND done = 0";
    /// A ceremony that was given up gives its places back.
    LINES_BACK = "UPDATE ceremony_line SET done = 0 WHERE ceremony = $1 AND done = 1";
    INSERT_ORDER_USE = "INSERT INTO order_use (order_id, use_number, ceremony)
        VALUES ($1, $2, $3)";
    /// Acts on a device under way by other ceremonies than this one.
    UNSETTLED = "SELECT COUNT(*) FROM key_object WHERE device = $1
        AND (state = 'intended' OR (state = 'destroying' AND destruction <> $2))";
    REJECTED = "SELECT COUNT(*) FROM ceremony_signature
        WHERE ceremony = $1 AND purpose IN ('reject', 'cancel')";
    INSERT_CEREMONY = "INSERT INTO ceremony
        (id, operation, ring, state, nonce, request, created_at, updated_at)
        VALUES ($1, $2, $3, 'proposed', $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    INSERT_CEREMONY_SIGNATURE = "INSERT INTO ceremony_signature
        (ceremony, purpose, body, signature, received_at, idx)
        VALUES ($1, $2, $3, $4, $5, $6)";
    CEREMONY_STATE = "SELECT operation, ring, state FROM ceremony WHERE id = $1";
    MOVE_CEREMONY = "UPDATE ceremony SET state = $3, updated_at = $4 WHERE id = $1 AND state = $2";
    EXECUTED = "UPDATE ceremony SET state = 'executed', execution = $3, updated_at = $4
        WHERE id = $1 AND state = $2";
    CLOSE = "UPDATE ceremony SET state = 'closed', transcript = $2, updated_at = $3
        WHERE id = $1 AND state = 'executed'";
    /// A ceremony that has ended otherwise already stays as it is.
    FAIL = "UPDATE ceremony SET state = 'failed', updated_at = $2
        WHERE id = $1 AND state IN ('approved', 'executing', 'executed')";

    // --- objects on devices
    INSERT_OBJECT = "INSERT INTO key_object
        (id, kind, device, label, place, ring, number, ceremony, state, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'intended', $9, $10)";
    OBJECT = concat!("SELECT ", object_columns!(), " FROM key_object WHERE id = $1");
    OBJECT_PRESENT = "UPDATE key_object
        SET state = 'present', kid = $2, location = $3, updated_at = $4
        WHERE id = $1 AND state = 'intended'";
    OBJECT_DESTROYING = "UPDATE key_object
        SET state = 'destroying', destruction = $2, updated_at = $3
        WHERE id = $1 AND state = 'present'";
    /// Objects of a destruction that are not gone.
    LEFT_TO_DESTROY = "SELECT COUNT(*) FROM key_object
        WHERE destruction = $1 AND state <> 'destroyed'";
    MOVE_OBJECT = "UPDATE key_object SET state = $3, updated_at = $4
        WHERE id = $1 AND state = $2";

    // --- keys
    KEY_OF_OBJECT = "SELECT kid, ring, state, archived_at FROM signing_key WHERE object = $1";
    KEY_NUMBERED = "SELECT kid FROM signing_key WHERE ring = $1 AND number = $2";
    KEY_STATE = "SELECT ring, state, role FROM signing_key WHERE kid = $1";
    PRIMARY = "SELECT kid FROM signing_key WHERE ring = $1 AND role = 'primary'";
    INSERT_KEY = "INSERT INTO signing_key
        (kid, ring, number, state, spki, object, published_at, activate_at, retire_at, ceremony)
        VALUES ($1, $2, $3, 'prepared', $4, $5, $6, $7, $8, $9)";
    DEMOTE = "UPDATE signing_key SET role = 'secondary', demoted_at = $3
        WHERE kid = $1 AND ring = $2 AND role = 'primary'";
    /// After a roll-back it is as if it had never been demoted.
    PROMOTE = "UPDATE signing_key SET state = 'active', role = 'primary',
            activated_at = COALESCE(activated_at, $3), demoted_at = NULL
        WHERE kid = $1 AND ring = $2 AND (state = 'prepared' OR role = 'secondary')";
    RETIRE = "UPDATE signing_key SET state = 'retired', role = NULL, retired_at = $3
        WHERE kid = $1 AND ring = $2 AND role = 'secondary'";
    /// A revoked key stays revoked when its private half is destroyed.
    ARCHIVE = "UPDATE signing_key SET archived_at = $3,
            state = CASE state WHEN 'retired' THEN 'archived' ELSE state END
        WHERE kid = $1 AND ring = $2 AND state IN ('retired', 'revoked') AND archived_at IS NULL";
    REVOKE = "UPDATE signing_key SET state = 'revoked', role = NULL, revoked_at = $3,
            revocation_reason = $4, compromised_since = $5,
            demoted_at = CASE role WHEN 'primary' THEN $3 ELSE demoted_at END
        WHERE kid = $1 AND ring = $2 AND state <> 'revoked'";
    /// Only to a more severe revocation, which stays as old as the first. Without a beginning a key is
    /// compromised from the beginning.
    REVOKE_MORE_SEVERELY = "UPDATE signing_key SET revocation_reason = $3, compromised_since = $4
        WHERE kid = $1 AND ring = $2 AND state = 'revoked' AND $3 = 'compromised'
            AND (revocation_reason <> 'compromised'
                OR compromised_since > $4 OR (compromised_since IS NOT NULL AND $4 IS NULL))";
}
