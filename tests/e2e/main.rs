//! The whole path on the real parts: each role its own process, real Postgres,
//! real RabbitMQ, clients over gRPC. The audit looks from outside, with SQL and
//! the clients' own log only.

mod audit;
mod away;
mod canary;
mod collector;
mod commands;
mod contract;
mod delivery;
mod demo;
mod foreign;
mod hostile;
mod kill;
mod load;
mod metrics;
mod operating;
mod orders;
mod projection;
mod proxy;
mod python;
mod quarantine;
mod retention;
mod returning;
mod returns;
mod silent;
mod system;
mod traces;
