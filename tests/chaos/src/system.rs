//! The system under test: its roles, a proxy between each role and each server, and its clocks and
//! disks.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{ExitStatus, Output},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use saga_test_support::{
    Postgres, RabbitMq,
    proxy::Proxy,
    system::{self, Hosts, Options, Own, Replicas},
};

use crate::{
    machine::Machine,
    schedule::{Disk, Server},
};

/// Time limit for a role to start on a busy machine, while a server may be unavailable.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Pause before a role is started again that ended because a server was unavailable.
const START_PAUSE: Duration = Duration::from_millis(500);
/// Time limit for a role to finish the work that it has begun.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// The variant of `saga` with crash points. A role that must crash is started from it.
const CRASHING: &str = "saga-crashing";
pub(crate) const PREFIX: &str = "chaos.";
/// Quantity of each product: enough for the longest run.
const STOCK: i64 = 100_000_000;
pub(crate) const SKUS: [&str; 3] = ["teapot", "cup", "kettle"];

/// The system under test, with its faults.
pub(crate) struct System {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) rabbitmq: Arc<RabbitMq>,
    system: system::System,
    proxies: BTreeMap<String, Proxies>,
    /// The simulated clocks and disks, if the run uses them. Declared after the servers, to be
    /// dropped last.
    machine: Option<Machine>,
    /// Another build of `saga`, which replaces the first one in rolling restarts.
    other_build: Option<PathBuf>,
    /// Names of the roles that now run from the other build.
    on_other_build: Mutex<BTreeSet<String>>,
}

struct Proxies {
    broker: Proxy,
    database: Proxy,
}

/// Operations without faults come from the system that all tests share.
impl std::ops::Deref for System {
    type Target = system::System;

    fn deref(&self) -> &Self::Target {
        &self.system
    }
}

impl System {
    /// Starts all servers and roles, and waits until orders can be placed.
    pub(crate) async fn start(
        dir: &Path,
        step_timeout: Duration,
        machine: Option<Machine>,
        other_build: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        if let Some(other) = &other_build {
            beside(other, CRASHING)?;
        }
        let (database_parent, database_environment) = match &machine {
            Some(machine) => (machine.disk(Disk::Database), machine.database_clock()?),
            None => (std::env::temp_dir(), BTreeMap::new()),
        };
        let ledger = match &machine {
            Some(machine) => machine.disk(Disk::Provider).join("ledger"),
            None => dir.join("provider"),
        };
        let timeout = step_timeout.as_millis();
        let settings = [
            ("SAGA_PREFIX", PREFIX.to_owned()),
            ("SAGA_STEP_TIMEOUT_MILLIS", timeout.to_string()),
            ("SAGA_PROVIDER_HTTP2", "yes".to_owned()),
            ("SAGA_PROVIDER_DATA_DIR", ledger.display().to_string()),
            // Slower than the time-out of a step, so that some sagas always become due.
            ("SAGA_PROVIDER_SLOW_MILLIS", (timeout + 1_000).to_string()),
            ("SAGA_PROVIDER_TIMEOUT_MILLIS", (timeout + 2_000).to_string()),
        ];
        let options = Options {
            program: beside(&std::env::current_exe()?, "saga")?,
            replicas: Replicas { orchestrators: 2, services: 2 },
            dir: dir.to_owned(),
            logs: dir.to_owned(),
            hosts: Hosts::Own { database_parent, database_environment },
            settings: settings.map(|(name, value)| (name.to_owned(), value)).into(),
        };
        let mut system = system::System::new(options).await?;
        let Own { postgres, rabbitmq } = system.own()?.clone();
        let mut proxies = BTreeMap::new();
        for name in system.names() {
            let mut env = BTreeMap::new();
            if let Some(machine) = &machine {
                env.extend(machine.clock(&name)?);
            }
            if name != "provider" {
                let broker = Proxy::start(rabbitmq.port()).await?;
                let database = Proxy::start(postgres.port()).await?;
                env.extend(system.through(database.port, broker.port));
                proxies.insert(name.clone(), Proxies { broker, database });
            }
            system.role_mut(&name)?.launch.env.extend(env);
        }
        let on_other_build = Mutex::default();
        let system =
            Self { postgres, rabbitmq, system, proxies, machine, other_build, on_other_build };
        for name in system.names() {
            system.start_role(&name, None).await?;
        }
        for sku in SKUS {
            system.stock(sku, STOCK).await?;
        }
        Ok(system)
    }

