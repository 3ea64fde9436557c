//! The floor on Postgres.

use std::{str::FromStr as _, sync::Arc, time::Instant};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use saga_postgres::{INBOX, Migrations, Pool, PoolSettings};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, PgConnection, Postgres,
    Row as _, TypeInfo as _,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    BATCH, Floor, Numbered, Rounds, SAMPLE, Supply, WORKERS, amounts, is_over,
    plan::{Action, Batch, Role, Statement, TABLES, TRANSACTIONS},
    rate,
    rows::{Column, Table, Tables, Value},
};
use crate::{path::Timing, system::database_of};
use saga::config::Setup;

/// How many commits are timed, one at a time.
const COMMITS: usize = 200;
/// Connections of one database that write. One for the inventory: two would wait for each other's hot products.
const CONNECTIONS: usize = 2;
/// Every statement finds its rows by their keys: on tables as young as these the planner would rather read them whole.
const BY_KEY: &str =
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off";

/// Measures the floor of what these databases hold, on the same server, in databases of its own.
pub(crate) async fn measure(settings: &Setup, rounds: Rounds) -> anyhow::Result<Floor> {
    let admin = settings.admin.as_ref().context("SAGA_ADMIN_DATABASE_URL is not set")?;
    let batches = Arc::new(sample(settings).await?);
    let fresh = Fresh::make(settings, &admin.0).await?;
    let measured = fresh.measure(batches, rounds).await;
    fresh.drop(&admin.0).await?;
    measured
}

/// The last sagas of the system, laid out in batches.
async fn sample(settings: &Setup) -> anyhow::Result<Vec<Batch>> {
    let (mut tables, mut ids) = (Tables::default(), Vec::new());
    for role in Role::ALL {
        let pool = connect(url(settings, role)).await?;
        if role == Role::Orchestrator {
            ids = sqlx::query_scalar::<_, Uuid>(
                "SELECT id FROM sagas WHERE definition = 'place-order' AND state IN (3, 4)
                 ORDER BY id DESC LIMIT $1",
            )
            .bind(SAMPLE as i64)
            .fetch_all(&pool)
            .await?;
        }
        for (_, name, id) in TABLES.iter().filter(|(of, ..)| *of == role) {
            tables.put(role.name(), name, table(&pool, name, id, &ids).await?);
        }
        pool.close().await;
    }
    anyhow::ensure!(!ids.is_empty(), "there is no saga that has ended");
    ids.chunks(BATCH).map(|ids| Batch::of(&tables, ids)).collect()
}

async fn table(
    pool: &Pool,
    name: &'static str,
    id: &'static str,
    ids: &[Uuid],
) -> anyhow::Result<Table> {
    let sql = format!("SELECT {id} AS of_saga, t.* FROM {name} t WHERE {id} = ANY($1)");
    let mut table = Table::default();
    for row in sqlx::query(AssertSqlSafe(sql)).bind(ids).fetch_all(pool).await? {
        let saga: Uuid = row.try_get(0)?;
        if table.columns.is_empty() {
            table.columns = row.columns()[1..].iter().map(column).collect();
        }
        let values =
            (1..row.len()).map(|at| value(&row, at, saga)).collect::<anyhow::Result<_>>()?;
        table.rows.entry(saga).or_default().push(values);
    }
    Ok(table)
}

fn column(column: &sqlx::postgres::PgColumn) -> Column {
    Column { name: column.name().to_owned(), sql_type: column.type_info().name().to_owned() }
}

fn value(row: &PgRow, at: usize, saga: Uuid) -> anyhow::Result<Value> {
    let column = row.column(at);
    let value = match column.type_info().name() {
        "UUID" => {
            let id = row.try_get::<Option<Uuid>, _>(at)?;
            anyhow::ensure!(id.is_none_or(|id| id == saga), "{} is another id", column.name());
            id.map(|_| Value::Saga)
        }
        "TEXT" => row.try_get::<Option<String>, _>(at)?.map(Value::Text),
        "INT2" => row.try_get::<Option<i16>, _>(at)?.map(Value::Small),
        "INT4" => row.try_get::<Option<i32>, _>(at)?.map(Value::Int),
        "INT8" => row.try_get::<Option<i64>, _>(at)?.map(Value::Big),
        "BYTEA" => row.try_get::<Option<Vec<u8>>, _>(at)?.map(Value::Bytes),
        "TIMESTAMPTZ" => row.try_get::<Option<DateTime<Utc>>, _>(at)?.map(Value::Time),
        "BOOL" => row.try_get::<Option<bool>, _>(at)?.map(Value::Flag),
        other => anyhow::bail!(
            "column {} is of type {other}, which the floor does not know",
            column.name()
        ),
    };
    Ok(value.unwrap_or(Value::Null))
}

