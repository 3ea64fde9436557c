//! The safeguards in the order service's SQL: if one of them is removed, a property fails.

use saga_order::table::postgres::PostgresReads;
use saga_postgres::{INBOX, Migrations, Pool};

use super::{
    Book,
    inserting::of_two_inserts_at_once_one_is_new as inserts,
    locking::{
        locks_in_opposite_order_do_not_deadlock as opposite,
        of_many_that_end_an_order_at_once_one_finds_it_pending as ends,
    },
};
use crate::planted::{Plant, is_caught};

const PARTS: &[&Migrations] = &[&INBOX, &saga_order::MIGRATIONS];

fn book(pool: Pool) -> Book<saga_postgres::Inbox, PostgresReads> {
    Book::on_postgres(pool, String::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_its_lock_is_ended_twice() {
    let plant = Plant { real: "FOR UPDATE OF o", planted: "" };
    let property = |pool| ends(book(pool));
    is_caught(PARTS, &[plant], "it was ended once", property).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_always_new_is_seen() {
    let plants = [
        Plant {
            real: "ON CONFLICT DO NOTHING RETURNING order_id",
            planted: "ON CONFLICT (order_id) DO UPDATE SET customer = EXCLUDED.customer
                      RETURNING order_id",
        },
        Plant {
            real: "JOIN created USING (order_id)",
            planted: "JOIN created USING (order_id) ON CONFLICT DO NOTHING",
        },
    ];
    let property = |pool| inserts(book(pool));
    is_caught(PARTS, &plants, "one is first", property).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_locked_in_any_order_deadlock() {
    let plant = Plant {
        real: "ORDER BY o.order_id FOR UPDATE OF o",
        planted: "ORDER BY array_position($1, o.order_id) FOR UPDATE OF o",
    };
    let property = |pool| opposite(book(pool));
    is_caught(PARTS, &[plant], "deadlock", property).await;
}
