-- Of each line: held by returns that are open, and come back. What neither has can
-- still be returned, so no return can ever have what another one has.
ALTER TABLE order_lines
    ADD COLUMN held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    ADD COLUMN returned  bigint NOT NULL DEFAULT 0 CHECK (returned >= 0),
    ADD CONSTRAINT order_lines_returned
        CHECK (held::numeric + returned::numeric <= quantity::numeric);

-- What was refunded for what came back.
ALTER TABLE orders
    ADD COLUMN refunded bigint NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    ADD CONSTRAINT orders_refunded
        CHECK (refunded = 0 OR (total IS NOT NULL AND refunded <= total));

-- A return's id is its own saga's id, not its order's.
CREATE TABLE returns (
    return_id  uuid PRIMARY KEY,
    order_id   uuid NOT NULL,
    -- 1 open, 2 done, 3 rejected.
    state      smallint NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 3),
    -- In the client's words.
    reason     text NOT NULL,
    -- What it is worth, in the minor unit of the order's currency.
    amount     bigint NOT NULL CHECK (amount >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    CONSTRAINT returns_ended CHECK ((state = 1) = (ended_at IS NULL))
) WITH (fillfactor = 70);

-- What comes back, of which line of the order. Never changes.
CREATE TABLE return_lines (
    return_id uuid NOT NULL,
    line_no   integer NOT NULL CHECK (line_no >= 1),
    quantity  bigint NOT NULL CHECK (quantity >= 1),
    PRIMARY KEY (return_id, line_no)
);
