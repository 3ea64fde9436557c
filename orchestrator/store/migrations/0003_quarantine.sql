-- What operators do to messages in the quarantine.
ALTER TABLE quarantine
    -- Counts what happened to it: each copy, and each operator's act.
    ADD COLUMN version    bigint NOT NULL DEFAULT 1,
    -- 1 open, 2 re-driven, 3 discarded. Another copy opens it again.
    ADD COLUMN state      smallint NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 3),
    -- When an operator dealt with it; NULL while it is open.
    ADD COLUMN settled_at timestamptz;

-- What needs a person.
CREATE INDEX quarantine_open ON quarantine (id) WHERE state = 1;
-- Pages, the newest first.
CREATE INDEX quarantine_seen ON quarantine (first_seen, id);

-- One row an operator's act, never changed.
CREATE TABLE quarantine_history (
    message_id text COLLATE "C" NOT NULL,
    -- The message's version that it led to.
    version    bigint NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    -- The state that it led to, as in quarantine.
    state      smallint NOT NULL,
    signed_by  text NOT NULL,
    reason     text NOT NULL,
    -- What was sent because of it, as JSON.
    sent       text NOT NULL,
    PRIMARY KEY (message_id, version)
);
