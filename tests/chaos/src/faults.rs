//! Injects faults into a running system, and heals them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use saga_test_support::{amqp, proxy::Mode};
use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::{
    client::Client,
    hostile,
    schedule::{CrashPoint, Disk, Fault, Planned, Schedule, Server},
    system::{PREFIX, System},
};

/// Time in which a role must reach its crash point. After that the next crash point is tried.
const REACHED_WITHIN: Duration = Duration::from_secs(20);
/// Time that a role stays down after its crash.
const CRASHED_FOR: Duration = Duration::from_millis(300);
/// Longest time between two crash points.
const BETWEEN_CRASHES: Duration = Duration::from_secs(20);
/// Number of attempts, one a second, of a hostile client that finds the broker unavailable.
const STRANGERS_TRIES: u32 = 20;

/// A fault that was injected.
#[derive(Clone, Debug)]
pub(crate) struct Injected {
    pub(crate) kind: String,
    pub(crate) what: String,
    /// Time at which the fault was over, since the run's start: the process serves again, the
    /// server accepts connections, bytes pass.
    pub(crate) healed: Duration,
}

/// Injects faults into a system, and keeps a list of them.
#[derive(Clone)]
pub(crate) struct Injector {
    system: Arc<System>,
    client: Client,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    injected: Mutex<Vec<Injected>>,
    hit: Mutex<BTreeSet<String>>,
    died: Mutex<Vec<String>>,
    poisoned: AtomicU64,
    targets: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    failures: Mutex<Vec<String>>,
}

impl Injector {
    pub(crate) fn new(system: Arc<System>, client: Client) -> Self {
        Self { system, client, state: Arc::default() }
    }

    /// Injects the schedule's faults for this long, and returns when all of them are healed.
    pub(crate) async fn run(&self, schedule: &Schedule, length: Duration) {
        let begin = Instant::now();
        let places = Arc::new(Semaphore::new(schedule.at_once));
        let mut under_way = JoinSet::new();
        let crashing = self.clone();
        let points = schedule.crash_points.clone();
        let crash_places = Arc::clone(&places);
        under_way.spawn(async move {
            let pace = (length / (points.len() as u32 + 1)).min(BETWEEN_CRASHES);
            for (number, point) in points.iter().enumerate() {
                tokio::time::sleep_until(begin + pace * (number as u32 + 1)).await;
                let _place = crash_places.acquire().await.expect("never closed");
                crashing.crash(point).await;
            }
        });
        for planned in schedule.faults.clone() {
            tokio::time::sleep_until(begin + planned.after).await;
            let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
            let injector = self.clone();
            under_way.spawn(async move {
                injector.inject(&planned).await;
                drop(place);
            });
        }
        tokio::time::sleep_until(begin + length).await;
        while under_way.join_next().await.is_some() {}
        // Each crash point that was not reached in its time is tried once more, without other
        // faults.
        for point in &schedule.crash_points {
            if !self.hit().contains(&point.name()) {
                let again = CrashPoint { at: 1, ..point.clone() };
                self.crash(&again).await;
            }
        }
    }

