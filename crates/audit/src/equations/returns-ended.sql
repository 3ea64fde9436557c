-- returns-ended: at rest, may be empty
-- Each return ended as its saga did: COMPLETED is done, refunded to the cent by the ledger and taken back piece by piece by
-- the movements; of any other nothing was refunded and nothing came back.
-- checked
SELECT count(*) FROM sagas WHERE definition = 'return-order';
-- offenders
WITH ends AS (
    SELECT s.id, s.state, r.id IS NOT NULL AS opened, r.state AS ended, r.order_id, r.amount, o.currency
    FROM sagas s LEFT JOIN returns r ON r.id = s.id LEFT JOIN orders o ON o.id = r.order_id
    WHERE s.definition = 'return-order' AND s.state IN (3, 4)
),
due AS (
    SELECT e.id, e.order_id, l.sku, p.quantity
    FROM ends e JOIN return_lines p ON p.return_id = e.id
    JOIN order_lines l ON l.order_id = e.order_id AND l.line_no = p.line_no
    WHERE e.state = 3
),
moved AS (
    SELECT saga_id, order_id, sku, quantity FROM movements
    WHERE kind = 'returned' AND saga_id IN (SELECT id FROM sagas WHERE state IN (3, 4))
),
refunded AS (
    SELECT saga_id, order_id, amount, currency FROM payment_ledger
    WHERE kind = 'refunded' AND saga_id IN (SELECT id FROM sagas WHERE state IN (3, 4))
)
SELECT format('return %s ended in state %d, the order service says %s', id, state, coalesce(ended, 'nothing of it'))
FROM ends WHERE (state = 3 AND ended IS NOT 2) OR (state = 4 AND opened AND ended IS NOT 3)
UNION ALL
SELECT format('return %s of order %s: %d %s are due and were not so refunded', id, order_id, amount, currency)
FROM (SELECT id, order_id, amount, currency FROM ends WHERE state = 3 EXCEPT SELECT * FROM refunded)
UNION ALL
SELECT format('return %s of order %s: %d %s were refunded, and not so due', saga_id, order_id, amount, currency)
FROM (SELECT * FROM refunded EXCEPT SELECT id, order_id, amount, currency FROM ends WHERE state = 3)
UNION ALL
SELECT format('return %s of order %s: %d of %s are due and did not so come back', id, order_id, quantity, sku)
FROM (SELECT * FROM due EXCEPT SELECT * FROM moved)
UNION ALL
SELECT format('return %s of order %s: %d of %s came back, and were not so due', saga_id, order_id, quantity, sku)
FROM (SELECT * FROM moved EXCEPT SELECT * FROM due)
ORDER BY 1;
