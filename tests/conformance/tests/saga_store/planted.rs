//! The safeguards in the store's SQL: if one of them is removed, a property fails.

use saga_postgres::Migrations;
use saga_store::postgres::MIGRATIONS;

use super::{
    Sagas,
    admissions::of_two_admissions_at_once_one_binds_the_key as admissions,
    claims::{
        a_claim_takes_the_most_overdue_first_and_no_more_than_asked_for as most_overdue,
        only_hosted_and_due_sagas_are_claimed as hosted_and_due,
        two_claimants_never_get_the_same_saga as claimants,
        what_a_fast_clock_has_put_to_sleep_is_claimed_after_what_is_due as asleep,
        what_is_locked_is_skipped_by_a_claim as skipped,
    },
    quarantine::{
        of_two_operators_at_once_one_settles_a_message as settlements,
        the_quarantine_has_one_row_a_command_id as quarantine,
    },
    remembering::{
        a_row_that_a_failover_has_replaced_is_read_again_although_its_version_is_the_same as replaced,
        three_orchestrators_lose_no_transition_and_double_none as remembered,
    },
    retention::{
        a_clock_that_is_a_little_ahead_raises_the_watermark as raised,
        a_clock_that_is_far_ahead_raises_no_watermark as unraised,
    },
    turns::concurrent_turns_on_one_saga_come_one_after_the_other as turns,
};
use crate::planted::{Plant, is_backed_up, is_caught};

const PARTS: &[&Migrations] = &[&MIGRATIONS];

const NO_LOCK_IN_A_TURN: Plant = Plant { real: "ORDER BY id FOR UPDATE", planted: "ORDER BY id" };
const NO_LOCK_IN_A_CLAIM: Plant = Plant { real: "FOR UPDATE SKIP LOCKED", planted: "" };
const NO_VERSION_CHECK: Plant = Plant { real: "AND sagas.version = u.before", planted: "" };
const NO_CONTENT_CHECK: Plant = Plant { real: "u.content IS NULL OR", planted: "true OR" };
/// Removes the third safeguard, the history's primary key: a version has one row.
const NO_HISTORY_KEY: Plant = Plant {
    real: "$13::smallint[], $14::text[]) ) SELECT",
    planted: "$13::smallint[], $14::text[]) ON CONFLICT DO NOTHING ) SELECT",
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_turn_without_its_row_lock_meets_the_version_check() {
    is_caught(PARTS, &[NO_LOCK_IN_A_TURN], "Conflict", |pool| turns(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_turn_with_neither_lock_nor_version_check_loses_updates() {
    let plants = [NO_LOCK_IN_A_TURN, NO_VERSION_CHECK, NO_HISTORY_KEY];
    is_caught(PARTS, &plants, "left == right", |pool| turns(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_remembered_and_written_without_a_version_check_loses_updates() {
    let plants = [NO_VERSION_CHECK, NO_CONTENT_CHECK, NO_HISTORY_KEY];
    is_caught(PARTS, &plants, "left == right", |pool| remembered(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_remembered_and_written_by_its_version_alone_overwrites_another_history() {
    let says = "left == right";
    is_caught(PARTS, &[NO_CONTENT_CHECK], says, |pool| replaced(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn turns_that_lock_in_any_order_deadlock() {
    let plant = Plant {
        real: "ORDER BY id FOR UPDATE",
        planted: "ORDER BY array_position($1, id) FOR UPDATE",
    };
    is_caught(PARTS, &[plant], "deadlock", |pool| turns(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_does_not_skip_what_is_locked_waits() {
    let plant = Plant { real: "FOR UPDATE SKIP LOCKED", planted: "FOR UPDATE" };
    let says = "it does not wait";
    is_caught(PARTS, &[plant], says, |pool| skipped(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_with_neither_lock_nor_version_check_take_the_same_sagas() {
    let plants = [NO_LOCK_IN_A_CLAIM, NO_VERSION_CHECK, NO_HISTORY_KEY];
    is_caught(PARTS, &plants, "left == right", |pool| claimants(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_version_check_alone_keeps_claimants_apart() {
    is_backed_up(PARTS, &[NO_LOCK_IN_A_CLAIM], |pool| claimants(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_row_lock_alone_keeps_turns_apart() {
    let plants = [NO_VERSION_CHECK, NO_HISTORY_KEY];
    is_backed_up(PARTS, &plants, |pool| turns(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_is_bound_anew_gives_two_sagas() {
    let plant = Plant {
        real: "ON CONFLICT DO NOTHING RETURNING saga_id",
        planted: "ON CONFLICT (caller, method, key) DO UPDATE SET saga_id = EXCLUDED.saga_id RETURNING saga_id",
    };
    is_caught(PARTS, &[plant], "was bound", |pool| admissions(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_of_what_is_not_due_is_seen() {
    let plant = Plant { real: "AND wake_at <= now() AND (d", planted: "AND true AND (d" };
    is_caught(PARTS, &[plant], "left == right", |pool| hosted_and_due(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_of_the_least_overdue_first_is_seen() {
    let plant = Plant { real: "ORDER BY wake_at LIMIT", planted: "ORDER BY wake_at DESC LIMIT" };
    is_caught(PARTS, &[plant], "left == right", |pool| most_overdue(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_whose_clock_is_a_month_ahead_raises_no_watermark() {
    let plant = Plant {
        real: "SELECT now() AS \"now!\", min(",
        planted: "SELECT now() + interval '30 days' AS \"now!\", min(",
    };
    is_backed_up(PARTS, &[plant], |pool| unraised(Sagas::over(pool))).await;
    // One that is half an hour ahead does.
    let plant = Plant {
        real: "SELECT now() AS \"now!\", min(",
        planted: "SELECT now() + interval '30 minutes' AS \"now!\", min(",
    };
    is_backed_up(PARTS, &[plant], |pool| raised(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_fast_clock_has_put_to_sleep_is_missed_if_it_is_not_claimed() {
    let plant = Plant {
        real: "WHERE wake_at > now() + $4",
        planted: "WHERE wake_at > now() + 999999 * $4",
    };
    is_caught(PARTS, &[plant], "left == right", |pool| asleep(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copies_that_are_not_counted_are_seen() {
    let plant = Plant { real: "copies = quarantine.copies + 1", planted: "copies = 1" };
    is_caught(PARTS, &[plant], "not counted", |pool| quarantine(Sagas::over(pool))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_that_is_settled_without_its_lock_meets_its_historys_key() {
    let plant = Plant {
        real: "FROM quarantine WHERE id = $1 FOR UPDATE",
        planted: "FROM quarantine WHERE id = $1",
    };
    let says = "nobody is in the way";
    is_caught(PARTS, &[plant], says, |pool| settlements(Sagas::over(pool))).await;
}
