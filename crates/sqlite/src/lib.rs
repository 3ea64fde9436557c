//! SQLite for the embedded stores: a database for each role, in a data directory or in memory, and
//! the participants' inbox.
//!
//! This is not a second engine: the adapters here and in the services implement the same ports as
//! those for Postgres, and one conformance suite tests both. There is no concurrency: a database
//! has one writer, and a transaction begins only after the previous one has ended.
//!
//! This crate starts no threads and reads only the clocks that it is given, so that a simulator
//! gets the same run from the same seed.
//!
//! Read first: [`Database`], [`Transaction`] and [`Schema`].

mod clock;
mod data_dir;
mod database;
mod failure;
mod inbox;
mod schema;
mod transaction;

#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use data_dir::{DataDir, DataDirError};
pub use database::Database;
pub use failure::failure;
pub use inbox::{INBOX, INBOX_2, INBOX_3, Inbox};
pub use schema::{OpenError, Schema};
pub use transaction::Transaction;
