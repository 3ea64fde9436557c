-- Tables that are derived from the copied rows.

-- The steps, as the auditor knows them by itself: it does not ask the definitions that the engine runs.
CREATE TABLE steps (definition TEXT, version INTEGER, step TEXT, kind TEXT, service TEXT);
INSERT INTO steps VALUES
    ('place-order', 1, 'create-order', 'compensatable', 'order'),
    ('place-order', 1, 'reserve-stock', 'compensatable', 'inventory'),
    ('place-order', 1, 'authorise-payment', 'compensatable', 'payment'),
    ('place-order', 1, 'capture-payment', 'pivot', 'payment'),
    ('place-order', 1, 'commit-stock', 'retriable', 'inventory'),
    ('place-order', 1, 'confirm-order', 'retriable', 'order'),
    ('return-order', 1, 'open-return', 'compensatable', 'order'),
    ('return-order', 1, 'refund-payment', 'pivot', 'payment'),
    ('return-order', 1, 'take-back-stock', 'retriable', 'inventory'),
    ('return-order', 1, 'mark-returned', 'retriable', 'order');
-- Version 2 has the same steps. Its rejection of an order says what was ordered.
INSERT INTO steps SELECT definition, 2, step, kind, service FROM steps WHERE definition = 'place-order';

-- The caller's expectations: one row.
CREATE TABLE expected (quarantined INTEGER, orders INTEGER);

-- The answers in the sagas' histories: outcome 'done' or 'refused', direction 'action' or 'compensation'.
CREATE TABLE answers AS
SELECT saga_id, version, entry ->> '$.what' AS outcome, entry ->> '$.step' AS step,
       entry ->> '$.direction' AS direction, entry ->> '$.refusal.code' AS code
FROM history
WHERE json_valid(entry) AND entry ->> '$.what' IN ('done', 'refused');

-- The operators' statements about commands, in the answers' words. A statement that a compensatable step did not happen
-- is left out: the step is undone all the same.
CREATE TABLE stated AS
SELECT saga_id, version, outcome, step, direction FROM (
    SELECT saga_id, version, entry ->> '$.step' AS step, entry ->> '$.direction' AS direction,
           CASE WHEN entry ->> '$.what' = 'skipped' OR entry ->> '$.done' THEN 'done' ELSE 'refused' END AS outcome
    FROM history
    WHERE json_valid(entry) AND entry ->> '$.what' IN ('skipped', 'resolved')
)
WHERE outcome = 'done' OR step IN (SELECT step FROM steps WHERE kind = 'pivot');

-- The outcomes that sagas go by: an answer, or an operator's statement.
CREATE TABLE settled AS
SELECT saga_id, version, outcome, step, direction FROM answers
UNION ALL
SELECT saga_id, version, outcome, step, direction FROM stated;

-- The commands that sagas have sent. An entry's `sent` holds pairs: <step>/<direction>, and the number of the attempt.
CREATE TABLE sendings AS
SELECT h.saga_id, h.version,
       substr(s.value ->> '$[0]', 1, instr(s.value ->> '$[0]', '/') - 1) AS step,
       substr(s.value ->> '$[0]', instr(s.value ->> '$[0]', '/') + 1) AS direction
FROM history h, json_each(CASE WHEN json_valid(h.entry) THEN h.entry END, '$.sent') s;

-- Stuck sagas need a person. They have not ended, so they need not meet what holds only after an end.
CREATE TABLE stuck AS SELECT id FROM sagas WHERE state = 5;

-- Each database has forgotten the sagas whose ids are below this one. The orchestrator forgets a saga whole; a
-- participant forgets its records of the saga, and keeps its books.
CREATE TABLE forgotten AS SELECT service, max(below) AS below FROM watermarks GROUP BY service;

-- The participants' records, a row a direction.
CREATE TABLE recorded AS
SELECT service, saga_id, step, 'action' AS direction, action_outcome AS outcome
FROM inbox WHERE action_hash IS NOT NULL
UNION ALL
SELECT service, saga_id, step, 'compensation', compensation_outcome
FROM inbox WHERE compensation_hash IS NOT NULL;

