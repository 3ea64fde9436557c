//! Two small sagas to test with: one shaped like place order, and one whose
//! compensatable steps go side by side.

use saga_core::{Cause, Command, Definition, Saga, Steps, TypeName, step, together};
use serde::{Deserialize, Serialize};

macro_rules! messages {
    ($($participant:literal: $command:ident { $($field:ident: $type:ty),* } => $reply:ident {
        $($answer:ident: $answer_type:ty),*
    })*) => {$(
        #[derive(Clone, Debug, Serialize, Deserialize)]
        pub(crate) struct $command { $(pub(crate) $field: $type),* }

        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        pub(crate) struct $reply { $(pub(crate) $answer: $answer_type),* }

        impl TypeName for $command {
            const TYPE: &'static str = stringify!($command);
        }

        impl TypeName for $reply {
            const TYPE: &'static str = stringify!($reply);
        }

        impl Command for $command {
            const PARTICIPANT: &'static str = $participant;
            type Reply = $reply;
        }
    )*};
}

messages! {
    "order": CreateOrder { sku: String } => OrderCreated {}
    "order": RejectOrder { why: String } => OrderRejected {}
    "order": ConfirmOrder { total: u64 } => OrderConfirmed {}
    "inventory": ReserveStock { sku: String } => StockReserved { total: u64 }
    "inventory": ReleaseStock {} => StockReleased {}
    "inventory": CommitStock {} => StockCommitted {}
    "payment": AuthorisePayment { amount: u64 } => PaymentAuthorised {}
    "payment": VoidAuthorisation {} => PaymentVoided {}
    "payment": CapturePayment {} => PaymentCaptured {}
    "airline": BookFlight {} => FlightBooked {}
    "airline": CancelFlight {} => FlightCancelled {}
    "hotel": BookRoom {} => RoomBooked {}
    "hotel": CancelRoom {} => RoomCancelled {}
}

/// A saga shaped like place order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) sku: String,
    pub(crate) total: u64,
}

impl Saga for Order {
    const NAME: &'static str = "order";
    const VERSION: u32 = 1;

    fn steps() -> Definition<Self> {
        Steps::new()
            .compensatable(
                step("create", |s: &Self| CreateOrder { sku: s.sku.clone() })
                    .compensate(|_, cause| RejectOrder { why: why(cause) }),
            )
            .compensatable(
                step("reserve", |s: &Self| ReserveStock { sku: s.sku.clone() })
                    .on_reply(|s, reply| s.total = reply.total)
                    .compensate(|_, _| ReleaseStock {}),
            )
            .compensatable(
                step("authorise", |s: &Self| AuthorisePayment { amount: s.total })
                    .compensate(|_, _| VoidAuthorisation {}),
            )
            .pivot(step("capture", |_: &Self| CapturePayment {}))
            .retriable(together((
                step("commit", |_: &Self| CommitStock {}),
                step("confirm", |s: &Self| ConfirmOrder { total: s.total }),
            )))
            .build()
    }
}

/// A saga with flight and room side by side, then the payment. It has no retriable step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Trip {}

impl Saga for Trip {
    const NAME: &'static str = "trip";
    const VERSION: u32 = 1;

    fn steps() -> Definition<Self> {
        Steps::new()
            .compensatable(
                step("create", |_: &Self| CreateOrder { sku: "trip".to_owned() })
                    .compensate(|_, cause| RejectOrder { why: why(cause) }),
            )
            .compensatable(together((
                step("flight", |_: &Self| BookFlight {}).compensate(|_, _| CancelFlight {}),
                step("room", |_: &Self| BookRoom {}).compensate(|_, _| CancelRoom {}),
            )))
            .pivot(step("capture", |_: &Self| CapturePayment {}))
            .build()
    }
}

/// Describes a cause in a few words.
pub(crate) fn why(cause: &Cause) -> String {
    match cause {
        Cause::Refused { step, refusal } => format!("{step}: {}", refusal.code),
        Cause::Unanswered { step } => format!("{step}: unanswered"),
        Cause::Deadline => "deadline".to_owned(),
        Cause::Cancelled(wish) => format!("cancelled by {}", wish.by),
        Cause::Operator(signed) => format!("undone by {}", signed.by),
    }
}

/// Returns the type of the reply to a step's command, as a participant would name it.
pub(crate) fn reply_type(step: &str, compensation: bool) -> &'static str {
    match (step, compensation) {
        ("nowhere", _) => "Nowhere",
        ("create", false) => OrderCreated::TYPE,
        ("create", true) => OrderRejected::TYPE,
        ("reserve", false) => StockReserved::TYPE,
        ("reserve", true) => StockReleased::TYPE,
        ("authorise", false) => PaymentAuthorised::TYPE,
        ("authorise", true) => PaymentVoided::TYPE,
        ("capture", false) => PaymentCaptured::TYPE,
        ("commit", false) => StockCommitted::TYPE,
        ("confirm", false) => OrderConfirmed::TYPE,
        ("flight", false) => FlightBooked::TYPE,
        ("flight", true) => FlightCancelled::TYPE,
        ("room", false) => RoomBooked::TYPE,
        ("room", true) => RoomCancelled::TYPE,
        (step, _) => panic!("the script names a step that is none: {step}"),
    }
}
