//! A role as a process that can be killed and started again.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use saga_proto::{
    inventory::v1::ReceiveStockRequest, shop::v1::catalogue_client::CatalogueClient,
    types::v1::Money,
};
use tokio::{net::TcpStream, time::Instant};
use tonic::transport::{Channel, Endpoint};

use super::LOG_LINES;
use crate::process::{Launch, Spawned, end_of};

/// Time limit for a role to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two checks of whether a role serves.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Time limit for a stopped role to finish the work that it has begun.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// A role, or all roles in one process, and the way to start it again.
#[derive(Debug)]
pub struct Role {
    /// The way in which the process is started.
    pub launch: Launch,
    /// The port on which the process listens.
    pub port: u16,
    process: Mutex<Option<Arc<Spawned>>>,
}

impl Role {
    /// Creates a role that is not started yet.
    pub fn new(launch: Launch, port: u16) -> Self {
        Self { launch, port, process: Mutex::default() }
    }

    /// Starts the process and waits until it serves.
    pub async fn start(&self) -> anyhow::Result<()> {
        let serves = self.start_as(&self.launch, Instant::now() + START_LIMIT).await?;
        let name = &self.launch.name;
        ensure!(
            serves,
            "{name} ended while it was starting:\n{}",
            end_of(&self.log_file(), LOG_LINES)
        );
        Ok(())
    }

    /// Starts a process from `launch`. Waits until it serves (returns true) or has ended (returns
    /// false).
    pub async fn start_as(&self, launch: &Launch, deadline: Instant) -> anyhow::Result<bool> {
        let process = Arc::new(Spawned::start(launch)?);
        *self.slot() = Some(Arc::clone(&process));
        while process.is_running()? {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return Ok(true);
            }
            ensure!(Instant::now() < deadline, "{} never listened", launch.name);
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Ok(false)
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.take()?.kill9()?;
        Ok(())
    }

    /// Stops the process with SIGTERM. It must drain and exit with code 0.
    pub fn stop(&self) -> anyhow::Result<()> {
        let ended = self.take()?.terminate(DRAIN_LIMIT)?;
        ensure!(ended.was_clean(), "{} did not end well: {ended:?}", self.launch.name);
        Ok(())
    }

    /// Returns the process, which may have ended by itself. Fails if it was stopped or never
    /// started.
    pub fn process(&self) -> anyhow::Result<Arc<Spawned>> {
        self.slot().clone().with_context(|| format!("{} does not run", self.launch.name))
    }

    /// Takes the process out of the role, which counts as stopped from now on.
    pub fn take(&self) -> anyhow::Result<Arc<Spawned>> {
        self.slot().take().with_context(|| format!("{} does not run", self.launch.name))
    }

    /// Returns the URL of the process.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns a channel to the process, which need not be running.
    pub fn channel(&self) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(self.url())?
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(90));
        Ok(endpoint.connect_lazy())
    }

    /// Adds a quantity of a product to the stock, through this orchestrator.
    pub async fn stock(&self, sku: &str, quantity: i64) -> anyhow::Result<()> {
        let request = ReceiveStockRequest {
            sku: sku.to_owned(),
            quantity,
            idempotency_key: format!("stock-{sku}-{quantity}"),
            name: format!("A {sku}"),
            price: Some(Money::new(1_250, "EUR")),
        };
        CatalogueClient::new(self.channel()?).restock(request).await?;
        Ok(())
    }

    /// Returns the file with the output of all processes of this role so far.
    pub fn log_file(&self) -> PathBuf {
        self.launch.log_dir.join(format!("{}.log", self.launch.name))
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Spawned>>> {
        self.process.lock().expect("nobody panics while holding it")
    }
}
