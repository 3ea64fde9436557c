-- quarantine: always, may be empty
-- The quarantine holds exactly as many messages as were said to be in it.
-- checked
SELECT count(*) FROM quarantine;
-- offenders
SELECT format('%d messages instead of %d', found, quarantined)
FROM expected, (SELECT count(*) AS found FROM quarantine)
WHERE found <> quarantined
UNION ALL
SELECT format('%s from %s: %s', id, from_queue, reason)
FROM quarantine
WHERE (SELECT count(*) FROM quarantine) <> (SELECT quarantined FROM expected);
