//! Runs an orchestrator, that is, the engine and its front door, over any adapters.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use saga_engine::{Engine, Retention, SagaReads, SagaStore};
use saga_front::{Neighbours, Server};
use saga_messaging::Transport;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::config::Front;

/// Runs the engine and serves clients and operators until shutdown.
pub(super) async fn run<S, T>(
    store: S,
    transport: T,
    neighbours: Neighbours,
    front: Front,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()>
where
    S: SagaStore + SagaReads + Retention,
    T: Transport,
{
    let hosted = front.hosted;
    let (engine, handle) = Engine::new(store.clone(), transport, hosted.clone());
    let engine =
        engine.keeping(front.retention).accepting_unproven_replies(front.accepts_unproven_replies);
    let usual = saga_front::Settings::default();
    let anonymous = saga_desk::Anonymous { elsewhere: front.elsewhere, ..usual.desk.anonymous };
    let server = Server {
        handle,
        reads: store,
        hosted,
        neighbours,
        settings: saga_front::Settings {
            desk: saga_desk::Settings {
                max_in_flight: front.max_in_flight,
                anonymous,
                ..usual.desk
            },
            order_deadline: front.order_deadline,
            catalogue_cache: front.catalogue_cache,
            forward_timeout: usual.forward_timeout,
        },
    };
    let stop = shutdown.child_token();
    // The engine stops after the front door, so that it still handles all accepted requests.
    let engine_stop = CancellationToken::new();
    let driving = tokio::spawn({
        let (stop, engine_stop) = (stop.clone(), engine_stop.clone());
        async move {
            engine.run(engine_stop).await;
            let by_itself = !stop.is_cancelled();
            stop.cancel();
            by_itself
        }
    });
    let served = server.serve(listener, stop).await;
    engine_stop.cancel();
    let ended_by_itself = driving.await.context("the engine")?;
    served?;
    // The role fails, so that the supervisor that started it starts it again.
    ensure!(!ended_by_itself, "the engine has ended by itself");
    Ok(())
}

/// Returns connections to the other services by their URLs. The services need not run yet.
pub(super) fn neighbours(
    order: &str,
    inventory: &str,
    payment: &str,
) -> anyhow::Result<Neighbours> {
    Ok(Neighbours {
        order: neighbour(order)?,
        inventory: neighbour(inventory)?,
        payment: neighbour(payment)?,
    })
}

fn neighbour(url: &str) -> anyhow::Result<Channel> {
    let endpoint =
        Endpoint::from_shared(url.to_owned()).with_context(|| format!("the URL {url}"))?;
    Ok(endpoint
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(2))
        // Without these, each call to a host that has gone silent would wait until its own limit.
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .connect_lazy())
}
