-- quarantine: always, may be empty
-- The quarantine holds exactly as many messages that nobody has dealt with as were said to be in it.
-- checked
SELECT count(*) FROM quarantine;
-- offenders
SELECT format('%d messages instead of %d', found, quarantined)
FROM expected, (SELECT count(*) AS found FROM quarantine WHERE state = 1)
WHERE found <> quarantined
UNION ALL
SELECT format('%s from %s: %s', id, from_queue, reason)
FROM quarantine
WHERE state = 1 AND (SELECT count(*) FROM quarantine WHERE state = 1) <> (SELECT quarantined FROM expected);
