-- # keys: a key is one order, and one payload
-- Idempotency keys.

-- ## keys-one-payload: always
-- A caller's idempotency key is bound to one payload and one saga.
SELECT count(*) FROM keys;
SELECT format('key %s of %s for %s: %d times, %d payloads', key, caller, method, count(*), count(DISTINCT payload_hash))
FROM keys GROUP BY caller, method, key
HAVING count(*) > 1 OR count(payload_hash) = 0
ORDER BY 1;

-- ## keys-bound: always
-- Each key is bound to a saga that exists and was asked for by the same caller; each saga was asked for under one key.
SELECT (SELECT count(*) FROM keys) + (SELECT count(*) FROM sagas);
SELECT format('key %s of %s is bound to %s, which is no saga of theirs', key, caller, saga_id)
FROM keys k
WHERE NOT EXISTS (SELECT 1 FROM sagas s WHERE s.id = k.saga_id AND s.caller = k.caller)
UNION ALL
SELECT format('saga %s has no key', id) FROM sagas WHERE id NOT IN (SELECT saga_id FROM keys)
UNION ALL
SELECT format('saga %s has the keys %s', saga_id, group_concat(DISTINCT caller || ' ' || method || ' ' || key))
FROM keys GROUP BY saga_id HAVING count(DISTINCT caller || ' ' || method || ' ' || key) > 1
ORDER BY 1;

-- # sagas: histories are whole, and undone is undone in reverse
-- Sagas and their histories.

-- ## sagas-known: always
-- Each saga is of a definition that this audit knows, and says where it stands, with a reason if it is stuck.
SELECT count(*) FROM sagas;
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

-- ## sagas-awake: always
-- A saga that has not ended, and is not paused, will be looked at again; one that has ended will not.
SELECT count(*) FROM sagas;
SELECT format('saga %s in state %d: %s', id, state,
              CASE WHEN ended THEN 'has an end' ELSE 'has no end' END || ', ' ||
              CASE WHEN wakes THEN 'will be looked at again' ELSE 'will not be looked at again' END)
FROM (SELECT *, coalesce(json_valid(progress) AND progress -> '$.paused' IS NOT NULL, 0) AS paused FROM sagas)
WHERE ended <> (state IN (3, 4))
   OR wakes <> (state NOT IN (3, 4) AND NOT paused)
ORDER BY 1;

-- ## unfinished-kept: always
-- The orchestrator's watermark is below every saga that has not ended, and there is one watermark a database.
SELECT (SELECT count(*) FROM sagas) + (SELECT count(*) FROM watermarks);
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

-- ## history-complete: always
-- Each saga's history has one entry a version, from 1 to the saga's own, and ends in its state.
SELECT count(*) FROM history;
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

-- ## history-legal: always
-- Each history begins by being started and goes from state to state as it may: an end never changes, and what is being
-- undone is never taken up again. What an operator did says who it was, and why.
SELECT count(*) FROM history;
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

-- ## no-undo-after-pivot: always
-- Once a saga's pivot is done, nothing of it is undone any more.
SELECT count(*) FROM settled WHERE outcome = 'done' AND direction = 'action' AND step IN (SELECT step FROM steps WHERE kind = 'pivot');
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

-- ## undone-in-reverse: always
-- What is undone is undone in reverse: no step's compensation is sent, or answered, before those of the steps that were
-- begun after it are done.
SELECT count(*) FROM settled WHERE direction = 'compensation' AND outcome = 'done';
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

-- ## undone-whole: at rest
-- A completed saga did every step of its definition and undid none; a compensated one undid every step that it had begun,
-- but for those that were refused, and no other.
SELECT count(*) FROM sagas WHERE state IN (3, 4);
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
