-- Every column that changes is in no index, so every update is HOT. SKUs are
-- compared byte by byte: their order is the order in which they are locked.
CREATE TABLE products (
    sku       text COLLATE "C" PRIMARY KEY CHECK (sku ~ '^[a-z0-9._-]{1,64}$'),
    name      text NOT NULL CHECK (name <> ''),
    -- Price of one, in the currency's minor unit.
    price     bigint NOT NULL CHECK (price > 0),
    currency  text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- Ever received, free, in open reservations, sold.
    received  bigint NOT NULL CHECK (received >= 0),
    available bigint NOT NULL CHECK (available >= 0),
    reserved  bigint NOT NULL CHECK (reserved >= 0),
    sold      bigint NOT NULL CHECK (sold >= 0),
    -- As numeric: a sum of three may be more than a bigint before it is compared.
    CONSTRAINT products_conserved
        CHECK (received::numeric = available::numeric + reserved::numeric + sold::numeric)
) WITH (fillfactor = 50);

-- What each saga holds, or held, at the price that it was told.
CREATE TABLE reservations (
    saga_id    uuid NOT NULL,
    sku        text COLLATE "C" NOT NULL,
    quantity   bigint NOT NULL CHECK (quantity >= 1),
    unit_price bigint NOT NULL CHECK (unit_price > 0),
    currency   text NOT NULL,
    state      text NOT NULL CHECK (state IN ('open', 'released', 'committed')),
    PRIMARY KEY (saga_id, sku)
) WITH (fillfactor = 70);

-- The ledger: every change of a product's stock, once. Its two unique indexes
-- make a doubled effect impossible, whatever the program does.
CREATE TABLE movements (
    sku         text COLLATE "C" NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('received', 'reserved', 'released', 'committed')),
    quantity    bigint NOT NULL CHECK (quantity >= 1),
    saga_id     uuid,
    receipt_key text,
    at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT movements_cause CHECK (
        (kind = 'received') = (receipt_key IS NOT NULL)
        AND (kind = 'received') = (saga_id IS NULL)
    )
);
CREATE UNIQUE INDEX movements_of_saga ON movements (saga_id, sku, kind) WHERE saga_id IS NOT NULL;
CREATE UNIQUE INDEX movements_of_receipt ON movements (receipt_key) WHERE receipt_key IS NOT NULL;

-- Goods received: a key adds its goods once.
CREATE TABLE receipts (
    idempotency_key text COLLATE "C" PRIMARY KEY,
    payload_hash    bytea NOT NULL,
    sku             text COLLATE "C" NOT NULL,
    quantity        bigint NOT NULL CHECK (quantity >= 1),
    at              timestamptz NOT NULL DEFAULT now()
);
