-- How far back sagas matter, in one row: those whose id is smaller have ended, and
-- are deleted in small batches. It never goes back.
CREATE TABLE saga_watermark (
    one   smallint PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    below uuid NOT NULL
);
INSERT INTO saga_watermark (below) VALUES ('00000000-0000-0000-0000-000000000000');

-- Paused sagas have no wake_at and yet have not ended: they hold the watermark
-- back. No turn but one that pauses or resumes touches this index.
CREATE INDEX sagas_paused ON sagas (id) WHERE wake_at IS NULL AND ended_at IS NULL;

-- A key goes with its saga. Ids grow, so that an insert goes to the index's last page.
CREATE INDEX idempotency_keys_of_saga ON idempotency_keys (saga_id);
