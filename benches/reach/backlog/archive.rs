//! Archived keys with their objects and ceremonies, as rows: shaped like real ones, and refused when they are read,
//! because their transcripts are another key's.

use anyhow::Result;
use sqlx::Row as _;

use super::Aside;

/// Keys of one transaction.
const CHUNK: i64 = 20_000;

/// The newest have a transcript of the size of a real one.
pub(super) const WHOLE: i64 = 2_000;

/// Numbers for [`kid`].
pub struct Archived {
    /// Of keys with whole transcripts that no start looks at, some hundreds.
    pub cold: i64,
    /// Of no key.
    pub beyond: i64,
}

/// Of the key with this number; of the form of a thumbprint.
pub fn kid(number: i64) -> String {
    format!("{number:042}A")
}

impl Aside {
    /// So many keys of the ring `records`, all archived.
    pub fn archive(&self, keys: i64) -> Result<Archived> {
        self.archive_between(0, keys)?;
        Ok(Archived {
            cold: (keys - WHOLE).max(0),
            beyond: keys + 1_000_000,
        })
    }

    /// Those with these numbers, of which the last have whole transcripts.
    pub(super) fn archive_between(&self, from: i64, end: i64) -> Result<()> {
        self.with(async |database| {
            let named = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'
                AND tbl_name IN ('ceremony', 'key_object', 'signing_key')";
            let rows = sqlx::query(named).fetch_all(&mut *database).await?;
            let triggers = rows
                .iter()
                .map(|row| Ok((row.try_get("name")?, row.try_get("sql")?)));
            let triggers = triggers.collect::<Result<Vec<(String, String)>, sqlx::Error>>()?;
            // They say how a key comes to be, which these did not.
            for (name, _) in &triggers {
                let drop = sqlx::AssertSqlSafe(format!("DROP TRIGGER {name}"));
                sqlx::query(drop).execute(&mut *database).await?;
            }
            let mut at = from;
            while at < end {
                let to = (at + CHUNK).min(end);
                sqlx::query("BEGIN IMMEDIATE")
                    .execute(&mut *database)
                    .await?;
                for sql in [CEREMONIES, OBJECTS, KEYS] {
                    sqlx::query(sql)
                        .bind(at)
                        .bind(to)
                        .bind(end - WHOLE)
                        .execute(&mut *database)
                        .await?;
                }
                sqlx::query("COMMIT").execute(&mut *database).await?;
                at = to;
            }
            for sql in ["DELETE FROM key_count", COUNT] {
                sqlx::query(sql).execute(&mut *database).await?;
            }
            for (_, sql) in triggers {
                sqlx::query(sqlx::AssertSqlSafe(sql))
                    .execute(&mut *database)
                    .await?;
            }
            Ok(())
        })
    }
}

const COUNT: &str = "INSERT INTO key_count (ring, state, keys)
    SELECT ring, state, COUNT(*) FROM signing_key GROUP BY ring, state";

const CEREMONIES: &str = "WITH RECURSIVE made (n) AS (SELECT $1 UNION ALL SELECT n + 1 FROM made WHERE n + 1 < $2)
INSERT INTO ceremony (id, operation, ring, state, nonce, request, execution, transcript, created_at, updated_at)
SELECT printf('%064x', n + 1), 'generate', 'records', 'closed', printf('%032x', n + 1),
    CASE WHEN n >= $3 THEN request ELSE CAST('{}' AS BLOB) END, CAST('{}' AS BLOB),
    CASE WHEN n >= $3 THEN transcript ELSE CAST('{}' AS BLOB) END, 1500000000000 + n, 1500000000000 + n
FROM made, (SELECT request, transcript FROM ceremony WHERE ring = 'records' AND transcript IS NOT NULL
    AND length(request) > 2 LIMIT 1) AS real";

const OBJECTS: &str = "WITH RECURSIVE made (n) AS (SELECT $1 UNION ALL SELECT n + 1 FROM made WHERE n + 1 < $2)
INSERT INTO key_object (id, kind, device, label, place, location, ring, number, ceremony, state, kid, created_at,
    updated_at)
SELECT 'pkcs11/archive/' || n, kind, 'pkcs11/archive', 'archive/' || n, place, location, 'records', 1000 + n,
    printf('%064x', n + 1), 'destroyed', printf('%042d', n) || 'A', 1500000000000 + n, 1500000000000 + n
FROM made, (SELECT kind, place, location FROM key_object WHERE ring = 'records' AND location IS NOT NULL LIMIT 1) AS real
WHERE $3 = $3";

const KEYS: &str = "WITH RECURSIVE made (n) AS (SELECT $1 UNION ALL SELECT n + 1 FROM made WHERE n + 1 < $2)
INSERT INTO signing_key (kid, ring, number, state, spki, object, published_at, activate_at, retire_at, activated_at,
    demoted_at, retired_at, archived_at, ceremony)
SELECT printf('%042d', n) || 'A', 'records', 1000 + n, 'archived', CAST(printf('%091d', n) AS BLOB),
    'pkcs11/archive/' || n, 1500000000000 + n, 1500000000000 + n, 1510000000000 + n, 1500000000000 + n,
    1510000000000 + n, 1510000100000 + n, 1510000200000 + n, printf('%064x', n + 1)
FROM made WHERE $3 = $3";
