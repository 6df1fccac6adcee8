-- The log's own clock, read by whoever takes the head: the latest time that a leaf tells. A commit whose leaf lies
-- behind it by more than clocks may differ does not happen. Never edit this file once it has landed.

-- Lowered by a ceremony that corrects leaves, in the transaction in which that takes effect, and by nothing else.
ALTER TABLE log_head ADD COLUMN clock BIGINT NOT NULL DEFAULT 0;
UPDATE log_head SET clock = COALESCE(
    (SELECT MAX(time) FROM (SELECT time FROM log_leaf ORDER BY idx DESC LIMIT 1000) AS latest), 0);
