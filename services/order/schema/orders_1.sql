-- The same tables as in Postgres (migrations/0100_orders.sql), where each column
-- is explained. Times are microseconds since 1970 UTC, and given. What Postgres
-- refuses by itself is a CHECK here: a NUL byte in a text, an id that is none.
CREATE TABLE orders (
    order_id    BLOB NOT NULL PRIMARY KEY CHECK (length(order_id) = 16),
    customer    TEXT NOT NULL CHECK (instr(customer, char(0)) = 0),
    caller      TEXT NOT NULL CHECK (instr(caller, char(0)) = 0),
    -- As in the contract: 1 pending, 2 confirmed, 3 rejected, 4 cancelled.
    status      INTEGER NOT NULL DEFAULT 1 CHECK (status BETWEEN 1 AND 4),
    reason_code TEXT CHECK (instr(reason_code, char(0)) = 0),
    reason      TEXT CHECK (instr(reason, char(0)) = 0),
    -- GLOB reads no further than a NUL byte.
    currency    TEXT CHECK (currency GLOB '[A-Z][A-Z][A-Z]' AND instr(currency, char(0)) = 0),
    total       INTEGER CHECK (total >= 0),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    CONSTRAINT orders_ended CHECK ((status = 1) = (ended_at IS NULL)),
    CONSTRAINT orders_paid CHECK (
        (status = 2) = (total IS NOT NULL) AND (status = 2) = (currency IS NOT NULL)
    ),
    CONSTRAINT orders_reason CHECK (
        (status IN (3, 4)) = (reason_code IS NOT NULL)
        AND (status IN (3, 4)) = (reason IS NOT NULL)
    )
) STRICT, WITHOUT ROWID;

CREATE INDEX orders_by_customer ON orders (customer, order_id DESC);

CREATE TABLE order_lines (
    order_id   BLOB NOT NULL CHECK (length(order_id) = 16),
    line_no    INTEGER NOT NULL CHECK (line_no >= 1),
    sku        TEXT NOT NULL CHECK (instr(sku, char(0)) = 0),
    quantity   INTEGER NOT NULL CHECK (quantity >= 1),
    unit_price INTEGER CHECK (unit_price >= 0),
    PRIMARY KEY (order_id, line_no)
) STRICT, WITHOUT ROWID;
