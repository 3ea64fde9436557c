//! The shop's contract, as Rust: the client API, commands, replies and events.
//!
//! Generated from the `.proto` files beside it, which are the truth; written by
//! hand are only [`Money`]'s arithmetic and the table of which command goes to
//! whom. No behaviour of any service is here.
//!
//! Read first: `saga/shop/v1/shop.proto`, then a participant's file.

mod commands;
mod money;
mod redacted;

pub use commands::{COMMANDS, CommandKind, EVENTS, EventKind};
pub use money::{Money, MoneyError};

/// The descriptors of these files, for gRPC reflection. Those of the operators' contract are
/// [`saga_operations::DESCRIPTORS`].
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
