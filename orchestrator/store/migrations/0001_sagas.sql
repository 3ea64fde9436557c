-- One row a saga. What it waits for, and so what is due to be sent, is derived
-- from it: there is no outbox.
CREATE TABLE sagas (
    id                 uuid PRIMARY KEY,
    -- Format of `progress`, raised when the engine stores it otherwise.
    format             smallint NOT NULL,
    definition         text COLLATE "C" NOT NULL,
    definition_version integer NOT NULL,
    caller             text NOT NULL,
    -- 1 running, 2 compensating, 3 completed, 4 compensated, 5 stuck.
    state              smallint NOT NULL CHECK (state BETWEEN 1 AND 5),
    -- Counts the transitions.
    version            bigint NOT NULL,
    -- Phase, steps, cancel wish and pause, as JSON.
    progress           text NOT NULL,
    -- The definition's own data, as JSON.
    data               text NOT NULL,
    traceparent        text,
    started_at         timestamptz NOT NULL,
    deadline           timestamptz NOT NULL,
    -- When to look at it again at the latest; NULL once it has ended, or is paused.
    wake_at            timestamptz,
    ended_at           timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- The one deadline of a saga. Unmoved by an ordinary step, so those stay HOT.
CREATE INDEX sagas_due ON sagas (wake_at) WHERE wake_at IS NOT NULL;
-- What needs a person.
CREATE INDEX sagas_stuck ON sagas (id) WHERE state = 5;

-- One row a transition, never changed.
CREATE TABLE saga_history (
    saga_id uuid NOT NULL,
    version bigint NOT NULL,
    -- Whose saga it is.
    caller  text NOT NULL,
    at      timestamptz NOT NULL,
    -- The state that it led to, as in sagas.
    state   smallint NOT NULL,
    -- What happened and what was sent because of it, as JSON.
    entry   text NOT NULL,
    PRIMARY KEY (saga_id, version)
);

-- Which saga a client's key is bound to.
CREATE TABLE idempotency_keys (
    caller       text COLLATE "C" NOT NULL,
    method       text COLLATE "C" NOT NULL,
    key          text COLLATE "C" NOT NULL,
    payload_hash bytea NOT NULL,
    saga_id      uuid NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, method, key)
);

-- What cannot be handled, one row a command id.
CREATE TABLE quarantine (
    id         text COLLATE "C" PRIMARY KEY,
    reason     text NOT NULL,
    from_queue text NOT NULL,
    reply_to   text,
    body       bytea NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now(),
    copies     bigint NOT NULL DEFAULT 1
);
