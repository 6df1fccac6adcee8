-- Withdrawals of standing orders in the order of the log: of them people are told. A body is canonical JSON, whose first member
-- is the action. Never edit this file once it has landed.

CREATE INDEX log_leaf_withdrawal ON log_leaf (idx) WHERE kind = 'order' AND substr(body, 1, 20) = '{"action":"withdraw"';
