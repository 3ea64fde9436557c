-- Retention, as in Postgres (migrations/0002_retention.sql).

-- How far back sagas matter, in one row: those whose id is smaller have ended, and
-- are deleted in small batches. It never goes back.
CREATE TABLE saga_watermark (
    one   INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    below BLOB NOT NULL CHECK (length(below) = 16)
) STRICT;
INSERT INTO saga_watermark (one, below) VALUES (1, zeroblob(16));

-- Paused sagas have no wake_at and yet have not ended: they hold the watermark back.
CREATE INDEX sagas_paused ON sagas (id) WHERE wake_at IS NULL AND ended_at IS NULL;

-- A key goes with its saga.
CREATE INDEX idempotency_keys_of_saga ON idempotency_keys (saga_id);
