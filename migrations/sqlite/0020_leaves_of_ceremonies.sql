-- What the log tells of one ceremony, and of whom it suspends: keys under standing orders are held against it. A body is
-- canonical JSON, whose first member is the action. Never edit this file once it has landed.

CREATE INDEX log_leaf_ceremony ON log_leaf (json_extract(body, '$.ref'), idx) WHERE kind = 'ceremony';
CREATE INDEX log_leaf_suspended ON log_leaf (idx)
    WHERE kind = 'suspension' AND substr(body, 1, 20) = '{"action":"suspend",';
