-- unfinished-kept: always
-- The orchestrator's watermark is below every saga that has not ended, and there is one watermark a database.
-- checked
SELECT (SELECT count(*) FROM sagas) + (SELECT count(*) FROM watermarks);
-- offenders
WITH mark AS (SELECT below FROM forgotten WHERE service = 'orchestrator')
SELECT format('saga %s has not ended and is below the watermark %s', id, below)
FROM sagas, mark WHERE state NOT IN (3, 4) AND id < below
UNION ALL
SELECT format('%s has %d watermarks', service, count(*)) FROM watermarks GROUP BY service HAVING count(*) <> 1
UNION ALL
SELECT format('%s has no watermark', column1)
FROM (VALUES ('orchestrator'), ('order'), ('inventory'), ('payment'))
WHERE column1 NOT IN (SELECT service FROM watermarks)
ORDER BY 1;
