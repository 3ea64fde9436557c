//! TLS: named files that are read, checked, and swapped without a restart, and connections over
//! them.
//!
//! This is the only crate that depends on `rustls`. It has one provider of cryptography,
//! `aws-lc-rs`, which it names wherever a configuration is made, so that no other crate's features
//! decide on it.
//! A set of files that is not right never replaces one that is: see [`Tls::keep_current`].
//!
//! Read first: [`Files`], [`Tls`], and `load.rs`, where a set is checked.

mod certificate;
mod connector;
pub mod development;
mod files;
mod load;
mod reload;
mod tls;

pub use certificate::{Certificate, Unnamed};
pub use connector::{Connector, Io};
pub use files::{Choices, ClientAuth, Files};
pub use load::LoadError;
pub use reload::{EVERY, Stamp};
pub use tls::{Tls, presented};
pub use tokio_rustls::{client::TlsStream as ClientStream, server::TlsStream as ServerStream};
