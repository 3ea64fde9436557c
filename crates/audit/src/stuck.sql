-- The sagas that need a person, and why.
SELECT id,
       coalesce(progress ->> '$.phase.stuck.step', '?') || '/' || coalesce(progress ->> '$.phase.stuck.direction', '?'),
       CASE
           WHEN progress ->> '$.phase.stuck.reason' = 'unanswered' THEN 'not answered within its bound'
           ELSE coalesce('refused, ' || (progress ->> '$.phase.stuck.reason.refused.code') || ': '
                         || (progress ->> '$.phase.stuck.reason.refused.message'), 'it does not say why')
       END
FROM (SELECT id, state, CASE WHEN json_valid(progress) THEN progress ELSE '{}' END AS progress FROM sagas)
WHERE state = 5
ORDER BY id
