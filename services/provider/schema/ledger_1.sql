-- An auditor reads these tables from outside with its own SQL, so they are part of the contract.
-- Amounts are minor units. `created_at` and `at` are Unix milliseconds of the provider's clock.

-- One row a created payment, declined ones included. There are no totals here.
-- `on_capture` is what the card does at its capture; the token itself is never stored.
CREATE TABLE payments (
    id              TEXT PRIMARY KEY,
    reference       TEXT NOT NULL,
    amount          INTEGER NOT NULL CHECK (amount > 0),
    currency        TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('authorised', 'declined', 'captured', 'cancelled')),
    decline_code    TEXT CHECK ((decline_code IS NOT NULL) = (status = 'declined')),
    on_capture      TEXT NOT NULL CHECK (on_capture IN ('capture', 'lose_answer', 'decline')),
    idempotency_key TEXT NOT NULL UNIQUE,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each movement of money, in order; never updated and never deleted. A declined payment has no line.
-- A line 'cancelled' has the payment's whole amount. Captured and refunded are sums over this table.
CREATE TABLE ledger (
    seq             INTEGER PRIMARY KEY,
    payment_id      TEXT NOT NULL REFERENCES payments (id),
    kind            TEXT NOT NULL CHECK (kind IN ('authorised', 'captured', 'cancelled', 'refunded')),
    amount          INTEGER NOT NULL CHECK (amount > 0),
    currency        TEXT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    at              INTEGER NOT NULL
) STRICT;
CREATE INDEX ledger_by_payment ON ledger (payment_id);
CREATE UNIQUE INDEX ledger_once ON ledger (payment_id, kind) WHERE kind <> 'refunded';

-- The answer to every `POST` that the ledger decided, under its idempotency key: refusals and
-- declines too. `body` is the JSON that was sent.
CREATE TABLE operations (
    idempotency_key TEXT PRIMARY KEY,
    request_hash    BLOB NOT NULL,
    status          INTEGER NOT NULL,
    body            TEXT NOT NULL,
    at              INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How often a key was tried while `tok_down` still had to answer 503. Only such keys have a row.
CREATE TABLE attempts (
    idempotency_key TEXT PRIMARY KEY,
    count           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
