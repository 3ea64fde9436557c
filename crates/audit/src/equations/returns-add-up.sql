-- returns-add-up: always, may be empty
-- Of each line, what is held and what has come back are the sums over the order's open and done returns, together at most
-- what was ordered; a return is worth its pieces at the order's prices, and an order counts as refunded what its done
-- returns are worth.
-- checked
SELECT (SELECT count(*) FROM returns) + (SELECT count(*) FROM return_lines);
-- offenders
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
