//! Taps on the ports, for tests: decorators that forward every call except those that a test
//! changes or observes. What is behind a tap is a real adapter.
//!
//! A tap is a type with one of the traits [`SagaTap`], [`InboxTap`] and [`TransportTap`], whose
//! methods all have a default that forwards. [`Tapped`] makes the port of it. [`Line`] is a ready
//! tap: the other end of the line to one participant.

mod inbox;
mod line;
mod sagas;
mod transport;

pub use crate::{
    inbox::InboxTap,
    line::{Line, Reply, command},
    sagas::SagaTap,
    transport::{TransportTap, before_ack, changed, silence},
};

/// A port whose calls go through a tap.
#[derive(Clone, Debug)]
pub struct Tapped<T>(pub T);
