-- provider-known: at rest
-- Each payment at the provider is one of ours, and whatever its ledger says of it, ours says too.
-- checked
SELECT (SELECT count(*) FROM provider_payments) + (SELECT count(*) FROM provider_ledger);
-- offenders
WITH known AS (
    SELECT p.id, p.reference AS order_id, p.reference IN (SELECT id FROM stuck) AS excused, EXISTS (
        SELECT 1 FROM payments o
        -- Of a payment that was declined we need not have heard: it holds nothing.
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
