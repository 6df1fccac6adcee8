//! Columns of the view `inventory`, and statements about many assets at once, which each engine reads in its own way. What
//! is asked for or put in is a JSON array.

macro_rules! inventory_columns {
    () => {
        "asset, key_type, owner, state, storage, algorithm, version, created_at, rotated_at, expires_at, purpose, labels,
        changed_at"
    };
}
pub(crate) use inventory_columns;

/// Assets of names in a JSON array.
pub(crate) const ASSETS_OF_SQLITE: &str = concat!(
    "SELECT ",
    inventory_columns!(),
    " FROM inventory WHERE asset IN (SELECT value FROM json_each($1))"
);
pub(crate) const ASSETS_OF_POSTGRES: &str = concat!(
    "SELECT ",
    inventory_columns!(),
    " FROM inventory WHERE asset = ANY (ARRAY (SELECT json_array_elements_text($1::json)))"
);

/// Of arrays of the columns, each with who registered it when.
pub(crate) const INSERT_ASSETS_SQLITE: &str = "INSERT INTO external_asset
    (id, key_type, purpose, owner, storage, labels, registered_at, registered_by, changed_at, retired_at)
    SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>6,
        value->>8
    FROM json_each($1)";
pub(crate) const INSERT_ASSETS_POSTGRES: &str = "INSERT INTO external_asset
    (id, key_type, purpose, owner, storage, labels, registered_at, registered_by, changed_at, retired_at)
    SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, (value->>6)::bigint, value->>7,
        (value->>6)::bigint, (value->>8)::bigint
    FROM json_array_elements($1::json) AS given (value)";
/// Of arrays [asset, number, rotated_at, expires_at, reported_at, reported_by, state].
pub(crate) const INSERT_VERSIONS_SQLITE: &str = "INSERT INTO external_version
    (asset, number, state, since, created_at, rotated_at, expires_at, reported_at, reported_by)
    SELECT value->>0, value->>1, value->>6, value->>2, value->>2, value->>2, value->>3, value->>4, value->>5
    FROM json_each($1)";
pub(crate) const INSERT_VERSIONS_POSTGRES: &str = "INSERT INTO external_version
    (asset, number, state, since, created_at, rotated_at, expires_at, reported_at, reported_by)
    SELECT value->>0, (value->>1)::bigint, value->>6, (value->>2)::bigint, (value->>2)::bigint, (value->>2)::bigint,
        (value->>3)::bigint, (value->>4)::bigint, value->>5
    FROM json_array_elements($1::json) AS given (value)";
