-- sagas-exist: at rest
-- Whatever a service keeps belongs to a saga that exists, or is below the watermark, and an order to the same caller.
-- checked
SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM orders) + (SELECT count(*) FROM reservations)
     + (SELECT count(*) FROM payments) + (SELECT count(*) FROM refunds)
     + (SELECT count(*) FROM returns);
-- offenders
SELECT format('%s: saga %s is in no history', whose, saga_id)
FROM (
    SELECT 'a record of ' || service AS whose, saga_id FROM inbox
    UNION SELECT 'an order', id FROM orders
    UNION SELECT 'a reservation', saga_id FROM reservations
    UNION SELECT 'a payment', order_id FROM payments
    UNION SELECT 'a refund', saga_id FROM refunds
    UNION SELECT 'a return', id FROM returns
)
WHERE saga_id NOT IN (SELECT id FROM sagas)
  AND saga_id >= (SELECT below FROM forgotten WHERE service = 'orchestrator')
UNION ALL
SELECT format('order %s is of %s, its saga of %s', o.id, o.caller, s.caller)
FROM orders o JOIN sagas s ON s.id = o.id
WHERE o.caller <> s.caller
ORDER BY 1;
