-- money: at rest
-- In each currency, what was captured less what was refunded is the total of the CONFIRMED orders, less what the orders
-- say was refunded of it.
-- checked
SELECT (SELECT count(*) FROM payment_ledger WHERE kind IN ('captured', 'refunded'))
     + (SELECT count(*) FROM orders WHERE status = 2);
-- offenders
WITH moved AS (
    SELECT currency,
           sum(CASE kind WHEN 'captured' THEN amount ELSE -amount END) AS kept
    FROM payment_ledger
    WHERE kind IN ('captured', 'refunded') AND order_id NOT IN (SELECT id FROM stuck)
      AND order_id NOT IN (SELECT order_id FROM returns WHERE id IN (SELECT id FROM stuck))
    GROUP BY currency
),
earned AS (
    SELECT currency, sum(total - refunded) AS total
    FROM orders
    WHERE status = 2 AND id NOT IN (SELECT id FROM stuck)
      AND id NOT IN (SELECT order_id FROM returns WHERE id IN (SELECT id FROM stuck))
    GROUP BY currency
)
SELECT format('%s: captured less refunded is %d, the CONFIRMED orders come to %d', coalesce(m.currency, e.currency), kept, total)
FROM moved m FULL JOIN earned e ON e.currency = m.currency
WHERE coalesce(kept, 0) <> coalesce(total, 0)
ORDER BY 1;
