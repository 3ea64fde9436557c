-- What a participant remembers of the commands that it has seen. A step's action
-- and its compensation contend for one row, so one of them is always first.
CREATE TABLE inbox (
    saga_id             uuid NOT NULL,
    step                text COLLATE "C" NOT NULL,
    -- Hash of the command's type and payload: the same id with another payload
    -- is no repetition.
    action_hash         bytea,
    -- The recorded answer as JSON. NULL beside a hash: the intent to ask the
    -- outside world is recorded, its answer is not.
    action_answer       text,
    compensation_hash   bytea,
    compensation_answer text,
    PRIMARY KEY (saga_id, step)
) WITH (fillfactor = 70);
