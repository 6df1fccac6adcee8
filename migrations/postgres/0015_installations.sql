-- Each start of a replica asks whether the log tells of a roster or policy that the table of documents does not have, at the
-- same cost however long the log is. A body is canonical JSON, whose first member is the action. Never edit this file once
-- it has landed.

CREATE INDEX log_leaf_installed ON log_leaf (idx)
    WHERE kind = 'roster' AND substr(body, 1, 19) = '{"action":"install-';
