//! Tests of the adapter against a real broker. Tests that stop the broker start their own.

mod connecting;
mod consuming;
mod hints;
mod malformed;
mod outages;
mod permissions;
mod publishing;
mod senders;
mod setup;
