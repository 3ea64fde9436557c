-- What the auditor copies, a table a source table. There are no constraints: what the sources let through is what is to
-- be found out. Ids are texts, as people write them.

-- Of the orchestrator. states: 1 running, 2 compensating, 3 completed, 4 compensated, 5 stuck.
CREATE TABLE sagas (
    id TEXT, definition TEXT, definition_version INTEGER, caller TEXT, state INTEGER, version INTEGER, progress TEXT,
    -- Whether it will be looked at again, and whether it is said to have ended.
    wakes INTEGER, ended INTEGER
);
CREATE TABLE history (saga_id TEXT, version INTEGER, caller TEXT, state INTEGER, entry TEXT);
CREATE TABLE keys (caller TEXT, method TEXT, key TEXT, payload_hash TEXT, saga_id TEXT);
-- How far back each has forgotten, the orchestrator first: sagas whose id is smaller have ended, and may be gone.
CREATE TABLE watermarks (service TEXT, below TEXT);
-- state: 1 open, 2 re-driven, 3 discarded.
CREATE TABLE quarantine (id TEXT, reason TEXT, from_queue TEXT, state INTEGER);

-- Of every participant: which commands it has seen (a hash) and how it has answered ('done', 'refused', or not yet).
CREATE TABLE inbox (
    service TEXT, saga_id TEXT, step TEXT,
    action_hash TEXT, action_outcome TEXT, compensation_hash TEXT, compensation_outcome TEXT
);

-- Of the order service. statuses: 1 pending, 2 confirmed, 3 rejected, 4 cancelled.
CREATE TABLE orders (id TEXT, caller TEXT, status INTEGER, currency TEXT, total INTEGER, refunded INTEGER);
CREATE TABLE order_lines (
    order_id TEXT, line_no INTEGER, sku TEXT, quantity INTEGER, unit_price INTEGER, held INTEGER, returned INTEGER
);
-- states: 1 open, 2 done, 3 rejected.
CREATE TABLE returns (id TEXT, order_id TEXT, state INTEGER, amount INTEGER);
CREATE TABLE return_lines (return_id TEXT, line_no INTEGER, quantity INTEGER);

-- Of the inventory.
CREATE TABLE products (sku TEXT, received INTEGER, available INTEGER, reserved INTEGER, sold INTEGER);
CREATE TABLE reservations (
    saga_id TEXT, sku TEXT, quantity INTEGER, unit_price INTEGER, currency TEXT, state TEXT,
    returned INTEGER
);
CREATE TABLE movements (sku TEXT, kind TEXT, quantity INTEGER, saga_id TEXT, receipt_key TEXT, order_id TEXT);
CREATE TABLE receipts (key TEXT, sku TEXT, quantity INTEGER);

-- Of the payment service.
CREATE TABLE payments (
    order_id TEXT, amount INTEGER, currency TEXT, status TEXT, provider_id TEXT, refunded INTEGER
);
CREATE TABLE payment_ledger (saga_id TEXT, kind TEXT, order_id TEXT, amount INTEGER, currency TEXT);
CREATE TABLE refunds (saga_id TEXT, order_id TEXT, amount INTEGER, currency TEXT, state TEXT);

-- Of the payment provider, which is not ours. Its keys are the ids of our commands: <saga>/<step>/<direction>.
CREATE TABLE provider_payments (
    id TEXT, reference TEXT, amount INTEGER, currency TEXT, status TEXT, key TEXT
);
CREATE TABLE provider_ledger (payment_id TEXT, kind TEXT, amount INTEGER, currency TEXT, key TEXT);
