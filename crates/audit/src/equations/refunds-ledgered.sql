-- refunds-ledgered: always
-- Each refund that is done is in the ledger, each that is there was asked for, and a payment counts as refunded what its
-- refunds add up to.
-- checked
SELECT (SELECT count(*) FROM payments WHERE status = 'captured') + (SELECT count(*) FROM refunds);
-- offenders
WITH done AS (SELECT saga_id, order_id, amount, currency FROM refunds WHERE state = 'done'),
booked AS (SELECT saga_id, order_id, amount, currency FROM payment_ledger WHERE kind = 'refunded'),
sums AS (SELECT order_id, sum(amount) AS refunded FROM payment_ledger WHERE kind = 'refunded' GROUP BY order_id)
SELECT format('order %s: the refund of %d %s by saga %s is not in the ledger', order_id, amount, currency, saga_id)
FROM (SELECT * FROM done EXCEPT SELECT * FROM booked)
UNION ALL
SELECT format('order %s: the ledger has a refund of %d %s by saga %s, which was not asked for', order_id, amount, currency, saga_id)
FROM (SELECT * FROM booked EXCEPT SELECT * FROM done)
UNION ALL
SELECT format('order %s counts %d as refunded, its refunds add up to %d', order_id, p.refunded, coalesce(s.refunded, 0))
FROM payments p LEFT JOIN sums s USING (order_id)
WHERE p.refunded <> coalesce(s.refunded, 0)
ORDER BY 1;
