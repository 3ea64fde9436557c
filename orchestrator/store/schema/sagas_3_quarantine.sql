-- What operators do to messages in the quarantine, as in Postgres
-- (migrations/0003_quarantine.sql).

-- Counts what happened to it: each copy, and each operator's act.
ALTER TABLE quarantine ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
-- 1 open, 2 re-driven, 3 discarded. Another copy opens it again.
ALTER TABLE quarantine ADD COLUMN state INTEGER NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 3);
-- When an operator dealt with it; NULL while it is open.
ALTER TABLE quarantine ADD COLUMN settled_at INTEGER;

-- What needs a person.
CREATE INDEX quarantine_open ON quarantine (id) WHERE state = 1;
-- Pages, the newest first.
CREATE INDEX quarantine_seen ON quarantine (first_seen, id);

-- One row an operator's act, never changed.
CREATE TABLE quarantine_history (
    message_id TEXT NOT NULL,
    -- The message's version that it led to.
    version    INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    -- The state that it led to, as in quarantine.
    state      INTEGER NOT NULL,
    signed_by  TEXT NOT NULL,
    reason     TEXT NOT NULL,
    -- What was sent because of it, as JSON.
    sent       TEXT NOT NULL,
    PRIMARY KEY (message_id, version)
) STRICT, WITHOUT ROWID;
