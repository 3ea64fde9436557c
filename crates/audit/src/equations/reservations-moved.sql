-- reservations-moved: always
-- Each reservation has its movements: it was reserved, and released or committed if that is its state, in its quantity.
-- And each movement of a saga has its reservation, but for what comes back: see returns-moved.
-- checked
SELECT (SELECT count(*) FROM reservations)
     + (SELECT count(*) FROM movements WHERE saga_id IS NOT NULL AND kind <> 'returned');
-- offenders
WITH due AS (
    SELECT saga_id, sku, 'reserved' AS kind, quantity FROM reservations
    UNION ALL
    SELECT saga_id, sku, state, quantity FROM reservations WHERE state <> 'open'
),
moved AS (
    SELECT saga_id, sku, kind, quantity FROM movements WHERE saga_id IS NOT NULL AND kind <> 'returned'
)
SELECT format('%s: %d of %s should be %s and never were', saga_id, quantity, sku, kind)
FROM (SELECT * FROM due EXCEPT SELECT * FROM moved)
UNION ALL
SELECT format('%s: %d of %s were %s, which no reservation says', saga_id, quantity, sku, kind)
FROM (SELECT * FROM moved EXCEPT SELECT * FROM due)
ORDER BY 1;
