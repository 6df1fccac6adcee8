-- Exceptions that members note in a ceremony, and what witnesses attest of one that is closed. Never edit this file once
-- it has landed.
INSERT INTO signature_purpose (word) VALUES ('exception'), ('witness');
