-- undone-whole: at rest
-- A completed saga did every step of its definition and undid none; a compensated one undid every step that it had begun,
-- but for those that were refused, and no other.
-- checked
SELECT count(*) FROM sagas WHERE state IN (3, 4);
-- offenders
WITH begun AS (SELECT saga_id, step FROM sendings WHERE direction = 'action'),
refused AS (SELECT saga_id, step FROM settled WHERE direction = 'action' AND outcome = 'refused'),
done AS (SELECT saga_id, step FROM settled WHERE direction = 'action' AND outcome = 'done'),
undone AS (SELECT saga_id, step FROM settled WHERE direction = 'compensation' AND outcome = 'done'),
to_do AS (
    SELECT s.id AS saga_id, k.step
    FROM sagas s JOIN steps k ON k.definition = s.definition AND k.version = s.definition_version
    WHERE s.state = 3
),
to_undo AS (
    SELECT saga_id, step FROM (SELECT * FROM begun EXCEPT SELECT * FROM refused)
    WHERE saga_id IN (SELECT id FROM sagas WHERE state = 4)
)
SELECT format('saga %s is completed and never did %s', saga_id, step)
FROM (SELECT * FROM to_do EXCEPT SELECT * FROM done)
UNION ALL
SELECT format('saga %s is compensated and never undid %s', saga_id, step)
FROM (SELECT * FROM to_undo EXCEPT SELECT * FROM undone)
UNION ALL
SELECT format('saga %s undid %s, which was not to be undone', saga_id, step)
FROM (SELECT * FROM undone EXCEPT SELECT * FROM to_undo)
WHERE saga_id IN (SELECT id FROM sagas WHERE state IN (3, 4))
ORDER BY 1;