-- The effects of commands on the services' own tables, a row an effect.
CREATE TABLE effects AS
SELECT 'order' AS service, id AS saga_id, 'create-order' AS step, 'action' AS direction FROM orders
UNION SELECT 'order', id, 'create-order', 'compensation' FROM orders WHERE status IN (3, 4)
UNION SELECT 'order', id, 'confirm-order', 'action' FROM orders WHERE status = 2
UNION SELECT 'order', id, 'open-return', 'action' FROM returns
UNION SELECT 'order', id, 'open-return', 'compensation' FROM returns WHERE state = 3
UNION SELECT 'order', id, 'mark-returned', 'action' FROM returns WHERE state = 2
UNION SELECT 'inventory', saga_id, 'reserve-stock', 'action' FROM movements WHERE kind = 'reserved'
UNION SELECT 'inventory', saga_id, 'reserve-stock', 'compensation' FROM movements WHERE kind = 'released'
UNION SELECT 'inventory', saga_id, 'commit-stock', 'action' FROM movements WHERE kind = 'committed'
UNION SELECT 'inventory', saga_id, 'take-back-stock', 'action' FROM movements WHERE kind = 'returned'
UNION SELECT 'payment', saga_id, 'authorise-payment', 'action' FROM payment_ledger WHERE kind = 'authorised'
UNION SELECT 'payment', saga_id, 'authorise-payment', 'compensation' FROM payment_ledger WHERE kind = 'voided'
UNION SELECT 'payment', saga_id, 'capture-payment', 'action' FROM payment_ledger WHERE kind = 'captured'
UNION SELECT 'payment', saga_id, 'refund-payment', 'action' FROM payment_ledger WHERE kind = 'refunded';

-- The provider's ledger in our ledger's words.
CREATE TABLE provider_lines AS
SELECT l.payment_id, p.reference AS order_id, substr(l.key, 1, 36) AS saga_id,
       CASE l.kind WHEN 'cancelled' THEN 'voided' ELSE l.kind END AS kind, l.amount, l.currency
FROM provider_ledger l LEFT JOIN provider_payments p ON p.id = l.payment_id;

CREATE INDEX sagas_by_id ON sagas (id);
CREATE INDEX history_by_saga ON history (saga_id, version);
CREATE INDEX keys_by_saga ON keys (saga_id);
CREATE INDEX answers_by_saga ON answers (saga_id, step, direction, outcome);
CREATE INDEX stated_by_saga ON stated (saga_id, step, direction, outcome);
CREATE INDEX settled_by_saga ON settled (saga_id, step, direction, outcome);
CREATE INDEX sendings_by_saga ON sendings (saga_id, step, direction);
CREATE INDEX stuck_by_id ON stuck (id);
CREATE INDEX recorded_by_saga ON recorded (saga_id, step, direction);
CREATE INDEX effects_by_saga ON effects (saga_id, step, direction);
CREATE INDEX orders_by_id ON orders (id);
CREATE INDEX order_lines_by_order ON order_lines (order_id, sku);
CREATE INDEX returns_by_id ON returns (id);
CREATE INDEX returns_by_order ON returns (order_id);
CREATE INDEX return_lines_by_return ON return_lines (return_id);
CREATE INDEX reservations_by_saga ON reservations (saga_id, sku);
CREATE INDEX movements_by_saga ON movements (saga_id, sku, kind);
CREATE INDEX payments_by_order ON payments (order_id);
CREATE INDEX payment_ledger_by_order ON payment_ledger (order_id, kind);
CREATE INDEX payment_ledger_by_saga ON payment_ledger (saga_id, kind);
CREATE INDEX provider_payments_by_id ON provider_payments (id);
CREATE INDEX provider_payments_by_reference ON provider_payments (reference);
CREATE INDEX provider_ledger_by_payment ON provider_ledger (payment_id, kind);
CREATE INDEX provider_lines_by_saga ON provider_lines (saga_id, kind);
ANALYZE;
