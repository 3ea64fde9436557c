-- The orchestrator's tables, as in Postgres (migrations/): the same names, and
-- the same meaning. Ids are the 16 bytes of the UUID, instants are microseconds
-- since 1970 in UTC. Text is compared byte by byte, which is SQLite's way.

-- One row a saga. What it waits for, and so what is due to be sent, is derived
-- from it: there is no outbox.
CREATE TABLE sagas (
    id                 BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    -- Format of `progress`, raised when the engine stores it otherwise.
    format             INTEGER NOT NULL,
    definition         TEXT NOT NULL,
    definition_version INTEGER NOT NULL,
    caller             TEXT NOT NULL,
    -- 1 running, 2 compensating, 3 completed, 4 compensated, 5 stuck.
    state              INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
    -- Counts the transitions.
    version            INTEGER NOT NULL,
    -- Phase, steps, cancel wish and pause, as JSON.
    progress           TEXT NOT NULL,
    -- The definition's own data, as JSON.
    data               TEXT NOT NULL,
    traceparent        TEXT,
    started_at         INTEGER NOT NULL,
    deadline           INTEGER NOT NULL,
    -- When to look at it again at the latest; NULL once it has ended, or is paused.
    wake_at            INTEGER,
    ended_at           INTEGER
) STRICT;

-- The one deadline of a saga. Unmoved by an ordinary step.
CREATE INDEX sagas_due ON sagas (wake_at) WHERE wake_at IS NOT NULL;
-- What needs a person.
CREATE INDEX sagas_stuck ON sagas (id) WHERE state = 5;

-- One row a transition, never changed.
CREATE TABLE saga_history (
    saga_id BLOB NOT NULL CHECK (length(saga_id) = 16),
    version INTEGER NOT NULL,
    -- Whose saga it is.
    caller  TEXT NOT NULL,
    at      INTEGER NOT NULL,
    -- The state that it led to, as in sagas.
    state   INTEGER NOT NULL,
    -- What happened and what was sent because of it, as JSON.
    entry   TEXT NOT NULL,
    PRIMARY KEY (saga_id, version)
) STRICT, WITHOUT ROWID;

-- Which saga a client's key is bound to.
CREATE TABLE idempotency_keys (
    caller       TEXT NOT NULL,
    method       TEXT NOT NULL,
    key          TEXT NOT NULL,
    payload_hash BLOB NOT NULL,
    saga_id      BLOB NOT NULL CHECK (length(saga_id) = 16),
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (caller, method, key)
) STRICT, WITHOUT ROWID;

-- What cannot be handled, one row a command id.
CREATE TABLE quarantine (
    id         TEXT PRIMARY KEY NOT NULL,
    reason     TEXT NOT NULL,
    from_queue TEXT NOT NULL,
    reply_to   TEXT,
    body       BLOB NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    copies     INTEGER NOT NULL DEFAULT 1
) STRICT;
