//! Measures the memory that showing a quarantined body takes. This is a separate binary with one
//! test, because its allocator counts the allocations of all threads.

use peak_alloc::PeakAlloc;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

#[path = "../src/redact/mod.rs"]
mod redact;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Memory for the finder. It is in proportion to the tokens, whose number and length are limited.
const FOR_TOKENS: usize = 8 * 1024 * 1024;

fn look(body: &str) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let shown = redact::Shown::of(body.as_bytes());
    drop(shown.text(body));
    let peak = MEMORY.peak_usage().saturating_sub(before);
    let most = 8 * body.len() + FOR_TOKENS;
    let (Ok(text) | Err(text)) = shown.body;
    assert!(peak <= most, "{peak} bytes for a body of {}: {:.200}", body.len(), text);
}

#[test]
fn a_look_takes_no_more_than_eight_times_the_body_and_a_bound() {
    // Each of these bodies is expensive for another reason: many values, many empty names, deep
    // indentation, short tokens, overlapping tokens, many tokens, escapes, one long token.
    let most = 1_000_000;
    let a = |n: usize| "a".repeat(n);
    let steps: Vec<_> = (1..250).map(|n| format!(r#""{}""#, a(n))).collect();
    let letters: Vec<_> = ('a'..='z').map(|c| format!(r#""{c}""#)).collect();
    for body in [
        format!("[{}0]", "0,".repeat(most / 2)),
        format!("[{}0]", r#"{"":0},"#.repeat(most / 7)),
        format!("{}{}0{}", "[".repeat(120), "0,".repeat(most / 2), "]".repeat(120)),
        format!(r#"{{"token":[{}],"x":"{}"}}"#, letters.join(","), "a-".repeat(most / 2)),
        format!(r#"{{"token":[{},"{}"]}}"#, steps.join(","), ["b", &a(249)].concat().repeat(180)),
        format!("[{}0]", r#"{"token":"t"},"#.repeat(most / 14)),
        format!(r#""token {}""#, r"\u0001".repeat(most / 6)),
        format!(r#"{{"token":"{}"}}"#, a(79 * 1024)),
    ] {
        look(&body);
    }
    let body = vec((r#""token[0-9]":"#, "\"[a-e]{0,4}\""), 0..60).prop_map(|fields| {
        let fields: Vec<_> = fields.iter().map(|(name, token)| format!("{name}{token}")).collect();
        format!("{{{}}}", fields.join(","))
    });
    let config = Config { failure_persistence: None, ..Config::default() };
    let looked = TestRunner::new(config).run(&body, |body| {
        look(&body);
        Ok(())
    });
    looked.expect("never more");
}
