//! The floor on SQLite, as the embedded system uses it: WAL, synchronous=FULL, one writer a database.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::Context as _;
use rusqlite::{
    Connection, OpenFlags,
    types::{ToSqlOutput, ValueRef},
};
use saga_sqlite::{Clock, Database, Schema, Transaction};
use uuid::Uuid;

use super::{
    BATCH, Floor, Numbered, Rounds, SAMPLE, Supply, WORKERS, amounts, is_over,
    plan::{Action, Batch, Role, Statement, TABLES, TRANSACTIONS},
    rate,
    rows::{Column, Table, Tables, Value},
};
use crate::path::Timing;

/// How many commits are timed, one at a time.
const COMMITS: usize = 100;

/// Measures the floor of what a data directory holds, in files beside it. Its system must have been stopped.
pub(crate) async fn measure(data_dir: &Path, rounds: Rounds) -> anyhow::Result<Floor> {
    let batches = Arc::new(sample(data_dir)?);
    let dir = tempfile::tempdir_in(data_dir.parent().context("a directory above the data")?)?;
    let fresh = Arc::new(Fresh::make(data_dir, dir.path())?);
    let supply = Arc::new(Supply::new(batches));
    let mut measured = Vec::new();
    for _ in 0..rounds.count {
        let began = Instant::now();
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                let (fresh, supply) = (Arc::clone(&fresh), Arc::clone(&supply));
                tokio::spawn(async move { fresh.write(&supply, began, rounds).await })
            })
            .collect();
        let mut sagas = 0;
        for worker in workers {
            sagas += worker.await??;
        }
        measured.push((sagas, began.elapsed()));
    }
    let (local_transactions_a_saga, rows_a_saga) = amounts(&supply.batches);
    Ok(Floor {
        sagas_a_second: rate(&measured),
        local_transactions_a_saga,
        commits_a_batch: TRANSACTIONS.len(),
        rows_a_saga,
        commit: fresh.commit().await?,
    })
}

fn schema(role: Role) -> &'static Schema {
    match role {
        Role::Orchestrator => &saga_store::sqlite::SCHEMA,
        Role::Order => &saga_order::table::sqlite::SCHEMA,
        Role::Inventory => &saga_inventory::table::sqlite::SCHEMA,
        Role::Payment => &saga_payment::table::sqlite::SCHEMA,
    }
}

fn file(dir: &Path, role: Role) -> std::path::PathBuf {
    dir.join(format!("{}.sqlite", role.name()))
}

fn open(dir: &Path, role: Role) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(file(dir, role), OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// The last sagas of the system, laid out in batches.
fn sample(dir: &Path) -> anyhow::Result<Vec<Batch>> {
    let (mut tables, mut ids) = (Tables::default(), Vec::new());
    for role in Role::ALL {
        let connection = open(dir, role)?;
        if role == Role::Orchestrator {
            let mut ended = connection.prepare(
                "SELECT id FROM sagas WHERE definition = 'place-order' AND state IN (3, 4)
                 ORDER BY id DESC LIMIT ?1",
            )?;
            ids = ended
                .query_map([SAMPLE as i64], |row| row.get::<_, Uuid>(0))?
                .collect::<rusqlite::Result<_>>()?;
        }
        for (_, name, id) in TABLES.iter().filter(|(of, ..)| *of == role) {
            let table = table(&connection, name, id, &ids)
                .with_context(|| format!("reading {name} of {}", role.name()))?;
            tables.put(role.name(), name, table);
        }
    }
    anyhow::ensure!(!ids.is_empty(), "there is no saga that has ended");
    ids.chunks(BATCH).map(|ids| Batch::of(&tables, ids)).collect()
}

fn table(connection: &Connection, name: &str, id: &str, ids: &[Uuid]) -> rusqlite::Result<Table> {
    let mut table = Table::default();
    let mut select = connection.prepare(&format!("SELECT * FROM {name} WHERE {id} = ?1"))?;
    let names: Vec<String> = select.column_names().iter().map(ToString::to_string).collect();
    let column = |name: String| Column { name, sql_type: String::new() };
    table.columns = names.into_iter().map(column).collect();
    for saga in ids {
        let mut rows = select.query([saga])?;
        while let Some(row) = rows.next()? {
            let values = (0..table.columns.len())
                .map(|at| row.get_ref(at).map(|value| self::value(value, *saga)))
                .collect::<rusqlite::Result<_>>()?;
            table.rows.entry(*saga).or_default().push(values);
        }
    }
    Ok(table)
}

fn value(value: ValueRef<'_>, saga: Uuid) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Big(number),
        ValueRef::Blob(bytes) if bytes == saga.as_bytes() => Value::Saga,
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_owned()),
        // There are no fractions in these tables.
        ValueRef::Real(number) => Value::Big(number as i64),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
    }
}

