-- payments-bounded: always
-- By the ledger of each order, 0 ≤ refunded ≤ captured ≤ authorised, in one currency, and every amount is positive.
-- checked
SELECT count(*) FROM payment_ledger;
-- offenders
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
