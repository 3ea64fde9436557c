-- ours-at-provider: always
-- Whatever our ledger says of an order's money, the provider's says too: the same saga, order, amount and currency.
-- checked
SELECT (SELECT count(*) FROM payment_ledger WHERE kind <> 'declined')
     + (SELECT count(*) FROM payments WHERE provider_id IS NOT NULL);
-- offenders
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
