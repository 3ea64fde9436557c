//! A system under test: throw-away servers, and the roles as processes.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use saga_proto::{
    inventory::v1::ReceiveStockRequest,
    shop::v1::{catalogue_client::CatalogueClient, orders_client::OrdersClient},
    types::v1::Money,
};
use saga_test_support::{
    Postgres, RabbitMq, free_port,
    process::{Launch, Spawned},
};
use tonic::transport::{Channel, Endpoint};

/// How long a role may take to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How many of each role.
#[derive(Clone, Copy)]
pub(crate) struct Replicas {
    pub(crate) orchestrators: usize,
    pub(crate) services: usize,
}

/// A system that runs.
pub(crate) struct System {
    pub(crate) postgres: Postgres,
    pub(crate) rabbitmq: RabbitMq,
    roles: BTreeMap<String, Role>,
    prefix: String,
    /// Settings of every role that only this test wants.
    settings: BTreeMap<String, String>,
    dir: tempfile::TempDir,
}

/// One process, and how to start it again.
struct Role {
    launch: Launch,
    process: Option<Spawned>,
    grpc: u16,
    metrics: u16,
}

pub(crate) const DATABASES: [&str; 4] =
    ["saga_orchestrator", "saga_order", "saga_inventory", "saga_payment"];

impl System {
    /// Starts servers and roles, and waits until orders can be placed.
    pub(crate) async fn start(replicas: Replicas) -> anyhow::Result<Self> {
        Self::start_with(replicas, &[]).await
    }

    /// As [`System::start`], with these settings for every role.
    pub(crate) async fn start_with(
        replicas: Replicas,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let (postgres, rabbitmq) = tokio::task::spawn_blocking(|| {
            let postgres = std::thread::spawn(Postgres::start);
            let rabbitmq = RabbitMq::start()?;
            let postgres = postgres.join().expect("starting Postgres does not panic")?;
            anyhow::Ok((postgres, rabbitmq))
        })
        .await??;
        let mut system = Self {
            postgres,
            rabbitmq,
            roles: BTreeMap::new(),
            prefix: "e2e.".to_owned(),
            settings: settings.iter().map(|(name, v)| ((*name).to_owned(), v.clone())).collect(),
            dir: tempfile::tempdir()?,
        };
        system.run(&["setup"]).await?;
        system.define(replicas);
        let names: Vec<String> = system.roles.keys().cloned().collect();
        for name in &names {
            if let Err(error) = system.start_role(name).await {
                eprintln!("{}", system.logs());
                return Err(error);
            }
        }
        Ok(system)
    }

    fn define(&mut self, replicas: Replicas) {
        let provider = self.role("provider", "provider", "SAGA_PROVIDER_LISTEN");
        let mut first: HashMap<&str, u16> = HashMap::new();
        let mut roles = vec![provider];
        for (service, listen) in [
            ("order", "SAGA_ORDER_LISTEN"),
            ("inventory", "SAGA_INVENTORY_LISTEN"),
            ("payment", "SAGA_PAYMENT_LISTEN"),
        ] {
            for replica in 1..=replicas.services {
                let role = self.role(service, &format!("{service}-{replica}"), listen);
                first.entry(service).or_insert(role.1.grpc);
                roles.push(role);
            }
        }
        for replica in 1..=replicas.orchestrators {
            let name = format!("orchestrator-{replica}");
            roles.push(self.role("orchestrator", &name, "SAGA_ORCHESTRATOR_LISTEN"));
        }
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let provider = roles[0].1.grpc;
        for (_, role) in &mut roles {
            let env = &mut role.launch.env;
            env.insert("SAGA_PROVIDER_URL".into(), url(provider));
            env.insert("SAGA_ORDER_URL".into(), url(first["order"]));
            env.insert("SAGA_INVENTORY_URL".into(), url(first["inventory"]));
            env.insert("SAGA_PAYMENT_URL".into(), url(first["payment"]));
        }
        self.roles = roles.into_iter().collect();
    }

    fn role(&self, command: &str, name: &str, listen: &str) -> (String, Role) {
        let (grpc, metrics) = (free_port(), free_port());
        let mut env = self.environment();
        env.insert(listen.to_owned(), format!("127.0.0.1:{grpc}"));
        env.insert("SAGA_METRICS_LISTEN".to_owned(), format!("127.0.0.1:{metrics}"));
        let launch = Launch {
            name: name.to_owned(),
            program: binary(),
            args: vec![command.into()],
            env,
            log_dir: self.dir.path().join("logs"),
        };
        (name.to_owned(), Role { launch, process: None, grpc, metrics })
    }

    /// What every role is told. The time-outs are shorter than a deployment's, so
    /// that a test sees resends within seconds.
    fn environment(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
        for database in DATABASES {
            let variable = format!("{}_DATABASE_URL", database.to_uppercase());
            let url = format!(
                "postgres://{database}:e2e-{database}@127.0.0.1:{}/{database}?sslmode=disable",
                self.postgres.port()
            );
            set(&variable, url);
        }
        set("SAGA_ADMIN_DATABASE_URL", self.postgres.url("postgres"));
        set("SAGA_AMQP_URL", self.rabbitmq.url());
        set("SAGA_PREFIX", self.prefix.clone());
        set("SAGA_STEP_TIMEOUT_MILLIS", "1500".to_owned());
        set("SAGA_ORDER_DEADLINE_SECONDS", "120".to_owned());
        set("SAGA_DATABASE_CONNECTIONS", "8".to_owned());
        set("SAGA_PROVIDER_DATA_DIR", self.dir.path().join("provider").display().to_string());
        set("SAGA_PROVIDER_SLOW_MILLIS", "800".to_owned());
        set("SAGA_PROVIDER_VERY_SLOW_MILLIS", "4000".to_owned());
        set("SAGA_LOG", "info".to_owned());
        env.extend(self.settings.clone());
        env
    }

