//! Databases whose older half was forgotten, as by pruning. They pass, and damage above the
//! watermark is found as before.

use std::collections::BTreeSet;

use anyhow::ensure;

use crate::books::Books;

/// Deletes everything that pruning deletes, below the middle one of all sagas.
const PRUNE: &str = "
    CREATE TEMP TABLE mark AS SELECT id AS below FROM orchestrator.sagas ORDER BY id
        LIMIT 1 OFFSET (SELECT count(*) / 2 FROM orchestrator.sagas);
    UPDATE orchestrator.saga_watermark SET below = (SELECT below FROM mark);
    UPDATE orders.inbox_watermark SET below = (SELECT below FROM mark);
    UPDATE inventory.inbox_watermark SET below = (SELECT below FROM mark);
    UPDATE payment.inbox_watermark SET below = (SELECT below FROM mark);
    DELETE FROM orchestrator.saga_history WHERE saga_id < (SELECT below FROM mark);
    DELETE FROM orchestrator.idempotency_keys WHERE saga_id < (SELECT below FROM mark);
    DELETE FROM orchestrator.sagas WHERE id < (SELECT below FROM mark);
    DELETE FROM orders.inbox WHERE saga_id < (SELECT below FROM mark);
    DELETE FROM inventory.inbox WHERE saga_id < (SELECT below FROM mark);
    DELETE FROM payment.inbox WHERE saga_id < (SELECT below FROM mark);";

/// Deletes only some of these rows: the orchestrator is behind, or the participants are.
const HALF_WAY: [&str; 2] = [
    "CREATE TEMP TABLE mark AS SELECT id AS below FROM orchestrator.sagas ORDER BY id
         LIMIT 1 OFFSET (SELECT count(*) / 2 FROM orchestrator.sagas);
     UPDATE orchestrator.saga_watermark SET below = (SELECT below FROM mark);
     UPDATE payment.inbox_watermark SET below = (SELECT below FROM mark);
     DELETE FROM payment.inbox WHERE saga_id < (SELECT below FROM mark)",
    "CREATE TEMP TABLE mark AS SELECT id AS below FROM orchestrator.sagas ORDER BY id
         LIMIT 1 OFFSET (SELECT count(*) / 2 FROM orchestrator.sagas);
     UPDATE orchestrator.saga_watermark SET below = (SELECT below FROM mark);
     DELETE FROM orchestrator.saga_history WHERE saga_id < (SELECT below FROM mark);
     DELETE FROM orchestrator.idempotency_keys WHERE saga_id < (SELECT below FROM mark);
     DELETE FROM orchestrator.sagas WHERE id < (SELECT below FROM mark)",
];

/// Damages above the watermark, each with the lines that find it.
const ABOVE: &[(&[&str], &str)] = &[
    (
        &["answers-agree", "effects-recorded"],
        "DELETE FROM inventory.inbox WHERE step = 'commit-stock'
         AND saga_id = (SELECT min(id) FROM orchestrator.sagas
                        WHERE state = 3 AND definition = 'place-order')",
    ),
    (
        &["answers-agree"],
        "UPDATE payment.inbox SET action_answer = NULL WHERE step = 'authorise-payment'
         AND saga_id = (SELECT min(o.order_id) FROM payment.payments o, orchestrator.saga_watermark
                        WHERE o.status = 'declined' AND o.order_id >= below)",
    ),
    (
        &["sagas-exist", "answers-agree"],
        "CREATE TEMP TABLE lost AS SELECT min(id) AS id FROM orchestrator.sagas
             WHERE state = 3 AND definition = 'place-order';
         DELETE FROM orchestrator.saga_history WHERE saga_id IN (SELECT id FROM lost);
         DELETE FROM orchestrator.idempotency_keys WHERE saga_id IN (SELECT id FROM lost);
         DELETE FROM orchestrator.sagas WHERE id IN (SELECT id FROM lost)",
    ),
    (
        &["unfinished-kept", "NOT AT REST"],
        "UPDATE orchestrator.saga_watermark SET below = x'ffffffffffff7fffbfffffffffffffff';
         UPDATE orchestrator.sagas SET state = 1, ended_at = NULL, wake_at = 1
         WHERE id = (SELECT max(id) FROM orchestrator.sagas WHERE state = 3)",
    ),
];

/// Damages to records that are kept for ever: below the watermark they are found too.
const BELOW: &[(&[&str], &str)] = &[
    (
        &["orders-paid", "orders-add-up", "money"],
        "UPDATE orders.orders SET total = total + 1
         WHERE order_id = (SELECT min(order_id) FROM orders.orders WHERE status = 2)",
    ),
    (
        &["reservations-moved"],
        "UPDATE inventory.reservations SET state = 'committed'
         WHERE saga_id = (SELECT min(saga_id) FROM inventory.reservations WHERE state = 'released')",
    ),
    // A record that pruning has not yet deleted is no damage, even if its saga is gone. A record
    // without its effect is damage.
    (
        &["effects-recorded"],
        "INSERT INTO inventory.inbox (saga_id, step, action_hash, action_answer)
         SELECT order_id, 'commit-stock', x'00', '{\"outcome\":\"done\"}' FROM orders.orders
         WHERE status = 3 ORDER BY order_id LIMIT 1",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn pruned_books_are_sound_and_a_damage_is_found_below_and_above() -> anyhow::Result<()> {
    let books = Books::write().await?;
    let orders = 150.to_string();
    for half_way in HALF_WAY {
        let copy = books.copy()?;
        copy.damage(half_way)?;
        let found = copy.audit(&["--require-rows"]).await?;
        ensure!(found.failed().is_empty(), "half pruned books fail:\n{}", found.offenders());
    }
    let pruned = books.copy()?;
    pruned.damage(PRUNE)?;
    let found = pruned.audit(&["--require-rows", "--expect-orders", &orders]).await?;
    ensure!(found.failed().is_empty(), "pruned books fail:\n{}", found.offenders());
    for (lines, damage) in ABOVE.iter().chain(BELOW) {
        let copy = pruned.copy()?;
        copy.damage(damage)?;
        let found = copy.audit(&[]).await?;
        let mut expected: BTreeSet<String> = lines.iter().map(|&line| line.to_owned()).collect();
        if expected.remove("NOT AT REST") {
            let known = found.verdict("unfinished-kept");
            ensure!(known.as_deref() == Some("FAIL"), "{known:?}: {damage}");
            continue;
        }
        let failed = found.failed();
        ensure!(failed == expected, "{damage}\nfails {failed:?}:\n{}", found.offenders());
    }
    Ok(())
}

/// The same rows are missing as after pruning, but the watermark does not cover them.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_above_the_watermark_is_lost() -> anyhow::Result<()> {
    let books = Books::write().await?;
    let sound = books.audit(&[]).await?;
    ensure!(sound.failed().is_empty(), "{}", sound.offenders());
    books.damage(PRUNE)?;
    books.damage(
        "UPDATE orchestrator.saga_watermark SET below = zeroblob(16);
         UPDATE orders.inbox_watermark SET below = zeroblob(16);
         UPDATE inventory.inbox_watermark SET below = zeroblob(16);
         UPDATE payment.inbox_watermark SET below = zeroblob(16)",
    )?;
    let failed = books.audit(&[]).await?.failed();
    ensure!(
        failed == BTreeSet::from(["sagas-exist".to_owned(), "effects-recorded".to_owned()]),
        "{failed:?}"
    );
    Ok(())
}
