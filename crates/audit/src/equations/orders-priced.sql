-- orders-priced: at rest
-- What was reserved for an order is what was ordered, line by line; CONFIRMED, it has the price and the currency at which
-- it was reserved.
-- checked
SELECT (SELECT count(*) FROM reservations) + (SELECT count(*) FROM order_lines);
-- offenders
WITH ordered AS (
    SELECT order_id, sku, quantity, CASE status WHEN 2 THEN unit_price END AS price, CASE status WHEN 2 THEN currency END AS currency
    FROM order_lines l JOIN orders o ON o.id = l.order_id
    -- Reserved is everything or nothing.
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
