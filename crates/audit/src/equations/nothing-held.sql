-- nothing-held: at rest
-- No authorisation of ours is open and no refund is waiting, by status and by the ledger.
-- checked
SELECT (SELECT count(*) FROM payments) + (SELECT count(*) FROM refunds);
-- offenders
WITH held AS (
    SELECT order_id, sum(CASE kind WHEN 'authorised' THEN amount ELSE -amount END) AS amount
    FROM payment_ledger WHERE kind IN ('authorised', 'voided', 'captured') GROUP BY order_id
)
SELECT format('order %s is %s', order_id, status)
FROM payments WHERE status IN ('authorising', 'authorised') AND order_id NOT IN (SELECT id FROM stuck)
UNION ALL
SELECT format('order %s: by the ledger, %d are still held', order_id, amount)
FROM held WHERE amount <> 0 AND order_id NOT IN (SELECT id FROM stuck)
UNION ALL
SELECT format('order %s: a refund of %d by saga %s is only intended', order_id, amount, saga_id)
FROM refunds WHERE state = 'intended' AND saga_id NOT IN (SELECT id FROM stuck)
ORDER BY 1;