    /// Runs a command of `saga` without a time limit.
    pub(crate) async fn output(&self, args: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(args).output().await?)
    }

    /// Starts a role and waits until it serves. If it ends because a server is unavailable, starts
    /// it again, as a process manager would.
    pub(crate) async fn start_role(&self, name: &str, crash: Option<&str>) -> anyhow::Result<()> {
        let role = self.role(name)?;
        let mut launch = role.launch.clone();
        if let Some(other) = &self.other_build
            && self.on_other_build().contains(name)
        {
            launch.program = other.clone();
        }
        if let Some(crash) = crash {
            launch.program = beside(&launch.program, CRASHING)?;
            launch.env.insert("SAGA_CRASH_AT".to_owned(), crash.to_owned());
        }
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        while !role.start_as(&launch, deadline).await? {
            // The role may already have crashed at its crash point.
            if crash.is_some() && self.crashed(name)? {
                return Ok(());
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "{name} ends at each start");
            tokio::time::sleep(START_PAUSE).await;
        }
        Ok(())
    }

    /// Returns true if a role's process exists. It may be paused.
    pub(crate) fn runs(&self, name: &str) -> anyhow::Result<bool> {
        self.role(name)?.process().map_or(Ok(false), |process| process.is_running())
    }

    /// Returns the exit status of a role's process that has ended without being stopped.
    pub(crate) fn ended(&self, name: &str) -> anyhow::Result<Option<ExitStatus>> {
        self.role(name)?.process().map_or(Ok(None), |process| process.wait(Duration::ZERO))
    }

    /// Returns true if a role's process has aborted itself, as it does at a crash point.
    pub(crate) fn crashed(&self, name: &str) -> anyhow::Result<bool> {
        use std::os::unix::process::ExitStatusExt as _;
        const SIGABRT: i32 = 6;
        Ok(self.ended(name)?.is_some_and(|status| status.signal() == Some(SIGABRT)))
    }

    /// Returns the number of lines in a role's log that name a crash point.
    pub(crate) fn crash_lines(&self, name: &str, point: &str) -> usize {
        let log = std::fs::read(self.dir().join(format!("{name}.log"))).unwrap_or_default();
        let line = format!("saga: crash point {point}");
        String::from_utf8_lossy(&log).lines().filter(|one| *one == line).count()
    }

    pub(crate) fn kill(&self, name: &str) -> anyhow::Result<()> {
        // Takes the process out of its role first, so that its end is not reported as unexpected.
        if let Ok(process) = self.role(name)?.take() {
            process.kill9()?;
        }
        Ok(())
    }

    /// Lets a process drain and end, and starts it again, from the other build if there is one.
    pub(crate) async fn replace(&self, name: &str) -> anyhow::Result<()> {
        if let Ok(process) = self.role(name)?.take() {
            let ended = tokio::task::spawn_blocking(move || process.terminate(DRAIN_LIMIT));
            let ended = ended.await??;
            anyhow::ensure!(ended.was_clean(), "{name} did not end well: {ended:?}");
        }
        {
            let mut on_other_build = self.on_other_build();
            if !on_other_build.remove(name) {
                on_other_build.insert(name.to_owned());
            }
        }
        self.start_role(name, None).await
    }

    /// Returns the run's clocks and disks.
    pub(crate) fn machine(&self) -> anyhow::Result<&Machine> {
        self.machine.as_ref().context("this run leaves clocks and disks alone")
    }

    pub(crate) fn pause(&self, name: &str, paused: bool) -> anyhow::Result<()> {
        match self.role(name)?.process() {
            Ok(process) if paused => process.sigstop(),
            Ok(process) => process.sigcont(),
            Err(_) => Ok(()),
        }
    }

    pub(crate) fn proxy(&self, name: &str, server: Server) -> anyhow::Result<&Proxy> {
        let proxies = self.proxies.get(name).with_context(|| format!("{name} has no servers"))?;
        Ok(match server {
            Server::Broker => &proxies.broker,
            Server::Database => &proxies.database,
        })
    }

    fn on_other_build(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.on_other_build.lock().expect("nobody panics while holding it")
    }
}

/// Returns the path of a program in the same folder as another one.
fn beside(program: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let found = program.with_file_name(name);
    let missing = "is missing: cargo build --release -p saga -p saga-chaos";
    anyhow::ensure!(found.exists(), "{} {missing}", found.display());
    Ok(found)
}
