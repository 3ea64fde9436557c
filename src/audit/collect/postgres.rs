//! Reads a Postgres database. A role with read access only is enough.

use std::{str::FromStr as _, time::Duration};

use futures::TryStreamExt as _;
use rusqlite::types::Value;
use saga_audit::{Column, Database, Failure, Kind, Scratch, Table};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};

use tokio::time::timeout;

use super::Pulse;
use crate::secrets::Secret;

/// If a server has not accepted a connection within this time, it counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Begins a transaction that sees one instant and can change nothing.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Copies a database's tables in one snapshot.
pub(super) async fn read(
    url: &Secret,
    database: Database,
    tables: impl Iterator<Item = &'static Table>,
    mut scratch: Scratch,
) -> Result<Scratch, Failure> {
    let mut source = connect(url).await?;
    sqlx::query(SNAPSHOT).execute(&mut source).await.map_err(refused)?;
    for table in tables.filter(|table| table.database == database) {
        copy(&mut source, table, &mut scratch).await?;
    }
    // The connection is not used again, so nothing depends on how it ends.
    let _ = source.close().await;
    Ok(scratch)
}

pub(super) async fn pulse(url: &Secret) -> Result<Pulse, Failure> {
    let mut source = connect(url).await?;
    let row = sqlx::query(Pulse::SQL).fetch_one(&mut source).await.map_err(refused)?;
    let _ = source.close().await;
    let number = |index| row.try_get::<i64, _>(index).map_err(refused);
    Ok(Pulse::new([number(0)?, number(1)?, number(2)?]))
}

/// Returns the name, host and port of a database, without user and password.
pub(super) fn place(url: &Secret) -> String {
    match PgConnectOptions::from_str(&url.0) {
        Ok(options) => format!(
            "{} at {}:{}",
            options.get_database().unwrap_or_default(),
            options.get_host(),
            options.get_port()
        ),
        Err(_) => "(whose URL is wrong)".to_owned(),
    }
}

async fn connect(url: &Secret) -> Result<PgConnection, Failure> {
    // The parser's error may quote the URL.
    let options = PgConnectOptions::from_str(&url.0)
        .map_err(|_| Failure::Source("its URL is not postgres://user:password@host/name".into()))?
        .application_name("saga audit")
        .disable_statement_logging();
    match timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await {
        Ok(connected) => connected.map_err(refused),
        Err(_) => Err(Failure::Source(format!("no connection within {CONNECT_TIMEOUT:?}"))),
    }
}

async fn copy(
    source: &mut PgConnection,
    table: &Table,
    scratch: &mut Scratch,
) -> Result<(), Failure> {
    let (columns, insert): (Vec<Column>, _) = (table.columns().collect(), table.insert());
    let expressions: Vec<String> = columns.iter().map(cast).collect();
    let sql = format!("SELECT {} FROM {}", expressions.join(", "), table.source);
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(source);
    while let Some(row) = rows.try_next().await.map_err(refused)? {
        let values = columns.iter().enumerate().map(|(index, c)| value(c.kind, &row, index));
        scratch.put(&insert, values.collect::<Result<_, _>>().map_err(refused)?)?;
    }
    Ok(())
}

fn cast(Column { expression, kind, .. }: &Column) -> String {
    match kind {
        Kind::Id | Kind::Text | Kind::Outcome => format!("({expression})::text"),
        Kind::Integer => format!("({expression})::bigint"),
        Kind::Bytes => format!("encode({expression}, 'hex')"),
    }
}

fn value(kind: Kind, row: &PgRow, index: usize) -> Result<Value, sqlx::Error> {
    Ok(match kind {
        Kind::Integer => row.try_get::<Option<i64>, _>(index)?.map_or(Value::Null, Value::Integer),
        Kind::Id | Kind::Text | Kind::Bytes => {
            row.try_get::<Option<String>, _>(index)?.map_or(Value::Null, Value::Text)
        }
        Kind::Outcome => row.try_get::<Option<&str>, _>(index)?.map_or(Value::Null, Kind::outcome),
    })
}

fn refused(error: sqlx::Error) -> Failure {
    let hint = match error.as_database_error().and_then(|error| error.code()).as_deref() {
        Some("42P01") => " (has `saga setup` been run?)",
        Some("42501") => " (the role needs SELECT on every table)",
        _ => "",
    };
    Failure::Source(format!("{error}{hint}"))
}
