//! The scratch database: copies of the columns that the equations need, in one SQL dialect.

use rusqlite::{CachedStatement, Connection, Result, params_from_iter, types::Value};

use crate::{Failure, tables::TABLES};

/// What is derived from them once all are there, and what makes comparing them fast.
const DERIVED: &str = include_str!("derived.sql");
/// At most this much is kept in memory. The rest goes to a file that nobody else sees.
const CACHE_KIB: i64 = 64 * 1024;

/// Where all rows come together.
#[derive(Debug)]
pub struct Scratch(Connection);

impl Scratch {
    /// An empty one: SQLite's own temporary database, in memory while it is small, and gone when it
    /// is closed.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn new() -> Result<Self> {
        let connection = Connection::open("")?;
        connection.pragma_update(None, "journal_mode", "OFF")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.execute_batch("BEGIN")?;
        for table in TABLES {
            connection.execute_batch(&table.create())?;
        }
        Ok(Self(connection))
    }

    /// Adds a row by a table's [`insert`](crate::Table::insert).
    ///
    /// # Errors
    /// [`Failure::Scratch`].
    pub fn put(&mut self, insert: &str, row: Vec<Value>) -> std::result::Result<(), Failure> {
        let put = |mut insert: CachedStatement<'_>| insert.execute(params_from_iter(row));
        self.0.prepare_cached(insert).and_then(put).map(drop).map_err(Failure::Scratch)
    }

    /// All rows are there: the equations can be asked.
    ///
    /// # Errors
    /// If deriving fails.
    pub fn complete(self) -> Result<Books> {
        self.0.execute_batch("COMMIT")?;
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
