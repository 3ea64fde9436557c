-- A ledger as the first release wrote it: its own DDL, and what calls left in it.
PRAGMA journal_mode = WAL;
BEGIN;
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
CREATE TABLE operations (
    idempotency_key TEXT PRIMARY KEY,
    request_hash    BLOB NOT NULL,
    status          INTEGER NOT NULL,
    body            TEXT NOT NULL,
    at              INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE attempts (
    idempotency_key TEXT PRIMARY KEY,
    count           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO payments VALUES
    ('pay_01a223a3ecf3743cb2b8a2cdaa2c9159','order-1',1000,'EUR','captured',NULL,'capture','create-1',1795894275315);
INSERT INTO payments VALUES
    ('pay_01a223a3efeb77ca8449127f9b42f0f7','order-2',1000,'EUR','declined','card_declined','capture','create-2',1795894276075);
INSERT INTO payments VALUES
    ('pay_01a223a3f01b70d69c3a49295391f3f3','order-4',1000,'EUR','authorised',NULL,'capture','create-4',1795894276123);
INSERT INTO ledger VALUES
    (1,'pay_01a223a3ecf3743cb2b8a2cdaa2c9159','authorised',1000,'EUR','create-1',1795894275315);
INSERT INTO ledger VALUES
    (2,'pay_01a223a3ecf3743cb2b8a2cdaa2c9159','captured',1000,'EUR','capture-1',1795894275927);
INSERT INTO ledger VALUES
    (3,'pay_01a223a3ecf3743cb2b8a2cdaa2c9159','refunded',400,'EUR','refund-1',1795894275980);
INSERT INTO ledger VALUES
    (4,'pay_01a223a3f01b70d69c3a49295391f3f3','authorised',1000,'EUR','create-4',1795894276123);
INSERT INTO operations VALUES
    ('capture-1',X'A95787BFDDF8EF9032FED835F07ED6EF75EE5F228D232CB62BE7E603AB90A014',200,
     '{"id":"pay_01a223a3ecf3743cb2b8a2cdaa2c9159","status":"captured","amount":1000,"currency":"EUR","captured":1000,"refunded":0,"reference":"order-1"}',1795894275927);
INSERT INTO operations VALUES
    ('create-1',X'DDB316EA4B1866BC76CFF75A5AB5D034F33502BACEA802A7B004A6BC15CEC6AD',201,
     '{"id":"pay_01a223a3ecf3743cb2b8a2cdaa2c9159","status":"authorised","amount":1000,"currency":"EUR","captured":0,"refunded":0,"reference":"order-1"}',1795894275315);
INSERT INTO operations VALUES
    ('create-2',X'6E4579D5671F97F78C47DAB475E55A7A149FA8C8CD109483C23BD3F02A9C71AF',201,
     '{"id":"pay_01a223a3efeb77ca8449127f9b42f0f7","status":"declined","decline_code":"card_declined","amount":1000,"currency":"EUR","captured":0,"refunded":0,"reference":"order-2"}',1795894276075);
INSERT INTO operations VALUES
    ('create-4',X'908D657162A66001472A5B4970EC5A9866DCAE4772DA0414E57EBF5BE31296C2',201,
     '{"id":"pay_01a223a3f01b70d69c3a49295391f3f3","status":"authorised","amount":1000,"currency":"EUR","captured":0,"refunded":0,"reference":"order-4"}',1795894276123);
INSERT INTO operations VALUES
    ('refund-1',X'7D61C10583B5CF91A5AAB78663480ED2B00B965899A2AAE7E6C377382BD2B268',201,
     '{"id":"ref_01a223a3ef8c73e4b758ea97aa251502","payment_id":"pay_01a223a3ecf3743cb2b8a2cdaa2c9159","amount":400,"currency":"EUR","refunded":400}',1795894275980);
INSERT INTO attempts VALUES
    ('create-3',1);
PRAGMA application_id = 1396787024;
PRAGMA user_version = 1;
COMMIT;
