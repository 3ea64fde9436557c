//! One database, or all four of them, goes back to a backup that was taken under load. `saga
//! reconcile` then brings them together. What it cannot mend it names, and the audit finds nothing
//! that is not named.
//!
//! Each test takes about half a minute. `SAGA_RESTORE_SECONDS` makes the load before and after the
//! backups longer; it is 4 otherwise.

mod backup;
mod load;
mod story;

use story::{Story, story};

#[tokio::test(flavor = "multi_thread")]
async fn the_orchestrators_database_goes_back() -> anyhow::Result<()> {
    story(Story { databases: &["orchestrator"], takes_up: &["begunAgain", "caughtUp"] }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_services_database_goes_back() -> anyhow::Result<()> {
    story(Story { databases: &["order"], takes_up: &["askedAgain"] }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inventory_services_database_goes_back() -> anyhow::Result<()> {
    story(Story { databases: &["inventory"], takes_up: &["askedAgain"] }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payment_services_database_goes_back() -> anyhow::Result<()> {
    story(Story { databases: &["payment"], takes_up: &["askedAgain"] }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_databases_go_back_to_different_instants() -> anyhow::Result<()> {
    let databases = &["orchestrator", "order", "inventory", "payment"];
    story(Story { databases, takes_up: &["begunAgain"] }).await
}
