-- undone-in-reverse: always
-- What is undone is undone in reverse: no step's compensation is sent, or answered, before those of the steps that were
-- begun after it are done.
-- checked
SELECT count(*) FROM settled WHERE direction = 'compensation' AND outcome = 'done';
-- offenders
WITH begun AS (
    SELECT saga_id, step, min(version) AS version FROM sendings WHERE direction = 'action' GROUP BY saga_id, step
),
undoing AS (
    SELECT saga_id, step, min(version) AS version FROM (
        SELECT saga_id, step, version FROM sendings WHERE direction = 'compensation'
        UNION ALL
        SELECT saga_id, step, version FROM settled WHERE direction = 'compensation'
    ) GROUP BY saga_id, step
),
undone AS (
    SELECT saga_id, step, min(version) AS version
    FROM settled WHERE direction = 'compensation' AND outcome = 'done' GROUP BY saga_id, step
)
SELECT format('saga %s: %s, begun at version %d, is being undone at %d; %s, begun at %d, was undone only at %d',
              e.saga_id, e.step, e.version, u.version, l.step, l.version, d.version)
FROM begun e
JOIN begun l ON l.saga_id = e.saga_id AND l.version > e.version
JOIN undoing u ON u.saga_id = e.saga_id AND u.step = e.step
JOIN undone d ON d.saga_id = l.saga_id AND d.step = l.step
WHERE u.version < d.version
ORDER BY 1;
