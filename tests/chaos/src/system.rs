//! A system under fault: servers, a proxy on each way to them, and the roles as
//! processes.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use saga_proto::{
    inventory::v1::ReceiveStockRequest, shop::v1::catalogue_client::CatalogueClient,
    types::v1::Money,
};
use saga_test_support::{
    Postgres, RabbitMq, free_port,
    process::{Launch, Spawned},
};
use tonic::transport::{Channel, Endpoint};

use crate::{
    machine::Machine,
    proxy::Proxy,
    schedule::{Disk, REPLICATED, Server},
};

/// How long a role may take to serve on a busy machine, and with a server away.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Between two starts of a role that ended while its servers were away.
const START_PAUSE: Duration = Duration::from_millis(500);
/// How long a role may take to finish what it has begun.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
pub(crate) const PREFIX: &str = "chaos.";
/// Enough for the longest run.
const STOCK: i64 = 100_000_000;
pub(crate) const SKUS: [&str; 3] = ["teapot", "cup", "kettle"];

/// A system that runs, or tries to.
pub(crate) struct System {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) rabbitmq: Arc<RabbitMq>,
    roles: BTreeMap<String, Role>,
    environment: BTreeMap<String, String>,
    pub(crate) dir: PathBuf,
    step_timeout: Duration,
    /// Clocks and disks, if they are to misbehave. After the servers: dropped last.
    machine: Option<Machine>,
    /// Another build of the program.
    other_build: Option<PathBuf>,
}

struct Role {
    launch: Launch,
    /// Which build runs at the next start.
    program: Mutex<PathBuf>,
    process: Mutex<Option<Spawned>>,
    listen: u16,
    proxies: Option<Proxies>,
}

struct Proxies {
    broker: Proxy,
    database: Proxy,
}

impl System {
    /// Starts everything and waits until orders can be placed.
    pub(crate) async fn start(
        dir: &Path,
        step_timeout: Duration,
        machine: Option<Machine>,
        other_build: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let database = match &machine {
            Some(machine) => (machine.disk(Disk::Database), machine.database_clock()?),
            None => (std::env::temp_dir(), BTreeMap::new()),
        };
        let (postgres, rabbitmq) = tokio::task::spawn_blocking(move || {
            let (parent, clock) = database;
            let postgres = std::thread::spawn(move || Postgres::start_in(&parent, clock));
            let rabbitmq = RabbitMq::start()?;
            let postgres = postgres.join().expect("starting Postgres does not panic")?;
            anyhow::Ok((postgres, rabbitmq))
        })
        .await??;
        let mut system = Self {
            postgres: Arc::new(postgres),
            rabbitmq: Arc::new(rabbitmq),
            roles: BTreeMap::new(),
            environment: BTreeMap::new(),
            dir: dir.to_owned(),
            step_timeout,
            machine,
            other_build,
        };
        system.environment = system.settings(system.postgres.port(), system.rabbitmq.port());
        system.saga(&["setup"]).await?;
        system.define().await?;
        let names: Vec<String> = system.roles.keys().cloned().collect();
        for name in names {
            system.start_role(&name, None).await?;
        }
        system.fill_the_shelves().await?;
        Ok(system)
    }

    async fn define(&mut self) -> anyhow::Result<()> {
        let mut listens: HashMap<String, u16> = HashMap::new();
        let replicas = REPLICATED.iter().flat_map(|role| [(*role, 1), (*role, 2)]);
        let names: Vec<(&str, String)> = replicas
            .map(|(role, replica)| (role, format!("{role}-{replica}")))
            .chain([("provider", "provider".to_owned())])
            .collect();
        for (_, name) in &names {
            listens.insert(name.clone(), free_port());
        }
        for (role, name) in names {
            let proxies = if role == "provider" {
                None
            } else {
                let broker = Proxy::start(self.rabbitmq.port()).await?;
                Some(Proxies { broker, database: Proxy::start(self.postgres.port()).await? })
            };
            let mut env = match &proxies {
                Some(proxies) => self.settings(proxies.database.port, proxies.broker.port),
                None => self.environment.clone(),
            };
            let listen = listens[&name];
            let variable = format!("SAGA_{}_LISTEN", role.to_uppercase());
            env.insert(variable, format!("127.0.0.1:{listen}"));
            let neighbours = [
                ("SAGA_PROVIDER_URL", "provider"),
                ("SAGA_ORDER_URL", "order-1"),
                ("SAGA_INVENTORY_URL", "inventory-1"),
                ("SAGA_PAYMENT_URL", "payment-1"),
            ];
            for (variable, neighbour) in neighbours {
                let url = format!("http://127.0.0.1:{}", listens[neighbour]);
                env.insert(variable.to_owned(), url);
            }
            if let Some(machine) = &self.machine {
                env.extend(machine.clock(&name)?);
            }
            let program = binary()?;
            let launch = Launch {
                name: name.clone(),
                program: program.clone(),
                args: vec![role.to_owned()],
                env,
                log_dir: self.dir.clone(),
            };
            let (program, process) = (Mutex::new(program), Mutex::new(None));
            self.roles.insert(name, Role { launch, program, process, listen, proxies });
        }
        Ok(())
    }

