//! What every adapter of a port must do, one file a property, run over each of
//! the port's adapters; and, in each port's `planted.rs`, the properties over SQL with
//! a bug in it, which they must see. An adapter that is not listed here is not one yet.

mod databases;
mod inbox;
mod orders;
mod payments;
mod planted;
mod saga_store;
mod shelf;
mod transport;
