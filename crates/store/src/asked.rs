//! Columns that several statements share, and statements about what a JSON array asks for, which each engine reads in
//! its own way.

macro_rules! key_columns {
    () => {
        "k.kid, k.ring, k.number, k.state, k.role, k.spki, k.object, o.location, k.published_at, \
         k.activate_at, k.retire_at, k.activated_at, k.demoted_at, k.retired_at, k.archived_at, \
         k.revoked_at, k.revocation_reason, k.compromised_since, k.ceremony, k.unpublished_at"
    };
}
pub(crate) use key_columns;

macro_rules! object_columns {
    () => {
        "id, kind, device, label, place, location, ring, number, ceremony, state, kid, destruction, \
         created_at, updated_at"
    };
}
pub(crate) use object_columns;

macro_rules! of_keys {
    () => {
        concat!(
            "SELECT ",
            $crate::asked::key_columns!(),
            " FROM signing_key k LEFT JOIN key_object o ON o.id = k.object "
        )
    };
}
pub(crate) use of_keys;

macro_rules! ceremony_columns {
    () => {
        "id, operation, ring, state, nonce, request, execution, transcript, created_at, updated_at"
    };
}
pub(crate) use ceremony_columns;

/// Of ids in a JSON array.
pub(crate) const CEREMONIES_OF_SQLITE: &str = concat!(
    "SELECT ",
    ceremony_columns!(),
    " FROM ceremony WHERE id IN (SELECT value FROM json_each($1))"
);
pub(crate) const CEREMONIES_OF_POSTGRES: &str = concat!(
    "SELECT ",
    ceremony_columns!(),
    " FROM ceremony WHERE id = ANY (ARRAY (SELECT json_array_elements_text($1::json)))"
);

/// Of kids in a JSON array.
pub(crate) const KEYS_OF_SQLITE: &str = concat!(
    of_keys!(),
    "WHERE k.kid IN (SELECT value FROM json_each($1))"
);
pub(crate) const KEYS_OF_POSTGRES: &str = concat!(
    of_keys!(),
    "WHERE k.kid = ANY (ARRAY (SELECT json_array_elements_text($1::json)))"
);

pub(crate) const OBJECTS_SQLITE: &str = concat!(
    "SELECT ",
    object_columns!(),
    " FROM key_object WHERE id IN (SELECT value FROM json_each($1)) ORDER BY ring, number, created_at"
);
pub(crate) const OBJECTS_POSTGRES: &str = concat!(
    "SELECT ",
    object_columns!(),
    " FROM key_object WHERE id = ANY (ARRAY (SELECT json_array_elements_text($1::json)))
        ORDER BY ring, number, created_at"
);

pub(crate) const ACCEPTED_OF_SQLITE: &str =
    "SELECT kid FROM log_key_accepted WHERE kid IN (SELECT value FROM json_each($1))";
pub(crate) const ACTS_OF_SQLITE: &str = "SELECT told.subject, told.idx, told.act
    FROM json_each($1) AS asked CROSS JOIN log_key_act AS told ON told.subject = asked.value
    ORDER BY asked.key, told.idx";
pub(crate) const INSERT_ACTS_SQLITE: &str = "INSERT INTO log_key_act (subject, idx, act)
    SELECT value->>0, value->>1, value->>2 FROM json_each($1) WHERE TRUE
    ON CONFLICT (subject, idx) DO NOTHING";
pub(crate) const INSERT_ACCEPTED_SQLITE: &str = "INSERT INTO log_key_accepted (place, idx, kid)
    SELECT value->>0, value->>1, value->>2 FROM json_each($1)";
pub(crate) const ACCEPTED_OF_POSTGRES: &str = "SELECT kid FROM log_key_accepted
    WHERE kid = ANY (ARRAY (SELECT json_array_elements_text($1::json)))";
pub(crate) const ACTS_OF_POSTGRES: &str = "SELECT subject, idx, act FROM log_key_act
    WHERE subject = ANY (ARRAY (SELECT json_array_elements_text($1::json))) ORDER BY subject, idx";
pub(crate) const INSERT_ACTS_POSTGRES: &str = "INSERT INTO log_key_act (subject, idx, act)
    SELECT value->>0, (value->>1)::bigint, value->>2 FROM json_array_elements($1::json) AS given (value)
    ON CONFLICT (subject, idx) DO NOTHING";
pub(crate) const INSERT_ACCEPTED_POSTGRES: &str = "INSERT INTO log_key_accepted (place, idx, kid)
    SELECT (value->>0)::bigint, (value->>1)::bigint, value->>2
    FROM json_array_elements($1::json) AS given (value)";

macro_rules! leaf_columns {
    () => {
        "idx, time, kind, ring, kid, sig_hash, body"
    };
}
pub(crate) use leaf_columns;

/// Of a standing order, by the index over what these leaves name.
pub(crate) const LEAVES_OF_ORDER_SQLITE: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM log_leaf INDEXED BY log_leaf_order
    WHERE kind = 'order' AND json_extract(body, '$.ref') = $1 AND idx >= $2 ORDER BY idx LIMIT $3"
);
pub(crate) const LEAVES_OF_ORDER_POSTGRES: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM log_leaf
    WHERE kind = 'order' AND (body::jsonb) ->> 'ref' = $1 AND idx >= $2 ORDER BY idx LIMIT $3"
);

