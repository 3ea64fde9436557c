-- keys-one-payload: always
-- A caller's idempotency key is bound to one payload and one saga.
-- checked
SELECT count(*) FROM keys;
-- offenders
SELECT format('key %s of %s for %s: %d times, %d payloads', key, caller, method, count(*), count(DISTINCT payload_hash))
FROM keys GROUP BY caller, method, key
HAVING count(*) > 1 OR count(payload_hash) = 0
ORDER BY 1;
