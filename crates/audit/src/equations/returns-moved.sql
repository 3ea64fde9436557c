-- returns-moved: always, may be empty
-- What has come back of each sale is the sum of its movements, and no more than was sold.
-- checked
SELECT count(*) FROM movements WHERE kind = 'returned';
-- offenders
WITH moved AS (
    SELECT order_id, sku, sum(quantity) AS quantity FROM movements WHERE kind = 'returned' GROUP BY order_id, sku
)
SELECT format('order %s: %d of %d %s came back, by the movements %d', coalesce(r.saga_id, m.order_id), r.returned,
              r.quantity, coalesce(r.sku, m.sku), coalesce(m.quantity, 0))
FROM reservations r FULL JOIN moved m ON m.order_id = r.saga_id AND m.sku = r.sku
WHERE r.returned IS NOT coalesce(m.quantity, 0) OR r.returned > CASE r.state WHEN 'committed' THEN r.quantity ELSE 0 END
ORDER BY 1;
