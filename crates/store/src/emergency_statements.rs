//! Statements about leaves of emergencies, ring by ring, in the words of their indexes.

use crate::asked::{leaf_columns, unratified};
use crate::engine::EmergencyStatements;

macro_rules! is_stop {
    ($is:literal) => {
        concat!(
            "kind = 'emergency' AND substr(body, 1, 17) ",
            $is,
            " '{\"action\":\"stop\",'"
        )
    };
}

/// As the body of a leaf has it, which the tree covers; the column beside it only repeats it.
macro_rules! ring {
    (sqlite) => {
        "COALESCE(json_extract(body, '$.ring'), '')"
    };
    (postgres) => {
        "COALESCE((body::jsonb) ->> 'ring', '')"
    };
}

/// Each ring once, from one to the next by the index.
macro_rules! lines {
    ($engine:ident, $by:literal, $what:expr) => {
        concat!(
            "WITH RECURSIVE line (subject) AS (SELECT CAST('' AS TEXT)
            UNION ALL SELECT (SELECT ",
            ring!($engine),
            " FROM log_leaf ",
            $by,
            " WHERE ",
            $what,
            " AND ",
            ring!($engine),
            " > line.subject ORDER BY ",
            ring!($engine),
            " LIMIT 1)
                FROM line WHERE line.subject IS NOT NULL)
            SELECT subject FROM line WHERE subject IS NOT NULL"
        )
    };
}

macro_rules! before {
    ($engine:ident, $by:literal, $what:expr) => {
        concat!(
            "SELECT ",
            leaf_columns!(),
            " FROM log_leaf ",
            $by,
            " WHERE ",
            $what,
            " AND ",
            ring!($engine),
            " = $1 AND idx < $2 ORDER BY idx DESC LIMIT $3"
        )
    };
}

macro_rules! ends_after {
    ($engine:ident, $by:literal) => {
        concat!(
            "SELECT ",
            leaf_columns!(),
            " FROM log_leaf ",
            $by,
            " WHERE ",
            is_stop!("<>"),
            " AND ",
            ring!($engine),
            " = $1 AND idx > $2 ORDER BY idx LIMIT $3"
        )
    };
}

macro_rules! last_before {
    ($emergency:literal, $rotation:literal, $unratified:expr) => {
        concat!(
            "SELECT ",
            leaf_columns!(),
            " FROM (SELECT * FROM (SELECT ",
            leaf_columns!(),
            " FROM log_leaf ",
            $emergency,
            " WHERE kind = 'emergency' AND idx < $1 ORDER BY idx DESC LIMIT 1) AS emergency
            UNION ALL SELECT * FROM (SELECT ",
            leaf_columns!(),
            " FROM log_leaf ",
            $rotation,
            " WHERE ",
            $unratified,
            " AND idx < $1 ORDER BY idx DESC LIMIT 1) AS rotation) AS told ORDER BY idx DESC LIMIT 1"
        )
    };
}

pub(crate) const SQLITE: EmergencyStatements = EmergencyStatements {
    stop_lines: lines!(sqlite, "INDEXED BY log_leaf_stop", is_stop!("=")),
    rotation_lines: lines!(sqlite, "INDEXED BY log_leaf_rotation", unratified!(sqlite)),
    stops_before: before!(sqlite, "INDEXED BY log_leaf_stop", is_stop!("=")),
    rotations_before: before!(sqlite, "INDEXED BY log_leaf_rotation", unratified!(sqlite)),
    ends_after: ends_after!(sqlite, "INDEXED BY log_leaf_stop_end"),
    last_before: last_before!(
        "INDEXED BY log_leaf_emergency",
        "INDEXED BY log_leaf_unratified",
        unratified!(sqlite)
    ),
};

pub(crate) const POSTGRES: EmergencyStatements = EmergencyStatements {
    stop_lines: lines!(postgres, "", is_stop!("=")),
    rotation_lines: lines!(postgres, "", unratified!(postgres)),
    stops_before: before!(postgres, "", is_stop!("=")),
    rotations_before: before!(postgres, "", unratified!(postgres)),
    ends_after: ends_after!(postgres, ""),
    last_before: last_before!("", "", unratified!(postgres)),
};