    /// Starts every process again that ended without a fault, and records its end.
    pub(crate) async fn watch(self) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            for name in &self.system.names() {
                let target = self.target(name);
                // If the process is locked, a fault is at work on it.
                let Ok(_held) = target.try_lock() else { continue };
                if let Ok(Some(status)) = self.system.ended(name) {
                    let line =
                        format!("{name} ended by itself, at {:?}: {status}", self.client.now());
                    push(&self.state.died, line);
                    self.note(self.system.start_role(name, None).await, name);
                }
            }
        }
    }

    async fn inject(&self, planned: &Planned) {
        let Planned { lasts, fault, .. } = planned;
        let target = self.target(&fault.target());
        let _held = target.lock().await;
        eprintln!("{:>7.1} s  {fault:?} for {lasts:?}", self.client.now().as_secs_f64());
        let done = self.carry_out(fault, *lasts).await;
        let healed = self.client.now();
        let what = format!("{fault:?} for {lasts:?}");
        match done {
            Ok(true) => {
                push(
                    &self.state.injected,
                    Injected { kind: fault.kind().to_owned(), what, healed },
                );
            }
            Ok(false) => eprintln!("           {fault:?} met nothing"),
            Err(error) => push(&self.state.failures, format!("{what}: {error:#}")),
        }
    }

    /// Injects a fault and heals it after `lasts`. Returns false if there was nothing to hit.
    async fn carry_out(&self, fault: &Fault, lasts: Duration) -> anyhow::Result<bool> {
        let system = &self.system;
        match fault {
            Fault::Kill { role } => {
                system.kill(role)?;
                tokio::time::sleep(lasts).await;
                system.start_role(role, None).await?;
            }
            Fault::Pause { role } => {
                system.pause(role, true)?;
                tokio::time::sleep(lasts).await;
                system.pause(role, false)?;
            }
            Fault::KillServer(server) => self.server(*server, true, lasts).await?,
            Fault::RestartServer(server) => self.server(*server, false, lasts).await?,
            Fault::TerminateBackends { role } => return self.terminate(role).await,
            Fault::Blackhole { role, server } => {
                self.misbehave(role, *server, Mode::Blackhole, lasts).await?;
            }
            Fault::Silence { role, server } => {
                system.proxy(role, *server)?.go_silent();
                tokio::time::sleep(lasts).await;
            }
            Fault::Delay { role, server } => {
                self.misbehave(role, *server, Mode::Delay, lasts).await?;
            }
            Fault::Trickle { role, server } => {
                self.misbehave(role, *server, Mode::Trickle, lasts).await?;
            }
            Fault::Reset { role, server } => system.proxy(role, *server)?.reset(),
            Fault::ResetDuringCommit { role, arrives } => {
                let proxy = system.proxy(role, Server::Database)?;
                proxy.reset_during_commit(*arrives);
                tokio::time::sleep(Duration::from_secs(3)).await;
                return Ok(proxy.commit_was_met());
            }
            Fault::Repeat => {
                let url = system.rabbitmq.url();
                patiently(|| hostile::repeat(url.clone())).await?;
            }
            Fault::Poison => {
                let number = self.state.poisoned.fetch_add(1, Ordering::SeqCst);
                let url = system.rabbitmq.url();
                patiently(|| hostile::poison(url.clone(), number)).await?;
            }
            Fault::Rolling { role } => {
                for replica in 1..=2 {
                    let name = format!("{role}-{replica}");
                    let _held = self.hold(&name).await;
                    system.replace(&name).await?;
                }
            }
            Fault::Clock { role, ahead } => {
                let machine = system.machine()?;
                machine.set_clock(role, if *ahead { 1 } else { -1 })?;
                tokio::time::sleep(lasts).await;
                machine.set_clock(role, 0)?;
            }
            Fault::DatabaseClock => self.advance_database().await?,
            Fault::DiskFull(disk) => self.fill(*disk, lasts).await?,
            Fault::DeleteQueue { queue } => {
                let (url, queue) = (system.rabbitmq.url(), format!("{PREFIX}{queue}"));
                patiently(|| delete_queue(url.clone(), queue.clone())).await?;
            }
        }
        Ok(true)
    }

    async fn misbehave(
        &self,
        role: &str,
        server: Server,
        mode: Mode,
        lasts: Duration,
    ) -> anyhow::Result<()> {
        let proxy = self.system.proxy(role, server)?;
        proxy.set(mode);
        tokio::time::sleep(lasts).await;
        proxy.set(Mode::Open);
        Ok(())
    }

    /// Stops or kills a server, and starts it again after `lasts`.
    pub(crate) async fn server(
        &self,
        server: Server,
        killed: bool,
        lasts: Duration,
    ) -> anyhow::Result<()> {
        let (postgres, rabbitmq) =
            (Arc::clone(&self.system.postgres), Arc::clone(&self.system.rabbitmq));
        let down = move || match (server, killed) {
            (Server::Broker, true) => rabbitmq.kill9(),
            (Server::Broker, false) => rabbitmq.stop(),
            (Server::Database, true) => postgres.kill9(),
            (Server::Database, false) => postgres.stop(),
        };
        tokio::task::spawn_blocking(down).await??;
        tokio::time::sleep(lasts).await;
        let (postgres, rabbitmq) =
            (Arc::clone(&self.system.postgres), Arc::clone(&self.system.rabbitmq));
        let up = move || match server {
            Server::Broker => rabbitmq.restart(),
            Server::Database => postgres.restart(),
        };
        tokio::task::spawn_blocking(up).await?
    }

    /// Sets the database's clock one hour ahead, and waits until the server uses the new time.
    async fn advance_database(&self) -> anyhow::Result<()> {
        let hours = self.system.machine()?.advance_database()?;
        let options: PgConnectOptions = self.system.postgres.url("postgres").parse()?;
        let mut seen = 0.0;
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let mut connection = options.connect().await?;
            let now: f64 = sqlx::query_scalar("SELECT extract(epoch FROM now())::float8")
                .fetch_one(&mut connection)
                .await?;
            connection.close().await?;
            let ours = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
            seen = (now - ours.as_secs_f64()) / 3_600.0;
            if (seen - hours as f64).abs() < 0.1 {
                return Ok(());
            }
        }
        anyhow::bail!("the database is {seen} hours ahead, and not {hours}")
    }

    /// Fills a disk for a while. Then starts the processes again that ended because of it.
    async fn fill(&self, disk: Disk, lasts: Duration) -> anyhow::Result<()> {
        let system = &self.system;
        let filling = Arc::clone(system);
        tokio::task::spawn_blocking(move || filling.machine()?.fill(disk)).await??;
        tokio::time::sleep(lasts).await;
        system.machine()?.free(disk)?;
        match disk {
            Disk::Provider if system.runs("provider")? => Ok(()),
            Disk::Provider => system.start_role("provider", None).await,
            Disk::Database => {
                let postgres = Arc::clone(&system.postgres);
                let up = move || if postgres.accepts() { Ok(()) } else { postgres.restart() };
                tokio::task::spawn_blocking(up).await?
            }
        }
    }

    async fn terminate(&self, role: &str) -> anyhow::Result<bool> {
        let options: PgConnectOptions = self.system.postgres.url("postgres").parse()?;
        let mut connection = options.connect().await?;
        let ended: i64 = sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1",
        )
        .bind(format!("saga_{role}"))
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(ended > 0)
    }

    /// Starts a replica with a crash point, waits for its crash, and starts it again without one.
    async fn crash(&self, point: &CrashPoint) {
        let name = format!("{}-{}", point.role, point.replica);
        let target = self.target(&name);
        let _held = target.lock().await;
        let done = self.run_into(&name, point).await;
        let healed = self.client.now();
        let what = format!("{} at its passing {}", point.name(), point.at);
        match done {
            Ok(true) => {
                eprintln!("{:>7.1} s  {name} crashed: {what}", healed.as_secs_f64());
                self.state.hit.lock().expect("nobody panics while holding it").insert(point.name());
                let kind = "crash point".to_owned();
                push(&self.state.injected, Injected { kind, what, healed });
            }
            Ok(false) => eprintln!("           {name} never came to {what}"),
            Err(error) => push(&self.state.failures, format!("{what}: {error:#}")),
        }
    }

    async fn run_into(&self, name: &str, point: &CrashPoint) -> anyhow::Result<bool> {
        let system = &self.system;
        let before = system.crash_lines(name, point.point);
        system.kill(name)?;
        system.start_role(name, Some(&format!("{}:{}", point.point, point.at))).await?;
        let deadline = Instant::now() + REACHED_WITHIN;
        while !system.crashed(name)? && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let hit = system.crashed(name)? && system.crash_lines(name, point.point) > before;
        system.kill(name)?;
        tokio::time::sleep(CRASHED_FOR).await;
        system.start_role(name, None).await?;
        Ok(hit)
    }

    /// Locks a role, so that no fault and no restart touches it meanwhile.
    pub(crate) async fn hold(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        self.target(name).lock_owned().await
    }

    fn target(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut targets = self.state.targets.lock().expect("nobody panics while holding it");
        Arc::clone(targets.entry(name.to_owned()).or_default())
    }

    fn note(&self, done: anyhow::Result<()>, what: &str) {
        if let Err(error) = done {
            push(&self.state.failures, format!("{what}: {error:#}"));
        }
    }

    pub(crate) fn injected(&self) -> Vec<Injected> {
        self.state.injected.lock().expect("nobody panics while holding it").clone()
    }

    /// Returns the names of the crash points that were hit.
    pub(crate) fn hit(&self) -> BTreeSet<String> {
        self.state.hit.lock().expect("nobody panics while holding it").clone()
    }

    /// Returns a description of each process that ended without a fault.
    pub(crate) fn died(&self) -> Vec<String> {
        self.state.died.lock().expect("nobody panics while holding it").clone()
    }

    /// Returns a description of each fault that could not be injected or healed.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.state.failures.lock().expect("nobody panics while holding it").clone()
    }

    /// Returns the number of poisonous messages that were sent, all of which must be in the
    /// quarantine.
    pub(crate) fn poisons(&self) -> u64 {
        self.state.poisoned.load(Ordering::SeqCst) * hostile::POISONS as u64
    }
}

fn push<T>(list: &Mutex<Vec<T>>, one: T) {
    list.lock().expect("nobody panics while holding it").push(one);
}

/// Repeats an action until it succeeds, because another fault may have stopped the broker for a
/// while.
async fn patiently<F>(act: impl Fn() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let mut last = Ok(());
    for _ in 0..STRANGERS_TRIES {
        last = act().await;
        if last.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    last.context("the broker never came back for a stranger")
}

/// Deletes a queue. Fails if there is none, although the broker would confirm its deletion.
async fn delete_queue(url: String, queue: String) -> anyhow::Result<()> {
    amqp::waiting(&url, &queue).await.with_context(|| format!("there is no queue {queue}"))?;
    amqp::delete_queue(&url, &queue).await
}
