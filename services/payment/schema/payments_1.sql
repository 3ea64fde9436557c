-- The same tables as in Postgres (migrations/0100_payments.sql), where each column
-- is explained. Times are microseconds since 1970 UTC, and given. What Postgres
-- refuses by itself is a CHECK here: a NUL byte in a text, an id that is none.
CREATE TABLE payments (
    order_id     BLOB NOT NULL PRIMARY KEY CHECK (length(order_id) = 16),
    amount       INTEGER NOT NULL CHECK (amount > 0),
    -- GLOB reads no further than a NUL byte.
    currency     TEXT NOT NULL
        CHECK (currency GLOB '[A-Z][A-Z][A-Z]' AND instr(currency, char(0)) = 0),
    status       TEXT NOT NULL
        CHECK (status IN ('authorising', 'authorised', 'declined', 'voided', 'captured')),
    provider_id  TEXT CHECK (instr(provider_id, char(0)) = 0),
    decline_code TEXT CHECK (instr(decline_code, char(0)) = 0),
    refunded     INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    CONSTRAINT no_more_is_given_back_than_was_taken CHECK (refunded BETWEEN 0 AND amount),
    CONSTRAINT only_what_was_taken_is_given_back CHECK (refunded = 0 OR status = 'captured'),
    CONSTRAINT the_provider_knows_what_it_holds CHECK (provider_id IS NOT NULL OR status NOT IN ('authorised', 'captured')),
    CONSTRAINT a_decline_has_its_code CHECK ((decline_code IS NOT NULL) = (status = 'declined'))
) STRICT, WITHOUT ROWID;

CREATE TABLE payment_ledger (
    saga_id  BLOB NOT NULL CHECK (length(saga_id) = 16),
    kind     TEXT NOT NULL CHECK (kind IN ('authorised', 'declined', 'voided', 'captured', 'refunded')),
    order_id BLOB NOT NULL CHECK (length(order_id) = 16),
    amount   INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL CHECK (instr(currency, char(0)) = 0),
    at       INTEGER NOT NULL,
    PRIMARY KEY (saga_id, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX payment_ledger_by_order ON payment_ledger (order_id);

CREATE TABLE refunds (
    saga_id    BLOB NOT NULL PRIMARY KEY CHECK (length(saga_id) = 16),
    order_id   BLOB NOT NULL CHECK (length(order_id) = 16),
    amount     INTEGER NOT NULL CHECK (amount > 0),
    currency   TEXT NOT NULL CHECK (instr(currency, char(0)) = 0),
    state      TEXT NOT NULL CHECK (state IN ('intended', 'done', 'refused')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX refunds_by_order ON refunds (order_id);
