-- effects-recorded: always
-- What a command did to its service's own tables and the answer that it recorded are there together: no effect without
-- its answer, no answer without its effect. Below its watermark a participant forgets its answers.
-- checked
SELECT (SELECT count(*) FROM effects) + (SELECT count(*) FROM recorded WHERE outcome = 'done');
-- offenders
SELECT format('%s: the effect of %s/%s/%s is there, its answer is not', service, saga_id, step, direction)
FROM effects e
WHERE NOT EXISTS (
    SELECT 1 FROM recorded r
    WHERE (r.service, r.saga_id, r.step, r.direction) = (e.service, e.saga_id, e.step, e.direction) AND r.outcome = 'done'
)
AND e.saga_id >= (SELECT below FROM forgotten f WHERE f.service = e.service)
-- A hold whose answer was lost is written down by the one who finds it at the provider and lets it go.
AND NOT (e.step = 'authorise-payment' AND e.direction = 'action' AND EXISTS (
    SELECT 1 FROM recorded r
    WHERE r.saga_id = e.saga_id AND r.step = e.step AND r.direction = 'compensation' AND r.outcome = 'done'
))
UNION ALL
SELECT format('%s: %s/%s/%s was answered as done, its effect is not there', service, saga_id, step, direction)
FROM recorded r
WHERE outcome = 'done' AND step IN (SELECT step FROM steps)
  AND NOT EXISTS (
    SELECT 1 FROM effects e
    WHERE (e.service, e.saga_id, e.step, e.direction) = (r.service, r.saga_id, r.step, r.direction)
)
-- A compensation has nothing to do where its action did nothing.
AND (direction = 'action' OR EXISTS (
    SELECT 1 FROM effects e
    WHERE (e.service, e.saga_id, e.step, e.direction) = (r.service, r.saga_id, r.step, 'action')
))
ORDER BY 1;
