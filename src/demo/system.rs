//! The system that the demo runs: the embedded one, each role in a runtime of its
//! own, so that a role can be killed.

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
use tonic::transport::{Channel, Endpoint};

use crate::{
    config,
    roles::{Embedded, Role},
};

/// How long the roles may take to serve.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long the roles may take to finish what they have begun.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Shorter than the defaults, so that one sees within seconds what happens after
/// minutes elsewhere.
const STEP_TIMEOUT_MILLIS: u64 = 1_000;
const PROVIDER_TIMEOUT: Duration = Duration::from_millis(1_500);
const SLOW_AFTER: Duration = Duration::from_millis(600);

/// A system that runs.
pub(super) struct System {
    embedded: Arc<Embedded>,
    running: Mutex<BTreeMap<Role, Running>>,
}

struct Running {
    runtime: Runtime,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl System {
    /// Starts every role on free ports of this machine, and waits until it serves.
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

    /// Ends a role wherever it is, without telling it.
    pub(super) fn kill(&self, role: Role) -> anyhow::Result<()> {
        let running = self.roles().remove(&role);
        let running = running.with_context(|| format!("the {} does not run", role.name()))?;
        running.runtime.shutdown_background();
        Ok(())
    }

    /// Lets every role finish what it has begun.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        for role in Role::ALL.into_iter().rev() {
            let running = self.roles().remove(&role);
            let Some(Running { runtime, stop, ended }) = running else { continue };
            stop.cancel();
            let ended = tokio::time::timeout(STOP_LIMIT, ended).await;
            runtime.shutdown_background();
            ended.with_context(|| format!("the {} does not stop", role.name()))???;
        }
        Ok(())
    }

    /// Where clients find it.
    pub(super) fn server(&self) -> String {
        format!("http://{}", self.embedded.address(Role::Orchestrator))
    }

    pub(super) fn channel(&self) -> anyhow::Result<Channel> {
        Ok(Endpoint::from_shared(self.server())?.tcp_nodelay(true).connect_lazy())
    }

    /// Tells the provider to be away for a while.
    pub(super) async fn provider_outage(&self, seconds: u64) -> anyhow::Result<()> {
        let url = format!("http://{}/control/outage", self.embedded.address(Role::Provider));
        let body = serde_json::json!({ "seconds": seconds });
        let answer = reqwest::Client::new().post(url).json(&body).send().await?;
        answer.error_for_status().context("the provider").map(drop)
    }

    async fn serves(&self, role: Role) -> anyhow::Result<()> {
        let address = self.embedded.address(role);
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        while tokio::net::TcpStream::connect(address).await.is_err() {
            let dead = self.roles().get(&role).is_none_or(|running| running.ended.is_finished());
            anyhow::ensure!(!dead, "the {} ended while it was starting", role.name());
            let late = tokio::time::Instant::now() > deadline;
            anyhow::ensure!(!late, "the {} does not serve on {address}", role.name());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn roles(&self) -> std::sync::MutexGuard<'_, BTreeMap<Role, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for System {
    /// A runtime must not be dropped where it would block.
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
            step_timeout_millis: Some(STEP_TIMEOUT_MILLIS),
            order_deadline: Duration::from_secs(60),
            max_in_flight: 20_000,
            retention: saga_engine::limits::LEAST_RETENTION,
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
    }
}
