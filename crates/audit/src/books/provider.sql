-- # provider: its ledger and ours agree, line by line
-- The payment provider's ledger, beside ours.

-- ## provider-ledgered: always
-- At the provider, each payment's status is what its ledger says happened to it, and no more was refunded than captured.
SELECT (SELECT count(*) FROM provider_payments) + (SELECT count(*) FROM provider_ledger);
WITH due AS (
    SELECT id, 'authorised' AS kind, amount, currency FROM provider_payments WHERE status <> 'declined'
    UNION ALL
    SELECT id, status, amount, currency FROM provider_payments WHERE status IN ('captured', 'cancelled')
),
booked AS (SELECT payment_id, kind, amount, currency FROM provider_ledger WHERE kind <> 'refunded')
SELECT format('%s: %s %d %s is not in its ledger', id, kind, amount, currency)
FROM (SELECT * FROM due EXCEPT SELECT * FROM booked)
UNION ALL
SELECT format('%s: its ledger has %s %d %s, the payment does not', payment_id, kind, amount, currency)
FROM (SELECT * FROM booked EXCEPT SELECT * FROM due)
UNION ALL
SELECT format('%s: refunded more than was captured', payment_id)
FROM provider_ledger GROUP BY payment_id
HAVING coalesce(sum(amount) FILTER (WHERE kind = 'refunded'), 0)
     > coalesce(sum(amount) FILTER (WHERE kind = 'captured'), 0)
ORDER BY 1;

-- ## provider-once: always
-- The provider did nothing twice: no idempotency key, and nothing but a refund twice to one payment, and no order was
-- charged by two payments.
SELECT (SELECT count(*) FROM provider_payments) + (SELECT count(*) FROM provider_ledger);
SELECT format('key %s moved money %d times', key, count(*)) FROM provider_ledger GROUP BY key HAVING count(*) > 1
UNION ALL
SELECT format('%s was %s %d times', payment_id, kind, count(*))
FROM provider_ledger WHERE kind <> 'refunded' GROUP BY payment_id, kind HAVING count(*) > 1
UNION ALL
SELECT format('order %s has %d payments at the provider', reference, count(*))
FROM provider_payments GROUP BY reference HAVING count(*) > 1
ORDER BY 1;

-- ## ours-at-provider: always
-- Whatever our ledger says of an order's money, the provider's says too: the same saga, order, amount and currency.
SELECT (SELECT count(*) FROM payment_ledger WHERE kind <> 'declined')
     + (SELECT count(*) FROM payments WHERE provider_id IS NOT NULL);
SELECT format('order %s: %s %d %s by saga %s is not so in the provider''s ledger', order_id, kind, amount, currency, saga_id)
FROM payment_ledger o
WHERE kind <> 'declined' AND NOT EXISTS (
    SELECT 1 FROM provider_lines p
    WHERE (p.saga_id, p.kind, p.order_id, p.amount, p.currency) = (o.saga_id, o.kind, o.order_id, o.amount, o.currency)
)
UNION ALL
SELECT format('order %s: the provider has no payment %s for it', order_id, provider_id)
FROM payments o
WHERE provider_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM provider_payments p WHERE p.id = o.provider_id AND p.reference = o.order_id
)
ORDER BY 1;

-- ## provider-known: at rest
-- Each payment at the provider is one of ours, and whatever its ledger says of it, ours says too.
SELECT (SELECT count(*) FROM provider_payments) + (SELECT count(*) FROM provider_ledger);
WITH known AS (
    SELECT p.id, p.reference AS order_id, p.reference IN (SELECT id FROM stuck) AS excused, EXISTS (
        SELECT 1 FROM payments o
        -- We need not know of a declined payment: it holds nothing.
        WHERE o.order_id = p.reference AND (o.provider_id = p.id OR p.status = 'declined')
    ) AS ours
    FROM provider_payments p
)
SELECT format('the provider has payment %s for order %s, and we do not', id, order_id)
FROM known WHERE NOT ours AND NOT excused
UNION ALL
SELECT format('order %s: the provider''s ledger has %s %d %s by saga %s, and ours has not', p.order_id, kind, amount, currency, saga_id)
FROM provider_lines p LEFT JOIN known k ON k.id = p.payment_id
WHERE coalesce(ours, 1) AND NOT coalesce(excused, 0) AND NOT EXISTS (
    SELECT 1 FROM payment_ledger o WHERE o.saga_id = p.saga_id AND o.kind = p.kind
)
ORDER BY 1;

-- ## provider-holds-nothing: at rest
-- By the provider's ledger, no authorisation is open there.
SELECT count(*) FROM provider_payments;
SELECT format('%s for order %s: %d %s are still held', payment_id, order_id,
              sum(CASE kind WHEN 'authorised' THEN amount ELSE -amount END), currency)
FROM provider_lines
WHERE kind IN ('authorised', 'voided', 'captured') AND coalesce(order_id, '') NOT IN (SELECT id FROM stuck)
GROUP BY payment_id
HAVING sum(CASE kind WHEN 'authorised' THEN amount ELSE -amount END) <> 0
ORDER BY 1;
