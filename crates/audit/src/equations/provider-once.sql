-- provider-once: always
-- The provider did nothing twice: no idempotency key, and nothing but a refund twice to one payment, and no order was
-- charged by two payments.
-- checked
SELECT (SELECT count(*) FROM provider_payments) + (SELECT count(*) FROM provider_ledger);
-- offenders
SELECT format('key %s moved money %d times', key, count(*)) FROM provider_ledger GROUP BY key HAVING count(*) > 1
UNION ALL
SELECT format('%s was %s %d times', payment_id, kind, count(*))
FROM provider_ledger WHERE kind <> 'refunded' GROUP BY payment_id, kind HAVING count(*) > 1
UNION ALL
SELECT format('order %s has %d payments at the provider', reference, count(*))
FROM provider_payments GROUP BY reference HAVING count(*) > 1
ORDER BY 1;
