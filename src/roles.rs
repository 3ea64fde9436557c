//! Starts the roles. Each reads its settings, chooses its adapters, and runs until shutdown.
//!
//! Only `servers.rs` and `embedded.rs` choose adapters. All other code uses the adapters through
//! ports.

mod embedded;
mod orchestrate;
mod participants;
mod provider;
mod servers;

use std::net::SocketAddr;

use anyhow::Context as _;
pub(crate) use embedded::{Embedded, Role, embedded};
pub(crate) use provider::provider;
pub(crate) use servers::EVENTS;
pub use servers::{Around, PARTICIPANTS, broker_settings};
pub(crate) use servers::{Product, all, inventory, orchestrator, order, payment};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

async fn listen(address: SocketAddr, role: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("{role} cannot listen on {address}"))?;
    info!(role, address = %listener.local_addr()?, "listens");
    Ok(listener)
}

/// Roles that run together in one process.
struct Together {
    roles: JoinSet<(&'static str, anyhow::Result<()>)>,
    stop: CancellationToken,
}

impl Together {
    /// Creates an empty set of roles. Cancelling `stop` ends them all.
    fn new(stop: CancellationToken) -> Self {
        Self { roles: JoinSet::new(), stop }
    }

    fn start(
        &mut self,
        name: &'static str,
        role: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.roles.spawn(async move { (name, role.await) });
    }

    /// Waits until all roles have ended. A role that ends before `stop` also stops the others,
    /// because a part of a system is of no use.
    async fn wait(mut self) -> anyhow::Result<()> {
        let mut first = Ok(());
        while let Some(ended) = self.roles.join_next().await {
            self.stop.cancel();
            let error = match ended {
                Ok((_, Ok(()))) => continue,
                Ok((name, Err(error))) => error.context(format!("role {name}")),
                Err(panic) => anyhow::Error::from(panic).context("a role panicked"),
            };
            if first.is_ok() {
                first = Err(error);
            }
        }
        first
    }
}
