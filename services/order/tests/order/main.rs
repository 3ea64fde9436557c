//! The order service on a real Postgres: its tables, its commands and its reads.

mod orders;
mod reads;
mod support;
