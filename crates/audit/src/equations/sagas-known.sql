-- sagas-known: always
-- Each saga is of a definition that this audit knows, and says where it stands, with a reason if it is stuck.
-- checked
SELECT count(*) FROM sagas;
-- offenders
WITH said AS (
    SELECT *, CASE json_type(progress, '$.phase')
                  WHEN 'text' THEN progress ->> '$.phase'
                  WHEN 'object' THEN (SELECT key FROM json_each(progress, '$.phase'))
              END AS phase
    FROM (SELECT id, definition, definition_version, state,
                 CASE WHEN json_valid(progress) THEN progress ELSE '{}' END AS progress
          FROM sagas)
)
SELECT format('saga %s runs %s version %d, which this audit does not know', id, definition, definition_version)
FROM said
WHERE NOT EXISTS (SELECT 1 FROM steps s WHERE s.definition = said.definition AND s.version = said.definition_version)
UNION ALL
SELECT format('saga %s is in state %d, and says that it is %s', id, state, coalesce(phase, 'nothing that can be read'))
FROM said
WHERE state IS NOT CASE phase WHEN 'running' THEN 1 WHEN 'compensating' THEN 2 WHEN 'completed' THEN 3
                              WHEN 'compensated' THEN 4 WHEN 'stuck' THEN 5 END
UNION ALL
SELECT format('saga %s is stuck and does not say at what, or why', id)
FROM said
WHERE state = 5 AND (progress ->> '$.phase.stuck.step' IS NULL OR progress -> '$.phase.stuck.reason' IS NULL)
ORDER BY 1;
