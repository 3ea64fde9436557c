-- keys-bound: always
-- Each key is bound to a saga that exists and was asked for by the same caller; each saga was asked for under one key.
-- checked
SELECT (SELECT count(*) FROM keys) + (SELECT count(*) FROM sagas);
-- offenders
SELECT format('key %s of %s is bound to %s, which is no saga of theirs', key, caller, saga_id)
FROM keys k
WHERE NOT EXISTS (SELECT 1 FROM sagas s WHERE s.id = k.saga_id AND s.caller = k.caller)
UNION ALL
SELECT format('saga %s has no key', id) FROM sagas WHERE id NOT IN (SELECT saga_id FROM keys)
UNION ALL
SELECT format('saga %s has the keys %s', saga_id, group_concat(DISTINCT caller || ' ' || method || ' ' || key))
FROM keys GROUP BY saga_id HAVING count(DISTINCT caller || ' ' || method || ' ' || key) > 1
ORDER BY 1;
