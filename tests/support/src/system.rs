//! The system under test: `saga`'s roles as processes, over a Postgres and a RabbitMQ of their own.
//!
//! Read first: [`System`], then [`Role`], which is also how a single process that plays all roles is
//! started.

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

/// How long a role may take to serve on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks whether it serves.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// How long a role may take to finish what it has begun.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How long a command of `saga` may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// How many lines of each log a failed test shows.
const LOG_LINES: usize = 40;

/// The roles of which there can be several.
pub const REPLICATED: [&str; 4] = ["orchestrator", "order", "inventory", "payment"];
/// The databases of those roles, each with a user of the same name.
pub const DATABASES: [&str; 4] =
    ["saga_orchestrator", "saga_order", "saga_inventory", "saga_payment"];

const METRICS: &str = "SAGA_METRICS_LISTEN";

/// How many of each role.
#[derive(Clone, Copy, Debug)]
pub struct Replicas {
    /// Named `orchestrator-1` and on.
    pub orchestrators: usize,
    /// Of each service, named `order-1` and on.
    pub services: usize,
}

/// The settings of a system.
#[derive(Debug)]
pub struct Options {
    /// `saga`, usually `env!("CARGO_BIN_EXE_saga")`.
    pub program: PathBuf,
    /// How many of each role.
    pub replicas: Replicas,
    /// Where test and provider may keep files.
    pub dir: PathBuf,
    /// Where each role has its log.
    pub logs: PathBuf,
    /// Where the database server has its own folder.
    pub database_parent: PathBuf,
    /// Environment of the database server.
    pub database_environment: BTreeMap<String, String>,
    /// Environment of every role, on top of what all systems have in common.
    pub settings: BTreeMap<String, String>,
}

/// A system, of which not every role need run.
#[derive(Debug)]
pub struct System {
    /// Its database server.
    pub postgres: Arc<Postgres>,
    /// Its broker.
    pub rabbitmq: Arc<RabbitMq>,
    program: PathBuf,
    dir: PathBuf,
    environment: BTreeMap<String, String>,
    roles: BTreeMap<String, Role>,
}

impl System {
    /// Starts the servers and sets them up. No role runs yet.
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

    /// Stops a role with SIGTERM. It must drain and end well.
    pub fn stop(&self, name: &str) -> anyhow::Result<()> {
        self.role(name)?.stop()
    }

    /// A role, by its name.
    pub fn role(&self, name: &str) -> anyhow::Result<&Role> {
        self.roles.get(name).with_context(|| format!("no role {name}"))
    }

    /// All roles, in their starting order.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// All roles, to change what they are started with.
    pub fn roles_mut(&mut self) -> impl Iterator<Item = &mut Role> {
        self.roles.values_mut()
    }

    /// Names of the roles, in their starting order.
    pub fn names(&self) -> Vec<String> {
        self.roles.keys().cloned().collect()
    }

    /// The URL of a role.
    ///
    /// # Panics
    /// When there is no such role.
    pub fn address(&self, name: &str) -> String {
        self.roles[name].url()
    }

    /// A channel to an orchestrator, which need not be up.
    pub fn channel(&self, name: &str) -> anyhow::Result<Channel> {
        self.role(name)?.channel()
    }

    /// A client of the first orchestrator.
    pub fn orders(&self) -> anyhow::Result<OrdersClient<Channel>> {
        Ok(OrdersClient::new(self.channel("orchestrator-1")?))
    }

    /// Puts a product on the shelf.
    pub async fn stock(&self, sku: &str, quantity: i64) -> anyhow::Result<()> {
        self.role("orchestrator-1")?.stock(sku, quantity).await
    }

    /// `saga` with these arguments and the roles' environment, not started yet.
    pub fn command(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(args).env_clear().envs(&self.environment).kill_on_drop(true);
        if let Some(orchestrator) = self.roles.get("orchestrator-1") {
            command.env("SAGA_SERVER", orchestrator.url());
        }
        command
    }

