//! Tests of the front door with a real engine. Everything else is in memory.

mod access;
mod bad_input;
mod cancelling;
mod catalogue;
mod intervening;
mod limits;
mod operating;
mod placing;
mod quarantine;
mod reading;
mod returning;
mod watching;
mod world;
