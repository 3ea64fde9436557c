-- history-legal: always
-- Each history begins by being started and goes from state to state as it may: an end never changes, and what is being
-- undone is never taken up again. What an operator did says who it was, and why.
-- checked
SELECT count(*) FROM history;
-- offenders
WITH may(was, is_now) AS (
    -- 1 running, 2 compensating, 3 completed, 4 compensated, 5 stuck.
    VALUES (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 2), (2, 4), (2, 5), (5, 1), (5, 2), (5, 3), (5, 4), (5, 5)
),
told AS (
    SELECT saga_id, version, state, CASE WHEN json_valid(entry) THEN entry ->> '$.what' END AS what,
           lag(state) OVER (PARTITION BY saga_id ORDER BY version) AS was
    FROM history
)
SELECT format('saga %s at version %d goes from state %d to %d', saga_id, version, was, state)
FROM told WHERE was IS NOT NULL AND (was, state) NOT IN (SELECT was, is_now FROM may)
UNION ALL
SELECT format('saga %s begins in state %d with %s', saga_id, state, coalesce(what, 'what cannot be read'))
FROM told WHERE was IS NULL AND (what, state) IS NOT ('started', 1)
UNION ALL
SELECT format('saga %s at version %d: %s', saga_id, version, coalesce(what, 'what cannot be read'))
FROM told WHERE was IS NOT NULL AND coalesce(what, '') NOT IN (
    'done', 'refused', 'resent', 'gave_up', 'deadline_passed', 'cancel', 'paused', 'resumed', 'reminded',
    'retried', 'skipped', 'resolved', 'compensate'
)
UNION ALL
SELECT format('saga %s at version %d: %s by nobody, or for no reason', saga_id, version, entry ->> '$.what')
FROM history
WHERE json_valid(entry)
  AND entry ->> '$.what' IN ('paused', 'resumed', 'retried', 'skipped', 'resolved', 'compensate')
  AND (coalesce(entry ->> '$.by', '') = '' OR coalesce(entry ->> '$.reason', '') = '')
ORDER BY 1;
