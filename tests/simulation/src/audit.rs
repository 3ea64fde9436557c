//! Checks a run's databases by the equations of `saga audit`.

use rusqlite::Connection;
use saga_audit::{Books, Database, Failure, Options, Scratch, Verdict, copy, judge};

use crate::world::World;

/// The numbers of rows that the databases must have.
pub(crate) struct Expected {
    pub(crate) orders: usize,
    pub(crate) quarantined: usize,
}

/// Returns the rows that the equations report as wrong.
pub(crate) async fn offenders(world: &World, expected: &Expected) -> Vec<String> {
    match books(world).await.and_then(|books| judged(&books, expected)) {
        Ok(offenders) => offenders,
        Err(failure) => vec![format!("the books cannot be read: {failure:?}")],
    }
}

async fn books(world: &World) -> Result<Books, Failure> {
    let mut scratch = Scratch::new().map_err(Failure::Scratch)?;
    let databases = &world.databases;
    for (database, source) in [
        (Database::Orchestrator, &databases.orchestrator),
        (Database::Order, &databases.order),
        (Database::Inventory, &databases.inventory),
        (Database::Payment, &databases.payment),
        (Database::Provider, world.provider.ledger.database()),
    ] {
        let read = |source: &Connection| Ok(copy(source, database, &mut scratch));
        let read = source.read(read).await;
        read.map_err(|failure| Failure::Source(failure.to_string()))??;
    }
    scratch.complete().map_err(Failure::Scratch)
}

fn judged(books: &Books, expected: &Expected) -> Result<Vec<String>, Failure> {
    let options = Options {
        expect_orders: Some(expected.orders as u64),
        quarantined: expected.quarantined as u64,
        ..Options::default()
    };
    let report = judge(books, false, &options).map_err(Failure::Scratch)?;
    let failed = report.equations.iter().filter(|e| e.verdict != Verdict::Pass);
    Ok(failed.map(|e| format!("{}: {}", e.name, e.offenders.join("; "))).collect())
}
