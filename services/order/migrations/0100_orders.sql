-- An order's id is its saga's id, a UUIDv7: the newest order has the greatest id.
-- No index holds a column that changes, so every update is HOT.
CREATE TABLE orders (
    order_id    uuid PRIMARY KEY,
    customer    text NOT NULL,
    -- Whose request it was.
    caller      text NOT NULL,
    -- As in the contract: 1 pending, 2 confirmed, 3 rejected, 4 cancelled.
    status      smallint NOT NULL DEFAULT 1 CHECK (status BETWEEN 1 AND 4),
    -- Why it was rejected or cancelled.
    reason_code text,
    reason      text,
    -- What was paid, in the currency's minor unit.
    currency    text CHECK (currency ~ '^[A-Z]{3}$'),
    total       bigint CHECK (total >= 0),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    CONSTRAINT orders_ended CHECK ((status = 1) = (ended_at IS NULL)),
    CONSTRAINT orders_paid CHECK (
        (status = 2) = (total IS NOT NULL) AND (status = 2) = (currency IS NOT NULL)
    ),
    CONSTRAINT orders_reason CHECK (
        (status IN (3, 4)) = (reason_code IS NOT NULL)
        AND (status IN (3, 4)) = (reason IS NOT NULL)
    )
) WITH (fillfactor = 70);

-- A page of a customer's orders, newest first.
CREATE INDEX orders_by_customer ON orders (customer, order_id DESC);

-- What was ordered. No foreign key: a line is only ever written by the statement
-- that writes its order, and a check a row would double the cost of that.
CREATE TABLE order_lines (
    order_id   uuid NOT NULL,
    -- Place in the order, from 1.
    line_no    integer NOT NULL CHECK (line_no >= 1),
    sku        text COLLATE "C" NOT NULL,
    quantity   bigint NOT NULL CHECK (quantity >= 1),
    -- Price of one at order time, in the order's currency; once it is confirmed.
    unit_price bigint CHECK (unit_price >= 0),
    PRIMARY KEY (order_id, line_no)
) WITH (fillfactor = 70);