/// Databases like the system's, without its rows.
struct Fresh {
    databases: Vec<Database>,
}

impl Fresh {
    fn make(data_dir: &Path, dir: &Path) -> anyhow::Result<Self> {
        let mut databases = Vec::new();
        for role in Role::ALL {
            let file = dir.join(role.name());
            databases.push(Database::open(&file, schema(role), Clock::system())?);
            if role == Role::Inventory {
                let products = Connection::open(&file)?;
                let from = self::file(data_dir, role);
                products.execute(
                    "ATTACH ?1 AS system",
                    [from.to_str().context("the data directory's name is no UTF-8")?],
                )?;
                products.execute_batch(
                    "INSERT INTO products
                     SELECT sku, name, price, currency, received, received, 0, 0
                     FROM system.products WHERE sku LIKE 'bench-%'",
                )?;
            }
        }
        Ok(Self { databases })
    }

    /// Writes batch after batch, and says how many sagas that were.
    async fn write(&self, supply: &Supply, began: Instant, rounds: Rounds) -> anyhow::Result<u64> {
        let mut sagas = 0;
        while !is_over(began, rounds) {
            let numbered = supply.next();
            for (transaction, statements) in TRANSACTIONS.iter().zip(&numbered.batch().statements) {
                let tx = self.databases[transaction.role as usize].begin().await?;
                tokio::task::block_in_place(|| {
                    for statement in statements {
                        execute(statement, &numbered, &tx)?;
                    }
                    anyhow::Ok(tx.commit()?)
                })?;
            }
            sagas += numbered.ids.len() as u64;
        }
        Ok(sagas)
    }

    /// One row, committed by itself. In a database that has been written to, as a system's has been: its log is overwritten
    /// and does not grow, which is what makes a commit slow in a new one.
    async fn commit(&self) -> anyhow::Result<Timing> {
        let database = &self.databases[Role::Orchestrator as usize];
        let tx = database.begin().await?;
        tx.execute_batch("CREATE TABLE one_commit (number INTEGER) STRICT")?;
        tx.commit()?;
        let mut took = Vec::with_capacity(COMMITS);
        for number in 0..COMMITS as i64 {
            let began = Instant::now();
            let tx = database.begin().await?;
            tx.statement("INSERT INTO one_commit VALUES (?1)")?.execute([number])?;
            tx.commit()?;
            took.push(began.elapsed());
        }
        Ok(Timing::of(took))
    }
}

fn execute(statement: &Statement, numbered: &Numbered, tx: &Transaction) -> anyhow::Result<()> {
    let mut prepared = tx.statement(&sql(statement))?;
    for row in 0..statement.rows() {
        for (at, (column, values)) in statement.columns.iter().zip(&statement.values).enumerate() {
            let id = &numbered.ids[statement.sagas[row]];
            let bound = match &values[row] {
                Value::Saga => ToSqlOutput::Borrowed(ValueRef::Blob(id.as_bytes())),
                Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
                Value::Text(key) if column.name == "key" => {
                    ToSqlOutput::from(format!("{key}/{}", numbered.run))
                }
                Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
                Value::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
                Value::Big(number) => ToSqlOutput::from(*number),
                // Postgres' types: SQLite's tables hold none of them.
                Value::Small(_) | Value::Int(_) | Value::Time(_) | Value::Flag(_) => {
                    anyhow::bail!("{} is of a type that SQLite does not have", column.name)
                }
            };
            prepared.raw_bind_parameter(at + 1, bound)?;
        }
        let written = prepared.raw_execute()?;
        anyhow::ensure!(written == 1, "{written} rows of {} instead of one", statement.table);
    }
    Ok(())
}

/// One row's statement: its parameters are the columns, in their order.
fn sql(statement: &Statement) -> String {
    let Statement { table, action, columns, .. } = statement;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let numbered: Vec<(usize, &str)> = (1..).zip(names.iter().copied()).collect();
    let each = |some: &[(usize, &str)], one: &dyn Fn(usize, &str) -> String, between: &str| {
        some.iter().map(|(n, name)| one(*n, name)).collect::<Vec<_>>().join(between)
    };
    match action {
        Action::Insert => format!(
            "INSERT INTO {table} ({}) VALUES ({})",
            names.join(", "),
            each(&numbered, &|n, _| format!("?{n}"), ", ")
        ),
        Action::Update { key } => format!(
            "UPDATE {table} SET {} WHERE {}",
            each(&numbered[*key..], &|n, name| format!("{name} = ?{n}"), ", "),
            each(&numbered[..*key], &|n, name| format!("{name} = ?{n}"), " AND "),
        ),
        Action::Move => format!(
            "UPDATE {table} SET {} WHERE {} = ?1",
            each(&numbered[1..], &|n, name| format!("{name} = {name} + ?{n}"), ", "),
            names[0],
        ),
    }
}
