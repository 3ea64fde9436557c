-- orders-add-up: always
-- Each CONFIRMED order's total is the sum over its lines of quantity × unit price.
-- checked
SELECT count(*) FROM orders WHERE status = 2;
-- offenders
WITH sums AS (
    SELECT order_id, sum(quantity * unit_price) AS total, count(*) - count(unit_price) AS unpriced
    FROM order_lines GROUP BY order_id
)
SELECT format('order %s: total %d, its lines %s', id, o.total, coalesce(s.total, 'have no price'))
FROM orders o LEFT JOIN sums s ON s.order_id = o.id
WHERE status = 2 AND (o.total IS NOT s.total OR unpriced <> 0 OR o.currency IS NULL)
ORDER BY 1;
