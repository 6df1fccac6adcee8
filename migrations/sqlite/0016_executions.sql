-- Who carries out an approved ceremony, and until when by the database's clock. No part of the trail: it permits nothing,
-- and is made anew by whoever takes the ceremony next. Never edit this file once it has landed.

-- `holder` is empty where nobody has it. One whose time has run out belongs to nobody either, and nobody takes it before
-- database and token were compared.
CREATE TABLE execution (
    ceremony TEXT PRIMARY KEY REFERENCES ceremony (id),
    holder   TEXT NOT NULL CHECK (length(holder) <= 80),
    until    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Those that are held or were when their holder died, which are few at any time.
CREATE INDEX execution_held ON execution (ceremony) WHERE holder <> '';