fn url(settings: &Setup, role: Role) -> &str {
    match role {
        Role::Orchestrator => &settings.orchestrator.0,
        Role::Order => &settings.order.0,
        Role::Inventory => &settings.inventory.0,
        Role::Payment => &settings.payment.0,
    }
}

fn migrations(role: Role) -> Vec<&'static Migrations> {
    match role {
        Role::Orchestrator => vec![&saga_store::postgres::MIGRATIONS],
        Role::Order => vec![&INBOX, &saga_order::MIGRATIONS],
        Role::Inventory => vec![&INBOX, &saga_inventory::MIGRATIONS],
        Role::Payment => vec![&INBOX, &saga_payment::MIGRATIONS],
    }
}

async fn connect(url: &str) -> anyhow::Result<Pool> {
    let settings = PoolSettings { application: "saga-bench".to_owned(), max_connections: 1 };
    Ok(saga_postgres::connect(url, &settings).await?)
}

/// Databases like the system's, without its rows.
struct Fresh {
    connections: Vec<Vec<Mutex<PgConnection>>>,
    names: Vec<String>,
}

impl Fresh {
    async fn make(settings: &Setup, admin: &str) -> anyhow::Result<Self> {
        let (mut connections, mut names) = (Vec::new(), Vec::new());
        for role in Role::ALL {
            let source = url(settings, role);
            let mut at: reqwest::Url = source.parse().context("a database's URL")?;
            let name = format!("{}_floor", database_of(source));
            at.set_path(&name);
            drop_database(admin, &name).await?;
            saga_postgres::provision(admin, at.as_str()).await?;
            let pool = connect(at.as_str()).await?;
            saga_postgres::migrate(&pool, &migrations(role)).await?;
            pool.close().await;
            let mut own = Vec::new();
            for _ in 0..if role == Role::Inventory { 1 } else { CONNECTIONS } {
                let mut connection = PgConnectOptions::from_str(at.as_str())?.connect().await?;
                sqlx::raw_sql(BY_KEY).execute(&mut connection).await?;
                own.push(Mutex::new(connection));
            }
            if role == Role::Inventory {
                copy_products(source, own[0].get_mut()).await?;
            }
            connections.push(own);
            names.push(name);
        }
        Ok(Self { connections, names })
    }

    async fn measure(&self, batches: Arc<Vec<Batch>>, rounds: Rounds) -> anyhow::Result<Floor> {
        let supply = Supply::new(batches);
        let mut measured = Vec::new();
        for _ in 0..rounds.count {
            let began = Instant::now();
            let workers = (0..WORKERS).map(|worker| self.write(worker, &supply, began, rounds));
            let sagas = futures::future::try_join_all(workers).await?.into_iter().sum();
            measured.push((sagas, began.elapsed()));
        }
        let (local_transactions_a_saga, rows_a_saga) = amounts(&supply.batches);
        Ok(Floor {
            sagas_a_second: rate(&measured),
            local_transactions_a_saga,
            commits_a_batch: TRANSACTIONS.len(),
            rows_a_saga,
            commit: self.commit().await?,
        })
    }

    /// Writes batch after batch, and says how many sagas that were.
    async fn write(
        &self,
        worker: usize,
        supply: &Supply,
        began: Instant,
        rounds: Rounds,
    ) -> anyhow::Result<u64> {
        let mut sagas = 0;
        while !is_over(began, rounds) {
            let numbered = supply.next();
            for (transaction, statements) in TRANSACTIONS.iter().zip(&numbered.batch().statements) {
                let own = &self.connections[transaction.role as usize];
                let mut connection = own[worker % own.len()].lock().await;
                let mut tx = connection.begin().await?;
                for statement in statements {
                    execute(statement, &numbered, &mut tx).await?;
                }
                tx.commit().await?;
            }
            sagas += numbered.ids.len() as u64;
        }
        Ok(sagas)
    }

    /// One row, in a statement that is its own transaction: one round trip, and what makes it durable.
    async fn commit(&self) -> anyhow::Result<Timing> {
        let mut connection = self.connections[0][0].lock().await;
        sqlx::query("CREATE TABLE one_commit (number bigint)").execute(&mut *connection).await?;
        let mut took = Vec::with_capacity(COMMITS);
        for number in 0..COMMITS as i64 {
            let began = Instant::now();
            let insert = sqlx::query("INSERT INTO one_commit VALUES ($1)").bind(number);
            insert.execute(&mut *connection).await?;
            took.push(began.elapsed());
        }
        Ok(Timing::of(took))
    }

