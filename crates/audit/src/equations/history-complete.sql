-- history-complete: always
-- Each saga's history has one entry a version, from 1 to the saga's own, and ends in its state.
-- checked
SELECT count(*) FROM history;
-- offenders
WITH told AS (
    SELECT saga_id, count(*) AS entries, count(DISTINCT version) AS versions, min(version) AS first, max(version) AS last,
           count(DISTINCT caller) AS callers, min(caller) AS caller
    FROM history GROUP BY saga_id
)
SELECT format('saga %s at version %d: %d entries from %d to %d', coalesce(s.id, t.saga_id), s.version, t.entries, t.first, t.last)
FROM sagas s FULL JOIN told t ON t.saga_id = s.id
WHERE (s.version, s.version, s.version, 1) IS NOT (t.entries, t.versions, t.last, t.first)
   OR (1, s.caller) IS NOT (t.callers, t.caller)
UNION ALL
SELECT format('saga %s is in state %d, its history ends in %d', s.id, s.state, h.state)
FROM sagas s JOIN history h ON h.saga_id = s.id AND h.version = s.version
WHERE h.state <> s.state
ORDER BY 1;
