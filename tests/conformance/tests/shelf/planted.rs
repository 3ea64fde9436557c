//! The safeguards in the inventory's SQL: if one of them is removed, a property fails.

use saga_postgres::{INBOX, Migrations};

use super::{
    Shop,
    receipts::whoever_wants_a_claimed_key_waits as claimed,
    reservations::{
        of_two_closings_at_once_one_finds_the_reservation as closings,
        reservations_at_once_never_oversell as reservations,
    },
    stock::locks_in_opposite_order_do_not_deadlock as opposite,
};
use crate::planted::{Plant, is_caught};

const PARTS: &[&Migrations] = &[&INBOX, &saga_inventory::MIGRATIONS];

#[tokio::test(flavor = "multi_thread")]
async fn a_shelf_without_its_lock_oversells() {
    let plant = Plant { real: "ORDER BY sku FOR UPDATE", planted: "ORDER BY sku" };
    let property = |pool| reservations(Shop::over(pool));
    is_caught(PARTS, &[plant], "left == right", property).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn products_that_are_locked_in_any_order_deadlock() {
    let plant = Plant {
        real: "ORDER BY sku FOR UPDATE",
        planted: "ORDER BY array_position($1, sku) FOR UPDATE",
    };
    let property = |pool| opposite(Shop::over(pool));
    is_caught(PARTS, &[plant], "deadlock", property).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_without_its_lock_is_sold_and_released() {
    let plant =
        Plant { real: "ORDER BY saga_id, sku FOR UPDATE", planted: "ORDER BY saga_id, sku" };
    let property = |pool| closings(Shop::over(pool));
    is_caught(PARTS, &[plant], "Imbalance", property).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_is_always_new_is_seen() {
    let plant = Plant {
        real: "VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        planted: "VALUES ($1, $2, $3, $4) ON CONFLICT (idempotency_key) DO UPDATE SET sku = EXCLUDED.sku",
    };
    let property = |pool| claimed(Shop::over(pool));
    is_caught(PARTS, &[plant], "left == right", property).await;
}
