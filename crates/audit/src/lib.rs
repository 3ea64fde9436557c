//! Checks from outside that a system's databases agree with each other.
//!
//! A few columns of each table of the databases and of the payment provider's ledger are copied
//! into one scratch database. There the equations in `books/` are evaluated, which read like a
//! textbook: each states what must hold, on how many rows it is checked, and which rows offend. The
//! audit uses none of the code that wrote the rows: no engine, no kit, no rule, no table module. It
//! computes totals from ledger rows, and never relies only on counters that the same statement
//! wrote.
//!
//! This crate does not know where the databases are, or when to read them. `saga audit` and the
//! simulator decide that, each in its own way.
//!
//! Read first: one of the files in `books/`, then [`judge`].

use std::fmt;

mod divergence;
mod equations;
mod report;
mod scratch;
mod sqlite;
mod tables;

pub use divergence::{
    Ahead, Divergences, Half, Line, Lost, LostHow, NOBODY, Order, Record, Return, Stray,
};
pub use report::{Judged, Options, Report, Sagas, Stuck, Verdict, judge};
pub use scratch::{Books, Scratch};
pub use sqlite::copy;
pub use tables::{Column, Kind, PARTICULARS, TABLES, Table};

/// The databases that the audit reads, by owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// The orchestrators' database.
    Orchestrator,
    /// The order service's database.
    Order,
    /// The inventory service's database.
    Inventory,
    /// The payment service's database.
    Payment,
    /// The payment provider's ledger, which is a third party's.
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

/// The reasons why a database could not be copied.
#[derive(Debug)]
pub enum Failure {
    /// The database cannot be read, with the reason.
    Source(String),
    /// The scratch database cannot be used.
    Scratch(rusqlite::Error),
}
