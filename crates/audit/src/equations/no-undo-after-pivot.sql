-- no-undo-after-pivot: always
-- Once a saga's pivot is done, nothing of it is undone any more.
-- checked
SELECT count(*) FROM settled WHERE outcome = 'done' AND direction = 'action' AND step IN (SELECT step FROM steps WHERE kind = 'pivot');
-- offenders
WITH decided AS (
    SELECT a.saga_id, a.step, min(a.version) AS version
    FROM settled a
    JOIN sagas s ON s.id = a.saga_id
    JOIN steps k ON k.definition = s.definition AND k.version = s.definition_version AND k.step = a.step
    WHERE k.kind = 'pivot' AND a.outcome = 'done' AND a.direction = 'action'
    GROUP BY a.saga_id
),
undoing AS (
    SELECT saga_id, version, step FROM sendings WHERE direction = 'compensation'
    UNION
    SELECT saga_id, version, step FROM settled WHERE direction = 'compensation'
)
SELECT format('saga %s undoes %s at version %d, after %s at %d', saga_id, u.step, u.version, d.step, d.version)
FROM decided d JOIN undoing u USING (saga_id)
WHERE u.version >= d.version
ORDER BY 1;
