//! The scratch database: copies of the columns that the equations need, in one SQL dialect.

use rusqlite::{Connection, Result, params_from_iter, types::Value};

/// The tables that rows are copied into.
const TABLES: &str = include_str!("scratch.sql");
/// What is derived from them once all are there, and what makes comparing them fast.
const DERIVED: &str = include_str!("derived.sql");
/// The pages that are kept in memory, in KiB. What is more goes to a file that nobody else sees.
const CACHE_KIB: i64 = 64 * 1024;

/// Where all rows come together.
#[derive(Debug)]
pub struct Scratch(Connection);

impl Scratch {
    /// An empty one: SQLite's own temporary database, in memory while it is small, and gone when it is closed.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn new() -> Result<Self> {
        let connection = Connection::open("")?;
        connection.pragma_update(None, "journal_mode", "OFF")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.execute_batch(TABLES)?;
        Ok(Self(connection))
    }

    /// Adds rows to a table.
    pub(crate) fn insert(
        &mut self,
        table: &str,
        columns: &[&str],
        rows: Vec<Vec<Value>>,
    ) -> Result<()> {
        let marks = vec!["?"; columns.len()].join(", ");
        let sql = format!("INSERT INTO {table} ({}) VALUES ({marks})", columns.join(", "));
        let transaction = self.0.transaction()?;
        let mut statement = transaction.prepare_cached(&sql)?;
        for row in rows {
            statement.execute(params_from_iter(row))?;
        }
        drop(statement);
        transaction.commit()
    }

    /// All rows are there: the equations can be asked.
    ///
    /// # Errors
    /// If deriving fails.
    pub fn complete(self) -> Result<Books> {
        self.0.execute_batch(DERIVED)?;
        Ok(Books(self.0))
    }
}

/// A complete scratch database.
#[derive(Debug)]
pub struct Books(pub(crate) Connection);

impl Books {
    /// Writes down what the caller expects, for the equations that compare with it.
    pub(crate) fn expect(&self, quarantined: u64, orders: Option<u64>) -> Result<()> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let sql = "INSERT INTO expected (quarantined, orders) VALUES (?1, ?2)";
        self.0.execute(sql, (number(quarantined), orders.map(number))).map(drop)
    }
}
