//! Each kind of envelope is written to JSON and read back.

use expect_test::{Expect, expect};
use saga_core::Refusal;
use saga_messaging::{Envelope, Outcome};

use crate::samples::{command, event, json, reply};

#[test]
fn a_command() {
    check(
        &command(7, r#"{"lines":[{"sku":"teapot","quantity":"2"}]}"#),
        expect![[r#"
        {"specversion":"1.0",
        "id":"00000000-0000-0000-0000-000000000007/reserve-stock/action",
        "source":"saga/orchestrator",
        "type":"saga.inventory.v1.ReserveStock",
        "subject":"00000000-0000-0000-0000-000000000007",
        "time":"2026-11-24T04:00:00.123456Z",
        "datacontenttype":"application/json",
        "traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "attempt":2,
        "sequence":"0002",
        "definition":"place-order",
        "definitionversion":1,
        "data":{"lines":[{"sku":"teapot",
        "quantity":"2"}]}}"#]],
    );
}

#[test]
fn a_reply_that_it_is_done() {
    let data = r#"{"total":{"minorUnits":"2500","currency":"EUR"}}"#;
    let reply = reply(Outcome::Done, false, "saga.inventory.v1.StockReservedReply", data);
    check(
        &reply,
        expect![[r#"
        {"specversion":"1.0",
        "id":"00000000-0000-0000-0000-000000000007/reserve-stock/action",
        "source":"saga/inventory",
        "type":"saga.inventory.v1.StockReservedReply",
        "subject":"00000000-0000-0000-0000-000000000007",
        "time":"2026-11-24T04:00:00.123456Z",
        "datacontenttype":"application/json",
        "definition":"place-order",
        "definitionversion":1,
        "outcome":"done",
        "data":{"total":{"minorUnits":"2500",
        "currency":"EUR"}}}"#]],
    );
}

#[test]
fn a_repeated_refusal() {
    let (name, data) = Envelope::refusal(&Refusal::new("OUT_OF_STOCK", "1 of 2 \"teapots\" é"));
    check(
        &reply(Outcome::Refused, true, &name, data.get()),
        expect![[r#"
        {"specversion":"1.0",
        "id":"00000000-0000-0000-0000-000000000007/reserve-stock/action",
        "source":"saga/inventory",
        "type":"saga.types.v1.Refusal",
        "subject":"00000000-0000-0000-0000-000000000007",
        "time":"2026-11-24T04:00:00.123456Z",
        "datacontenttype":"application/json",
        "definition":"place-order",
        "definitionversion":1,
        "outcome":"refused",
        "repeat":true,
        "data":{"code":"OUT_OF_STOCK",
        "message":"1 of 2 \"teapots\" é"}}"#]],
    );
}

#[test]
fn an_action_that_is_too_late() {
    let (name, data) = Envelope::too_late();
    check(
        &reply(Outcome::TooLate, false, &name, data.get()),
        expect![[r#"
        {"specversion":"1.0",
        "id":"00000000-0000-0000-0000-000000000007/reserve-stock/action",
        "source":"saga/inventory",
        "type":"saga.types.v1.TooLate",
        "subject":"00000000-0000-0000-0000-000000000007",
        "time":"2026-11-24T04:00:00.123456Z",
        "datacontenttype":"application/json",
        "definition":"place-order",
        "definitionversion":1,
        "outcome":"toolate",
        "data":{}}"#]],
    );
}

#[test]
fn an_event() {
    check(
        &event(),
        expect![[r#"
            {"specversion":"1.0",
            "id":"00000000-0000-0000-0000-000000000007/reserve-stock/action",
            "source":"saga/inventory",
            "type":"saga.inventory.v1.StockReserved",
            "subject":"00000000-0000-0000-0000-000000000007",
            "datacontenttype":"application/json",
            "sequence":"0012",
            "definition":"place-order",
            "definitionversion":2,
            "data":{"orderId":"o"}}"#]],
    );
}

#[test]
fn unknown_attributes_are_tolerated() {
    let known = command(7, "{}").to_json();
    let with_more = known.replacen('{', r#"{"later":{"deep":[1,{}]},"partitionkey":"x","#, 1);
    let read = Envelope::read(&json(&with_more)).expect("old and new run side by side");
    assert_eq!(read.to_json(), known);
}

#[test]
fn what_is_not_needed_may_be_missing() {
    let minimal = r#"{"specversion":"1.0","id":"00000000-0000-0000-0000-000000000007/a/action",
        "source":"x","type":"T","subject":"00000000-0000-0000-0000-000000000007",
        "sequence":"0001","data":null}"#;
    let read = Envelope::read(&json(minimal)).expect("an event needs no more");
    assert_eq!((read.time, read.traceparent), (None, None));
    assert_eq!(read.data.get(), "null");
}

#[test]
fn a_broken_trace_context_or_time_is_not_worth_a_message() {
    let sound = command(7, "{}").to_json();
    for broken in [
        sound.replace("00-0af7", "0af7"),
        sound.replace("00-0af7651916cd43dd8448eb211c80319c", "é"),
        sound.replace("2026-", "26-"),
    ] {
        assert_ne!(broken, sound, "the replacement found its place");
        let read = Envelope::read(&json(&broken)).expect("sound in all that matters");
        assert!(read.traceparent.is_none() || read.time.is_none());
    }
}

#[test]
fn a_payment_token_is_not_in_the_debug_output() {
    let envelope = command(7, r#"{"paymentToken":"tok_canary"}"#);
    assert!(!format!("{envelope:?}").contains("tok_canary"));
}

fn check(envelope: &Envelope, expected: Expect) {
    let text = envelope.to_json();
    expected.assert_eq(&text.replace(",\"", ",\n\""));
    let read = Envelope::read(&json(&text)).expect("reads what it wrote");
    assert_eq!(read.to_json(), text);
    assert_eq!((&read.id, &read.body, read.time), (&envelope.id, &envelope.body, envelope.time));
}
