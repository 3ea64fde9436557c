-- How far back sagas matter to this participant, in one row: what arrives for those
-- whose id is smaller is late and never run, and what is remembered of them is
-- deleted in small batches. It never goes back.
CREATE TABLE inbox_watermark (
    one   INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    below BLOB NOT NULL CHECK (length(below) = 16)
) STRICT;
INSERT INTO inbox_watermark (one, below) VALUES (1, zeroblob(16));
