-- provider-holds-nothing: at rest
-- By the provider's ledger, no authorisation is open there.
-- checked
SELECT count(*) FROM provider_payments;
-- offenders
SELECT format('%s for order %s: %d %s are still held', payment_id, order_id,
              sum(CASE kind WHEN 'authorised' THEN amount ELSE -amount END), currency)
FROM provider_lines
WHERE kind IN ('authorised', 'voided', 'captured') AND coalesce(order_id, '') NOT IN (SELECT id FROM stuck)
GROUP BY payment_id
HAVING sum(CASE kind WHEN 'authorised' THEN amount ELSE -amount END) <> 0
ORDER BY 1;
