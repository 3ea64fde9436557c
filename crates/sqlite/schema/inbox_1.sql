-- What a participant remembers of the commands that it has seen. A step's action
-- and its compensation contend for one row, so one of them is always first.
CREATE TABLE inbox (
    saga_id             BLOB NOT NULL CHECK (length(saga_id) = 16),
    step                TEXT NOT NULL,
    -- Hash of the command's type and payload: the same id with another payload
    -- is no repetition.
    action_hash         BLOB,
    -- The recorded answer as JSON. NULL beside a hash: the intent to ask the
    -- outside world is recorded, its answer is not.
    action_answer       TEXT,
    compensation_hash   BLOB,
    compensation_answer TEXT,
    PRIMARY KEY (saga_id, step)
) STRICT, WITHOUT ROWID;
