//! The scratch database: copies of the columns that the equations need, in one SQL dialect.

use rusqlite::{CachedStatement, Connection, Result, params_from_iter, types::Value};

use crate::{
    Failure,
    tables::{PARTICULARS, TABLES},
};

/// SQL that runs after all rows are copied. It creates derived tables, and indices for speed.
const DERIVED: &str = include_str!("derived.sql");
/// Memory for the scratch database. Beyond that, rows go to a file that no other process can see.
const CACHE_KIB: i64 = 64 * 1024;

/// The database that the rows are copied into.
#[derive(Debug)]
pub struct Scratch(Connection);

impl Scratch {
    /// Creates an empty database. It is SQLite's temporary database: in memory while it is small,
    /// and deleted when it is closed.
    ///
    /// # Errors
    /// If there is not enough memory or disk space.
    pub fn new() -> Result<Self> {
        let connection = Connection::open("")?;
        connection.pragma_update(None, "journal_mode", "OFF")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.execute_batch("BEGIN")?;
        for table in TABLES.iter().chain(PARTICULARS) {
            connection.execute_batch(&table.create())?;
        }
        Ok(Self(connection))
    }

    /// Inserts a row with a table's statement [`insert`](crate::Table::insert).
    ///
    /// # Errors
    /// [`Failure::Scratch`].
    pub fn put(&mut self, insert: &str, row: Vec<Value>) -> std::result::Result<(), Failure> {
        let put = |mut insert: CachedStatement<'_>| insert.execute(params_from_iter(row));
        self.0.prepare_cached(insert).and_then(put).map(drop).map_err(Failure::Scratch)
    }

    /// Declares that all rows were copied, so that the equations can be evaluated.
    ///
    /// # Errors
    /// If a derived table cannot be created.
    pub fn complete(self) -> Result<Books> {
        self.0.execute_batch("COMMIT")?;
        self.0.execute_batch(DERIVED)?;
        Ok(Books(self.0))
    }
}

/// A scratch database that is complete.
#[derive(Debug)]
pub struct Books(pub(crate) Connection);

impl Books {
    /// Stores the numbers that the caller expects, for the equations that compare with them.
    pub(crate) fn expect(&self, quarantined: u64, orders: Option<u64>) -> Result<()> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let sql = "INSERT INTO expected (quarantined, orders) VALUES (?1, ?2)";
        self.0.execute(sql, (number(quarantined), orders.map(number))).map(drop)
    }
}
