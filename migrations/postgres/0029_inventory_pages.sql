-- SQLite alone sorted too much (the other file of this name); here each page is read row by row as it is. Never edit this file once
-- it has landed.
SELECT 1;
