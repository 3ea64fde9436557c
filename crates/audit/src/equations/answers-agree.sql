-- answers-agree: at rest
-- Each answer in a saga's history is on record at the participant that gave it, and each that is on record there is in
-- the history, unless the saga had given up waiting and undid the step. An operator's word stands for an answer that it
-- does not contradict. Either side forgets what is below its watermark.
-- checked
SELECT (SELECT count(*) FROM answers) + (SELECT count(*) FROM recorded);
-- offenders
SELECT format('saga %s: %s/%s is %s in its history, and %s at its participant', saga_id, step, direction, outcome,
              coalesce((SELECT coalesce(r.outcome, 'not answered') FROM recorded r
                        WHERE (r.saga_id, r.step, r.direction) = (a.saga_id, a.step, a.direction)), 'not on record'))
FROM answers a
WHERE NOT EXISTS (
    SELECT 1 FROM recorded r
    WHERE (r.saga_id, r.step, r.direction, r.outcome) = (a.saga_id, a.step, a.direction, a.outcome)
)
AND NOT EXISTS (
    SELECT 1 FROM steps s JOIN forgotten f ON f.service = s.service WHERE s.step = a.step AND a.saga_id < f.below
)
-- That an action came too late is what its compensation's record says.
AND NOT (a.direction = 'action' AND a.outcome = 'refused' AND a.code = 'TOO_LATE' AND EXISTS (
    SELECT 1 FROM recorded r WHERE (r.saga_id, r.step, r.direction) = (a.saga_id, a.step, 'compensation')
))
UNION ALL
SELECT format('saga %s: %s/%s is %s at %s, and not in its history', saga_id, step, direction,
              coalesce(outcome, 'begun and not answered'), service)
FROM recorded r
WHERE NOT EXISTS (
    SELECT 1 FROM answers a WHERE (a.saga_id, a.step, a.direction) = (r.saga_id, r.step, r.direction)
)
AND NOT (r.direction = 'action' AND EXISTS (
    SELECT 1 FROM answers a
    WHERE (a.saga_id, a.step, a.direction, a.outcome) = (r.saga_id, r.step, 'compensation', 'done')
))
AND NOT EXISTS (
    SELECT 1 FROM stated t
    WHERE (t.saga_id, t.step, t.direction) = (r.saga_id, r.step, r.direction) AND coalesce(r.outcome, t.outcome) = t.outcome
)
AND saga_id NOT IN (SELECT id FROM stuck)
AND (saga_id >= (SELECT below FROM forgotten WHERE service = 'orchestrator') OR saga_id IN (SELECT id FROM sagas))
ORDER BY 1;
