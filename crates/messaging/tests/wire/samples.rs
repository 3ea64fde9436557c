//! Sample envelopes, one of each kind.

use saga_core::{CommandId, Direction, OutgoingCommand, Payload, SagaId, Timestamp};
use saga_messaging::{Body, Envelope, EventBody, Outcome, ReplyBody};
use serde_json::value::RawValue;

pub(crate) fn id(saga: u128) -> CommandId {
    CommandId {
        saga: SagaId(uuid::Uuid::from_u128(saga)),
        step: "reserve-stock".into(),
        direction: Direction::Action,
    }
}

pub(crate) fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

/// 24 November 2026, 04:00 UTC, and a fraction of a second.
pub(crate) const NOW: Timestamp = Timestamp(1_795_492_800_123_456);

pub(crate) const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub(crate) fn command(saga: u128, data: &str) -> Envelope {
    let payload = Payload {
        type_name: "saga.inventory.v1.ReserveStock",
        participant: "inventory",
        data: json(data),
    };
    let command = OutgoingCommand {
        id: id(saga),
        payload,
        attempt: 2,
        expiry_millis: 4_800,
        sequence: 2,
        definition: "place-order",
        definition_version: 1,
        traceparent: Some(TRACEPARENT.into()),
    };
    Envelope::command(command, "saga/orchestrator", NOW)
}

pub(crate) fn reply(outcome: Outcome, repeat: bool, type_name: &str, data: &str) -> Envelope {
    Envelope {
        id: id(7),
        source: "saga/inventory".into(),
        type_name: type_name.into(),
        time: Some(NOW),
        traceparent: None,
        data: json(data),
        body: Body::Reply(ReplyBody {
            outcome,
            repeat,
            definition: "place-order".into(),
            definition_version: 1,
            passed_on: 0,
            answered_by: None,
        }),
    }
}

pub(crate) fn event() -> Envelope {
    Envelope {
        id: id(7),
        source: "saga/inventory".into(),
        type_name: "saga.inventory.v1.StockReserved".into(),
        time: None,
        traceparent: None,
        data: json(r#"{"orderId":"o"}"#),
        body: Body::Event(EventBody {
            sequence: 12,
            definition: Some("place-order".to_owned()),
            definition_version: Some(2),
        }),
    }
}
