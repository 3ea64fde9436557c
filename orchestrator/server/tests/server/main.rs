//! The front door over a real engine, with everything around it in memory.

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
