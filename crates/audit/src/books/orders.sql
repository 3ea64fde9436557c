-- # orders: order, saga, payment and stock tell one story
-- Orders and returns, beside their sagas, payments and stock.

-- ## orders-add-up: always
-- Each CONFIRMED order's total is the sum over its lines of quantity × unit price.
SELECT count(*) FROM orders WHERE status = 2;
WITH sums AS (
    SELECT order_id, sum(quantity * unit_price) AS total, count(*) - count(unit_price) AS unpriced
    FROM order_lines GROUP BY order_id
)
SELECT format('order %s: total %d, its lines %s', id, o.total, coalesce(s.total, 'have no price'))
FROM orders o LEFT JOIN sums s ON s.order_id = o.id
WHERE status = 2 AND (o.total IS NOT s.total OR unpriced <> 0 OR o.currency IS NULL)
ORDER BY 1;

-- ## returns-add-up: always, may be empty
-- Of each line, what is held and what has come back are the sums over the order's open and done returns, together at most
-- what was ordered; a return is worth its pieces at the order's prices, and an order counts as refunded what its done
-- returns are worth.
SELECT (SELECT count(*) FROM returns) + (SELECT count(*) FROM return_lines);
WITH pieces AS (
    SELECT r.id, r.order_id, r.state, p.line_no, p.quantity, l.sku, p.quantity * l.unit_price AS worth
    FROM returns r JOIN return_lines p ON p.return_id = r.id
    LEFT JOIN order_lines l ON l.order_id = r.order_id AND l.line_no = p.line_no
),
lines AS (
    SELECT l.order_id, l.sku, l.quantity, l.held, l.returned,
           coalesce(sum(p.quantity) FILTER (WHERE p.state = 1), 0) AS open,
           coalesce(sum(p.quantity) FILTER (WHERE p.state = 2), 0) AS done
    FROM order_lines l LEFT JOIN pieces p ON p.order_id = l.order_id AND p.line_no = l.line_no
    GROUP BY l.order_id, l.line_no
),
worth AS (SELECT id, sum(worth) AS amount, count(*) - count(worth) AS unpriced FROM pieces GROUP BY id),
refunded AS (SELECT order_id, sum(amount) AS amount FROM returns WHERE state = 2 GROUP BY order_id)
SELECT format('order %s: of %d %s, %d are held and %d came back; by its returns %d and %d', order_id, quantity, sku,
              held, returned, open, done)
FROM lines WHERE (held, returned) IS NOT (open, done) OR held + returned > quantity
UNION ALL
SELECT format('return %s of order %s is worth %d, its pieces %s', r.id, r.order_id, r.amount, coalesce(w.amount, 'nothing'))
FROM returns r LEFT JOIN worth w ON w.id = r.id
WHERE r.amount IS NOT w.amount OR unpriced <> 0
UNION ALL
SELECT format('order %s counts %d as refunded, its returns come to %d', o.id, o.refunded, coalesce(r.amount, 0))
FROM orders o LEFT JOIN refunded r ON r.order_id = o.id
WHERE o.refunded IS NOT coalesce(r.amount, 0)
ORDER BY 1;

-- ## orders-ended: at rest
-- Each saga of place-order has one order, which ended as the saga did: COMPLETED is CONFIRMED, COMPENSATED is CANCELLED
-- if the client took it back and REJECTED otherwise. There is none only if the order service refused it, or if a person
-- said that it was undone. In version 1, there is also none if it was undone before it was created.
SELECT count(*) FROM sagas WHERE definition = 'place-order';
WITH ends AS (
    SELECT s.id, s.state,
           CASE WHEN s.state = 3 THEN 2
                WHEN json_valid(progress) AND json_type(progress, '$.phase.compensated.cancelled') IS NOT NULL THEN 4
                ELSE 3 END AS due,
           EXISTS (SELECT 1 FROM answers a WHERE a.saga_id = s.id AND a.step = 'create-order' AND a.outcome = 'done'
                   AND (a.direction = 'action' OR s.definition_version > 1))
           AND NOT EXISTS (SELECT 1 FROM recorded r WHERE r.saga_id = s.id AND r.step = 'create-order'
                   AND r.direction = 'action' AND r.outcome = 'refused') AS due_here
    FROM sagas s WHERE s.definition = 'place-order' AND s.state IN (3, 4)
)
SELECT format('saga %s ended in state %d, its order in status %d instead of %d', e.id, e.state, o.status, e.due)
FROM ends e JOIN orders o ON o.id = e.id WHERE o.status IS NOT e.due
UNION ALL
SELECT format('saga %s ended in state %d, and its order is not there', id, state)
FROM ends WHERE due_here AND id NOT IN (SELECT id FROM orders)
UNION ALL
SELECT format('order %s is there %d times', id, count(*)) FROM orders GROUP BY id HAVING count(*) > 1
ORDER BY 1;

