//! A saga that exists only in the test of the foreign participant.

use saga_core::{Command, Definition, Saga, Steps, TypeName, step};
use serde::{Deserialize, Serialize};

macro_rules! messages {
    ($($command:ident { $($field:ident: $type:ty),* } => $reply:ident { $($answer:ident: $answer_type:ty),* })*) => {$(
        #[derive(Clone, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct $command { $($field: $type),* }

        // As in every message of the contract, a field that is not sent has its default.
        #[derive(Clone, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct $reply { $($answer: $answer_type),* }

        impl TypeName for $command {
            const TYPE: &'static str = concat!("shop.shipping.v1.", stringify!($command));
        }

        impl TypeName for $reply {
            const TYPE: &'static str = concat!("shop.shipping.v1.", stringify!($reply));
        }

        impl Command for $command {
            const PARTICIPANT: &'static str = "shipping";
            type Reply = $reply;
        }
    )*};
}

messages! {
    BookShipment { depot: String, parcels: u32 } => ShipmentBookedReply { tracking_code: String }
    CancelShipment {} => ShipmentCancelledReply { parcels: u32 }
    DispatchShipment { address: String, tracking_code: String } => ShipmentDispatchedReply {}
}

/// A saga of two steps: booking, which can be undone, and dispatching, the pivot.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Delivery {
    depot: String,
    parcels: u32,
    address: String,
    tracking_code: String,
}

impl Saga for Delivery {
    const NAME: &'static str = "delivery";
    const VERSION: u32 = 1;

    fn steps() -> Definition<Self> {
        Steps::new()
            .compensatable(
                step("book-shipment", |s: &Self| BookShipment {
                    depot: s.depot.clone(),
                    parcels: s.parcels,
                })
                .on_reply(|s, reply: ShipmentBookedReply| s.tracking_code = reply.tracking_code)
                .compensate(|_, _| CancelShipment {}),
            )
            .pivot(step("dispatch-shipment", |s: &Self| DispatchShipment {
                address: s.address.clone(),
                tracking_code: s.tracking_code.clone(),
            }))
            .build()
    }
}

/// The end that a saga must reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Dispatched,
    /// The depot has no room, so there is nothing to undo.
    Refused,
    /// No road leads to the destination, so the booking is undone.
    Undone,
}

pub(crate) fn fate(n: usize) -> Fate {
    match n % 10 {
        0 => Fate::Refused,
        1..=3 => Fate::Undone,
        _ => Fate::Dispatched,
    }
}

pub(crate) fn delivery(n: usize) -> Delivery {
    Delivery {
        depot: if fate(n) == Fate::Refused { "south" } else { "north" }.to_owned(),
        parcels: parcels(n),
        address: if fate(n) == Fate::Undone { "nowhere" } else { "Main Street 1" }.to_owned(),
        tracking_code: String::new(),
    }
}

pub(crate) fn parcels(n: usize) -> u32 {
    1 + (n % 4) as u32
}
