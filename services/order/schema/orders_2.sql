-- Returns, as in Postgres (migrations/0101_returns.sql), where each column is explained.
ALTER TABLE order_lines ADD COLUMN held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0);
-- Subtracted, so that it is exact: a sum beyond 64 bits becomes a floating-point number.
ALTER TABLE order_lines ADD COLUMN returned INTEGER NOT NULL DEFAULT 0
    CHECK (returned >= 0 AND held <= quantity - returned);

ALTER TABLE orders ADD COLUMN refunded INTEGER NOT NULL DEFAULT 0
    CHECK (refunded = 0 OR (refunded > 0 AND total IS NOT NULL AND refunded <= total));

CREATE TABLE returns (
    return_id  BLOB NOT NULL PRIMARY KEY CHECK (length(return_id) = 16),
    order_id   BLOB NOT NULL CHECK (length(order_id) = 16),
    -- 1 open, 2 done, 3 rejected.
    state      INTEGER NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 3),
    reason     TEXT NOT NULL CHECK (instr(reason, char(0)) = 0),
    amount     INTEGER NOT NULL CHECK (amount >= 0),
    created_at INTEGER NOT NULL,
    ended_at   INTEGER,
    CONSTRAINT returns_ended CHECK ((state = 1) = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE return_lines (
    return_id BLOB NOT NULL CHECK (length(return_id) = 16),
    line_no   INTEGER NOT NULL CHECK (line_no >= 1),
    quantity  INTEGER NOT NULL CHECK (quantity >= 1),
    PRIMARY KEY (return_id, line_no)
) STRICT, WITHOUT ROWID;
