-- # inboxes: each command had its effect once, answers agree
-- What participants have recorded of commands and answers.

-- ## inbox-once: always
-- A participant has one record a step of a saga, and no record of a step that is not its own.
SELECT count(*) FROM inbox;
SELECT format('%s has %d records of %s/%s', service, count(*), saga_id, step)
FROM inbox GROUP BY service, saga_id, step HAVING count(*) > 1
UNION ALL
SELECT format('%s has a record of %s/%s, which is for %s', i.service, saga_id, step, s.service)
FROM inbox i JOIN steps s USING (step)
WHERE i.service <> s.service
ORDER BY 1;

-- ## effects-recorded: always
-- What a command did to its service's own tables and the answer that it recorded are there together: no effect without
-- its answer, no answer without its effect. Below its watermark a participant forgets its answers.
SELECT (SELECT count(*) FROM effects) + (SELECT count(*) FROM recorded WHERE outcome = 'done');
SELECT format('%s: the effect of %s/%s/%s is there, its answer is not', service, saga_id, step, direction)
FROM effects e
WHERE NOT EXISTS (
    SELECT 1 FROM recorded r
    WHERE (r.service, r.saga_id, r.step, r.direction) = (e.service, e.saga_id, e.step, e.direction) AND r.outcome = 'done'
)
AND e.saga_id >= (SELECT below FROM forgotten f WHERE f.service = e.service)
-- If the answer to a hold was lost, the compensation finds the hold at the provider, writes it down and lets it go. If an
-- order was never created, its rejection creates it and ends it.
AND NOT (e.step IN ('authorise-payment', 'create-order') AND e.direction = 'action' AND EXISTS (
    SELECT 1 FROM recorded r
    WHERE r.saga_id = e.saga_id AND r.step = e.step AND r.direction = 'compensation' AND r.outcome = 'done'
))
UNION ALL
SELECT format('%s: %s/%s/%s was answered as done, its effect is not there', service, saga_id, step, direction)
FROM recorded r
WHERE outcome = 'done' AND step IN (SELECT step FROM steps)
  AND NOT EXISTS (
    SELECT 1 FROM effects e
    WHERE (e.service, e.saga_id, e.step, e.direction) = (r.service, r.saga_id, r.step, r.direction)
)
-- A compensation has nothing to do where its action did nothing.
AND (direction = 'action' OR EXISTS (
    SELECT 1 FROM effects e
    WHERE (e.service, e.saga_id, e.step, e.direction) = (r.service, r.saga_id, r.step, 'action')
))
ORDER BY 1;

-- ## answers-agree: at rest
-- Each answer in a saga's history is on record at the participant that gave it, and each that is on record there is in
-- the history, unless the saga had given up waiting and undid the step. An operator's word stands for an answer that it
-- does not contradict. Either side forgets what is below its watermark.
SELECT (SELECT count(*) FROM answers) + (SELECT count(*) FROM recorded);
SELECT format('saga %s: %s/%s is %s in its history, and %s at its participant', saga_id, step, direction, outcome,
              coalesce((SELECT coalesce(r.outcome, 'not answered') FROM recorded r
                        WHERE (r.saga_id, r.step, r.direction) = (a.saga_id, a.step, a.direction)), 'not on record'))
FROM answers a
WHERE NOT EXISTS (
    SELECT 1 FROM recorded r
    WHERE (r.saga_id, r.step, r.direction, r.outcome) = (a.saga_id, a.step, a.direction, a.outcome)
)
AND NOT EXISTS (
    SELECT 1 FROM steps s JOIN forgotten f ON f.service = s.service WHERE s.step = a.step AND a.saga_id < f.below
)
-- For an action that came too late, the record is that of its compensation.
AND NOT (a.direction = 'action' AND a.outcome = 'refused' AND a.code = 'TOO_LATE' AND EXISTS (
    SELECT 1 FROM recorded r WHERE (r.saga_id, r.step, r.direction) = (a.saga_id, a.step, 'compensation')
))
UNION ALL
SELECT format('saga %s: %s/%s is %s at %s, and not in its history', saga_id, step, direction,
              coalesce(outcome, 'begun and not answered'), service)
FROM recorded r
WHERE NOT EXISTS (
    SELECT 1 FROM answers a WHERE (a.saga_id, a.step, a.direction) = (r.saga_id, r.step, r.direction)
)
AND NOT (r.direction = 'action' AND EXISTS (
    SELECT 1 FROM answers a
    WHERE (a.saga_id, a.step, a.direction, a.outcome) = (r.saga_id, r.step, 'compensation', 'done')
))
AND NOT EXISTS (
    SELECT 1 FROM stated t
    WHERE (t.saga_id, t.step, t.direction) = (r.saga_id, r.step, r.direction) AND coalesce(r.outcome, t.outcome) = t.outcome
)
AND saga_id NOT IN (SELECT id FROM stuck)
AND (saga_id >= (SELECT below FROM forgotten WHERE service = 'orchestrator') OR saga_id IN (SELECT id FROM sagas))
ORDER BY 1;

-- ## sagas-exist: at rest
-- Whatever a service keeps belongs to a saga that exists, or is below the watermark, and an order to the same caller.
SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM orders) + (SELECT count(*) FROM reservations)
     + (SELECT count(*) FROM payments) + (SELECT count(*) FROM refunds)
     + (SELECT count(*) FROM returns);
SELECT format('%s: saga %s is in no history', whose, saga_id)
FROM (
    SELECT 'a record of ' || service AS whose, saga_id FROM inbox
    UNION SELECT 'an order', id FROM orders
    UNION SELECT 'a reservation', saga_id FROM reservations
    UNION SELECT 'a payment', order_id FROM payments
    UNION SELECT 'a refund', saga_id FROM refunds
    UNION SELECT 'a return', id FROM returns
)
WHERE saga_id NOT IN (SELECT id FROM sagas)
  AND saga_id >= (SELECT below FROM forgotten WHERE service = 'orchestrator')
UNION ALL
SELECT format('order %s is of %s, its saga of %s', o.id, o.caller, s.caller)
FROM orders o JOIN sagas s ON s.id = o.id
WHERE o.caller <> s.caller
ORDER BY 1;

-- # quarantine: as many messages wait for a person as expected
-- Messages that could not be handled.

-- ## quarantine: always, may be empty
-- The quarantine holds exactly as many messages that nobody has dealt with as were said to be in it.
SELECT count(*) FROM quarantine;
SELECT format('%d messages instead of %d', found, quarantined)
FROM expected, (SELECT count(*) AS found FROM quarantine WHERE state = 1)
WHERE found <> quarantined
UNION ALL
SELECT format('%s from %s: %s', id, from_queue, reason)
FROM quarantine
WHERE state = 1 AND (SELECT count(*) FROM quarantine WHERE state = 1) <> (SELECT quarantined FROM expected);
