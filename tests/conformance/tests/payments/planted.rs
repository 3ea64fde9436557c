//! The safeguards in the payment service's SQL: if one of them is removed, a property fails.

use saga_postgres::{INBOX, Migrations};

use super::{
    Till,
    locking::{
        locks_in_opposite_order_do_not_deadlock as opposite,
        whoever_locks_a_locked_payment_sees_what_was_saved as locked,
    },
    rows::{the_amount_of_a_payment_never_changes as amount, the_ledger_has_a_line_once as ledger},
};
use crate::planted::{Plant, is_caught};

const PARTS: &[&Migrations] = &[&INBOX, &saga_payment::MIGRATIONS];

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_without_its_lock_loses_a_refund() {
    let plant = Plant { real: "ORDER BY order_id FOR UPDATE", planted: "ORDER BY order_id" };
    let property = |pool| locked(Till::over(pool));
    is_caught(PARTS, &[plant], "left == right", property).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_that_are_locked_in_any_order_deadlock() {
    let plant = Plant {
        real: "ORDER BY order_id FOR UPDATE",
        planted: "ORDER BY array_position($1, order_id) FOR UPDATE",
    };
    let property = |pool| opposite(Till::over(pool));
    is_caught(PARTS, &[plant], "deadlock", property).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_without_deduplication_fails_whoever_repeats() {
    let plant = Plant { real: "ON CONFLICT (saga_id, kind) DO NOTHING", planted: "" };
    let property = |pool| ledger(Till::over(pool));
    is_caught(PARTS, &[plant], "duplicate key", property).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_that_is_written_over_is_seen() {
    let plant = Plant {
        real: "DO UPDATE SET status = EXCLUDED.status,",
        planted: "DO UPDATE SET amount = EXCLUDED.amount, status = EXCLUDED.status,",
    };
    let property = |pool| amount(Till::over(pool));
    is_caught(PARTS, &[plant], "left == right", property).await;
}
