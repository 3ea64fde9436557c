-- Returns, as in Postgres (migrations/0101_returns.sql), where each column is explained.
ALTER TABLE reservations ADD COLUMN returned INTEGER NOT NULL DEFAULT 0
    CHECK (returned BETWEEN 0 AND quantity AND (returned = 0 OR state = 'committed'));

-- A CHECK cannot be changed, so the table is made anew.
CREATE TABLE movements_2 (
    sku         TEXT NOT NULL CHECK (instr(sku, char(0)) = 0),
    kind        TEXT NOT NULL
        CHECK (kind IN ('received', 'reserved', 'released', 'committed', 'returned')),
    quantity    INTEGER NOT NULL CHECK (quantity >= 1),
    saga_id     BLOB CHECK (length(saga_id) = 16),
    receipt_key TEXT CHECK (instr(receipt_key, char(0)) = 0),
    at          INTEGER NOT NULL,
    order_id    BLOB CHECK (length(order_id) = 16),
    CONSTRAINT movements_cause CHECK (
        (kind = 'received') = (receipt_key IS NOT NULL)
        AND (kind = 'received') = (saga_id IS NULL)
    ),
    CONSTRAINT movements_of_order CHECK ((kind = 'returned') = (order_id IS NOT NULL))
) STRICT;
INSERT INTO movements_2 (sku, kind, quantity, saga_id, receipt_key, at)
SELECT sku, kind, quantity, saga_id, receipt_key, at FROM movements;
DROP TABLE movements;
ALTER TABLE movements_2 RENAME TO movements;
CREATE UNIQUE INDEX movements_of_saga ON movements (saga_id, sku, kind) WHERE saga_id IS NOT NULL;
CREATE UNIQUE INDEX movements_of_receipt ON movements (receipt_key) WHERE receipt_key IS NOT NULL;
