-- payments-ledgered: always
-- Each payment's status is what the ledger says happened to it, in the same amount and currency.
-- checked
SELECT (SELECT count(*) FROM payments) + (SELECT count(*) FROM payment_ledger WHERE kind <> 'refunded');
-- offenders
WITH due AS (
    -- A payment that was voided before the provider had made it was never held.
    SELECT order_id, 'authorised' AS kind, amount, currency FROM payments
    WHERE status IN ('authorised', 'captured') OR (status = 'voided' AND provider_id IS NOT NULL)
    UNION ALL
    SELECT order_id, status, amount, currency FROM payments
    WHERE status IN ('declined', 'captured') OR (status = 'voided' AND provider_id IS NOT NULL)
),
-- The saga that did it is the order's own.
booked AS (
    SELECT order_id, kind, amount, currency FROM payment_ledger WHERE kind <> 'refunded' AND saga_id = order_id
    UNION ALL
    SELECT order_id, kind || ' by saga ' || saga_id, amount, currency FROM payment_ledger
    WHERE kind <> 'refunded' AND saga_id <> order_id
)
SELECT format('order %s: %s %d %s is not in the ledger', order_id, kind, amount, currency)
FROM (SELECT * FROM due EXCEPT SELECT * FROM booked)
UNION ALL
SELECT format('order %s: the ledger has %s %d %s, its payment does not', order_id, kind, amount, currency)
FROM (SELECT * FROM booked EXCEPT SELECT * FROM due)
ORDER BY 1;
