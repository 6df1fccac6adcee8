-- Uses and withdrawals of standing orders in the order of the log: of them people are told. Never edit this file once it has
-- landed.

CREATE INDEX log_leaf_order_act ON log_leaf (idx) WHERE kind = 'order';
