//! The embedded system. Each role has its own runtime, so that it can be killed alone.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::serves;
use crate::{
    config,
    roles::{Embedded, Role},
};

/// Time limit for a role to finish its work when it is stopped.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// These times are shorter than the defaults, so that a demo shows within seconds what takes
/// minutes elsewhere.
const STEP_TIMEOUT_MILLIS: u64 = 1_000;
const PROVIDER_TIMEOUT: Duration = Duration::from_millis(1_500);
const SLOW_AFTER: Duration = Duration::from_millis(600);

/// A system whose roles all run in this process.
pub(super) struct InProcess {
    embedded: Arc<Embedded>,
    running: Mutex<BTreeMap<Role, Running>>,
}

struct Running {
    runtime: Runtime,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl InProcess {
    /// Starts every role on a free port of this machine, and waits until all of them serve.
    pub(super) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let embedded = Arc::new(Embedded::open(settings(dir)).await?);
        let system = Self { embedded, running: Mutex::default() };
        for role in Role::ALL {
            system.start_role(role)?;
        }
        for role in Role::ALL {
            system.serves(role).await?;
        }
        Ok(system)
    }

    /// Starts a role that does not run.
    pub(super) fn start_role(&self, role: Role) -> anyhow::Result<()> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(role.name())
            .enable_all()
            .build()
            .context("a runtime")?;
        let stop = CancellationToken::new();
        let ended = runtime.spawn({
            let (embedded, stop) = (Arc::clone(&self.embedded), stop.clone());
            async move { embedded.run(role, stop).await }
        });
        self.roles().insert(role, Running { runtime, stop, ended });
        Ok(())
    }

    /// Ends a role in the middle of its work, without notifying it.
    pub(super) fn kill(&self, role: Role) -> anyhow::Result<()> {
        let running = self.roles().remove(&role);
        let running = running.with_context(|| format!("{} does not run", role.title()))?;
        running.runtime.shutdown_background();
        Ok(())
    }

    /// Lets every role finish the work that it has begun, and ends the role.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        for role in Role::ALL.into_iter().rev() {
            let running = self.roles().remove(&role);
            let Some(Running { runtime, stop, ended }) = running else { continue };
            stop.cancel();
            let ended = tokio::time::timeout(STOP_LIMIT, ended).await;
            runtime.shutdown_background();
            ended.with_context(|| format!("{} does not stop", role.title()))???;
        }
        Ok(())
    }

    /// Returns the address for clients.
    pub(super) fn server(&self) -> String {
        format!("http://{}", self.embedded.address(Role::Orchestrator))
    }

    /// Returns the address at which the provider can be made unavailable.
    pub(super) fn provider(&self) -> String {
        format!("http://{}", self.embedded.address(Role::Provider))
    }

    async fn serves(&self, role: Role) -> anyhow::Result<()> {
        let dead = || self.roles().get(&role).is_none_or(|running| running.ended.is_finished());
        serves(role, self.embedded.address(role), dead).await
    }

    fn roles(&self) -> std::sync::MutexGuard<'_, BTreeMap<Role, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InProcess {
    /// Shuts down the runtimes in the background: dropping one inside async code would panic.
    fn drop(&mut self) {
        for (_, running) in std::mem::take(&mut *self.roles()) {
            running.runtime.shutdown_background();
        }
    }
}

fn settings(dir: &Path) -> config::Embedded {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    config::Embedded {
        data_dir: dir.to_owned(),
        front: config::Front {
            listen: free,
            elsewhere: saga_identity::Roles::default(),
            hosted: saga_definitions::hosted(Some(STEP_TIMEOUT_MILLIS)),
            order_deadline: Duration::from_secs(60),
            max_in_flight: 4_000,
            catalogue_cache: saga_front::DEFAULT_CATALOGUE_CACHE,
            retention: saga_engine::limits::LEAST_RETENTION,
            accepts_unproven_replies: false,
        },
        order: free,
        inventory: free,
        payment: free,
        provider: config::Provider {
            listen: free,
            data_dir: dir.join("provider"),
            slow_after: SLOW_AFTER,
            very_slow_after: Duration::from_secs(20),
        },
        provider_timeout: PROVIDER_TIMEOUT,
        breaker: saga_payment::BreakerSettings::default(),
    }
}
