//! `saga orchestrator`: the engine, and the one front door.

use std::sync::Arc;

use anyhow::Context as _;
use saga_engine::Engine;
use saga_server::{Neighbours, Server};
use saga_store::SagaTable;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::{broker, database, listen};
use crate::config::Orchestrator;

/// `saga orchestrator`
pub(crate) async fn orchestrator(
    settings: Orchestrator,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let parts = [&saga_store::MIGRATIONS];
    let pool = database(&settings.database, "orchestrator", settings.connections, &parts).await?;
    let listener = listen(settings.listen, "orchestrator").await?;
    let transport = broker(&settings.broker, "orchestrator").await?;
    let store = SagaTable::new(pool);
    let hosted = saga_definitions::hosted(settings.step_timeout_millis);
    let (engine, handle) = Engine::new(store.clone(), transport.clone(), hosted.clone());
    let server = Server {
        handle,
        reads: store,
        hosted,
        place_order: Arc::new(saga_definitions::place_order(settings.step_timeout_millis)),
        neighbours: Neighbours {
            order: neighbour(&settings.order_url)?,
            inventory: neighbour(&settings.inventory_url)?,
            payment: neighbour(&settings.payment_url)?,
        },
        settings: saga_server::Settings {
            max_in_flight: settings.max_in_flight,
            order_deadline: settings.order_deadline,
            ..saga_server::Settings::default()
        },
    };
    let stop = shutdown.child_token();
    // The front door closes first, so that what it let in is still carried out.
    let engine_stop = CancellationToken::new();
    let driving = tokio::spawn({
        let (stop, engine_stop) = (stop.clone(), engine_stop.clone());
        async move {
            engine.run(engine_stop).await;
            stop.cancel();
        }
    });
    let served = server.serve(listener, stop).await;
    engine_stop.cancel();
    driving.await.context("the engine")?;
    transport.close().await;
    Ok(served?)
}

/// A neighbour that need not be there yet.
fn neighbour(url: &str) -> anyhow::Result<Channel> {
    let endpoint =
        Endpoint::from_shared(url.to_owned()).with_context(|| format!("the URL {url}"))?;
    Ok(endpoint.tcp_nodelay(true).connect_timeout(std::time::Duration::from_secs(2)).connect_lazy())
}
