//! What must be true of a system's books, computed from outside.
//!
//! Rows of the databases and of the payment provider's ledger are copied, a few columns of each
//! table, into one scratch database. There the equations of `books/` are asked, which are to be
//! read as a textbook is: each says what must hold, on how many rows it is checked, and who
//! offends. None of the code that wrote the rows is asked: no engine, no kit, no rule, no table
//! module. Totals come from ledger rows, never only from counters that the same statement wrote.
//!
//! Not here: where the databases are and when they are read (`saga audit` and the simulator each
//! know their own).
//!
//! Read first: one of the files in `books/`, then [`judge`].

use std::fmt;

mod equations;
mod report;
mod scratch;
mod sqlite;
mod tables;

pub use report::{Judged, Options, Report, Sagas, Stuck, Verdict, judge};
pub use scratch::{Books, Scratch};
pub use sqlite::copy;
pub use tables::{Column, Kind, TABLES, Table};

/// Whose database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// The orchestrators'.
    Orchestrator,
    /// The order service's.
    Order,
    /// The inventory service's.
    Inventory,
    /// The payment service's.
    Payment,
    /// The payment provider's ledger, which is not ours.
    Provider,
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Orchestrator => "orchestrator",
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::Provider => "provider",
        })
    }
}

/// What went wrong while one database was copied.
#[derive(Debug)]
pub enum Failure {
    /// The database cannot be read, and why.
    Source(String),
    /// The scratch database cannot be used.
    Scratch(rusqlite::Error),
}
