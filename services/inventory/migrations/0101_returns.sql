-- What has come back of what was sold: it is available again, and no longer sold.
ALTER TABLE reservations
    ADD COLUMN returned bigint NOT NULL DEFAULT 0 CHECK (returned BETWEEN 0 AND quantity),
    ADD CONSTRAINT reservations_returned CHECK (returned = 0 OR state = 'committed');

-- A movement of a return has the return's saga, and the order under which its goods
-- had been sold.
ALTER TABLE movements
    ADD COLUMN order_id uuid,
    DROP CONSTRAINT movements_kind_check,
    ADD CONSTRAINT movements_kind_check
        CHECK (kind IN ('received', 'reserved', 'released', 'committed', 'returned')),
    ADD CONSTRAINT movements_of_order CHECK ((kind = 'returned') = (order_id IS NOT NULL));
