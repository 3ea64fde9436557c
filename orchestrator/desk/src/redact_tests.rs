//! Tests of `redact/`. They are outside that module because `tests/redact_memory.rs` includes the
//! module's files and measures their memory in a process where nothing else runs.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::redact::{MOST_BYTES, REDACTED, Shown, find::Finder, most};

/// Returns the body as an operator sees it, or the reason why it is not shown.
fn seen(body: &str) -> String {
    let (Ok(text) | Err(text)) = Shown::of(body.as_bytes()).body;
    text
}

fn refused(body: &str) -> String {
    Shown::of(body.as_bytes()).body.expect_err("it must not be shown")
}

#[test]
fn no_token_is_shown_wherever_it_stands() {
    for body in [
        r#"[{"id":"a","data":{"paymentToken":"tok_secret","amount":{"currency":"EUR"}}}]"#,
        r#"{"data":{"payment_token":"tok_secret"},"note":"paid with tok_secret"}"#,
        r#"{"note":"paid with tok_secret","data":{"payment_token":"tok_secret"},"tok_secret":1}"#,
        r#"{"Card-Token":["tok_secret",{"x":"tok_secret"}]}"#,
        r#"{"data":"{\"paymentToken\":\"tok_secret\"}"}"#,
        r#"{"data":"{\"paymentToken\":\"tok_secret\"}","note":"tok_secret"}"#,
        r#"{"{\"paymentToken\":\"tok_secret\"}":1}"#,
        r#"{"token":"tok_secret","token":"","note":"tok_secret"}"#,
        r#"{"token":["k_secret","tok_"],"note":"tok_secret"}"#,
        r#"{"token":["tok_secr","k_secretly"],"note":"tok_secretly"}"#,
        r#"{"data_base64":"tok_secret"}"#,
        "paymentToken tok_secret",
        r#"[{"paymentToken":"tok_secret"#,
    ] {
        let text = seen(body);
        assert!(!text.contains("tok_secret") && !text.contains("k_secretly"), "{text}");
    }
    assert!(!seen(r#"{"token":4711,"note":"4711","n":4711}"#).contains("4711"));
    assert!(!seen(r#"{"token":"a\"\\b","note":"a\"\\b"}"#).contains(r#"a\"\\b"#));
}

#[test]
fn everything_else_is_shown_and_a_reason_loses_the_token_too() {
    let body =
        br#"[{"id":"a/b","data":{"paymentToken":"tok_x","orderId":"7","x":[1,-2,1.5,null]}}]"#;
    let shown = Shown::of(body);
    let text = shown.body.as_ref().expect("JSON");
    let mut expected: Value = serde_json::from_slice(body).expect("JSON");
    expected[0]["data"]["paymentToken"] = json!(REDACTED);
    assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), expected);
    assert!(text.contains("\n    \"id\": \"a/b\",\n"), "{text}");
    assert_eq!(shown.text("tok_x is no number"), "[redacted] is no number");
    let why = Shown::of(&[0xff, 0]).body.expect_err("no JSON");
    assert!(why.contains("2 bytes are no JSON"), "{why}");
    // Tokens that were found before the JSON broke off are hidden too.
    let broken = Shown::of(br#"[{"paymentToken":"tok_x"},"#);
    assert_eq!(broken.text("tok_x is no number"), "[redacted] is no number");
}

#[test]
fn tokens_of_one_letter_do_not_double_the_text_each() {
    let letters = ["e", "d", "a", "c", "t", "r"].iter().cycle().take(40);
    let fields: Vec<_> =
        letters.enumerate().map(|(n, token)| format!(r#""token{n}":"{token}""#)).collect();
    let body = format!("{{{}}}", fields.join(","));
    let text = seen(&body);
    assert!(text.len() <= most(body.len()), "{} bytes of {}", text.len(), body.len());
    let long = format!(r#"{{"token":["e"],"text":"{}"}}"#, "ef".repeat(8_000));
    assert!(refused(&long).contains("more than double"));
    let far = Shown::of(long.as_bytes()).text(&"ef".repeat(8_000));
    assert_eq!(far, REDACTED);
}

#[test]
fn a_body_that_indentation_would_blow_up_is_shown_without() {
    let deep =
        format!("{}{}{}", "[".repeat(100), "1,".repeat(10_000), "1".to_owned() + &"]".repeat(100));
    assert_eq!(seen(&deep), deep);
}

#[test]
fn a_body_that_is_too_deep_is_not_followed_also_not_through_strings() {
    let deep = "[".repeat(500_000);
    assert!(refused(&deep).contains("are no JSON"));
    // JSON within a string, within JSON within a string, and so on, each level nested 120 deep.
    let mut nested = r#"{"token":"tok_x"}"#.to_owned();
    for _ in 0..12 {
        let text = serde_json::to_string(&nested).expect("JSON");
        nested = format!("{}{text}{}", "[".repeat(120), "]".repeat(120));
    }
    assert!(!seen(&nested).contains("tok_x"));
}

#[test]
fn a_mebibyte_of_tokens_is_not_shown_and_nothing_about_it_either() {
    let tokens: Vec<_> = (0..50_000).map(|n| format!(r#"{{"token":"t{n}"}}"#)).collect();
    let body = format!("[{}]", tokens.join(","));
    assert!((900_000..MOST_BYTES).contains(&body.len()), "{}", body.len());
    assert!(refused(&body).contains("too many tokens"));
    assert_eq!(Shown::of(body.as_bytes()).text("t49999 is no number"), REDACTED);
    let one = format!(r#"{{"token":"{}"}}"#, "t".repeat(100_000));
    assert!(refused(&one).contains("too many tokens"));
    let long = format!("[{}]", "1,".repeat(MOST_BYTES));
    assert!(refused(&long).contains("too many to be shown"));
}

#[test]
fn the_largest_parcel_is_shown_without_its_tokens() {
    let members: Vec<_> = (0..256)
        .map(|n| format!(r#"{{"id":"{n:0>64}","data":{{"paymentToken":"{n:x>255}"}}}}"#))
        .collect();
    let text = seen(&format!("[{}]", members.join(",")));
    assert_eq!(text.matches(r#""paymentToken": "[redacted]""#).count(), 256);
}

#[test]
fn many_tokens_that_nearly_fit_everywhere_take_one_step_a_byte() {
    // The tokens are many times the letter a and then a b. The text has the a's but no b.
    let tokens: Vec<_> = (1..350).map(|n| format!(r#""{}b""#, "a".repeat(n))).collect();
    let body = format!(r#"{{"token":[{}],"text":"{}"}}"#, tokens.join(","), "a".repeat(900_000));
    assert!(seen(&body).contains(&"a".repeat(900_000)));
}

/// Generates words of a few letters only, so that they overlap, contain and follow each other.
fn word() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('a'), Just('b'), Just('é')], 1..6).prop_map(String::from_iter)
}

/// Generates arbitrary JSON with secret names in it, also within strings.
fn any_json() -> impl Strategy<Value = Value> {
    let text = || prop_oneof![word(), "[a-z\"\\\\\n\\[\\]]{0,8}", any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        any::<f32>().prop_map(|n| json!(n)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        let name = prop_oneof![Just("paymentToken".to_owned()), Just("a token".to_owned()), text()];
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            vec((name, inner.clone()), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            inner.prop_map(|inner| Value::from(inner.to_string())),
        ]
    })
}

/// Collects the texts and numbers under secret names, in another way than the tested code does.
fn tokens_of(value: &Value, secret: bool, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            let plain = name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "");
            tokens_of(field, secret || plain.contains("token"), found);
        }),
        Value::Array(items) => items.iter().for_each(|item| tokens_of(item, secret, found)),
        Value::String(token) if secret => found.push(token.clone()),
        Value::Number(token) if secret => found.push(token.to_string()),
        Value::String(_) | Value::Number(_) | Value::Null | Value::Bool(_) => {}
    }
}

proptest! {
    #[test]
    fn no_token_of_any_json_survives_and_what_is_shown_is_bounded(
        json in any_json(),
        text in word(),
    ) {
        let body = json.to_string();
        let shown = Shown::of(body.as_bytes());
        let mut tokens = Vec::new();
        tokens_of(&json, false, &mut tokens);
        let (Ok(seen) | Err(seen)) = &shown.body;
        prop_assert!(seen.len() <= most(body.len()));
        let text = shown.text(&text);
        for seen in [seen, &text].into_iter().filter(|_| shown.body.is_ok()) {
            // A token may look like the mark. The marks are not part of the body, so they are
            // skipped.
            for part in seen.split(REDACTED) {
                for token in tokens.iter().filter(|token| !token.is_empty()) {
                    let escaped = Value::from(token.as_str()).to_string();
                    let escaped = &escaped[1..escaped.len() - 1];
                    prop_assert!(!part.contains(token) && !part.contains(escaped), "{token} in {seen}");
                }
            }
        }
    }

    #[test]
    fn words_are_found_wherever_they_stand(words in vec(word(), 0..12), text in "[abé]{0,40}") {
        let words: BTreeSet<_> = words.into_iter().collect();
        let finder = Finder::of(&words, words.iter().map(String::len).sum());
        let places = finder.places(&text, 1_000).expect("not too many");
        let stands = |at: usize| {
            words.iter().any(|word| {
                (at.saturating_sub(word.len() - 1)..=at)
                    .any(|start| text.as_bytes()[start..].starts_with(word.as_bytes()))
            })
        };
        for at in 0..text.len() {
            let found = places.iter().any(|place| place.contains(&at));
            prop_assert_eq!(found, stands(at), "{} of {} with {:?}", at, text, words);
        }
        prop_assert!(places.windows(2).all(|pair| pair[0].end < pair[1].start));
    }

    #[test]
    fn bytes_that_are_no_json_are_not_shown(body in vec(any::<u8>(), 0..200)) {
        let read = serde_json::from_slice::<Value>(&body).is_ok();
        prop_assert_eq!(Shown::of(&body).body.is_ok(), read);
    }
}
