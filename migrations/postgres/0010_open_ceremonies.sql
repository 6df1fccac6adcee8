-- Custodians ask over the network what is under way and what there was, page by page, at the same cost however many
-- ceremonies there have been. Never edit this file once it has landed.

-- Ceremonies that wait for somebody.
CREATE INDEX ceremony_under_way ON ceremony (created_at, id)
    WHERE state IN ('proposed', 'approved', 'executing', 'executed');
-- The latest ceremonies of a ring.
CREATE INDEX ceremony_of_ring ON ceremony (ring, created_at, id);

-- A member's note for the record.
INSERT INTO signature_purpose (word) VALUES ('note');
