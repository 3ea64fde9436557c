-- orders-paid: at rest
-- By the ledger, exactly its total was captured for a CONFIRMED order, and nothing for a REJECTED or CANCELLED one.
-- checked
SELECT count(*) FROM orders WHERE status <> 1;
-- offenders
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
