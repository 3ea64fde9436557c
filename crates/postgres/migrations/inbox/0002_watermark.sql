-- How far back sagas matter to this participant, in one row: what arrives for those
-- whose id is smaller is late and never run, and what is remembered of them is
-- deleted in small batches. It never goes back.
CREATE TABLE inbox_watermark (
    one   smallint PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    below uuid NOT NULL
);
INSERT INTO inbox_watermark (below) VALUES ('00000000-0000-0000-0000-000000000000');