    /// Runs `saga` with these arguments to its end, whatever its exit status is.
    pub async fn output(&self, args: &[&str]) -> anyhow::Result<Output> {
        let output = tokio::time::timeout(COMMAND_LIMIT, self.command(args).output()).await;
        Ok(output.with_context(|| format!("saga {args:?} takes too long"))??)
    }

    /// Runs `saga` with these arguments to its end, which must be a good one, and returns what it
    /// printed.
    pub async fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.output(args).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "saga {args:?}: {}\n{error}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A metric's sum over its labels that contain `label`, over all processes that run. A process
    /// that was killed has taken its counts with it.
    pub async fn metric(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for role in self.roles().filter(|role| role.process().is_ok()) {
            sum += self.metric_of(&role.launch.name, name, label).await?;
        }
        Ok(sum)
    }

    /// As [`System::metric`], of one role.
    pub async fn metric_of(&self, role: &str, name: &str, label: &str) -> anyhow::Result<f64> {
        let scraped = scrape(&self.role(role)?.launch.env[METRICS], name, label).await;
        scraped.with_context(|| format!("metrics of {role}"))
    }

    /// Where each role's metrics are: `127.0.0.1:port`.
    pub fn metrics(&self) -> Vec<(String, String)> {
        let address = |role: &Role| role.launch.env[METRICS].clone();
        self.roles.iter().map(|(name, role)| (name.clone(), address(role))).collect()
    }

    /// The prefix of exchanges and queues.
    pub fn prefix(&self) -> &str {
        &self.environment["SAGA_PREFIX"]
    }

    /// The folder of this system.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file with the payment provider's ledger.
    pub fn provider_ledger(&self) -> PathBuf {
        Path::new(&self.environment["SAGA_PROVIDER_DATA_DIR"]).join("provider.sqlite")
    }

    /// The ends of the roles' logs, for a failed test.
    pub fn logs(&self) -> String {
        let logs = self.roles().map(|role| {
            let name = &role.launch.name;
            format!("---- {name}\n{}\n", end_of(&role.log_file(), LOG_LINES))
        });
        logs.collect()
    }
}

/// Environment of a process that reaches the servers on these ports.
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

/// One role as a process, or all of them in one, and how to start it again.
#[derive(Debug)]
pub struct Role {
    /// How it is started.
    pub launch: Launch,
    /// Where it listens.
    pub port: u16,
    process: Mutex<Option<Arc<Spawned>>>,
}

impl Role {
    /// Not started yet.
    pub fn new(launch: Launch, port: u16) -> Self {
        Self { launch, port, process: Mutex::default() }
    }

    /// Starts it and waits until it serves.
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

    /// Starts it in another way, once, and waits until it serves (`true`) or has ended (`false`).
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

    /// Kills it with SIGKILL.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.take()?.kill9()?;
        Ok(())
    }

    /// Stops it with SIGTERM. It must drain and end well.
    pub fn stop(&self) -> anyhow::Result<()> {
        let ended = self.take()?.terminate(DRAIN_LIMIT)?;
        ensure!(ended.was_clean(), "{} did not end well: {ended:?}", self.launch.name);
        Ok(())
    }

    /// Its process, which may have ended by itself; an error if it was stopped or never started.
    pub fn process(&self) -> anyhow::Result<Arc<Spawned>> {
        self.slot().clone().with_context(|| format!("{} does not run", self.launch.name))
    }

    /// As [`Role::process`], and it counts as stopped from now on.
    pub fn take(&self) -> anyhow::Result<Arc<Spawned>> {
        self.slot().take().with_context(|| format!("{} does not run", self.launch.name))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A channel to it. It need not be up.
    pub fn channel(&self) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(self.url())?
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(90));
        Ok(endpoint.connect_lazy())
    }

    /// Puts a product on the shelf, through this orchestrator.
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

    /// The file with the output of all its processes so far.
    pub fn log_file(&self) -> PathBuf {
        self.launch.log_dir.join(format!("{}.log", self.launch.name))
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Spawned>>> {
        self.process.lock().expect("nobody panics while holding it")
    }
}
