//! A database that forgets its last commits, as after a failover to an asynchronous replica.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, Result, params_from_iter, types::Value};
use saga_core::Failure;
use saga_sqlite::Database;
use tokio::time::{Instant, sleep};

use crate::{faults::Fault, sim::lock, world::World};

/// The longest times of commits that are forgotten, in milliseconds.
const FORGOTTEN_MILLIS: [u64; 4] = [100, 500, 3_000, 15_000];

/// Whether a database answers, for all its clients.
#[derive(Debug, Default)]
pub(crate) struct Health {
    away_until: Mutex<Option<Instant>>,
    /// Number of failovers that have broken every connection.
    failovers: AtomicU64,
}

/// A client's connections to a database.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    health: Arc<Health>,
    /// The failovers that this client has noticed.
    noticed: Arc<AtomicU64>,
}

impl Health {
    /// Makes the database unavailable for a while.
    pub(crate) fn go_away(&self, time: Duration) {
        *lock(&self.away_until) = Some(Instant::now() + time);
    }
}

impl Link {
    /// Connects a client.
    pub(crate) fn new(health: &Arc<Health>) -> Self {
        let noticed = health.failovers.load(Ordering::Relaxed);
        Self { health: Arc::clone(health), noticed: Arc::new(noticed.into()) }
    }

    /// Returns the failure if the database is away. The first call after a failover fails too,
    /// because its connection has ended.
    pub(crate) fn check(&self) -> std::result::Result<(), Failure> {
        let failovers = self.health.failovers.load(Ordering::Relaxed);
        let fresh = self.noticed.swap(failovers, Ordering::Relaxed) == failovers;
        if fresh && lock(&self.health.away_until).is_none_or(|until| until <= Instant::now()) {
            return Ok(());
        }
        Err(Failure::Unavailable("the database is away".to_owned()))
    }
}

/// The rows of a database at one moment.
struct Snapshot(Vec<Table>);

struct Table {
    name: String,
    columns: usize,
    rows: Vec<Vec<Value>>,
}

impl Snapshot {
    fn take(connection: &Connection) -> Result<Self> {
        let mut named = connection.prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        )?;
        let names = named.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>>>()?;
        let table = |name: String| {
            let mut asked = connection.prepare(&format!("SELECT * FROM {name}"))?;
            let columns = asked.column_count();
            let rows = asked.query_map([], |row| (0..columns).map(|c| row.get(c)).collect())?;
            let rows = rows.collect::<Result<Vec<_>>>()?;
            Ok(Table { name, columns, rows })
        };
        Ok(Self(names.into_iter().map(table).collect::<Result<Vec<_>>>()?))
    }

    fn restore(&self, connection: &Connection) -> Result<()> {
        for Table { name, columns, rows } in &self.0 {
            connection.execute(&format!("DELETE FROM {name}"), [])?;
            let places = vec!["?"; *columns].join(", ");
            let mut insert =
                connection.prepare(&format!("INSERT INTO {name} VALUES ({places})"))?;
            for row in rows {
                insert.execute(params_from_iter(row))?;
            }
        }
        Ok(())
    }
}

impl World {
    /// Lets a database forget what it commits from now on for a while.
    pub(crate) async fn forget(self: Arc<Self>) {
        let dice = &self.sim.dice;
        // The sagas' database most often, because all sagas depend on it.
        let which = if dice.chance(0.6) { 0 } else { 1 + dice.below(3) };
        let name = ["orchestrator", "order", "inventory", "payment"][which];
        let longest = *dice.pick(&FORGOTTEN_MILLIS);
        let time = dice.millis(20..=longest);
        // A pooler between hides the failover from its clients.
        let hidden = dice.chance(0.5);
        if let Err(failure) = self.forget_one(name, time, hidden).await {
            self.sim.violated(format!("a database cannot be rolled back: {failure}"));
        }
    }

    async fn forget_one(
        &self,
        name: &'static str,
        time: Duration,
        hidden: bool,
    ) -> std::result::Result<(), Failure> {
        let (database, service): (&Database, _) = match name {
            "order" => (&self.databases.order, Some(name)),
            "inventory" => (&self.databases.inventory, Some(name)),
            "payment" => (&self.databases.payment, Some(name)),
            _ => (&self.databases.orchestrator, None),
        };
        let tx = database.begin().await?;
        let snapshot = Snapshot::take(&tx).map_err(saga_sqlite::failure)?;
        let memento = self.checks.memento(service);
        drop(tx);
        sleep(time).await;
        let tx = database.begin().await?;
        snapshot.restore(&tx).map_err(saga_sqlite::failure)?;
        tx.commit()?;
        let lost = self.checks.forgotten(memento);
        self.sim.count(Fault::Forgets);
        let seen = if hidden { "unseen by its clients" } else { "and every connection ends" };
        self.sim.say("world", || {
            format!("the {name} database FORGETS {lost} commits of the last {time:?}, {seen}")
        });
        if !hidden {
            self.databases.health[name].failovers.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
