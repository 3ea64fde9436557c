//! The store of sagas: implements the engine's ports [`saga_engine::SagaStore`] and
//! [`saga_engine::SagaReads`] over Postgres and over SQLite. Tables and columns have the same names
//! and meanings in both, so that queries from outside work on either.
//!
//! Read first: `row.rs` for the content of a row, then [`postgres::SagaTable`].

pub mod memory;
pub mod postgres;
mod row;
pub mod sqlite;
