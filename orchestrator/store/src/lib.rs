//! The sagas' store: the engine's ports [`saga_engine::SagaStore`] and
//! [`saga_engine::SagaReads`] over Postgres and over SQLite. Tables and columns
//! have the same names in both, and the same meaning, so that whoever looks from
//! outside asks one question of either.
//!
//! Read first: `row.rs` for what a row holds, then [`postgres::SagaTable`].

pub mod postgres;
mod row;
pub mod sqlite;
