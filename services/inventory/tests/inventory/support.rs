//! Creates a fresh database with the service's tables, and runs commands and calls on it.

use saga_core::{Answer, Command, SagaId};
use saga_inventory::{
    Inventory, MIGRATIONS, grpc, rule::Levels, table::postgres::PostgresCatalogue,
};
use saga_kit::{Asked, Handle, HandlerError, Store};
use saga_postgres::{INBOX, Inbox, PoolSettings, connect, migrate};
use saga_proto::{
    Money,
    inventory::v1::{
        ReceiveStockRequest, ReserveStock, inventory_client::InventoryClient,
        inventory_server::InventoryServer,
    },
    types::v1::Line,
};
use saga_test_support::Servers;
use sqlx::PgPool;
use uuid::Uuid;

/// More connections than any test uses at the same time.
const CONNECTIONS: u32 = 20;

/// The type of the transactions of the service's store.
pub(crate) type Tx = <Inbox as Store>::Tx;
/// A client of the gRPC service that calls it directly, without a network.
pub(crate) type Client = InventoryClient<InventoryServer<grpc::Grpc<Inbox, PostgresCatalogue>>>;

/// An inventory service without products.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) pool: PgPool,
    pub(crate) store: Inbox,
}

impl Shop {
    pub(crate) async fn open(hint: &'static str) -> Self {
        let fresh = || Servers::shared().fresh_database(hint);
        let url = tokio::task::spawn_blocking(fresh).await.expect("a database is made");
        let settings =
            PoolSettings { application: "inventory-test".into(), max_connections: CONNECTIONS };
        let pool = connect(&url, &settings).await.expect("the database answers");
        migrate(&pool, &[&INBOX, &MIGRATIONS]).await.expect("the schema is ours");
        Self { store: Inbox::new(pool.clone()), pool }
    }

    pub(crate) fn client(&self) -> Client {
        let catalogue = PostgresCatalogue::new(self.pool.clone());
        InventoryClient::new(grpc::service(self.store.clone(), catalogue))
    }

    /// Adds a product with this quantity to the catalogue, at a price in cents.
    pub(crate) async fn product(&self, sku: &str, cents: i64, quantity: i64) {
        let request = ReceiveStockRequest {
            sku: sku.to_owned(),
            quantity,
            idempotency_key: format!("first {sku}"),
            name: format!("A {sku}"),
            price: Some(Money::new(cents, "EUR")),
        };
        self.client().receive_stock(request).await.expect("the goods are received");
    }

    /// Runs commands as one batch in one transaction.
    pub(crate) async fn try_run<C>(
        &self,
        commands: &[(SagaId, C)],
    ) -> Result<Vec<Answer<C::Reply>>, HandlerError>
    where
        C: Command,
        Inventory: Handle<C, Tx>,
    {
        let asked: Vec<Asked<C>> = commands
            .iter()
            .map(|(saga, command)| Asked { saga: *saga, command: command.clone() })
            .collect();
        let mut tx = self.store.begin().await?;
        let answers = Inventory.handle(&mut tx, &asked).await?;
        self.store.commit(tx).await?;
        Ok(answers)
    }

    pub(crate) async fn run<C>(&self, commands: &[(SagaId, C)]) -> Vec<Answer<C::Reply>>
    where
        C: Command,
        Inventory: Handle<C, Tx>,
    {
        self.try_run(commands).await.expect("the batch gets through")
    }

    pub(crate) async fn levels(&self, sku: &str) -> Levels {
        let levels: (i64, i64, i64, i64) = sqlx::query_as(
            "SELECT received, available, reserved, sold FROM products WHERE sku = $1",
        )
        .bind(sku)
        .fetch_one(&self.pool)
        .await
        .expect("the product exists");
        let (received, available, reserved, sold) = levels;
        Levels { received, available, reserved, sold }
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("a number")
    }

    /// Asserts that levels, reservations and movements agree for every product.
    pub(crate) async fn audit(&self) {
        let wrong: Vec<String> = sqlx::query_scalar(
            "SELECT p.sku FROM products p
             LEFT JOIN (SELECT sku, SUM(quantity) FILTER (WHERE state = 'open') AS open,
                               SUM(quantity) FILTER (WHERE state = 'committed') AS committed
                        FROM reservations GROUP BY sku) r USING (sku)
             LEFT JOIN (SELECT sku, SUM(quantity) FILTER (WHERE kind = 'received') AS received,
                               SUM(quantity) FILTER (WHERE kind = 'reserved') AS reserved,
                               SUM(quantity) FILTER (WHERE kind = 'released') AS released,
                               SUM(quantity) FILTER (WHERE kind = 'committed') AS committed
                        FROM movements GROUP BY sku) m USING (sku)
             WHERE p.reserved <> COALESCE(r.open, 0)
                OR p.sold <> COALESCE(r.committed, 0)
                OR p.sold <> COALESCE(m.committed, 0)
                OR p.received <> COALESCE(m.received, 0)
                OR p.available <> m.received - COALESCE(m.reserved, 0) + COALESCE(m.released, 0)",
        )
        .fetch_all(&self.pool)
        .await
        .expect("the tables can be read");
        assert_eq!(wrong, Vec::<String>::new(), "the books do not balance");
    }
}

pub(crate) fn saga() -> SagaId {
    SagaId(Uuid::now_v7())
}

pub(crate) fn line(sku: &str, quantity: i64) -> Line {
    Line { sku: sku.to_owned(), quantity }
}

pub(crate) fn wish(lines: &[(&str, i64)]) -> ReserveStock {
    let lines = lines.iter().map(|(sku, quantity)| line(sku, *quantity)).collect();
    ReserveStock { lines, expected_total: None }
}

/// Returns "done", or a refusal's code.
pub(crate) fn code<R>(answer: &Answer<R>) -> &str {
    match answer {
        Answer::Done(_) => "done",
        Answer::Refused(refusal) => &refusal.code,
    }
}

pub(crate) fn done<R>(mut answers: Vec<Answer<R>>) -> R {
    match answers.pop() {
        Some(Answer::Done(reply)) => reply,
        Some(Answer::Refused(refusal)) => panic!("refused: {refusal:?}"),
        None => panic!("no answer"),
    }
}
