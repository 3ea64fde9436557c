-- # payments: no cent captured or refunded but what orders ask for
-- Our payments, refunds and their ledger.

-- ## payments-bounded: always
-- By the ledger of each order, 0 ≤ refunded ≤ captured ≤ authorised, in one currency, and every amount is positive.
SELECT count(*) FROM payment_ledger;
WITH sums AS (
    SELECT order_id, currency, min(amount) AS least,
           coalesce(sum(amount) FILTER (WHERE kind = 'authorised'), 0) AS authorised,
           coalesce(sum(amount) FILTER (WHERE kind = 'captured'), 0) AS captured,
           coalesce(sum(amount) FILTER (WHERE kind = 'refunded'), 0) AS refunded
    FROM payment_ledger GROUP BY order_id, currency
)
SELECT format('order %s: authorised %d, captured %d, refunded %d %s', order_id, authorised, captured, refunded, currency)
FROM sums
WHERE NOT (0 <= refunded AND refunded <= captured AND captured <= authorised) OR least <= 0
ORDER BY 1;

-- ## payments-ledgered: always
-- Each payment's status is what the ledger says happened to it, in the same amount and currency.
SELECT (SELECT count(*) FROM payments) + (SELECT count(*) FROM payment_ledger WHERE kind <> 'refunded');
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

-- ## payments-once: always
-- Nothing happens twice to an order's money on behalf of one saga, and an order has one payment.
SELECT (SELECT count(*) FROM payment_ledger) + (SELECT count(*) FROM payments);
SELECT format('order %s: %s %d times by saga %s', order_id, kind, count(*), saga_id)
FROM payment_ledger GROUP BY saga_id, kind HAVING count(*) > 1
UNION ALL
SELECT format('order %s has %d payments', order_id, count(*))
FROM payments GROUP BY order_id HAVING count(*) > 1
ORDER BY 1;

-- ## refunds-ledgered: always
-- Each refund that is done is in the ledger, each that is there was asked for, and a payment counts as refunded what its
-- refunds add up to.
SELECT (SELECT count(*) FROM payments WHERE status = 'captured') + (SELECT count(*) FROM refunds);
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

-- ## money: at rest
-- In each currency, what was captured less what was refunded is the total of the CONFIRMED orders, less what the orders
-- say was refunded of it.
SELECT (SELECT count(*) FROM payment_ledger WHERE kind IN ('captured', 'refunded'))
     + (SELECT count(*) FROM orders WHERE status = 2);
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

-- ## nothing-held: at rest
-- No authorisation of ours is open and no refund is waiting, by status and by the ledger.
SELECT (SELECT count(*) FROM payments) + (SELECT count(*) FROM refunds);
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
