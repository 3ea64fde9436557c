//! The store of the sagas: the real one, over SQLite in memory. A test can take it away.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::FutureExt as _;
use saga_core::{Failure, Instance, SagaId};
use saga_engine::SagaReads as _;
use saga_sqlite::{Clock, Database};
use saga_store::sqlite::{SCHEMA, SagaTable};
use saga_taps::SagaTap;

#[derive(Clone)]
pub(crate) struct Memory {
    table: SagaTable,
    database: Database,
    away: Arc<AtomicBool>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let database = Database::in_memory(&SCHEMA, Clock::system()).expect("a database");
        Self { table: SagaTable::new(database.clone()), database, away: Arc::default() }
    }

    /// Makes every call fail as unavailable, or makes them succeed again.
    pub(crate) fn be_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub(crate) fn find(&self, id: SagaId) -> Option<Instance> {
        at_once(self.table.find(&[id])).expect("it reads").pop()
    }

    /// Returns the number that a query selects.
    pub(crate) fn count(&self, sql: &str) -> i64 {
        at_once(self.database.read(|c| c.query_row(sql, [], |row| row.get(0)))).expect("it reads")
    }

    /// Raises the watermark, as if all sagas with a smaller id had ended long ago.
    pub(crate) fn raise_watermark(&self, below: SagaId) {
        let raise = "UPDATE saga_watermark SET below = ?1";
        at_once(self.database.write(|tx| tx.execute(raise, [below.0]))).expect("it writes");
    }
}

/// Returns the result of a call to the database. On the one thread of a test nobody is in the
/// middle of a transaction, so no call waits.
fn at_once<R>(call: impl Future<Output = R>) -> R {
    tokio::task::unconstrained(call).now_or_never().expect("no transaction is open")
}

impl SagaTap for Memory {
    type Inner = SagaTable;

    fn inner(&self) -> &SagaTable {
        &self.table
    }

    async fn entered(&self) -> Result<(), Failure> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Failure::Unavailable("the test wants it so".to_owned()));
        }
        Ok(())
    }
}