/// The leaves of one ceremony, likewise.
pub(crate) const LEAVES_OF_CEREMONY_SQLITE: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM log_leaf INDEXED BY log_leaf_ceremony
    WHERE kind = 'ceremony' AND json_extract(body, '$.ref') = $1 AND idx >= $2 ORDER BY idx LIMIT $3"
);
pub(crate) const LEAVES_OF_CEREMONY_POSTGRES: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM log_leaf
    WHERE kind = 'ceremony' AND (body::jsonb) ->> 'ref' = $1 AND idx >= $2 ORDER BY idx LIMIT $3"
);

/// Of an asset what ended ceremonies on its rules, by the index over what these leaves name: before an index, the newest
/// first.
pub(crate) const DECISIONS_SQLITE: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM log_leaf INDEXED BY log_leaf_decision
    WHERE kind = 'ceremony' AND json_extract(body, '$.asset') IS NOT NULL AND json_extract(body, '$.asset') = $1
        AND idx < $2 ORDER BY idx DESC LIMIT $3"
);
pub(crate) const DECISIONS_POSTGRES: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM log_leaf
    WHERE kind = 'ceremony' AND (body::jsonb) ->> 'asset' IS NOT NULL AND (body::jsonb) ->> 'asset' = $1
        AND idx < $2 ORDER BY idx DESC LIMIT $3"
);

/// Leaves at places in a JSON array.
pub(crate) const LEAVES_AT_SQLITE: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM log_leaf WHERE idx IN (SELECT value FROM json_each($1)) ORDER BY idx"
);
pub(crate) const LEAVES_AT_POSTGRES: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM log_leaf WHERE idx IN (SELECT json_array_elements_text($1::json)::bigint) ORDER BY idx"
);

/// An emergency rotation is a revocation that says until when it has to be ratified.
macro_rules! unratified {
    (sqlite) => {
        "kind = 'key' AND json_extract(body, '$.until') IS NOT NULL"
    };
    (postgres) => {
        "kind = 'key' AND ((body::jsonb) ->> 'until') IS NOT NULL AND ((body::jsonb) ->> 'action') = 'revoke'"
    };
}
pub(crate) use unratified;

/// The index of the last leaf by which a ring may have been kept from signing; -1 before the first. By indexes of few
/// leaves: it is asked for each batch of signatures.
macro_rules! last_emergency {
    (sqlite) => {
        concat!(
            "MAX(COALESCE((SELECT idx FROM log_leaf INDEXED BY log_leaf_emergency
                    WHERE kind = 'emergency' ORDER BY idx DESC LIMIT 1), -1),
                COALESCE((SELECT idx FROM log_leaf INDEXED BY log_leaf_unratified WHERE ",
            $crate::asked::unratified!(sqlite),
            " ORDER BY idx DESC LIMIT 1), -1))"
        )
    };
    (postgres) => {
        concat!(
            "GREATEST(COALESCE((SELECT idx FROM log_leaf
                    WHERE kind = 'emergency' ORDER BY idx DESC LIMIT 1), -1),
                COALESCE((SELECT idx FROM log_leaf WHERE ",
            $crate::asked::unratified!(postgres),
            " ORDER BY idx DESC LIMIT 1), -1))"
        )
    };
}
pub(crate) use last_emergency;

pub(crate) const LAST_EMERGENCY_SQLITE: &str = concat!("SELECT ", last_emergency!(sqlite));
pub(crate) const LAST_EMERGENCY_POSTGRES: &str = concat!("SELECT ", last_emergency!(postgres));

/// Leaves by which rings are kept from signing, or go on, from an index on.
pub(crate) const EMERGENCY_LEAVES_SQLITE: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM (SELECT ",
    leaf_columns!(),
    " FROM log_leaf INDEXED BY log_leaf_emergency WHERE kind = 'emergency' AND idx >= $1
        UNION ALL SELECT ",
    leaf_columns!(),
    " FROM log_leaf INDEXED BY log_leaf_unratified WHERE ",
    unratified!(sqlite),
    " AND idx >= $1) AS told ORDER BY idx LIMIT $2"
);
pub(crate) const EMERGENCY_LEAVES_POSTGRES: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM (SELECT ",
    leaf_columns!(),
    " FROM log_leaf WHERE kind = 'emergency' AND idx >= $1
        UNION ALL SELECT ",
    leaf_columns!(),
    " FROM log_leaf WHERE ",
    unratified!(postgres),
    " AND idx >= $1) AS told ORDER BY idx LIMIT $2"
);

/// The leaves of a key from an index on, with no other filter: what is asked for by strangers reads as many rows as it
/// returns. Each engine is held to the index by key and place; along the log it would read the leaves of all other keys.
pub(crate) const LEAVES_OF_KID_SQLITE: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM log_leaf
    INDEXED BY log_leaf_kid WHERE kid = $1 AND idx >= $2 ORDER BY idx LIMIT $3"
);
/// Nothing but that index gives this order.
pub(crate) const LEAVES_OF_KID_POSTGRES: &str = concat!(
    "SELECT ",
    leaf_columns!(),
    " FROM log_leaf
    WHERE (kid, idx) >= ($1, $2) AND kid <= $1 ORDER BY kid, idx LIMIT $3"
);
