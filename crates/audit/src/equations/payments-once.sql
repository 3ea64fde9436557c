-- payments-once: always
-- Nothing happens twice to an order's money on behalf of one saga, and an order has one payment.
-- checked
SELECT (SELECT count(*) FROM payment_ledger) + (SELECT count(*) FROM payments);
-- offenders
SELECT format('order %s: %s %d times by saga %s', order_id, kind, count(*), saga_id)
FROM payment_ledger GROUP BY saga_id, kind HAVING count(*) > 1
UNION ALL
SELECT format('order %s has %d payments', order_id, count(*))
FROM payments GROUP BY order_id HAVING count(*) > 1
ORDER BY 1;