-- ## orders-priced: at rest
-- What was reserved for an order is what was ordered, line by line; CONFIRMED, it has the price and the currency at which
-- it was reserved.
SELECT (SELECT count(*) FROM reservations) + (SELECT count(*) FROM order_lines);
WITH ordered AS (
    SELECT order_id, sku, quantity, CASE status WHEN 2 THEN unit_price END AS price, CASE status WHEN 2 THEN currency END AS currency
    FROM order_lines l JOIN orders o ON o.id = l.order_id
    -- A reservation holds everything or nothing.
    WHERE o.status = 2 OR o.id IN (SELECT saga_id FROM reservations)
),
held AS (
    SELECT saga_id, sku, quantity, CASE o.status WHEN 2 THEN unit_price END, CASE o.status WHEN 2 THEN r.currency END
    FROM reservations r LEFT JOIN orders o ON o.id = r.saga_id
)
SELECT format('order %s: %d of %s%s were ordered, and not so reserved', order_id, quantity, sku,
              coalesce(' at ' || price || ' ' || currency, ''))
FROM (SELECT * FROM ordered EXCEPT SELECT * FROM held)
UNION ALL
SELECT format('order %s: %d of %s were reserved, and not so ordered', saga_id, quantity, sku)
FROM (SELECT * FROM held EXCEPT SELECT * FROM ordered)
ORDER BY 1;

-- ## orders-sold: at rest
-- By the movements, every line of a CONFIRMED order was sold; of a REJECTED or CANCELLED one nothing was, and what had
-- been reserved was released.
SELECT count(*) FROM order_lines l JOIN orders o ON o.id = l.order_id WHERE o.status <> 1;
WITH moved AS (
    SELECT saga_id, sku,
           coalesce(sum(quantity) FILTER (WHERE kind = 'reserved'), 0) AS reserved,
           coalesce(sum(quantity) FILTER (WHERE kind = 'released'), 0) AS released,
           coalesce(sum(quantity) FILTER (WHERE kind = 'committed'), 0) AS sold
    FROM movements WHERE saga_id IS NOT NULL GROUP BY saga_id, sku
)
SELECT format('order %s is CONFIRMED: %d of %s were sold instead of %d', o.id, coalesce(m.sold, 0), l.sku, l.quantity)
FROM orders o JOIN order_lines l ON l.order_id = o.id
LEFT JOIN moved m ON m.saga_id = l.order_id AND m.sku = l.sku
WHERE o.status = 2 AND coalesce(m.sold, 0) <> l.quantity AND o.id NOT IN (SELECT id FROM stuck)
UNION ALL
SELECT format('order %s is undone: of %s, %d were reserved, %d released, %d sold', o.id, sku, reserved, released, sold)
FROM orders o JOIN moved m ON m.saga_id = o.id
WHERE o.status IN (3, 4) AND (sold <> 0 OR reserved <> released) AND o.id NOT IN (SELECT id FROM stuck)
ORDER BY 1;

-- ## orders-paid: at rest
-- By the ledger, exactly its total was captured for a CONFIRMED order, and nothing for a REJECTED or CANCELLED one.
SELECT count(*) FROM orders WHERE status <> 1;
WITH captured AS (
    SELECT order_id, sum(amount) AS amount, min(currency) AS currency, count(DISTINCT currency) AS currencies
    FROM payment_ledger WHERE kind = 'captured' GROUP BY order_id
)
SELECT format('order %s is CONFIRMED for %d %s, captured %d %s', id, total, o.currency, coalesce(amount, 0), c.currency)
FROM orders o LEFT JOIN captured c ON c.order_id = o.id
WHERE status = 2 AND (total, o.currency, 1) IS NOT (amount, c.currency, currencies)
  AND id NOT IN (SELECT id FROM stuck)
UNION ALL
SELECT format('order %s is undone, captured %d %s', id, amount, c.currency)
FROM orders o JOIN captured c ON c.order_id = o.id
WHERE status IN (3, 4) AND id NOT IN (SELECT id FROM stuck)
ORDER BY 1;

-- ## returns-ended: at rest, may be empty
-- Each return ended as its saga did: COMPLETED is done, refunded to the cent by the ledger and taken back piece by piece by
-- the movements; of any other nothing was refunded and nothing came back.
SELECT count(*) FROM sagas WHERE definition = 'return-order';
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

-- ## orders-expected: at rest
-- There are as many orders as were said to have been accepted: sagas, and orders of those that are forgotten.
SELECT count(*) FROM sagas WHERE definition = 'place-order';
SELECT format('%d orders instead of %d', found, orders)
FROM expected, (
    SELECT count(*) AS found FROM (
        SELECT id FROM sagas WHERE definition = 'place-order'
        UNION
        SELECT id FROM orders WHERE id < (SELECT below FROM forgotten WHERE service = 'orchestrator')
    )
)
WHERE found <> orders;
