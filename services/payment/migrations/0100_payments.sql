-- A payment an order. The saga's id is the order's id. The card token is not here.
CREATE TABLE payments (
    order_id     uuid PRIMARY KEY,
    amount       bigint NOT NULL CHECK (amount > 0),
    currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    status       text NOT NULL CHECK (status IN ('authorising', 'authorised', 'declined', 'voided', 'captured')),
    provider_id  text,
    decline_code text,
    refunded     bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT no_more_is_given_back_than_was_taken CHECK (refunded BETWEEN 0 AND amount),
    CONSTRAINT only_what_was_taken_is_given_back CHECK (refunded = 0 OR status = 'captured'),
    CONSTRAINT the_provider_knows_what_it_holds CHECK (provider_id IS NOT NULL OR status NOT IN ('authorised', 'captured')),
    CONSTRAINT a_decline_has_its_code CHECK ((decline_code IS NOT NULL) = (status = 'declined'))
) WITH (fillfactor = 70);

-- What happened to whose money, once each. `saga_id` is the order's saga, or
-- that of the return for 'refunded'.
CREATE TABLE payment_ledger (
    saga_id  uuid NOT NULL,
    kind     text NOT NULL CHECK (kind IN ('authorised', 'declined', 'voided', 'captured', 'refunded')),
    order_id uuid NOT NULL,
    amount   bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga_id, kind)
);
CREATE INDEX payment_ledger_by_order ON payment_ledger (order_id);

-- A refund a saga. An intended one has its amount reserved, so that two side by
-- side cannot give back more than was taken.
CREATE TABLE refunds (
    saga_id    uuid PRIMARY KEY,
    order_id   uuid NOT NULL,
    amount     bigint NOT NULL CHECK (amount > 0),
    currency   text NOT NULL,
    state      text NOT NULL CHECK (state IN ('intended', 'done', 'refused')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refunds_by_order ON refunds (order_id);
