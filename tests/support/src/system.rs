//! The system under test: `saga`'s roles as processes, with their own Postgres and RabbitMQ.
//!
//! Read first: [`System`], then [`Role`]. A single process that runs all roles is also a [`Role`].

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Output,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use saga_proto::{
    inventory::v1::ReceiveStockRequest,
    shop::v1::{catalogue_client::CatalogueClient, orders_client::OrdersClient},
    types::v1::Money,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use tonic::transport::{Channel, Endpoint};

use crate::{
    Postgres, RabbitMq, free_port,
    process::{Launch, Spawned, end_of},
};

/// Time limit for a role to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two checks of whether a role serves.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Time limit for a stopped role to finish the work that it has begun.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// Time limit for a command of `saga`.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// Number of lines of each log that a failed test shows.
const LOG_LINES: usize = 40;

/// The roles that can have several processes.
pub const REPLICATED: [&str; 4] = ["orchestrator", "order", "inventory", "payment"];
/// The databases of those roles. Each has a user of the same name.
pub const DATABASES: [&str; 4] =
    ["saga_orchestrator", "saga_order", "saga_inventory", "saga_payment"];

const METRICS: &str = "SAGA_METRICS_LISTEN";

/// The number of processes of each role.
#[derive(Clone, Copy, Debug)]
pub struct Replicas {
    /// The number of orchestrators. Their names are `orchestrator-1` and so on.
    pub orchestrators: usize,
    /// The number of processes of each service. Their names are `order-1` and so on.
    pub services: usize,
}

/// The options of a system.
#[derive(Debug)]
pub struct Options {
    /// The program `saga`, usually `env!("CARGO_BIN_EXE_saga")`.
    pub program: PathBuf,
    /// The number of processes of each role.
    pub replicas: Replicas,
    /// The folder for the files of the test and of the provider.
    pub dir: PathBuf,
    /// The folder for the logs of the roles.
    pub logs: PathBuf,
    /// The folder in which the database server's folder is created.
    pub database_parent: PathBuf,
    /// Environment variables of the database server.
    pub database_environment: BTreeMap<String, String>,
    /// Environment variables of every role, in addition to those that all systems have.
    pub settings: BTreeMap<String, String>,
}

/// A system under test. Some of its roles may be stopped.
#[derive(Debug)]
pub struct System {
    /// The system's database server.
    pub postgres: Arc<Postgres>,
    /// The system's broker.
    pub rabbitmq: Arc<RabbitMq>,
    program: PathBuf,
    dir: PathBuf,
    environment: BTreeMap<String, String>,
    roles: BTreeMap<String, Role>,
}

impl System {
    /// Starts the servers and sets them up. Starts no role yet.
    pub async fn new(options: Options) -> anyhow::Result<Self> {
        let Options { database_parent, database_environment, .. } = options;
        let (postgres, rabbitmq) = tokio::task::spawn_blocking(move || {
            let start = move || Postgres::start_in(&database_parent, database_environment);
            let postgres = std::thread::spawn(start);
            let rabbitmq = RabbitMq::start()?;
            let postgres = postgres.join().expect("starting Postgres does not panic")?;
            anyhow::Ok((postgres, rabbitmq))
        })
        .await??;
        let mut environment = servers_at(postgres.port(), rabbitmq.port());
        let provider = options.dir.join("provider").display().to_string();
        for (name, value) in [
            ("SAGA_ADMIN_DATABASE_URL", postgres.url("postgres")),
            ("SAGA_PREFIX", "test.".to_owned()),
            ("SAGA_ORDER_DEADLINE_SECONDS", "120".to_owned()),
            ("SAGA_DATABASE_CONNECTIONS", "8".to_owned()),
            ("SAGA_PROVIDER_DATA_DIR", provider),
            ("SAGA_LOG", "info".to_owned()),
        ] {
            environment.insert(name.to_owned(), value);
        }
        environment.extend(options.settings);
        let mut system = Self {
            postgres: Arc::new(postgres),
            rabbitmq: Arc::new(rabbitmq),
            program: options.program,
            dir: options.dir,
            environment,
            roles: BTreeMap::new(),
        };
        system.run(&["setup"]).await?;
        system.define(options.replicas, &options.logs);
        Ok(system)
    }

    fn define(&mut self, replicas: Replicas, logs: &Path) {
        for role in REPLICATED {
            let orchestrator = role == "orchestrator";
            let count = if orchestrator { replicas.orchestrators } else { replicas.services };
            for replica in 1..=count {
                self.add(role, format!("{role}-{replica}"), logs);
            }
        }
        self.add("provider", "provider".to_owned(), logs);
        let neighbours = [
            ("SAGA_PROVIDER_URL", "provider"),
            ("SAGA_ORDER_URL", "order-1"),
            ("SAGA_INVENTORY_URL", "inventory-1"),
            ("SAGA_PAYMENT_URL", "payment-1"),
        ];
        let urls = neighbours.map(|(variable, role)| (variable.to_owned(), self.address(role)));
        for role in self.roles.values_mut() {
            role.launch.env.extend(urls.clone());
        }
    }

    fn add(&mut self, role: &str, name: String, logs: &Path) {
        let (port, metrics) = (free_port(), free_port());
        let mut env = self.environment.clone();
        env.insert(format!("SAGA_{}_LISTEN", role.to_uppercase()), format!("127.0.0.1:{port}"));
        env.insert(METRICS.to_owned(), format!("127.0.0.1:{metrics}"));
        let launch = Launch {
            name: name.clone(),
            program: self.program.clone(),
            args: vec![role.to_owned()],
            env,
            log_dir: logs.to_owned(),
        };
        self.roles.insert(name, Role::new(launch, port));
    }

    /// Starts every role, and waits until each serves.
    pub async fn start(&self) -> anyhow::Result<()> {
        for role in self.roles.values() {
            role.start().await?;
        }
        Ok(())
    }

    /// Starts a role and waits until it serves.
    pub async fn start_role(&self, name: &str) -> anyhow::Result<()> {
        self.role(name)?.start().await
    }

    /// Kills a role with SIGKILL.
    pub fn kill(&self, name: &str) -> anyhow::Result<()> {
        self.role(name)?.kill()
    }

    /// Stops a role with SIGTERM. It must drain and exit with code 0.
    pub fn stop(&self, name: &str) -> anyhow::Result<()> {
        self.role(name)?.stop()
    }

    /// Returns the role with this name.
    pub fn role(&self, name: &str) -> anyhow::Result<&Role> {
        self.roles.get(name).with_context(|| format!("no role {name}"))
    }

    /// Returns all roles, in the order in which they are started.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// Returns all roles, so that a test can change the way in which they are started.
    pub fn roles_mut(&mut self) -> impl Iterator<Item = &mut Role> {
        self.roles.values_mut()
    }

    /// Returns the names of the roles, in the order in which they are started.
    pub fn names(&self) -> Vec<String> {
        self.roles.keys().cloned().collect()
    }

    /// Returns the URL of a role.
    ///
    /// # Panics
    /// If there is no such role.
    pub fn address(&self, name: &str) -> String {
        self.roles[name].url()
    }

    /// Returns a channel to an orchestrator, which need not be running.
    pub fn channel(&self, name: &str) -> anyhow::Result<Channel> {
        self.role(name)?.channel()
    }

    /// Returns a client of the first orchestrator.
    pub fn orders(&self) -> anyhow::Result<OrdersClient<Channel>> {
        Ok(OrdersClient::new(self.channel("orchestrator-1")?))
    }

    /// Adds a quantity of a product to the stock.
    pub async fn stock(&self, sku: &str, quantity: i64) -> anyhow::Result<()> {
        self.role("orchestrator-1")?.stock(sku, quantity).await
    }

    /// Creates a command for `saga` with these arguments and the roles' environment. Does not start
    /// it.
    pub fn command(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(args).env_clear().envs(&self.environment).kill_on_drop(true);
        if let Some(orchestrator) = self.roles.get("orchestrator-1") {
            command.env("SAGA_SERVER", orchestrator.url());
        }
        command
    }

    /// Runs `saga` with these arguments and waits for its end, whatever its exit status is.
    pub async fn output(&self, args: &[&str]) -> anyhow::Result<Output> {
        let output = tokio::time::timeout(COMMAND_LIMIT, self.command(args).output()).await;
        Ok(output.with_context(|| format!("saga {args:?} takes too long"))??)
    }

    /// Runs `saga` with these arguments, which must succeed, and returns its output.
    pub async fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.output(args).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "saga {args:?}: {}\n{error}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Returns the sum of a metric over all running processes and all series whose labels contain
    /// `label`. The counts of a killed process are lost.
    pub async fn metric(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for role in self.roles().filter(|role| role.process().is_ok()) {
            sum += self.metric_of(&role.launch.name, name, label).await?;
        }
        Ok(sum)
    }

    /// Like [`System::metric`], but for one role.
    pub async fn metric_of(&self, role: &str, name: &str, label: &str) -> anyhow::Result<f64> {
        let scraped = scrape(&self.role(role)?.launch.env[METRICS], name, label).await;
        scraped.with_context(|| format!("metrics of {role}"))
    }

    /// Returns the address of each role's metrics: `127.0.0.1:port`.
    pub fn metrics(&self) -> Vec<(String, String)> {
        let address = |role: &Role| role.launch.env[METRICS].clone();
        self.roles.iter().map(|(name, role)| (name.clone(), address(role))).collect()
    }

    /// Returns the prefix for names of exchanges and queues.
    pub fn prefix(&self) -> &str {
        &self.environment["SAGA_PREFIX"]
    }

    /// Returns the folder for this system's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the file with the payment provider's ledger.
    pub fn provider_ledger(&self) -> PathBuf {
        Path::new(&self.environment["SAGA_PROVIDER_DATA_DIR"]).join("provider.sqlite")
    }

    /// Returns the last lines of the roles' logs, for a failed test.
    pub fn logs(&self) -> String {
        let logs = self.roles().map(|role| {
            let name = &role.launch.name;
            format!("---- {name}\n{}\n", end_of(&role.log_file(), LOG_LINES))
        });
        logs.collect()
    }
}

/// Returns the environment variables of a process that uses the servers on these ports.
pub fn servers_at(postgres: u16, rabbitmq: u16) -> BTreeMap<String, String> {
    let amqp = format!("amqp://guest:guest@127.0.0.1:{rabbitmq}/%2f");
    let mut environment = BTreeMap::from([("SAGA_AMQP_URL".to_owned(), amqp)]);
    for database in DATABASES {
        let variable = format!("{}_DATABASE_URL", database.to_uppercase());
        let at = format!("127.0.0.1:{postgres}/{database}?sslmode=disable");
        environment.insert(variable, format!("postgres://{database}:test-{database}@{at}"));
    }
    environment
}

async fn scrape(address: &str, name: &str, label: &str) -> anyhow::Result<f64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    ensure!(text.split(' ').nth(1) == Some("200"), "{text}");
    let matches = |line: &&str| {
        line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']) && line.contains(label)
    };
    let values = text.lines().filter(matches).map(|line| {
        let value = line.rsplit(' ').next().unwrap_or_default();
        value.parse::<f64>().with_context(|| format!("no number in {line:?}"))
    });
    values.sum()
}

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
