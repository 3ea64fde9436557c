-- orders-sold: at rest
-- By the movements, every line of a CONFIRMED order was sold; of a REJECTED or CANCELLED one nothing was, and what had
-- been reserved was released.
-- checked
SELECT count(*) FROM order_lines l JOIN orders o ON o.id = l.order_id WHERE o.status <> 1;
-- offenders
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
