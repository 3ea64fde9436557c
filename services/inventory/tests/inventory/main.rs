//! The inventory on a real Postgres: its tables, its commands and its catalogue.

mod catalogue;
mod concurrency;
mod participant;
mod retention;
mod stock;
mod support;
