-- movements-once: always
-- No saga moves a product twice in the same way, and no receipt is booked twice.
-- checked
SELECT count(*) FROM movements;
-- offenders
SELECT format('%s: %s %d times for %s', sku, kind, count(*), coalesce(saga_id, receipt_key))
FROM movements
GROUP BY saga_id, receipt_key, CASE WHEN receipt_key IS NULL THEN sku END, kind
HAVING count(*) > 1
ORDER BY 1;
