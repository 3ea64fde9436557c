-- sagas-awake: always
-- A saga that has not ended, and is not paused, will be looked at again; one that has ended will not.
-- checked
SELECT count(*) FROM sagas;
-- offenders
SELECT format('saga %s in state %d: %s', id, state,
              CASE WHEN ended THEN 'has an end' ELSE 'has no end' END || ', ' ||
              CASE WHEN wakes THEN 'will be looked at again' ELSE 'will not be looked at again' END)
FROM (SELECT *, coalesce(json_valid(progress) AND progress -> '$.paused' IS NOT NULL, 0) AS paused FROM sagas)
WHERE ended <> (state IN (3, 4))
   OR wakes <> (state NOT IN (3, 4) AND NOT paused)
ORDER BY 1;
