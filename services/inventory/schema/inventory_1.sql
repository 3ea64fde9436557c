-- The same tables as in Postgres (migrations/0100_inventory.sql), where each
-- column is explained. Texts are compared byte by byte, times are microseconds
-- since 1970 UTC, and given. What Postgres refuses by itself is a CHECK here: a
-- NUL byte in a text, an id that is none. GLOB reads no further than a NUL byte.
CREATE TABLE products (
    sku       TEXT NOT NULL PRIMARY KEY CHECK (
        length(sku) BETWEEN 1 AND 64
        AND sku NOT GLOB '*[^a-z0-9._-]*'
        AND instr(sku, char(0)) = 0
    ),
    name      TEXT NOT NULL CHECK (name <> '' AND instr(name, char(0)) = 0),
    price     INTEGER NOT NULL CHECK (price > 0),
    currency  TEXT NOT NULL
        CHECK (currency GLOB '[A-Z][A-Z][A-Z]' AND instr(currency, char(0)) = 0),
    received  INTEGER NOT NULL CHECK (received >= 0),
    available INTEGER NOT NULL CHECK (available >= 0),
    reserved  INTEGER NOT NULL CHECK (reserved >= 0),
    sold      INTEGER NOT NULL CHECK (sold >= 0),
    -- Subtracted, so that it is exact: a sum beyond 64 bits becomes a floating-point
    -- number without a word, a difference does so only far below zero, where it is
    -- equal to nothing that may be available.
    CONSTRAINT products_conserved CHECK (available = received - reserved - sold)
) STRICT, WITHOUT ROWID;

CREATE TABLE reservations (
    saga_id    BLOB NOT NULL CHECK (length(saga_id) = 16),
    sku        TEXT NOT NULL CHECK (instr(sku, char(0)) = 0),
    quantity   INTEGER NOT NULL CHECK (quantity >= 1),
    unit_price INTEGER NOT NULL CHECK (unit_price > 0),
    currency   TEXT NOT NULL CHECK (instr(currency, char(0)) = 0),
    state      TEXT NOT NULL CHECK (state IN ('open', 'released', 'committed')),
    PRIMARY KEY (saga_id, sku)
) STRICT, WITHOUT ROWID;

CREATE TABLE movements (
    sku         TEXT NOT NULL CHECK (instr(sku, char(0)) = 0),
    kind        TEXT NOT NULL CHECK (kind IN ('received', 'reserved', 'released', 'committed')),
    quantity    INTEGER NOT NULL CHECK (quantity >= 1),
    saga_id     BLOB CHECK (length(saga_id) = 16),
    receipt_key TEXT CHECK (instr(receipt_key, char(0)) = 0),
    at          INTEGER NOT NULL,
    CONSTRAINT movements_cause CHECK (
        (kind = 'received') = (receipt_key IS NOT NULL)
        AND (kind = 'received') = (saga_id IS NULL)
    )
) STRICT;
CREATE UNIQUE INDEX movements_of_saga ON movements (saga_id, sku, kind) WHERE saga_id IS NOT NULL;
CREATE UNIQUE INDEX movements_of_receipt ON movements (receipt_key) WHERE receipt_key IS NOT NULL;

CREATE TABLE receipts (
    idempotency_key TEXT NOT NULL PRIMARY KEY CHECK (instr(idempotency_key, char(0)) = 0),
    payload_hash    BLOB NOT NULL,
    sku             TEXT NOT NULL CHECK (instr(sku, char(0)) = 0),
    quantity        INTEGER NOT NULL CHECK (quantity >= 1),
    at              INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
