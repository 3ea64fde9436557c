//! The command line, as people and programs use it.

use anyhow::{Context as _, ensure};

use saga_test_support::desk::Desk as _;

use crate::system::{ONE_OF_EACH, System, with_system};

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_places_shows_and_cancels_orders() -> anyhow::Result<()> {
    with_system(ONE_OF_EACH, &[], commands).await
}

async fn commands(system: &System) -> anyhow::Result<()> {
    // A second `setup` changes nothing.
    system.run(&["setup"]).await?;
    system.run(&["restock", "teapot", "100", "--name", "Teapot", "--price", "12.50EUR"]).await?;
    let products = system.run(&["products"]).await?;
    ensure!(products.contains("teapot") && products.contains("12.50"), "{products}");

    let place = ["place", "--customer", "alice", "--item", "teapot=2", "--key", "one"];
    let placed = system.done(&place).await?;
    ensure!(placed["status"] == "ORDER_STATUS_CONFIRMED", "{placed}");
    let order = placed["orderId"].as_str().context("no id")?.to_owned();
    let again = system.done(&place).await?;
    ensure!(again["orderId"] == order.as_str() && again["repeated"] == true, "{again}");

    let declined = ["place", "--customer", "bob", "--item", "teapot=1", "--token", "tok_declined"];
    let output = system.output(&declined).await?;
    ensure!(output.status.code() == Some(1), "{output:?}");

    let shown = system.done(&["order", &order]).await?;
    ensure!(shown["total"]["minorUnits"] == "2500", "{shown}");
    let orders = system.run(&["orders", "--customer", "alice"]).await?;
    ensure!(orders.contains(&order), "{orders}");
    let watched = system.run(&["watch", &order]).await?;
    ensure!(watched.lines().count() >= 7, "{watched}");
    let saga = system.run(&["saga", &order]).await?;
    ensure!(saga.contains("reserve-stock") && saga.to_lowercase().contains("completed"), "{saga}");
    let sagas = system.run(&["sagas"]).await?;
    ensure!(sagas.contains(&order), "{sagas}");

    let cancel = system.output(&["cancel", &order]).await?;
    ensure!(cancel.status.code() == Some(1), "captured: {cancel:?}");
    let nonsense = system.output(&["order", "nonsense"]).await?;
    let told = String::from_utf8_lossy(&nonsense.stderr).into_owned();
    ensure!(nonsense.status.code() == Some(1) && told.contains("INVALID_ARGUMENT"), "{told}");
    let usage = system.output(&["place", "--nonsense"]).await?;
    ensure!(usage.status.code() == Some(64), "{usage:?}");
    Ok(())
}