    /// Runs `saga` with these arguments to its end and returns what it printed.
    pub(crate) async fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.output(args).await?;
        anyhow::ensure!(
            output.status.success(),
            "saga {args:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// As [`System::run`], whatever its exit status is.
    pub(crate) async fn output(&self, args: &[&str]) -> anyhow::Result<std::process::Output> {
        let mut command = tokio::process::Command::new(binary());
        command.args(args).env_clear().envs(self.environment()).kill_on_drop(true);
        if self.roles.contains_key("orchestrator-1") {
            command.env("SAGA_SERVER", self.address("orchestrator-1"));
        }
        let output = tokio::time::timeout(Duration::from_secs(120), command.output());
        Ok(output.await.with_context(|| format!("saga {args:?} takes too long"))??)
    }

    /// Starts a role and waits until it serves.
    pub(crate) async fn start_role(&mut self, name: &str) -> anyhow::Result<()> {
        let role = self.roles.get_mut(name).with_context(|| format!("no role {name}"))?;
        role.process = Some(Spawned::start(&role.launch)?);
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        while tokio::net::TcpStream::connect(("127.0.0.1", role.grpc)).await.is_err() {
            let running = role.process.as_ref().is_some_and(|p| p.is_running().unwrap_or(false));
            anyhow::ensure!(running, "{name} ended while it was starting");
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "{name} never listened");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Kills a role with SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        let role = self.roles.get_mut(name).with_context(|| format!("no role {name}"))?;
        let process = role.process.take().with_context(|| format!("{name} does not run"))?;
        process.kill9()?;
        Ok(())
    }

    /// Stops a role with SIGTERM. Says whether it drained and ended well.
    pub(crate) fn terminate(&mut self, name: &str) -> anyhow::Result<bool> {
        let role = self.roles.get_mut(name).with_context(|| format!("no role {name}"))?;
        let process = role.process.take().with_context(|| format!("{name} does not run"))?;
        Ok(process.terminate(Duration::from_secs(30))?.was_clean())
    }

    /// Names of the roles, in their starting order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.roles.keys().cloned().collect()
    }

    pub(crate) fn address(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}", self.roles[name].grpc)
    }

    /// What a role is told.
    pub(crate) fn settings_of(&self, name: &str) -> BTreeMap<String, String> {
        self.roles[name].launch.env.clone()
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn provider_ledger(&self) -> PathBuf {
        self.dir.path().join("provider").join("provider.sqlite")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A channel to an orchestrator, which need not be up.
    pub(crate) fn channel(&self, name: &str) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(self.address(name))?
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(90));
        Ok(endpoint.connect_lazy())
    }

    pub(crate) fn orders(&self) -> anyhow::Result<OrdersClient<Channel>> {
        Ok(OrdersClient::new(self.channel("orchestrator-1")?))
    }

    /// Puts a product on the shelf.
    pub(crate) async fn stock(&self, sku: &str, quantity: i64) -> anyhow::Result<()> {
        let mut catalogue = CatalogueClient::new(self.channel("orchestrator-1")?);
        let request = ReceiveStockRequest {
            sku: sku.to_owned(),
            quantity,
            idempotency_key: format!("e2e-{sku}-{quantity}"),
            name: format!("A {sku}"),
            price: Some(Money::new(1_250, "EUR")),
        };
        catalogue.restock(request).await?;
        Ok(())
    }

    /// A metric's sum over its labels that contain `label`, over all processes
    /// that run. A process that was killed has taken its counts with it.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for (role, process) in &self.roles {
            if process.process.is_some() {
                sum += scrape(process.metrics, name, label)
                    .await
                    .with_context(|| format!("metrics of {role}"))?;
            }
        }
        Ok(sum)
    }

    /// As [`System::metric`], of one role.
    pub(crate) async fn metric_of(
        &self,
        role: &str,
        name: &str,
        label: &str,
    ) -> anyhow::Result<f64> {
        scrape(self.roles[role].metrics, name, label).await
    }

    /// Where each role's metrics are: `127.0.0.1:port`.
    pub(crate) fn metrics(&self) -> Vec<(String, String)> {
        let address = |role: &Role| format!("127.0.0.1:{}", role.metrics);
        self.roles.iter().map(|(name, role)| (name.clone(), address(role))).collect()
    }

    /// The roles' logs, for a failed test.
    pub(crate) fn logs(&self) -> String {
        let mut logs = String::new();
        for (name, role) in &self.roles {
            let path = role.launch.log_dir.join(format!("{name}.log"));
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            logs.push_str(&format!("---- {name}\n"));
            for line in tail.into_iter().rev() {
                logs.push_str(line);
                logs.push('\n');
            }
        }
        logs
    }
}

async fn scrape(port: u16, name: &str, label: &str) -> anyhow::Result<f64> {
    let text = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await?.text().await?;
    let matches = |line: &&str| {
        line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']) && line.contains(label)
    };
    text.lines()
        .filter(matches)
        .map(|line| {
            let value = line.rsplit(' ').next().unwrap_or_default();
            value.parse::<f64>().with_context(|| format!("no number in {line:?}"))
        })
        .sum()
}

pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_saga"))
}
