//! `saga all --data-dir` as a process.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use saga_proto::{
    inventory::v1::ReceiveStockRequest, shop::v1::catalogue_client::CatalogueClient,
    types::v1::Money,
};
use saga_test_support::{
    free_port,
    process::{Launch, Spawned},
};
use tonic::transport::{Channel, Endpoint};

/// How long it may take to serve on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The process, and how to start it again.
pub(crate) struct Embedded {
    launch: Launch,
    process: Option<Spawned>,
    port: u16,
    provider_port: u16,
}

pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_saga"))
}

/// Runs `saga` with these arguments to its end.
pub(crate) async fn saga(args: &[&str]) -> anyhow::Result<Output> {
    let mut command = tokio::process::Command::new(binary());
    command.args(args).env_clear().kill_on_drop(true);
    Ok(tokio::time::timeout(Duration::from_secs(180), command.output())
        .await
        .with_context(|| format!("saga {args:?} takes too long"))??)
}

impl Embedded {
    /// Not started yet.
    pub(crate) fn new(data_dir: &Path, logs: &Path) -> Self {
        let ports: Vec<u16> = (0..5).map(|_| free_port()).collect();
        let mut env = BTreeMap::new();
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
        for (role, port) in
            ["ORCHESTRATOR", "ORDER", "INVENTORY", "PAYMENT", "PROVIDER"].iter().zip(&ports)
        {
            set(&format!("SAGA_{role}_LISTEN"), format!("127.0.0.1:{port}"));
        }
        set("SAGA_STEP_TIMEOUT_MILLIS", "1500".to_owned());
        set("SAGA_ORDER_DEADLINE_SECONDS", "300".to_owned());
        set("SAGA_PROVIDER_SLOW_MILLIS", "800".to_owned());
        let launch = Launch {
            name: "embedded".to_owned(),
            program: binary(),
            args: vec!["all".into(), "--data-dir".into(), data_dir.display().to_string()],
            env,
            log_dir: logs.to_owned(),
        };
        Self { launch, process: None, port: ports[0], provider_port: ports[4] }
    }

    /// With another setting.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.launch.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Where the payment provider is told of faults.
    pub(crate) fn provider_port(&self) -> u16 {
        self.provider_port
    }

    /// Through another program, which is told ours and its arguments.
    pub(crate) fn through(mut self, program: &str, args: &[&str]) -> Self {
        let ours = std::iter::once(self.launch.program.display().to_string());
        let ours: Vec<String> = ours.chain(std::mem::take(&mut self.launch.args)).collect();
        self.launch.program = program.into();
        self.launch.args = args.iter().map(|arg| (*arg).to_owned()).chain(ours).collect();
        self
    }

    /// Starts it and waits until it serves.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        self.process = Some(Spawned::start(&self.launch)?);
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            let running = self.process()?.is_running()?;
            ensure!(running, "it ended while it was starting:\n{}", self.log()?);
            ensure!(tokio::time::Instant::now() < deadline, "it never listened");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("it does not run")?.kill9()?;
        Ok(())
    }

    /// SIGTERM: it must drain and end well.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let process = self.process.take().context("it does not run")?;
        ensure!(process.terminate(Duration::from_secs(30))?.was_clean(), "it did not end well");
        Ok(())
    }

    pub(crate) fn process(&self) -> anyhow::Result<&Spawned> {
        self.process.as_ref().context("it does not run")
    }

    pub(crate) fn log(&self) -> anyhow::Result<String> {
        let path = self.launch.log_dir.join("embedded.log");
        Ok(std::fs::read_to_string(path)?)
    }

    pub(crate) fn server(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn channel(&self) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(self.server())?
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(90));
        Ok(endpoint.connect_lazy())
    }

    /// Puts a product on the shelf.
    pub(crate) async fn stock(&self, sku: &str, quantity: i64) -> anyhow::Result<()> {
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
}

/// Audits a directory and expects it to be in order.
pub(crate) async fn audit(data_dir: &Path) -> anyhow::Result<()> {
    let dir = data_dir.display().to_string();
    let output = saga(&["audit", "--data-dir", &dir, "--wait", "150"]).await?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success() && report.contains("PASS"),
        "the audit did not pass:\n{report}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
