//! The whole system from end to end: each role is its own process, with real Postgres, real
//! RabbitMQ, and clients over gRPC. The audit looks from outside, with nothing but SQL and the
//! clients' own log.

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
mod impostor;
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
mod uncreated;
