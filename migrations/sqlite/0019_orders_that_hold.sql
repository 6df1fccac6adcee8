-- Standing orders that nobody withdrew, by when they end: the executor looks at those that hold. Never edit this file once
-- it has landed.

CREATE INDEX standing_order_holds ON standing_order (not_after, id) WHERE withdrawn_at IS NULL;
