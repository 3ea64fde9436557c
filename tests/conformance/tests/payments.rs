//! The payment service's tables: Postgres, a SQLite file, SQLite in memory.

mod locking;
mod planted;
mod rows;

use saga_core::{Failure, SagaId};
use saga_kit::Store;
use saga_payment::{
    Entry, Payment, Refund, State,
    table::{Payments, sqlite::SCHEMA},
};
use saga_proto::Money;
use saga_sqlite::Database;
use tempfile::TempDir;
use uuid::Uuid;

use crate::databases::{self, Probe};

/// The payment service's tables, behind their port.
struct Till<S> {
    store: S,
    probe: Probe,
    _directory: Option<TempDir>,
}

impl Till<saga_postgres::Inbox> {
    async fn postgres() -> Self {
        let parts = [&saga_postgres::INBOX, &saga_payment::MIGRATIONS];
        let (pool, _) = databases::postgres("payments", &parts).await;
        Self::over(pool)
    }

    fn over(pool: saga_postgres::Pool) -> Self {
        let store = saga_postgres::Inbox::new(pool.clone());
        Self { store, probe: Probe::Postgres(pool), _directory: None }
    }
}

impl Till<saga_sqlite::Inbox> {
    async fn sqlite() -> Self {
        let (database, directory) = databases::sqlite(&SCHEMA);
        Self::on_sqlite(database, Some(directory))
    }

    async fn in_memory() -> Self {
        Self::on_sqlite(databases::in_memory(&SCHEMA), None)
    }

    fn on_sqlite(database: Database, directory: Option<TempDir>) -> Self {
        let store = saga_sqlite::Inbox::new(database.clone());
        Self { store, probe: Probe::Sqlite(database), _directory: directory }
    }
}

impl<S: Store<Tx: Payments>> Till<S> {
    /// Locks and saves in one transaction.
    async fn save(&self, payments: &[Payment], entries: &[Entry]) -> Result<(), Failure> {
        let orders: Vec<SagaId> = payments.iter().map(|payment| payment.order).collect();
        let mut tx = self.store.begin().await?;
        tx.lock(&orders).await?;
        tx.save(payments, entries).await?;
        self.store.commit(tx).await
    }

    async fn save_refunds(&self, refunds: &[Refund]) -> Result<(), Failure> {
        let mut tx = self.store.begin().await?;
        tx.save_refunds(refunds).await?;
        self.store.commit(tx).await
    }

    /// Returns the committed payments of the same orders, in the same order.
    async fn payments(&self, of: &[Payment]) -> Vec<Payment> {
        let orders: Vec<SagaId> = of.iter().map(|payment| payment.order).collect();
        let mut tx = self.store.begin().await.expect("a transaction");
        let mut payments = tx.lock(&orders).await.expect("the rows");
        payments.sort_by_key(|found| orders.iter().position(|order| *order == found.order));
        payments
    }

    /// Returns the refunds of orders, sorted by saga.
    async fn refunds(&self, orders: &[SagaId]) -> Vec<Refund> {
        let mut tx = self.store.begin().await.expect("a transaction");
        let mut refunds = tx.refunds(orders).await.expect("the rows");
        refunds.sort_by_key(|refund| refund.saga);
        refunds
    }
}

fn order() -> SagaId {
    SagaId(Uuid::now_v7())
}

fn payment(order: SagaId, cents: i64, state: State) -> Payment {
    Payment { order, amount: Money::new(cents, "EUR"), state }
}

/// Returns all states, with every form of their data.
fn states() -> Vec<State> {
    let id = || "pay_\u{1F375}".to_owned();
    vec![
        State::Authorising,
        State::Authorised { provider_id: id() },
        State::Authorised { provider_id: String::new() },
        State::Declined { provider_id: None, code: "CARD_DECLINED".to_owned() },
        State::Declined { provider_id: Some(id()), code: String::new() },
        State::Voided { provider_id: None },
        State::Voided { provider_id: Some(id()) },
        State::Captured { provider_id: id(), refunded: 0 },
        State::Captured { provider_id: id(), refunded: 1 },
    ]
}
