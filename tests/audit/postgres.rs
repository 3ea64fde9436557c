//! The audit of the same databases in Postgres.

use std::{path::Path, process::Output};

use anyhow::{Context as _, ensure};
use rusqlite::{Connection, types::ValueRef};
use saga_postgres::{INBOX, Migrations, PoolSettings};
use saga_test_support::Servers;
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use uuid::Uuid;

use crate::books::{Books, Found};

/// Rows in one `INSERT`.
const ROWS_AT_ONCE: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_books_in_postgres_get_the_same_report() -> anyhow::Result<()> {
    let books = Books::write().await?;
    let servers = Moved::from(&books).await?;
    let (here, there) =
        (books.audit(&["--require-rows"]).await?, servers.audit(&["--require-rows"]).await?);
    ensure!(there.failed().is_empty() && there.status == 0, "{}", there.offenders());
    ensure!(here.report == there.report, "{}\n{}", here.report, there.report);

    // The auditor's own writes would fail, but it sees what others write.
    sqlx::query(
        "UPDATE products SET received = received + 1, available = available + 1 WHERE sku = 'teapot'",
    )
    .execute(&servers.pool("SAGA_INVENTORY_DATABASE_URL").await?)
    .await?;
    let damaged = servers.audit(&[]).await?;
    ensure!(damaged.status == 1 && damaged.failed().into_iter().eq(["stock-ledger".to_owned()]));
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_password() -> anyhow::Result<()> {
    let gone = "postgres://auditor:s3cret@127.0.0.1:1/books";
    let variables = VARIABLES.map(|(_, variable)| (variable.to_owned(), gone.to_owned()));
    let output = saga(&variables, &["audit"]).await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2) && output.stdout.is_empty(), "{output:?}");
    ensure!(told.contains("books at 127.0.0.1:1") && !told.contains("s3cret"), "{told}");
    Ok(())
}

/// A role's SQLite file, and the variable with the URL of its database.
const VARIABLES: [(&str, &str); 4] = [
    ("orchestrator.sqlite", "SAGA_ORCHESTRATOR_DATABASE_URL"),
    ("order.sqlite", "SAGA_ORDER_DATABASE_URL"),
    ("inventory.sqlite", "SAGA_INVENTORY_DATABASE_URL"),
    ("payment.sqlite", "SAGA_PAYMENT_DATABASE_URL"),
];

/// The databases of a run, moved to Postgres except the provider's.
struct Moved {
    environment: Vec<(String, String)>,
}

impl Moved {
    async fn from(books: &Books) -> anyhow::Result<Self> {
        let provider = books.path("provider").display().to_string();
        let mut environment = vec![("SAGA_PROVIDER_DATA_DIR".to_owned(), provider)];
        let parts: [&[&Migrations]; 4] = [
            &[&saga_store::postgres::MIGRATIONS],
            &[&INBOX, &saga_order::MIGRATIONS],
            &[&INBOX, &saga_inventory::MIGRATIONS],
            &[&INBOX, &saga_payment::MIGRATIONS],
        ];
        for ((file, variable), parts) in VARIABLES.into_iter().zip(parts) {
            let fresh = || Servers::shared().fresh_database("audit");
            let url = tokio::task::spawn_blocking(fresh).await?;
            environment.push((variable.to_owned(), url));
            let pool = pool(&environment, variable).await?;
            saga_postgres::migrate(&pool, parts).await?;
            copy(&books.path(file), &pool).await.with_context(|| file.to_owned())?;
        }
        Ok(Self { environment })
    }

    async fn pool(&self, variable: &str) -> anyhow::Result<PgPool> {
        pool(&self.environment, variable).await
    }

    /// Runs the audit with read-only transactions.
    async fn audit(&self, more: &[&str]) -> anyhow::Result<Found> {
        let mut environment = self.environment.clone();
        for (_, url) in environment.iter_mut().filter(|(_, url)| url.starts_with("postgres")) {
            url.push_str(if url.contains('?') { "&" } else { "?" });
            url.push_str("options=-c%20default_transaction_read_only=on");
        }
        Found::of(&saga(&environment, &[&["audit", "--json"], more].concat()).await?)
    }
}

async fn saga(environment: &[(String, String)], args: &[&str]) -> anyhow::Result<Output> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_saga"));
    command.args(args).env_clear().envs(environment.iter().cloned()).kill_on_drop(true);
    Ok(command.output().await?)
}

async fn pool(environment: &[(String, String)], variable: &str) -> anyhow::Result<PgPool> {
    let (_, url) = environment.iter().find(|(name, _)| name == variable).context("no such URL")?;
    let settings = PoolSettings { application: "audit test".to_owned(), max_connections: 2 };
    Ok(saga_postgres::connect(url, &settings).await?)
}

/// Copies every row of a SQLite file into the tables of the same names.
async fn copy(file: &Path, pool: &PgPool) -> anyhow::Result<()> {
    let columns = sqlx::query(
        "SELECT table_name::text, array_agg(column_name::text ORDER BY ordinal_position),
                array_agg(data_type::text ORDER BY ordinal_position)
         FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name NOT IN ('_sqlx_migrations', 'schema_needs')
         GROUP BY table_name",
    )
    .fetch_all(pool)
    .await?;
    for row in columns {
        let (table, names, types): (String, Vec<String>, Vec<String>) =
            (row.get(0), row.get(1), row.get(2));
        let rows = literals(file, &table, &names, &types)?;
        // The file also has the rows that migrations insert.
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}"))).execute(pool).await?;
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let (names, rows) = (names.join(", "), rows.join(", "));
            let sql = format!("INSERT INTO {table} ({names}) VALUES {rows}");
            sqlx::query(AssertSqlSafe(sql)).execute(pool).await.context(table.clone())?;
        }
    }
    Ok(())
}

/// Returns a table's rows as SQL literals for Postgres: `(…, …)`.
fn literals(
    file: &Path,
    table: &str,
    names: &[String],
    types: &[String],
) -> anyhow::Result<Vec<String>> {
    let source = Connection::open(file)?;
    let mut statement = source.prepare(&format!("SELECT {} FROM {table}", names.join(", ")))?;
    let mut rows = statement.query([])?;
    let mut literals = Vec::new();
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(types.len());
        for (place, kind) in types.iter().enumerate() {
            values.push(literal(row.get_ref(place)?, kind)?);
        }
        literals.push(format!("({})", values.join(", ")));
    }
    Ok(literals)
}

fn literal(value: ValueRef<'_>, kind: &str) -> anyhow::Result<String> {
    Ok(match (value, kind) {
        (ValueRef::Null, _) => "NULL".to_owned(),
        (ValueRef::Blob(id), "uuid") => format!("'{}'", Uuid::from_slice(id)?),
        (ValueRef::Blob(bytes), "bytea") => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("'\\x{hex}'")
        }
        (ValueRef::Integer(micros), "timestamp with time zone") => {
            format!("to_timestamp({micros} / 1000000.0)")
        }
        (ValueRef::Integer(number), "bigint" | "integer" | "smallint") => number.to_string(),
        (ValueRef::Text(text), "text") => {
            format!("'{}'", std::str::from_utf8(text)?.replace('\'', "''"))
        }
        (value, kind) => anyhow::bail!("{value:?} is no {kind}"),
    })
}
