//! The database's host falls silent: no connection is reset, and nothing more arrives on any of
//! them. New connections reach its successor, as after a failover.

use std::{sync::Arc, time::Duration};

use saga_test_support::proxy::Proxy;
use tokio::sync::Mutex;

use crate::{
    audit::Audit,
    load::Load,
    system::{Hosts, ONE_OF_EACH, System, with_system_on},
};

/// The number of orders, and how many of them are accepted before the host falls silent.
const ORDERS: usize = 400;
const BEFORE: usize = 100;
/// The time in which all orders must end. A database call gives up after 30 s, and then the open
/// orders are tried again.
const HEALED: Duration = Duration::from_secs(100);

/// All roles keep running: each drops only the connections that do not answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_host_that_goes_silent_under_load_holds_up_no_order_for_good()
-> anyhow::Result<()> {
    let proxy = std::cell::OnceCell::new();
    let prepare = async |system: &mut System| {
        let (postgres, rabbitmq) = system.ports()?;
        let started = Proxy::start(postgres).await?;
        let servers = system.through(started.port, rabbitmq);
        for name in system.names() {
            system.role_mut(&name)?.launch.env.extend(servers.clone());
        }
        anyhow::ensure!(proxy.set(started).is_ok(), "prepared twice");
        Ok(())
    };
    with_system_on(Hosts::Shared, ONE_OF_EACH, &[], prepare, async |system| {
        system.stock("teapot", 10_000).await?;
        let load = Load {
            orders: ORDERS,
            clients: 16,
            name: "silent".to_owned(),
            token: |_| "tok_approved",
            sku: |_| "teapot",
            pace: Duration::from_millis(50),
        };
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let placing = {
            let (accepted, channels) =
                (Arc::clone(&accepted), vec![system.channel("orchestrator-1")?]);
            tokio::spawn(async move { load.run_into(channels, accepted).await })
        };
        while accepted.lock().await.len() < BEFORE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        proxy.get().expect("prepared").go_silent();
        placing.await??;
        Audit::open(system).await?.wait_until_quiet(HEALED).await?;
        Ok(())
    })
    .await
}
