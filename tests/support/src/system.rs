//! The system under test: `saga`'s roles as processes, on a Postgres and a RabbitMQ.
//!
//! Read first: [`System`], then [`Hosts`] and [`Role`]. A single process that runs all roles is also
//! a [`Role`].

mod hosts;
mod role;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use saga_proto::shop::v1::orders_client::OrdersClient;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::transport::Channel;

use self::hosts::Place;
pub use self::{
    hosts::{Hosts, Own},
    role::Role,
};
use crate::{
    desk::Desk,
    free_port,
    process::{Launch, end_of},
};

/// Time limit for a command of `saga`.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// Number of lines of each log that a failed test shows.
const LOG_LINES: usize = 40;

/// The roles that can have several processes. Each has a database.
pub const REPLICATED: [&str; 4] = ["orchestrator", "order", "inventory", "payment"];

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
    /// The servers.
    pub hosts: Hosts,
    /// Environment variables of every role, in addition to those that all systems have.
    pub settings: BTreeMap<String, String>,
}

/// A system under test. Some of its roles may be stopped.
#[derive(Debug)]
pub struct System {
    own: Option<Own>,
    place: Place,
    program: PathBuf,
    dir: PathBuf,
    environment: BTreeMap<String, String>,
    roles: BTreeMap<String, Role>,
}

impl System {
    /// Sets the servers up, after it has started those that are the system's own. Starts no role yet.
    pub async fn new(options: Options) -> anyhow::Result<Self> {
        let (place, own) = options.hosts.start().await?;
        let mut environment = place.environment();
        let provider = options.dir.join("provider").display().to_string();
        for (name, value) in [
            ("SAGA_ADMIN_DATABASE_URL", place.postgres.clone()),
            ("SAGA_PREFIX", place.queues.clone()),
            ("SAGA_ORDER_DEADLINE_SECONDS", "120".to_owned()),
            ("SAGA_DATABASE_CONNECTIONS", "8".to_owned()),
            ("SAGA_PROVIDER_DATA_DIR", provider),
            ("SAGA_LOG", "info".to_owned()),
        ] {
            environment.insert(name.to_owned(), value);
        }
        environment.extend(options.settings);
        let mut system = Self {
            own,
            place,
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

    /// Returns the role with this name, so that a test can change the way in which it is started.
    pub fn role_mut(&mut self, name: &str) -> anyhow::Result<&mut Role> {
        self.roles.get_mut(name).with_context(|| format!("no role {name}"))
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

    /// Returns the system's own servers.
    pub fn own(&self) -> anyhow::Result<&Own> {
        self.own.as_ref().context("this system shares its servers with others")
    }

    /// Returns the URL of the broker.
    pub fn amqp_url(&self) -> &str {
        &self.place.amqp
    }

    /// Returns the URL of a role's database, for the superuser.
    pub fn database_url(&self, role: &str) -> String {
        self.place.database_url(role)
    }

    /// Returns the ports of the database server and of the broker.
    pub fn ports(&self) -> anyhow::Result<(u16, u16)> {
        self.place.ports().context("the URLs of the servers have no ports")
    }

    /// Returns the environment variables of a role that reaches the servers through these ports of
    /// this machine, where proxies listen.
    pub fn through(&self, postgres: u16, amqp: u16) -> BTreeMap<String, String> {
        self.place.through(postgres, amqp).environment()
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

impl Desk for System {
    async fn saga(&self, args: &[&str]) -> anyhow::Result<Output> {
        self.output(args).await
    }

    fn provider(&self) -> String {
        self.address("provider").replace("http://", "")
    }
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
