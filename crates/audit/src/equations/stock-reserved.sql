-- stock-reserved: always
-- Of each product, as much is reserved as the open reservations hold.
-- checked
SELECT (SELECT count(*) FROM products) + (SELECT count(*) FROM reservations WHERE state = 'open');
-- offenders
WITH held AS (
    SELECT sku, sum(quantity) AS quantity FROM reservations WHERE state = 'open' GROUP BY sku
)
SELECT format('%s: reserved %d, held by open reservations %d',
              coalesce(p.sku, h.sku), coalesce(p.reserved, 0), coalesce(h.quantity, 0))
FROM products p FULL JOIN held h ON h.sku = p.sku
WHERE coalesce(p.reserved, 0) <> coalesce(h.quantity, 0)
ORDER BY 1;
