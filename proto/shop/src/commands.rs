//! Lists which messages are commands, which participant handles each, and which reply answers it.

use saga_core::{Command, DomainEvent, TypeName};

use saga_operations::v1 as operations;

use crate::{inventory::v1 as inventory, order::v1 as order, payment::v1 as payment};

macro_rules! named {
    ($($package:literal: { $($message:path = $name:literal),* $(,)? })*) => {
        $($(
            impl TypeName for $message {
                const TYPE: &'static str = concat!($package, ".", $name);
            }
        )*)*
        #[cfg(test)]
        const ALL_NAMES: &[&str] = &[$($(concat!($package, ".", $name),)*)*];
    };
}

macro_rules! commands {
    ($list:ident, $participant:literal: $($command:path => $reply:path),* $(,)?) => {
        $(
            impl Command for $command {
                const PARTICIPANT: &'static str = $participant;
                type Reply = $reply;
            }
        )*
        const $list: &[CommandKind] = &[$(CommandKind {
            participant: $participant,
            type_name: <$command as TypeName>::TYPE,
            reply: <$reply as TypeName>::TYPE,
        },)*];
    };
}

macro_rules! events {
    ($($event:path = $key:literal),* $(,)?) => {
        $(
            impl DomainEvent for $event {
                const KEY: &'static str = $key;
            }
        )*
        /// All events: the participants' domain events, and the orchestrators' own event.
        pub const EVENTS: &[EventKind] =
            &[$(EventKind::of::<$event>(),)* EventKind::of::<operations::SagaStuck>()];
    };
}

/// A command, as a row of the contract's table.
#[derive(Clone, Copy, Debug)]
pub struct CommandKind {
    /// The name of the participant that handles the command.
    pub participant: &'static str,
    /// The command's full protobuf name.
    pub type_name: &'static str,
    /// The full protobuf name of the reply, if the command is done.
    pub reply: &'static str,
}

/// A domain event, as a row of the contract's table.
#[derive(Clone, Copy, Debug)]
pub struct EventKind {
    /// The event's routing key.
    pub key: &'static str,
    /// The event's full protobuf name.
    pub type_name: &'static str,
}

impl EventKind {
    const fn of<E: DomainEvent>() -> Self {
        Self { key: E::KEY, type_name: E::TYPE }
    }
}

/// All commands, in one list for each participant.
pub const COMMANDS: &[&[CommandKind]] = &[ORDER, INVENTORY, PAYMENT];

named! {
    "saga.order.v1": {
        order::CreateOrder = "CreateOrder",
        order::OrderCreated = "OrderCreated",
        order::RejectOrder = "RejectOrder",
        order::OrderRejectedReply = "OrderRejectedReply",
        order::ConfirmOrder = "ConfirmOrder",
        order::OrderConfirmedReply = "OrderConfirmedReply",
        order::OrderPlaced = "OrderPlaced",
        order::OrderConfirmed = "OrderConfirmed",
        order::OrderRejected = "OrderRejected",
        order::OrderCancelled = "OrderCancelled",
        order::OpenReturn = "OpenReturn",
        order::ReturnOpenedReply = "ReturnOpenedReply",
        order::RejectReturn = "RejectReturn",
        order::ReturnRejectedReply = "ReturnRejectedReply",
        order::MarkReturned = "MarkReturned",
        order::OrderReturnedReply = "OrderReturnedReply",
        order::ReturnOpened = "ReturnOpened",
        order::ReturnRejected = "ReturnRejected",
        order::OrderReturned = "OrderReturned",
    }
    "saga.inventory.v1": {
        inventory::ReserveStock = "ReserveStock",
        inventory::StockReservedReply = "StockReservedReply",
        inventory::ReleaseStock = "ReleaseStock",
        inventory::StockReleasedReply = "StockReleasedReply",
        inventory::CommitStock = "CommitStock",
        inventory::StockCommittedReply = "StockCommittedReply",
        inventory::StockReserved = "StockReserved",
        inventory::StockReleased = "StockReleased",
        inventory::StockCommitted = "StockCommitted",
        inventory::TakeBackStock = "TakeBackStock",
        inventory::StockTakenBackReply = "StockTakenBackReply",
        inventory::StockTakenBack = "StockTakenBack",
    }
    "saga.payment.v1": {
        payment::AuthorisePayment = "AuthorisePayment",
        payment::PaymentAuthorisedReply = "PaymentAuthorisedReply",
        payment::VoidAuthorisation = "VoidAuthorisation",
        payment::PaymentVoidedReply = "PaymentVoidedReply",
        payment::CapturePayment = "CapturePayment",
        payment::PaymentCapturedReply = "PaymentCapturedReply",
        payment::RefundPayment = "RefundPayment",
        payment::PaymentRefundedReply = "PaymentRefundedReply",
        payment::PaymentAuthorised = "PaymentAuthorised",
        payment::PaymentDeclined = "PaymentDeclined",
        payment::PaymentVoided = "PaymentVoided",
        payment::PaymentCaptured = "PaymentCaptured",
        payment::PaymentRefunded = "PaymentRefunded",
    }
}

