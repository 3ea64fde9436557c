-- What does not agree after one of the databases went back. Tables for `divergence.rs`.

CREATE INDEX spoken_by_saga ON spoken (saga_id, step);

-- Sagas of which a participant knows more than the orchestrator: `known` is 0 if the orchestrator does not know the saga.
CREATE TABLE ahead AS
SELECT DISTINCT r.saga_id AS id, 1 AS known
FROM recorded r JOIN sagas s ON s.id = r.saga_id
WHERE s.state NOT IN (3, 4) AND r.outcome IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM settled a WHERE (a.saga_id, a.step, a.direction) = (r.saga_id, r.step, r.direction))
UNION ALL
SELECT DISTINCT saga_id, 0
FROM (
    SELECT saga_id FROM inbox
    UNION SELECT id FROM orders
    UNION SELECT saga_id FROM reservations
    UNION SELECT order_id FROM payments
    UNION SELECT saga_id FROM refunds
    UNION SELECT id FROM returns
)
WHERE saga_id NOT IN (SELECT id FROM sagas)
  AND saga_id >= (SELECT below FROM forgotten WHERE service = 'orchestrator');

-- Answers by which the orchestrator went on, and which are not on record at the participant that gave them. What
-- `saga reconcile` stated of a saga that it began again counts as an answer, as long as the saga goes
-- forward: nobody has it on record either.
CREATE TABLE lost AS
WITH trail AS (
    SELECT saga_id, version, step, direction, outcome, code FROM answers
    UNION ALL
    SELECT saga_id, h.version, entry ->> '$.step', entry ->> '$.direction', 'done', NULL
    FROM history h JOIN sagas s ON s.id = h.saga_id AND s.state IN (1, 3)
    WHERE json_valid(entry) AND entry ->> '$.what' = 'resolved' AND entry ->> '$.done' AND entry ->> '$.by' = 'saga reconcile'
),
placed AS (
    SELECT t.*, s.definition, k.service,
           (SELECT r.outcome FROM recorded r
            WHERE (r.saga_id, r.step, r.direction) = (t.saga_id, t.step, t.direction)) AS recorded,
           EXISTS (SELECT 1 FROM recorded r
                   WHERE (r.saga_id, r.step, r.direction) = (t.saga_id, t.step, 'compensation')) AS undone
    FROM trail t
    JOIN sagas s ON s.id = t.saga_id
    JOIN steps k ON k.definition = s.definition AND k.version = s.definition_version AND k.step = t.step
    WHERE t.saga_id >= (SELECT below FROM forgotten f WHERE f.service = k.service)
)
SELECT saga_id, version, definition, service, step, direction,
       CASE
           WHEN recorded IS NOT NULL THEN 'contradicted'
           WHEN outcome = 'refused' THEN 'refusal'
           WHEN direction = 'action' AND undone THEN 'undone'
           ELSE 'forgotten'
       END AS how,
       (SELECT coalesce(json_extract(CASE t.direction WHEN 'action' THEN p.action_answer ELSE p.compensation_answer END,
                                     '$.data.code'), '')
        FROM spoken p WHERE (p.saga_id, p.step) = (t.saga_id, t.step)) AS code
FROM placed t
WHERE recorded IS NOT outcome
  -- The record of an action that came too late is that of its compensation.
  AND NOT (outcome = 'refused' AND coalesce(t.code, '') = 'TOO_LATE' AND undone);

-- Payments at the provider for sagas of which nobody has kept anything.
CREATE TABLE strays AS
SELECT reference AS saga_id, id, status, amount, currency
FROM provider_payments
WHERE reference NOT IN (SELECT id FROM sagas) AND reference NOT IN (SELECT id FROM ahead)
  AND reference >= (SELECT below FROM forgotten WHERE service = 'orchestrator');
