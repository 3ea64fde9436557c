//! The measured system: one that is already running, or one that the bench starts as `saga`
//! processes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use saga_postgres::PoolSettings;
use saga_proto::shop::v1::{ListProductsRequest, catalogue_client::CatalogueClient};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tonic::transport::Endpoint;

use super::{
    observe::{Databases, Observer},
    processes::Watched,
};
use saga::{
    child::{self, free_address},
    config::{self, Setup},
    secrets::Secret,
};

/// The program whose roles are started. It was built into the bench's own directory.
const SAGA: &str = if cfg!(windows) { "saga.exe" } else { "saga" };
/// The time within which a system must serve, including its schemas and queues.
const START_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines from the end of a failed process's log that are shown.
const LOG_LINES: usize = 12;

/// The measured system, and the observer of its costs.
pub(super) struct System {
    pub(super) endpoint: Box<Endpoint>,
    pub(super) observer: Observer,
    pub(super) backing: Backing,
    children: Vec<Role>,
    /// Holds data and logs; removed at the end.
    _dir: Option<TempDir>,
}

/// The storage of a system, as far as the bench has access.
#[derive(Clone)]
pub(super) enum Backing {
    /// No access to the storage.
    Unknown,
    /// SQLite files in this directory.
    Directory(PathBuf),
    /// These servers.
    Servers(Box<Setup>),
}

/// One process that the bench has started.
struct Role {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// Free addresses on this machine.
struct Addresses {
    orchestrator: SocketAddr,
    order: SocketAddr,
    inventory: SocketAddr,
    payment: SocketAddr,
    provider: SocketAddr,
}

impl System {
    /// Connects to a system that is already running.
    pub(super) fn running(endpoint: Box<Endpoint>, metrics: Vec<String>) -> Self {
        let port = endpoint.uri().port_u16().unwrap_or(80);
        let is_here = matches!(endpoint.uri().host(), Some("127.0.0.1" | "localhost"));
        let mut processes = vec![myself()];
        processes.extend(is_here.then(|| Watched::listener("server", port)).flatten());
        let observer = Observer { processes, metrics, databases: None };
        Self { endpoint, observer, backing: Backing::Unknown, children: Vec::new(), _dir: None }
    }

    /// Starts every role in one process over SQLite.
    pub(super) async fn embedded() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("saga-bench-").tempdir()?;
        let data = dir.path().join("data");
        let addresses = Addresses::free()?;
        let mut starting = Starting::new(dir.path(), &addresses);
        starting.role("saga", &["all", "--data-dir", text(&data)?])?;
        let (children, observer) = starting.done();
        let system = Self::of(&addresses, observer, Backing::Directory(data), children, Some(dir))?;
        system.serves().await
    }

    /// Starts a system on the servers of the environment: as one process, or as one for each role.
    pub(super) async fn on_servers(process_a_role: bool) -> anyhow::Result<Self> {
        let setup = config::read(&config::process, |env| env.all())?.setup;
        let dir = tempfile::Builder::new().prefix("saga-bench-").tempdir()?;
        let addresses = Addresses::free()?;
        let mut starting = Starting::new(dir.path(), &addresses);
        if process_a_role {
            saga::setup::setup(&setup).await.context("setting the servers up")?;
            for role in ["provider", "order", "inventory", "payment", "orchestrator"] {
                starting.role(role, &[role])?;
            }
        } else {
            starting.role("saga", &["all"])?;
        }
        let (children, mut observer) = starting.done();
        observer.watch_servers(&setup).await?;
        let backing = Backing::Servers(Box::new(setup));
        let system = Self::of(&addresses, observer, backing, children, Some(dir))?;
        system.serves().await
    }

    fn of(
        addresses: &Addresses,
        observer: Observer,
        backing: Backing,
        children: Vec<Role>,
        dir: Option<TempDir>,
    ) -> anyhow::Result<Self> {
        let url = format!("http://{}", addresses.orchestrator);
        let endpoint = saga_cli::server(&url).map_err(anyhow::Error::msg)?;
        Ok(Self { endpoint, observer, backing, children, _dir: dir })
    }