commands! { ORDER, "order":
    order::CreateOrder => order::OrderCreated,
    order::RejectOrder => order::OrderRejectedReply,
    order::ConfirmOrder => order::OrderConfirmedReply,
    order::OpenReturn => order::ReturnOpenedReply,
    order::RejectReturn => order::ReturnRejectedReply,
    order::MarkReturned => order::OrderReturnedReply,
}

commands! { INVENTORY, "inventory":
    inventory::ReserveStock => inventory::StockReservedReply,
    inventory::ReleaseStock => inventory::StockReleasedReply,
    inventory::CommitStock => inventory::StockCommittedReply,
    inventory::TakeBackStock => inventory::StockTakenBackReply,
}

commands! { PAYMENT, "payment":
    payment::AuthorisePayment => payment::PaymentAuthorisedReply,
    payment::VoidAuthorisation => payment::PaymentVoidedReply,
    payment::CapturePayment => payment::PaymentCapturedReply,
    payment::RefundPayment => payment::PaymentRefundedReply,
}

events! {
    order::OrderPlaced = "order.placed",
    order::OrderConfirmed = "order.confirmed",
    order::OrderRejected = "order.rejected",
    order::OrderCancelled = "order.cancelled",
    order::ReturnOpened = "order.return_opened",
    order::ReturnRejected = "order.return_rejected",
    order::OrderReturned = "order.returned",
    inventory::StockReserved = "stock.reserved",
    inventory::StockReleased = "stock.released",
    inventory::StockCommitted = "stock.committed",
    inventory::StockTakenBack = "stock.taken_back",
    payment::PaymentAuthorised = "payment.authorised",
    payment::PaymentDeclined = "payment.declined",
    payment::PaymentVoided = "payment.voided",
    payment::PaymentCaptured = "payment.captured",
    payment::PaymentRefunded = "payment.refunded",
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        let set = prost_types::FileDescriptorSet::decode(crate::DESCRIPTORS).expect("ours");
        let names: Vec<String> = set
            .file
            .iter()
            .flat_map(|file| {
                file.message_type.iter().map(|m| format!("{}.{}", file.package(), m.name()))
            })
            .collect();
        for name in ALL_NAMES {
            assert!(names.iter().any(|n| n == name), "{name} is in no .proto file");
        }
    }

    #[test]
    fn every_message_with_a_name_is_a_command_a_reply_or_an_event() {
        let commands = COMMANDS.iter().copied().flatten().flat_map(|c| [c.type_name, c.reply]);
        let mut listed: Vec<&str> = commands.chain(EVENTS.iter().map(|e| e.type_name)).collect();
        listed.retain(|name| *name != operations::SagaStuck::TYPE);
        let mut named = ALL_NAMES.to_vec();
        listed.sort_unstable();
        named.sort_unstable();
        assert_eq!(named, listed);
    }

    #[test]
    fn amounts_travel_as_text_and_unknown_fields_are_ignored() {
        let json = r#"{"amount":{"minorUnits":"9007199254740993","currency":"EUR"},"later":1}"#;
        let command: payment::AuthorisePayment = serde_json::from_str(json).expect("tolerant");
        let amount = command.amount.expect("set");
        assert_eq!(amount.minor_units, 9_007_199_254_740_993, "more than a double can hold");
    }
}