    async fn drop(self, admin: &str) -> anyhow::Result<()> {
        for connection in self.connections.into_iter().flatten() {
            connection.into_inner().close().await?;
        }
        for name in &self.names {
            drop_database(admin, name).await?;
        }
        Ok(())
    }
}

async fn drop_database(admin: &str, name: &str) -> anyhow::Result<()> {
    let mut admin = PgConnectOptions::from_str(admin)?.connect().await?;
    let drop: String = sqlx::query_scalar("SELECT format('DROP DATABASE IF EXISTS %I', $1)")
        .bind(name)
        .fetch_one(&mut admin)
        .await?;
    sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await?;
    Ok(admin.close().await?)
}

async fn copy_products(from: &str, to: &mut PgConnection) -> anyhow::Result<()> {
    let pool = connect(from).await?;
    let products = sqlx::query(
        "SELECT sku, name, price, currency, received FROM products WHERE sku LIKE 'bench-%'",
    );
    for row in products.fetch_all(&pool).await? {
        sqlx::query(
            "INSERT INTO products (sku, name, price, currency, received, available, reserved, sold)
             VALUES ($1, $2, $3, $4, $5, $5, 0, 0)",
        )
        .bind(row.try_get::<String, _>(0)?)
        .bind(row.try_get::<String, _>(1)?)
        .bind(row.try_get::<i64, _>(2)?)
        .bind(row.try_get::<String, _>(3)?)
        .bind(row.try_get::<i64, _>(4)?)
        .execute(&mut *to)
        .await?;
    }
    pool.close().await;
    Ok(())
}

async fn execute(
    statement: &Statement,
    numbered: &Numbered,
    tx: &mut PgConnection,
) -> anyhow::Result<()> {
    let sql = sql(statement);
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (column, values) in statement.columns.iter().zip(&statement.values) {
        query = bind(query, statement, column, values, numbered);
    }
    let done = query.execute(tx).await?;
    let rows = statement.rows() as u64;
    anyhow::ensure!(
        done.rows_affected() == rows,
        "{rows} rows of {} were to be written, and {} were",
        statement.table,
        done.rows_affected()
    );
    Ok(())
}

fn sql(statement: &Statement) -> String {
    let Statement { table, action, columns, .. } = statement;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let arrays: Vec<String> =
        columns.iter().enumerate().map(|(n, c)| format!("${}::{}[]", n + 1, c.sql_type)).collect();
    let (list, arrays) = (names.join(", "), arrays.join(", "));
    let each = |names: &[&str], one: &dyn Fn(&str) -> String, between: &str| {
        names.iter().map(|name| one(name)).collect::<Vec<_>>().join(between)
    };
    match action {
        Action::Insert => format!("INSERT INTO {table} ({list}) SELECT * FROM UNNEST({arrays})"),
        Action::Update { key } => format!(
            "UPDATE {table} AS t SET {} FROM UNNEST({arrays}) AS u ({list}) WHERE {}",
            each(&names[*key..], &|name| format!("{name} = u.{name}"), ", "),
            each(&names[..*key], &|name| format!("t.{name} = u.{name}"), " AND "),
        ),
        Action::Move => format!(
            "UPDATE {table} AS t SET {} FROM UNNEST({arrays}) AS u ({list}) WHERE t.{1} = u.{1}",
            each(&names[1..], &|name| format!("{name} = t.{name} + u.{name}"), ", "),
            names[0],
        ),
    }
}

fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    statement: &Statement,
    column: &Column,
    values: &[Value],
    numbered: &Numbered,
) -> Query<'q, Postgres, PgArguments> {
    /// One type's values; anything else is NULL.
    macro_rules! array {
        ($variant:ident) => {
            values
                .iter()
                .map(|value| match value {
                    Value::$variant(own) => Some(own.clone()),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
    }
    match column.sql_type.to_ascii_uppercase().as_str() {
        "UUID" => {
            let id = |(value, saga): (&Value, &usize)| match value {
                Value::Saga => Some(numbered.ids[*saga]),
                _ => None,
            };
            query.bind(values.iter().zip(&statement.sagas).map(id).collect::<Vec<_>>())
        }
        "INT2" => query.bind(array!(Small)),
        "INT4" => query.bind(array!(Int)),
        "INT8" | "BIGINT" => query.bind(array!(Big)),
        "BYTEA" => query.bind(array!(Bytes)),
        "TIMESTAMPTZ" => query.bind(array!(Time)),
        "BOOL" => query.bind(array!(Flag)),
        // `sample` has seen to it that there is no other type.
        _ if column.name == "key" => query.bind(
            array!(Text)
                .into_iter()
                .map(|key| key.map(|key| format!("{key}/{}", numbered.run)))
                .collect::<Vec<_>>(),
        ),
        _ => query.bind(array!(Text)),
    }
}