    /// Waits until the catalogue answers: then the orchestrator, the inventory and the connection
    /// between them work.
    async fn serves(mut self) -> anyhow::Result<Self> {
        let mut catalogue = CatalogueClient::new(self.endpoint.connect_lazy());
        let began = Instant::now();
        loop {
            let request = ListProductsRequest { page_size: 1, ..Default::default() };
            let Err(status) = catalogue.list_products(request).await else { return Ok(self) };
            for role in &mut self.children {
                if let Some(status) = role.child.try_wait()? {
                    anyhow::bail!("{} ended ({status}):\n{}", role.name, role.end_of_log());
                }
            }
            anyhow::ensure!(began.elapsed() < START_LIMIT, "the system does not serve: {status}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Stops the processes that were started. The data remains until this value is dropped.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        for role in self.children.iter_mut().rev() {
            child::stop(&mut role.child).await?;
        }
        self.children.clear();
        Ok(())
    }
}

impl Observer {
    /// Watches the servers' processes if they run here, and the databases' count of commits.
    async fn watch_servers(&mut self, setup: &Setup) -> anyhow::Result<()> {
        let of = |name, url: &Secret| Watched::listener(name, port_of(&url.0)?);
        self.processes.extend(of("postgres", &setup.orchestrator));
        self.processes.extend(of("rabbitmq", &setup.broker.url));
        let Some(admin) = &setup.admin else { return Ok(()) };
        let pool = PoolSettings { application: "saga-bench".to_owned(), max_connections: 1 };
        let pool = saga_postgres::connect(&admin.0, &pool).await?;
        let urls = [&setup.orchestrator, &setup.order, &setup.inventory, &setup.payment];
        let names = urls.map(|url| database_of(&url.0)).to_vec();
        self.databases = Some(Databases { pool, names });
        Ok(())
    }
}

/// The processes that are being started.
struct Starting<'a> {
    dir: &'a Path,
    addresses: &'a Addresses,
    children: Vec<Role>,
    observer: Observer,
}

impl<'a> Starting<'a> {
    fn new(dir: &'a Path, addresses: &'a Addresses) -> Self {
        let observer = Observer { processes: vec![myself()], ..Observer::default() };
        Self { dir, addresses, children: Vec::new(), observer }
    }

    /// Starts one process. It is killed if the bench ends without stopping it.
    fn role(&mut self, name: &'static str, arguments: &[&str]) -> anyhow::Result<()> {
        let Addresses { orchestrator, order, inventory, payment, provider } = self.addresses;
        let log = self.dir.join(format!("{name}.log"));
        let metrics = free_address()?;
        let saga = std::env::current_exe()?.with_file_name(SAGA);
        let child = Command::new(&saga)
            .args(arguments)
            .env("SAGA_ORCHESTRATOR_LISTEN", orchestrator.to_string())
            .env("SAGA_ORDER_LISTEN", order.to_string())
            .env("SAGA_INVENTORY_LISTEN", inventory.to_string())
            .env("SAGA_PAYMENT_LISTEN", payment.to_string())
            .env("SAGA_PROVIDER_LISTEN", provider.to_string())
            .env("SAGA_ORDER_URL", format!("http://{order}"))
            .env("SAGA_INVENTORY_URL", format!("http://{inventory}"))
            .env("SAGA_PAYMENT_URL", format!("http://{payment}"))
            .env("SAGA_PROVIDER_URL", format!("http://{provider}"))
            .env("SAGA_PROVIDER_HTTP2", "yes")
            .env("SAGA_PROVIDER_DATA_DIR", self.dir.join("provider"))
            .env("SAGA_METRICS_LISTEN", metrics.to_string())
            .env("SAGA_LOG", config::process("SAGA_LOG").unwrap_or_else(|| "warn".to_owned()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name} from {}", saga.display()))?;
        let pid = child.id().context("it was started just now")?;
        self.observer.processes.push(Watched::one(name, pid));
        self.observer.metrics.push(format!("http://{metrics}/metrics"));
        self.children.push(Role { name, child, log });
        Ok(())
    }

    fn done(self) -> (Vec<Role>, Observer) {
        (self.children, self.observer)
    }
}

impl Role {
    fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Addresses {
    fn free() -> anyhow::Result<Self> {
        Ok(Self {
            orchestrator: free_address()?,
            order: free_address()?,
            inventory: free_address()?,
            payment: free_address()?,
            provider: free_address()?,
        })
    }
}

fn myself() -> Watched {
    Watched::one("bench", std::process::id())
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the temporary directory's name is no UTF-8")
}

/// Returns the port of a server's URL, if the server runs on this machine.
fn port_of(url: &str) -> Option<u16> {
    let url: reqwest::Url = url.parse().ok()?;
    let default = if url.scheme().starts_with("amqp") { 5672 } else { 5432 };
    let is_here = matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
    is_here.then(|| url.port().unwrap_or(default))
}

/// Returns the database's name in a URL.
pub(super) fn database_of(url: &str) -> String {
    let url: Option<reqwest::Url> = url.parse().ok();
    url.map(|url| url.path().trim_start_matches('/').to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_on_this_machine_has_a_port_to_look_at() {
        assert_eq!(port_of("postgres://a:b@127.0.0.1:6000/x?sslmode=disable"), Some(6000));
        assert_eq!(port_of("postgres://a:b@localhost/x"), Some(5432));
        assert_eq!(port_of("amqp://guest:guest@127.0.0.1/%2f"), Some(5672));
        assert_eq!(port_of("postgres://a:b@db.example/x"), None);
        assert_eq!(database_of("postgres://a:b@127.0.0.1:6000/x?sslmode=disable"), "x");
    }

    #[test]
    fn free_addresses_are_on_loopback_and_below_the_clients_ports() {
        let address = free_address().expect("one is free");
        assert!(address.ip().is_loopback() && address.port() < 32_768);
    }
}
