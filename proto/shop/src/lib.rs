//! The shop's contract in Rust: the client API, commands, replies and events.
//!
//! The code is generated from the `.proto` files beside it, which are the source of truth. Only
//! [`Money`]'s arithmetic, the table of commands with their participants, and the `Debug` output
//! without payment tokens are written by hand. No behaviour of any service is here.
//!
//! Read first: `saga/shop/v1/shop.proto`, then a participant's file.

mod commands;
mod money;
mod redacted;

pub use commands::{COMMANDS, CommandKind, EVENTS, EventKind};
pub use money::{Money, MoneyError};

/// The descriptors of the shop's `.proto` files, for gRPC reflection. Those of the operators'
/// contract are [`saga_operations::DESCRIPTORS`].
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! package {
    ($($name:ident)*) => {$(
        #[expect(missing_docs, reason = "generated; the .proto file is the documentation")]
        pub mod $name {
            #[expect(clippy::allow_attributes, reason = "generated")]
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/saga.", stringify!($name), ".v1.rs"));
                include!(concat!(env!("OUT_DIR"), "/saga.", stringify!($name), ".v1.serde.rs"));
            }
        }
    )*};
}

package!(types order inventory payment shop);
