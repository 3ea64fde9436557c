//! The rows of all services and of the provider, for comparing two runs.
//!
//! Ids and times are left out, because they differ from run to run. Rows whose effect was undone,
//! such as a rejected order or a void payment, can be left out too.

use std::{collections::BTreeMap, fmt};

use rusqlite::{Connection, Result, types::Value};

use crate::world::World;

/// A table, and the SQL condition for its undone rows.
struct Table {
    name: &'static str,
    undone: &'static str,
}

const fn table(name: &'static str, undone: &'static str) -> Table {
    Table { name, undone }
}

/// The condition for a table whose rows are never undone.
const NEVER: &str = "FALSE";
/// Tables that only remember commands and calls. They are not compared.
const MEMORY: [&str; 4] = ["inbox", "inbox_watermark", "operations", "attempts"];

const ORDER: [Table; 4] = [
    table("orders", "status IN (3, 4)"),
    table("order_lines", "order_id IN (SELECT order_id FROM orders WHERE status IN (3, 4))"),
    table("returns", "state = 3"),
    table("return_lines", "return_id IN (SELECT return_id FROM returns WHERE state = 3)"),
];
const INVENTORY: [Table; 4] = [
    table("products", NEVER),
    table("receipts", NEVER),
    table("reservations", "state = 'released'"),
    table(
        "movements",
        "EXISTS (SELECT 1 FROM movements m WHERE m.kind = 'released'
         AND m.saga_id = movements.saga_id AND m.sku = movements.sku)",
    ),
];
const PAYMENT: [Table; 3] = [
    table("payments", "status IN ('voided', 'declined')"),
    table(
        "payment_ledger",
        "order_id IN (SELECT order_id FROM payments WHERE status IN ('voided', 'declined'))",
    ),
    table("refunds", "state = 'refused'"),
];
const PROVIDER: [Table; 2] = [
    table("payments", "status IN ('cancelled', 'declined')"),
    table(
        "ledger",
        "payment_id IN (SELECT id FROM payments WHERE status IN ('cancelled', 'declined'))",
    ),
];

/// The rows of every table as text, sorted.
type Rows = BTreeMap<String, Vec<String>>;

/// The rows of all databases at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Books {
    /// All rows.
    pub(crate) all: Rows,
    /// The rows that were not undone.
    pub(crate) standing: Rows,
}

impl Books {
    /// Reads the rows of all databases.
    pub(crate) async fn read(world: &World) -> Self {
        let mut books = Self { all: Rows::new(), standing: Rows::new() };
        let databases = &world.databases;
        let owners = [
            ("order", &databases.order, &ORDER[..]),
            ("inventory", &databases.inventory, &INVENTORY),
            ("payment", &databases.payment, &PAYMENT),
            ("provider", world.provider.ledger.database(), &PROVIDER),
        ];
        for (owner, database, tables) in owners {
            let read = database.read(|connection| books.add(owner, connection, tables)).await;
            read.expect("the books can be read");
        }
        books
    }

    fn add(&mut self, owner: &str, connection: &Connection, tables: &[Table]) -> Result<()> {
        let mut named = connection.prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        )?;
        for name in named.query_map([], |row| row.get::<_, String>(0))? {
            let name = name?;
            if MEMORY.contains(&name.as_str()) {
                continue;
            }
            let known = tables.iter().find(|table| table.name == name);
            let Some(Table { undone, .. }) = known else {
                panic!("{owner} has a table {name}: say here what of it counts as undone")
            };
            let key = format!("{owner}.{name}");
            self.all.insert(key.clone(), rows(connection, &name, NEVER)?);
            self.standing.insert(key, rows(connection, &name, undone)?);
        }
        Ok(())
    }
}

/// Returns the rows of a table for which the condition `undone` does not hold.
fn rows(connection: &Connection, table: &str, undone: &str) -> Result<Vec<String>> {
    let mut asked = connection.prepare(&format!("SELECT * FROM {table} WHERE NOT ({undone})"))?;
    let names: Vec<String> = asked.column_names().into_iter().map(str::to_owned).collect();
    let read = asked.query_map([], |row| {
        let mut text = Vec::new();
        for (place, name) in names.iter().enumerate() {
            let value: Value = row.get(place)?;
            if !differs(name, &value) {
                text.push(format!("{name}={}", told(&value)));
            }
        }
        Ok(text.join(" "))
    })?;
    let mut rows = read.collect::<Result<Vec<_>>>()?;
    rows.sort_unstable();
    Ok(rows)
}

fn told(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Blob(_) => "a blob".to_owned(),
    }
}

/// Returns whether a column differs from run to run: ids, hashes and times do.
fn differs(name: &str, value: &Value) -> bool {
    let id = matches!(
        name,
        "id" | "provider_id" | "payment_id" | "idempotency_key" | "reference" | "seq"
    );
    id || matches!(value, Value::Blob(_)) || name == "at" || name.ends_with("_at")
}

/// The expected rows and the rows that were found. Displays the differences.
pub(crate) struct Difference<'a>(pub(crate) &'a Rows, pub(crate) &'a Rows);

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(due, found) = self;
        for (table, rows) in *due {
            let now = found.get(table).map(Vec::as_slice).unwrap_or_default();
            if now != rows {
                writeln!(f, "{table}")?;
                let mut gone = rows.iter().filter(|row| !now.contains(row));
                gone.try_for_each(|row| writeln!(f, "  without {row}"))?;
                let mut new = now.iter().filter(|row| !rows.contains(row));
                new.try_for_each(|row| writeln!(f, "  with    {row}"))?;
            }
        }
        Ok(())
    }
}