    /// What a process is told that reaches its servers on these ports.
    fn settings(&self, postgres: u16, rabbitmq: u16) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let mut set = |name: String, value: String| env.insert(name, value);
        for role in REPLICATED {
            let variable = format!("SAGA_{}_DATABASE_URL", role.to_uppercase());
            let user = format!("saga_{role}");
            let url = format!(
                "postgres://{user}:chaos-{role}@127.0.0.1:{postgres}/{user}?sslmode=disable"
            );
            set(variable, url);
        }
        let timeout = self.step_timeout.as_millis();
        for (name, value) in [
            ("SAGA_ADMIN_DATABASE_URL", self.postgres.url("postgres")),
            ("SAGA_AMQP_URL", format!("amqp://guest:guest@127.0.0.1:{rabbitmq}/%2f")),
            ("SAGA_PREFIX", PREFIX.to_owned()),
            ("SAGA_STEP_TIMEOUT_MILLIS", timeout.to_string()),
            ("SAGA_ORDER_DEADLINE_SECONDS", "120".to_owned()),
            ("SAGA_DATABASE_CONNECTIONS", "8".to_owned()),
            ("SAGA_PROVIDER_HTTP2", "yes".to_owned()),
            ("SAGA_PROVIDER_DATA_DIR", self.provider_dir().display().to_string()),
            // Slower than a step waits, so that some sagas are always due.
            ("SAGA_PROVIDER_SLOW_MILLIS", (timeout + 1_000).to_string()),
            ("SAGA_PROVIDER_TIMEOUT_MILLIS", (timeout + 2_000).to_string()),
            ("SAGA_LOG", "info".to_owned()),
        ] {
            set(name.to_owned(), value);
        }
        env
    }

    /// Runs `saga` to its end.
    pub(crate) async fn output(&self, args: &[&str]) -> anyhow::Result<std::process::Output> {
        let mut command = tokio::process::Command::new(binary()?);
        command.args(args).env_clear().envs(&self.environment).kill_on_drop(true);
        Ok(command.output().await?)
    }

    async fn saga(&self, args: &[&str]) -> anyhow::Result<()> {
        let output = self.output(args).await?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(output.status.success(), "saga {args:?}: {}\n{error}", output.status);
        Ok(())
    }

    async fn fill_the_shelves(&self) -> anyhow::Result<()> {
        let mut catalogue = CatalogueClient::new(self.channel("orchestrator-1")?);
        for sku in SKUS {
            let request = ReceiveStockRequest {
                sku: sku.to_owned(),
                quantity: STOCK,
                idempotency_key: format!("chaos-{sku}"),
                name: format!("A {sku}"),
                price: Some(Money::new(1_250, "EUR")),
            };
            catalogue.restock(request).await?;
        }
        Ok(())
    }

    /// Starts a role and waits until it serves; again and again, as whoever runs it
    /// would, if it ends because its servers are away.
    pub(crate) async fn start_role(&self, name: &str, crash: Option<&str>) -> anyhow::Result<()> {
        let role = self.role(name)?;
        let mut launch = role.launch.clone();
        launch.program = role.program().clone();
        if let Some(crash) = crash {
            launch.env.insert("SAGA_CRASH_AT".to_owned(), crash.to_owned());
        }
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        loop {
            *role.process() = Some(Spawned::start(&launch)?);
            while self.runs(name)? {
                if tokio::net::TcpStream::connect(("127.0.0.1", role.listen)).await.is_ok() {
                    return Ok(());
                }
                anyhow::ensure!(tokio::time::Instant::now() < deadline, "{name} never listened");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            // It may have met its crash point already.
            if crash.is_some() && self.crashed(name)? {
                return Ok(());
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "{name} ends at each start");
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    /// Whether a role's process is there; one that is stopped is.
    pub(crate) fn runs(&self, name: &str) -> anyhow::Result<bool> {
        match self.role(name)?.process().as_ref() {
            Some(process) => process.is_running(),
            None => Ok(false),
        }
    }

    /// How a role's process ended by itself, if it did.
    pub(crate) fn ended(&self, name: &str) -> anyhow::Result<Option<ExitStatus>> {
        match self.role(name)?.process().as_ref() {
            Some(process) => process.wait(Duration::ZERO),
            None => Ok(None),
        }
    }

    /// Whether a role's process ended by its own hand, as at a crash point.
    pub(crate) fn crashed(&self, name: &str) -> anyhow::Result<bool> {
        use std::os::unix::process::ExitStatusExt as _;
        const SIGABRT: i32 = 6;
        Ok(self.ended(name)?.is_some_and(|status| status.signal() == Some(SIGABRT)))
    }

    /// How often a role's log names a crash point.
    pub(crate) fn crash_lines(&self, name: &str, point: &str) -> usize {
        let log = std::fs::read(self.dir.join(format!("{name}.log"))).unwrap_or_default();
        let line = format!("saga: crash point {point}");
        String::from_utf8_lossy(&log).lines().filter(|one| *one == line).count()
    }

    pub(crate) fn kill(&self, name: &str) -> anyhow::Result<()> {
        // Taken, so that nobody wonders why it has ended.
        if let Some(process) = self.role(name)?.process().take() {
            process.kill9()?;
        }
        Ok(())
    }

    /// Has a process drain and end, and starts it again, from the other build if there is one.
    pub(crate) async fn replace(&self, name: &str) -> anyhow::Result<()> {
        let role = self.role(name)?;
        let process = role.process().take();
        if let Some(process) = process {
            let ended = tokio::task::spawn_blocking(move || process.terminate(DRAIN_LIMIT));
            let ended = ended.await??;
            anyhow::ensure!(ended.was_clean(), "{name} did not end well: {ended:?}");
        }
        if let Some(other) = &self.other_build {
            let next = if *role.program() == *other { &role.launch.program } else { other };
            *role.program() = next.clone();
        }
        self.start_role(name, None).await
    }

    /// Its clocks and disks.
    pub(crate) fn machine(&self) -> anyhow::Result<&Machine> {
        self.machine.as_ref().context("this run leaves clocks and disks alone")
    }

    /// Where the provider's ledger is.
    fn provider_dir(&self) -> PathBuf {
        match &self.machine {
            Some(machine) => machine.disk(Disk::Provider).join("ledger"),
            None => self.dir.join("provider"),
        }
    }

    pub(crate) fn pause(&self, name: &str, paused: bool) -> anyhow::Result<()> {
        match self.role(name)?.process().as_ref() {
            Some(process) if paused => process.sigstop(),
            Some(process) => process.sigcont(),
            None => Ok(()),
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    pub(crate) fn proxy(&self, name: &str, server: Server) -> anyhow::Result<&Proxy> {
        let proxies = self.role(name)?.proxies.as_ref();
        let proxies = proxies.with_context(|| format!("{name} has no servers"))?;
        Ok(match server {
            Server::Broker => &proxies.broker,
            Server::Database => &proxies.database,
        })
    }

    /// A channel to an orchestrator, which need not be up.
    pub(crate) fn channel(&self, name: &str) -> anyhow::Result<Channel> {
        let url = format!("http://127.0.0.1:{}", self.role(name)?.listen);
        Ok(Endpoint::from_shared(url)?.connect_timeout(Duration::from_secs(2)).connect_lazy())
    }

    fn role(&self, name: &str) -> anyhow::Result<&Role> {
        self.roles.get(name).with_context(|| format!("no role {name}"))
    }
}

impl Role {
    fn program(&self) -> std::sync::MutexGuard<'_, PathBuf> {
        self.program.lock().expect("nobody panics while holding it")
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Spawned>> {
        self.process.lock().expect("nobody panics while holding it")
    }
}

/// `saga`, built into the same directory as we are.
fn binary() -> anyhow::Result<PathBuf> {
    let ours = std::env::current_exe()?;
    let directory = ours.parent().context("a program is in a directory")?;
    let saga = directory.join("saga");
    anyhow::ensure!(saga.exists(), "{} is missing: cargo build --release -p saga", saga.display());
    Ok(saga)
}
