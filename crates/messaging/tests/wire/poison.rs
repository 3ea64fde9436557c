//! Bytes that can never be handled. Each gets a reason, and none causes a panic.

use std::fmt::Write as _;

use expect_test::expect;
use saga_core::CommandId;
use saga_messaging::{Poison, limits, parcel};

use crate::samples::{command, id, reply};

/// Returns a parcel with a sound command in which one text is replaced.
fn with(from: &str, to: &str) -> Vec<u8> {
    let sound = command(7, r#"{"n":1}"#).to_json();
    assert!(sound.contains(from), "{from} is in {sound}");
    format!("[{}]", sound.replace(from, to)).into_bytes()
}

#[test]
fn every_poison_has_its_reason() {
    let sound = format!("[{}]", command(7, r#"{"n":1}"#).to_json());
    let done = reply(saga_messaging::Outcome::Done, false, "T", "{}").to_json();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("truncated", sound.as_bytes()[..sound.len() / 2].to_vec()),
        (
            "invalid UTF-8",
            with("\"n\":1", "\"n\":\"X\"")
                .iter()
                .map(|b| b | (128 * u8::from(*b == b'X')))
                .collect(),
        ),
        ("not an array", command(7, "{}").to_json().into_bytes()),
        ("an empty array", b"[]".to_vec()),
        ("no object", b"[17]".to_vec()),
        ("NaN", with("\"n\":1", "\"n\":NaN")),
        ("no id", with("\"id\"", "\"di\"")),
        ("a bad id", with("/reserve-stock/action\"", "/reserve-stock/undo\"")),
        ("a subject that is not the id's", with("\"subject\":\"0", "\"subject\":\"1")),
        ("another specversion", with("\"1.0\"", "\"2.0\"")),
        ("no specversion", with("specversion", "version")),
        ("no definition", with("\"definition\"", "\"name\"")),
        ("no definitionversion", with("definitionversion", "version")),
        ("no attempt and no sequence", with("\"attempt\":2,\"sequence\"", "\"x\":2,\"y\"")),
        ("no sequence", with("\"sequence\"", "\"y\"")),
        ("a sequence that is no number", with("\"0002\"", "\"two\"")),
        ("a negative sequence", with("\"0002\"", "\"-2\"")),
        ("a sequence beyond 32 bits", with("\"0002\"", "\"4294967296\"")),
        ("an attempt that is no number", with("\"attempt\":2", "\"attempt\":\"two\"")),
        ("an attempt of 1e400", with("\"attempt\":2", "\"attempt\":1e400")),
        ("the same attribute twice", with("\"attempt\":2", "\"attempt\":2,\"attempt\":3")),
        ("no data", with("\"data\"", "\"atad\"")),
        (
            "a reply without a definition",
            format!("[{}]", done.replace("\"definition\"", "\"name\"")).into_bytes(),
        ),
        (
            "a reply of unknown outcome",
            format!("[{}]", done.replace("\"done\"", "\"perhaps\"")).into_bytes(),
        ),
        (
            "too much data",
            format!(
                "[{}]",
                command(7, &format!("\"{}\"", "x".repeat(limits::MAX_DATA_BYTES))).to_json()
            )
            .into_bytes(),
        ),
        ("too large a body", vec![b' '; limits::MAX_BODY_BYTES + 1]),
    ];
    let mut out = String::new();
    for (name, body) in &cases {
        let (poison, whole) = poison_of(name, body);
        let known = if poison.id.is_some() { ", id known" } else { "" };
        let part = if whole { "body" } else { "member" };
        let _ = writeln!(out, "{name}: {part}{known}: {poison}");
    }
    expect![[r#"
        empty: body: the body is no JSON array: EOF while parsing a value at line 1 column 0
        truncated: body: the body is no JSON array: EOF while parsing a string at line 1 column 223
        invalid UTF-8: body: the body is not UTF-8: invalid utf-8 sequence of 1 bytes from index 443
        not an array: body: the body is no JSON array: invalid type: map, expected a sequence at line 1 column 0
        an empty array: body: an empty parcel
        no object: member: not a CloudEvent: invalid type: integer `17`, expected struct Wire at line 1 column 2
        NaN: body: the body is no JSON array: expected value at line 1 column 443
        no id: member: not a CloudEvent: missing field `id` at line 1 column 444
        a bad id: member: the id "00000000-0000-0000-0000-000000000007/reserve-stock/undo" is not an id of the form <saga>/<step>/<direction>
        a subject that is not the id's: member, id known: the subject "10000000-0000-0000-0000-000000000007" is not the saga of the id
        another specversion: member, id known: CloudEvents version "2.0"
        no specversion: member: not a CloudEvent: missing field `specversion` at line 1 column 440
        no definition: member, id known: no definition
        no definitionversion: member, id known: no definitionversion
        no attempt and no sequence: member, id known: neither command, reply nor event
        no sequence: member, id known: neither command, reply nor event
        a sequence that is no number: member, id known: the sequence "two" is no number
        a negative sequence: member, id known: the sequence "-2" is no number
        a sequence beyond 32 bits: member, id known: the sequence "4294967296" is no number
        an attempt that is no number: member: not a CloudEvent: invalid type: string "two", expected u32 at line 1 column 365
        an attempt of 1e400: member: not a CloudEvent: number out of range at line 1 column 365
        the same attribute twice: member: not a CloudEvent: duplicate field `attempt` at line 1 column 371
        no data: member: not a CloudEvent: missing field `data` at line 1 column 444
        a reply without a definition: member, id known: no definition
        a reply of unknown outcome: member: not a CloudEvent: unknown variant `perhaps`, expected one of `done`, `refused`, `toolate` at line 1 column 314
        too much data: member, id known: 262146 bytes of data
        too large a body: body: a body of 4194305 bytes
    "#]].assert_eq(&out);
}

/// Returns the poison, and true if the whole body is poison.
fn poison_of(name: &str, body: &[u8]) -> (Poison, bool) {
    match parcel::read(body) {
        Err(poison) => (poison, true),
        Ok(members) => {
            let mut members = members.into_iter();
            let (poison, raw) = members.next().expect("one member").expect_err(name);
            assert!(members.next().is_none());
            assert!(body.windows(raw.len()).any(|part| part == raw.as_bytes()), "kept as it came");
            (poison, false)
        }
    }
}

/// Reading an envelope does not check its data: only the receiver can judge it.
#[test]
fn odd_data_is_left_to_its_receiver() {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let deepest = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for data in ["1e400", "null", r#"{"n":1,"n":2}"#, r#""\u0000""#, &deep, &deepest] {
        let body = with(r#"{"n":1}"#, data);
        let members = parcel::read(&body).expect("an array");
        let envelope = members.into_iter().next().expect("one").expect("sound");
        assert_eq!(envelope.data.get(), data);
    }
}

#[test]
fn one_poison_leaves_its_neighbours_sound() {
    let bad =
        command(2, "{}").to_json().replace("place-order", "x").replace("\"definition\"", "\"y\"");
    let body = format!(
        "[{},{bad},17,{},{{}},{}]",
        command(1, "{}").to_json(),
        command(3, "{}").to_json(),
        command(4, "{}").to_json()
    );
    let members = parcel::read(body.as_bytes()).expect("an array");
    let ids: Vec<Result<CommandId, Option<CommandId>>> = members
        .into_iter()
        .map(|member| member.map(|e| e.id).map_err(|(poison, _)| poison.id))
        .collect();
    let expected = [Ok(id(1)), Err(Some(id(2))), Err(None), Ok(id(3)), Err(None), Ok(id(4))];
    assert_eq!(ids, expected);
}
