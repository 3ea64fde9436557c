-- inbox-once: always
-- A participant has one record a step of a saga, and no record of a step that is not its own.
-- checked
SELECT count(*) FROM inbox;
-- offenders
SELECT format('%s has %d records of %s/%s', service, count(*), saga_id, step)
FROM inbox GROUP BY service, saga_id, step HAVING count(*) > 1
UNION ALL
SELECT format('%s has a record of %s/%s, which is for %s', i.service, saga_id, step, s.service)
FROM inbox i JOIN steps s USING (step)
WHERE i.service <> s.service
ORDER BY 1;
