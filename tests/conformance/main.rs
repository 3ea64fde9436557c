//! What every adapter of a port must do, one file a property, run over each of
//! the port's adapters. An adapter that is not listed here is not one yet.

mod databases;
mod inbox;
mod orders;
mod payments;
mod saga_store;
mod shelf;
mod transport;
