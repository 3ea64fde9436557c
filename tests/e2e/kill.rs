//! Every process is killed with `kill -9`, with at least a hundred sagas in flight.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use saga_test_support::shopper::mixed_card;
use tokio::sync::Mutex;

use crate::{
    audit::Audit,
    load::{Load, Logged},
    orders::mixed_sku,
    system::{Hosts, ONE_OF_EACH, Replicas, System, with_system_on},
};

/// The number of sagas that must be in flight at the moment of a kill.
const IN_FLIGHT: i64 = 100;
/// The time for which a killed role stays down.
const DOWN: Duration = Duration::from_millis(1_500);
/// The time within which every saga must end after the last restart.
const REST: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_each_role_and_server_loses_and_doubles_nothing() -> anyhow::Result<()> {
    killing(ONE_OF_EACH).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_beside_a_second_replica_loses_and_doubles_nothing() -> anyhow::Result<()> {
    killing(Replicas { orchestrators: 2, services: 2 }).await
}

/// Runs the test on own servers, because they are killed too.
async fn killing(replicas: Replicas) -> anyhow::Result<()> {
    with_system_on(Hosts::own(), replicas, &[], async |_| Ok(()), kill_everything).await
}

async fn kill_everything(system: &System) -> anyhow::Result<()> {
    system.stock("teapot", 1_000_000).await?;
    system.stock("cup", 1_000_000).await?;
    let audit = Audit::open(system).await?;
    let mut accepted: Vec<Logged> = Vec::new();
    let mut repeated: f64 = 0.0;
    let mut victims = system.names();
    victims.extend(["rabbitmq".to_owned(), "postgres".to_owned()]);
    for victim in victims {
        let log = Arc::new(Mutex::new(Vec::new()));
        let load = Load {
            orders: 400,
            clients: 200,
            name: format!("kill-{victim}"),
            // The kills are outages enough: none of these cards takes the provider down.
            token: mixed_card,
            sku: without_rare,
            pace: Duration::from_millis(20),
        };
        let channels = orchestrators(system)?;
        let placing = tokio::spawn({
            let (load, log) = (load.clone(), Arc::clone(&log));
            async move { load.run_into(channels, log).await }
        });
        wait_for_in_flight(&audit).await.with_context(|| format!("before killing {victim}"))?;
        kill(system, &victim).await.with_context(|| format!("killing {victim}"))?;
        placing.await?.with_context(|| format!("while {victim} was killed"))?;
        audit.wait_until_quiet(REST).await.with_context(|| format!("after {victim} was killed"))?;
        accepted.extend(log.lock().await.iter().cloned());
        audit
            .at_rest(system, &accepted)
            .await
            .with_context(|| format!("after {victim} was killed"))?;
        // A killed process loses its counts, so the highest total that was seen is a lower bound.
        let seen = system.metric("saga_participant_commands_total", "repeated").await?;
        repeated = repeated.max(seen);
    }
    let resent: i64 = sqlx::query_scalar(
        r#"SELECT count(*) FROM saga_history WHERE entry LIKE '{"what":"resent"%'"#,
    )
    .fetch_one(&audit.orchestrator)
    .await?;
    audit.compensations_ran_in_reverse().await?;
    for role in system.names() {
        system.stop(&role)?;
    }
    ensure!(repeated >= 1.0, "no recorded answer was repeated: the kills proved nothing");
    ensure!(resent >= 1, "nothing was sent again when its saga woke: the kills proved nothing");
    eprintln!(
        "{} orders accepted, none lost or doubled; at least {repeated} recorded answers repeated, {resent} wakes that sent again",
        accepted.len()
    );
    Ok(())
}

fn without_rare(n: usize) -> &'static str {
    match mixed_sku(n) {
        "rare" => "teapot",
        other => other,
    }
}

fn orchestrators(system: &System) -> anyhow::Result<Vec<tonic::transport::Channel>> {
    let names = system.names();
    let orchestrators = names.iter().filter(|name| name.starts_with("orchestrator"));
    orchestrators.map(|name| system.channel(name)).collect()
}

async fn wait_for_in_flight(audit: &Audit) -> anyhow::Result<()> {
    for _ in 0..2_000 {
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM sagas WHERE state NOT IN (3, 4)")
            .fetch_one(&audit.orchestrator)
            .await?;
        if open >= IN_FLIGHT {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    anyhow::bail!("never {IN_FLIGHT} sagas in flight")
}

async fn kill(system: &System, victim: &str) -> anyhow::Result<()> {
    match victim {
        "rabbitmq" => {
            let rabbitmq = &system.own()?.rabbitmq;
            rabbitmq.kill9()?;
            tokio::time::sleep(DOWN).await;
            tokio::task::block_in_place(|| rabbitmq.restart())
        }
        "postgres" => {
            let postgres = &system.own()?.postgres;
            postgres.kill9()?;
            tokio::time::sleep(DOWN).await;
            tokio::task::block_in_place(|| postgres.restart())
        }
        role => {
            system.kill(role)?;
            tokio::time::sleep(DOWN).await;
            system.start_role(role).await
        }
    }
}
