//! The damages: at least one for each equation of the audit.

/// SQL that damages the databases, and the lines of the audit that must then fail: first the line
/// that this damage is for, then the others that fail with it.
pub(crate) struct Damage {
    pub(crate) lines: &'static [&'static str],
    pub(crate) sql: &'static str,
}

const fn damage(lines: &'static [&'static str], sql: &'static str) -> Damage {
    Damage { lines, sql }
}

pub(crate) const DAMAGES: &[Damage] = &[
    damage(
        &["stock-conserved"],
        "UPDATE inventory.products SET available = available + 1 WHERE sku = 'teapot'",
    ),
    // Reserved stock is recorded twice, in the movements and in the reservations.
    damage(
        &["stock-reserved", "stock-ledger"],
        "UPDATE inventory.products SET reserved = reserved + 1, available = available - 1
         WHERE sku = 'teapot'",
    ),
    damage(
        &["stock-ledger"],
        "UPDATE inventory.products SET received = received + 1, available = available + 1
         WHERE sku = 'teapot'",
    ),
    // A sum beyond 64 bits must not crash the audit: an equation that cannot be computed fails.
    damage(
        &["stock-ledger"],
        "INSERT INTO inventory.receipts (idempotency_key, payload_hash, sku, quantity, at)
         VALUES ('huge-1', x'00', 'cup', 9223372036854775807, 0), ('huge-2', x'00', 'cup', 9223372036854775807, 0);
         INSERT INTO inventory.movements (sku, kind, quantity, receipt_key, at)
         SELECT sku, 'received', quantity, idempotency_key, at FROM inventory.receipts WHERE idempotency_key LIKE 'huge-%'",
    ),
    damage(
        &["movements-once"],
        "DROP INDEX inventory.movements_of_receipt;
         UPDATE inventory.products SET
             received = received + (SELECT quantity FROM inventory.movements WHERE kind = 'received' AND sku = 'cup'),
             available = available + (SELECT quantity FROM inventory.movements WHERE kind = 'received' AND sku = 'cup')
         WHERE sku = 'cup';
         INSERT INTO inventory.movements SELECT * FROM inventory.movements WHERE kind = 'received' AND sku = 'cup'",
    ),
    damage(
        &["reservations-moved"],
        "UPDATE inventory.reservations SET state = 'committed'
         WHERE saga_id = (SELECT min(saga_id) FROM inventory.reservations WHERE state = 'released')",
    ),
    damage(
        &["returns-moved"],
        "UPDATE inventory.reservations SET returned = returned + 1
         WHERE (saga_id, sku) = (SELECT saga_id, sku FROM inventory.reservations
                                 WHERE state = 'committed' AND returned < quantity LIMIT 1)",
    ),
    damage(
        &["returns-add-up"],
        "UPDATE orders.order_lines SET held = held + 1
         WHERE (order_id, line_no) = (
             SELECT l.order_id, l.line_no FROM orders.order_lines l JOIN orders.orders o USING (order_id)
             WHERE o.status = 2 AND l.returned < l.quantity LIMIT 1)",
    ),
    // By the order's records, more is refunded than its returns are worth.
    damage(
        &["returns-add-up", "money"],
        "UPDATE orders.orders SET refunded = refunded + 1
         WHERE order_id = (SELECT min(order_id) FROM orders.orders WHERE status = 2 AND refunded < total)",
    ),
    // The records of two returns are exchanged.
    damage(
        &["returns-ended"],
        "CREATE TEMP TABLE pair AS SELECT min(return_id) AS a, max(return_id) AS b FROM orders.returns WHERE state = 2;
         UPDATE orders.returns SET return_id = x'00' WHERE return_id = (SELECT a FROM pair);
         UPDATE orders.returns SET return_id = (SELECT a FROM pair) WHERE return_id = (SELECT b FROM pair);
         UPDATE orders.returns SET return_id = (SELECT b FROM pair) WHERE return_id = x'00';
         UPDATE orders.return_lines SET return_id = x'00' WHERE return_id = (SELECT a FROM pair);
         UPDATE orders.return_lines SET return_id = (SELECT a FROM pair) WHERE return_id = (SELECT b FROM pair);
         UPDATE orders.return_lines SET return_id = (SELECT b FROM pair) WHERE return_id = x'00'",
    ),
    damage(&["goods-received"], "UPDATE inventory.receipts SET quantity = quantity + 1 WHERE sku = 'cup'"),
    damage(
        &["payments-bounded"],
        "UPDATE payment.payments SET amount = 0 WHERE status = 'declined';
         UPDATE payment.payment_ledger SET amount = 0 WHERE kind = 'declined'",
    ),
    damage(
        &["payments-ledgered"],
        "UPDATE payment.payments SET amount = amount + 1
         WHERE order_id = (SELECT min(order_id) FROM payment.payments WHERE status = 'captured')",
    ),
    damage(
        &["payments-once"],
        "CREATE TABLE payment.copied AS SELECT * FROM payment.payment_ledger;
         DROP TABLE payment.payment_ledger;
         ALTER TABLE payment.copied RENAME TO payment_ledger;
         INSERT INTO payment.payment_ledger SELECT * FROM payment.payment_ledger WHERE kind = 'declined' LIMIT 1",
    ),
    damage(
        &["refunds-ledgered"],
        "UPDATE payment.payments SET refunded = 1
         WHERE order_id = (SELECT min(order_id) FROM payment.payments WHERE status = 'captured')",
    ),
    damage(
        &["provider-ledgered"],
        "UPDATE provider.payments SET amount = amount + 1
         WHERE id = (SELECT min(id) FROM provider.payments WHERE status = 'captured')",
    ),
    damage(
        &["provider-once"],
        "INSERT INTO provider.payments
         SELECT 'twice', reference, amount, currency, status, decline_code, on_capture, 'twice', created_at
         FROM provider.payments WHERE status = 'declined' LIMIT 1",
    ),
    damage(
        &["ours-at-provider"],
        "UPDATE payment.payments SET provider_id = 'nowhere'
         WHERE order_id = (SELECT min(order_id) FROM payment.payments WHERE status = 'declined')",
    ),
    damage(
        &["orders-add-up"],
        "CREATE TEMP TABLE line AS SELECT l.order_id, l.sku FROM orders.order_lines l
             JOIN orders.orders o ON o.order_id = l.order_id WHERE o.status = 2 LIMIT 1;
         UPDATE orders.order_lines SET unit_price = unit_price + 1
         WHERE (order_id, sku) IN (SELECT order_id, sku FROM line);
         UPDATE inventory.reservations SET unit_price = unit_price + 1
         WHERE (saga_id, sku) IN (SELECT order_id, sku FROM line)",
    ),
    damage(
        &["keys-one-payload"],
        "CREATE TABLE orchestrator.copied AS SELECT * FROM orchestrator.idempotency_keys;
         DROP TABLE orchestrator.idempotency_keys;
         ALTER TABLE orchestrator.copied RENAME TO idempotency_keys;
         INSERT INTO orchestrator.idempotency_keys
         SELECT caller, method, key, x'00', saga_id, created_at FROM orchestrator.idempotency_keys LIMIT 1",
    ),
    damage(
        &["keys-bound"],
        "UPDATE orchestrator.idempotency_keys SET saga_id = randomblob(16)
         WHERE saga_id = (SELECT min(saga_id) FROM orchestrator.idempotency_keys)",
    ),
    damage(
        &["sagas-known"],
        "UPDATE orchestrator.sagas SET definition_version = 99
         WHERE id = (SELECT min(id) FROM orchestrator.sagas WHERE state = 3)",
    ),
    damage(
        &["sagas-awake"],
        "UPDATE orchestrator.sagas SET wake_at = 1
         WHERE id = (SELECT min(id) FROM orchestrator.sagas WHERE state = 3)",
    ),
    damage(
        &["unfinished-kept"],
        "DELETE FROM payment.inbox_watermark",
    ),
    damage(
        &["history-complete"],
        "UPDATE orchestrator.saga_history SET version = version + 1
         WHERE (saga_id, version) = (SELECT id, version FROM orchestrator.sagas WHERE state = 3 LIMIT 1)",
    ),
    damage(
        &["history-legal"],
        "UPDATE orchestrator.saga_history SET state = 2
         WHERE version = 3 AND saga_id = (SELECT min(id) FROM orchestrator.sagas WHERE state = 3)",
    ),
    // The history has a pause without a reason.
    damage(
        &["history-legal"],
        "UPDATE orchestrator.saga_history
         SET entry = json_set(entry, '$.what', 'paused', '$.by', 'op', '$.reason', '')
         WHERE (saga_id, version) = (SELECT h.saga_id, h.version FROM orchestrator.saga_history h
             WHERE h.entry ->> '$.what' = 'cancel' LIMIT 1)",
    ),
    damage(
        &["no-undo-after-pivot"],
        "UPDATE orchestrator.saga_history
         SET entry = json_set(entry, '$.sent', json('[[\"create-order/compensation\",1]]'))
         WHERE (saga_id, version) = (SELECT id, version FROM orchestrator.sagas WHERE state = 3 LIMIT 1)",
    ),
    damage(
        &["undone-in-reverse"],
        "UPDATE orchestrator.saga_history
         SET entry = json_insert(entry, '$.sent[#]', json('[\"create-order/compensation\",1]'))
         WHERE (saga_id, version) = (
             SELECT saga_id, version FROM orchestrator.saga_history
             WHERE entry ->> '$.what' = 'refused' AND entry LIKE '%reserve-stock/compensation%' LIMIT 1)",
    ),
    damage(
        &["inbox-once"],
        "INSERT INTO inventory.inbox (saga_id, step, action_hash)
         SELECT id, 'create-order', x'00' FROM orchestrator.sagas WHERE state = 3 LIMIT 1",
    ),
    // The answer is missing from the participant's records, but not from the saga's history.
    damage(
        &["effects-recorded", "answers-agree"],
        "DELETE FROM inventory.inbox WHERE step = 'commit-stock'
         AND saga_id = (SELECT min(id) FROM orchestrator.sagas WHERE state = 3)",
    ),
    damage(
        &["undone-whole"],
        "UPDATE orchestrator.saga_history
         SET entry = json_insert(entry, '$.sent[#]', json('[\"commit-stock/action\",1]'))
         WHERE (saga_id, version) = (
             SELECT saga_id, version FROM orchestrator.saga_history
             WHERE entry ->> '$.what' = 'refused' AND entry LIKE '%reserve-stock/compensation%' LIMIT 1)",
    ),
    damage(
        &["answers-agree"],
        "UPDATE payment.inbox SET action_answer = NULL WHERE step = 'authorise-payment'
         AND saga_id = (SELECT min(order_id) FROM payment.payments WHERE status = 'declined')",
    ),
    damage(
        &["sagas-exist"],
        "UPDATE orders.orders SET caller = 'somebody else'
         WHERE order_id = (SELECT min(order_id) FROM orders.orders)",
    ),
    damage(
        &["orders-ended"],
        "UPDATE orders.orders SET status = 4
         WHERE order_id = (SELECT min(order_id) FROM orders.orders WHERE status = 3)",
    ),
    // Only version 1 of place-order may leave no trace of an order that was undone early.
    damage(
        &["orders-ended", "orders-priced", "effects-recorded"],
        "DELETE FROM orders.orders
         WHERE order_id = (SELECT min(order_id) FROM orders.orders WHERE status = 3)",
    ),
    damage(
        &["orders-priced"],
        "UPDATE inventory.reservations SET unit_price = unit_price + 1
         WHERE saga_id = (SELECT min(order_id) FROM orders.orders WHERE status = 2)",
    ),
    // A line that was never reserved cannot have been sold.
    damage(
        &["orders-sold", "orders-priced"],
        "INSERT INTO orders.order_lines (order_id, line_no, sku, quantity, unit_price)
         SELECT min(order_id), 99, 'extra', 1, 0 FROM orders.orders WHERE status = 2",
    ),
    // One order pays another's debt, so that the sums are still right.
    damage(
        &["orders-paid"],
        "CREATE TEMP TABLE line AS
         SELECT l.order_id, l.sku, row_number() OVER (ORDER BY l.order_id) * 2 - 3 AS more
         FROM orders.order_lines l JOIN orders.orders o ON o.order_id = l.order_id
         WHERE o.status = 2 AND l.quantity = 1 GROUP BY l.order_id ORDER BY l.order_id LIMIT 2;
         UPDATE orders.order_lines SET unit_price = unit_price +
             (SELECT more FROM line WHERE line.order_id = order_lines.order_id)
         WHERE (order_id, sku) IN (SELECT order_id, sku FROM line);
         UPDATE inventory.reservations SET unit_price = unit_price +
             (SELECT more FROM line WHERE line.order_id = reservations.saga_id)
         WHERE (saga_id, sku) IN (SELECT order_id, sku FROM line);
         UPDATE orders.orders SET total = total +
             (SELECT more FROM line WHERE line.order_id = orders.order_id)
         WHERE order_id IN (SELECT order_id FROM line)",
    ),
    // The sums cannot be wrong while every order is right, so two lines fail.
    damage(
        &["money", "orders-paid"],
        "CREATE TEMP TABLE line AS SELECT l.order_id, l.sku FROM orders.order_lines l
             JOIN orders.orders o ON o.order_id = l.order_id
             WHERE o.status = 2 AND l.quantity = 1 LIMIT 1;
         UPDATE orders.order_lines SET unit_price = unit_price + 1
         WHERE (order_id, sku) IN (SELECT order_id, sku FROM line);
         UPDATE inventory.reservations SET unit_price = unit_price + 1
         WHERE (saga_id, sku) IN (SELECT order_id, sku FROM line);
         UPDATE orders.orders SET total = total + 1 WHERE order_id IN (SELECT order_id FROM line)",
    ),
    damage(
        &["nothing-held"],
        "INSERT INTO payment.refunds (saga_id, order_id, amount, currency, state, created_at, updated_at)
         SELECT order_id, order_id, 1, currency, 'intended', 0, 0
         FROM payment.payments WHERE status = 'captured' LIMIT 1",
    ),
    damage(
        &["provider-known"],
        "INSERT INTO provider.payments
         SELECT 'strange', 'strange', amount, currency, status, decline_code, on_capture, 'strange', created_at
         FROM provider.payments WHERE status = 'declined' LIMIT 1",
    ),
    // The provider has a hold that our payments do not know.
    damage(
        &["provider-holds-nothing", "provider-known"],
        "CREATE TEMP TABLE held AS SELECT * FROM provider.payments WHERE status = 'declined' LIMIT 1;
         UPDATE provider.payments SET status = 'authorised', decline_code = NULL
         WHERE id IN (SELECT id FROM held);
         INSERT INTO provider.ledger (payment_id, kind, amount, currency, idempotency_key, at)
         SELECT id, 'authorised', amount, currency, idempotency_key, 0 FROM held",
    ),
    damage(
        &["quarantine"],
        "INSERT INTO orchestrator.quarantine (id, reason, from_queue, body, first_seen, last_seen)
         VALUES ('x', 'poison', 'saga.replies', x'00', 0, 0)",
    ),
];
