//! The safeguards in the inbox's SQL: if one of them is removed, a property fails.

use saga_order::table::postgres::PostgresReads;
use saga_postgres::{INBOX, Migrations, Pool};

use super::transactions::{
    of_many_compensations_at_once_one_is_first as compensations,
    overlapping_batches_do_not_deadlock as overlapping,
    two_transactions_with_one_key_exclude_each_other as one_key,
};
use crate::{
    orders::Book,
    planted::{Plant, is_caught},
};

const PARTS: &[&Migrations] = &[&INBOX, &saga_order::MIGRATIONS];

fn book(pool: Pool) -> Book<saga_postgres::Inbox, PostgresReads> {
    Book::on_postgres(pool, String::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_always_fresh_has_two_effects() {
    let plant = Plant {
        real: "ON CONFLICT DO NOTHING RETURNING now()",
        planted: "ON CONFLICT (saga_id, step) DO UPDATE SET step = EXCLUDED.step RETURNING now()",
    };
    let property = |pool| one_key(book(pool));
    is_caught(PARTS, &[plant], "left == right", property).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_deduplication_fails_whoever_comes_second() {
    let plant =
        Plant { real: "ON CONFLICT DO NOTHING RETURNING now()", planted: "RETURNING now()" };
    let property = |pool| one_key(book(pool));
    is_caught(PARTS, &[plant], "duplicate key", property).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_row_without_its_lock_is_undone_twice() {
    let plant =
        Plant { real: "ORDER BY saga_id, step FOR UPDATE", planted: "ORDER BY saga_id, step" };
    let property = |pool| compensations(book(pool));
    is_caught(PARTS, &[plant], "it was undone once", property).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_taken_in_any_order_deadlock() {
    let plant = Plant {
        real: "SELECT * FROM UNNEST($1::uuid[], $2::text[]) ON CONFLICT",
        planted: "SELECT * FROM UNNEST($1::uuid[], $2::text[]) ORDER BY random() ON CONFLICT",
    };
    let property = |pool| overlapping(book(pool));
    is_caught(PARTS, &[plant], "deadlock", property).await;
}
