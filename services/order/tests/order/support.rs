//! Creates a fresh database with the service's tables, and runs commands and reads on it.

use saga_core::{Answer, Command, SagaId};
use saga_kit::{Asked, Handle, HandlerError, Store};
use saga_order::{MIGRATIONS, OrderBook, grpc, table::postgres::PostgresReads};
use saga_postgres::{INBOX, Inbox, PoolSettings, connect, migrate};
use saga_proto::{
    Money,
    order::v1::{
        ConfirmOrder, CreateOrder, Order, ReadOrderRequest, RejectOrder,
        order_reads_client::OrderReadsClient, order_reads_server::OrderReadsServer,
    },
    types::v1::{Line, PricedLine},
};
use saga_test_support::Servers;
use sqlx::PgPool;
use uuid::Uuid;

const CONNECTIONS: u32 = 8;

/// The type of the transactions of the service's store.
pub(crate) type Tx = <Inbox as Store>::Tx;
/// A client of the gRPC service that calls it directly, without a network.
pub(crate) type Client = OrderReadsClient<OrderReadsServer<grpc::Grpc<PostgresReads>>>;

/// An order service without orders.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    pub(crate) store: Inbox,
}

impl Shop {
    pub(crate) async fn open(hint: &'static str) -> Self {
        let fresh = || Servers::shared().fresh_database(hint);
        let url = tokio::task::spawn_blocking(fresh).await.expect("a database is made");
        let pool = pool(&url).await;
        migrate(&pool, &[&INBOX, &MIGRATIONS]).await.expect("the schema is ours");
        Self { store: Inbox::new(pool.clone()), pool, url }
    }

    pub(crate) fn client(&self) -> Client {
        OrderReadsClient::new(grpc::service(PostgresReads::new(self.pool.clone())))
    }

    /// Runs commands as one batch in one transaction.
    pub(crate) async fn try_run<C>(
        &self,
        commands: &[(SagaId, C)],
    ) -> Result<Vec<Answer<C::Reply>>, HandlerError>
    where
        C: Command,
        OrderBook: Handle<C, Tx>,
    {
        let asked: Vec<Asked<C>> = commands
            .iter()
            .map(|(saga, command)| Asked { saga: *saga, command: command.clone() })
            .collect();
        let mut tx = self.store.begin().await?;
        let answers = OrderBook.handle(&mut tx, &asked).await?;
        self.store.commit(tx).await?;
        Ok(answers)
    }

    /// Runs commands in one transaction, and returns "done" or a refusal's code for each.
    pub(crate) async fn run<C>(&self, commands: &[(SagaId, C)]) -> Vec<String>
    where
        C: Command,
        OrderBook: Handle<C, Tx>,
    {
        let answers = self.try_run(commands).await.expect("the batch gets through");
        let code = |answer: Answer<C::Reply>| match answer {
            Answer::Done(_) => "done".to_owned(),
            Answer::Refused(refusal) => refusal.code,
        };
        answers.into_iter().map(code).collect()
    }

    pub(crate) async fn read(&self, id: SagaId) -> Order {
        let request = ReadOrderRequest { order_id: id.to_string() };
        self.client().read_order(request).await.expect("the order exists").into_inner()
    }
}

pub(crate) async fn pool(url: &str) -> PgPool {
    let settings = PoolSettings { application: "order-test".into(), max_connections: CONNECTIONS };
    connect(url, &settings).await.expect("the database answers")
}

pub(crate) fn saga() -> SagaId {
    SagaId(Uuid::now_v7())
}

/// Builds an order of two teapots and four cups.
pub(crate) fn order(customer: &str) -> CreateOrder {
    let line = |sku: &str, quantity| Line { sku: sku.to_owned(), quantity };
    CreateOrder {
        customer: customer.to_owned(),
        lines: vec![line("teapot", 2), line("cup", 4)],
        caller: "anonymous".to_owned(),
    }
}

pub(crate) fn priced(sku: &str, quantity: i64, cents: Option<i64>) -> PricedLine {
    let unit_price = cents.map(|cents| Money::new(cents, "EUR"));
    PricedLine { sku: sku.to_owned(), quantity, unit_price }
}

pub(crate) fn confirmation() -> ConfirmOrder {
    ConfirmOrder {
        lines: vec![priced("teapot", 2, Some(2_500)), priced("cup", 4, Some(300))],
        total: Some(Money::new(6_200, "EUR")),
    }
}

pub(crate) fn rejection(cancelled: bool) -> RejectOrder {
    let (code, reason) =
        if cancelled { ("CANCELLED", "changed my mind") } else { ("OUT_OF_STOCK", "no teapots") };
    RejectOrder { reason_code: code.into(), reason: reason.into(), cancelled, order: None }
}
