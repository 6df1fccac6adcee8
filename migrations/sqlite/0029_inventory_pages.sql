-- A page of the inventory is read row by row again. The view's dates had no type in one arm and one in the other, and then SQLite
-- sorts all that lies behind a page's place before it answers with the first row (restriction 17h of its query flattener:
-- expressions of one column have the same affinity in all arms). Each kind that joins casts what is no plain column. Never edit
-- this file once it has landed.

DROP VIEW inventory;
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
    CAST(CASE WHEN retired_at IS NULL
        THEN (SELECT rotated_at FROM external_version WHERE asset = id AND state = 'primary')
        ELSE (SELECT rotated_at FROM external_version WHERE asset = id ORDER BY number DESC LIMIT 1) END AS INTEGER),
    CAST(CASE WHEN retired_at IS NULL
        THEN (SELECT expires_at FROM external_version WHERE asset = id AND state = 'primary')
        ELSE (SELECT expires_at FROM external_version WHERE asset = id ORDER BY number DESC LIMIT 1) END AS INTEGER),
    purpose, labels, changed_at, retired_at
FROM external_asset
UNION ALL
SELECT CAST('signing/' || ring.name AS TEXT), 'signing',
    CAST(COALESCE(told.key_type, CASE ring.usage WHEN 'wrap' THEN 'master_encryption' ELSE 'signing' END) AS TEXT),
    told.owner,
    CASE WHEN (SELECT number FROM signing_key AS k WHERE k.ring = ring.name AND role = 'primary') IS NOT NULL THEN 'active'
        WHEN (SELECT state FROM signing_key AS k WHERE k.ring = ring.name ORDER BY number DESC LIMIT 1) = 'revoked' THEN 'revoked'
        ELSE 'prepared' END,
    CAST('hsm' AS TEXT), ring.algorithm,
    COALESCE((SELECT number FROM signing_key AS k WHERE k.ring = ring.name AND role = 'primary'),
        (SELECT number FROM signing_key AS k WHERE k.ring = ring.name ORDER BY number DESC LIMIT 1), 0),
    ring.created_at,
    CAST((SELECT activated_at FROM signing_key AS k WHERE k.ring = ring.name AND role = 'primary') AS INTEGER),
    CAST(NULL AS INTEGER), CAST(COALESCE(told.purpose, '') AS TEXT), CAST(COALESCE(told.labels, '{}') AS TEXT),
    told.changed_at, CAST(NULL AS INTEGER)
FROM ring LEFT JOIN ring_asset AS told ON told.ring = ring.name;
