-- provider-ledgered: always
-- At the provider, each payment's status is what its ledger says happened to it, and no more was refunded than captured.
-- checked
SELECT (SELECT count(*) FROM provider_payments) + (SELECT count(*) FROM provider_ledger);
-- offenders
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
