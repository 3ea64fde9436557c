//! A quarantined body for an operator's eyes: JSON without payment tokens. What is
//! no JSON is not shown at all: a token could stand anywhere in it.

use serde_json::Value;

/// Longest body that is shown.
const MOST_BYTES: usize = 1024 * 1024;
/// What stands in a token's place.
const REDACTED: &str = "[redacted]";

/// A body as JSON, and the tokens that were found in it.
pub(crate) struct Shown {
    /// The body, indented; or why it is not shown.
    pub(crate) body: Result<String, String>,
    tokens: Vec<String>,
}

impl Shown {
    pub(crate) fn of(body: &[u8]) -> Self {
        let hidden = |why: String| Self { body: Err(why), tokens: Vec::new() };
        if body.len() > MOST_BYTES {
            return hidden(format!("its {} bytes are too many to be shown", body.len()));
        }
        let Ok(mut json) = serde_json::from_slice::<Value>(body) else {
            return hidden(format!(
                "its {} bytes are no JSON, so they are not shown: a payment token could stand anywhere in them",
                body.len()
            ));
        };
        let mut tokens = Vec::new();
        hide(&mut json, &mut tokens);
        let shown = Self { body: Ok(String::new()), tokens };
        // A token that is repeated somewhere else is none the less one.
        let text = shown.text(&format!("{json:#}"));
        Self { body: Ok(text), ..shown }
    }

    /// Other text about the message, without those tokens.
    pub(crate) fn text(&self, text: &str) -> String {
        self.tokens.iter().fold(text.to_owned(), |text, token| text.replace(token, REDACTED))
    }
}

/// Whether what goes by this name, or a text that holds it, may be a token, or may
/// hide one.
fn is_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    plain.contains("token") || plain == "database64"
}

fn hide(value: &mut Value, tokens: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if is_secret(name) {
                    remember(field, tokens);
                    *field = Value::from(REDACTED);
                } else {
                    hide(field, tokens);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, tokens)),
        // JSON within a string, and the like.
        Value::String(text) if is_secret(text) => *value = Value::from(REDACTED),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn remember(value: &Value, tokens: &mut Vec<String>) {
    match value {
        Value::String(token) if !token.is_empty() => tokens.push(token.clone()),
        Value::Array(items) => items.iter().for_each(|item| remember(item, tokens)),
        Value::Object(fields) => fields.values().for_each(|field| remember(field, tokens)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_shown_wherever_it_stands() {
        for body in [
            r#"[{"id":"a","data":{"paymentToken":"tok_secret","amount":{"currency":"EUR"}}}]"#,
            r#"{"data":{"payment_token":"tok_secret"},"note":"paid with tok_secret"}"#,
            r#"{"Card-Token":["tok_secret",{"x":"tok_secret"}]}"#,
            r#"{"data":"{\"paymentToken\":\"tok_secret\"}"}"#,
            r#"{"data_base64":"tok_secret"}"#,
            "paymentToken tok_secret",
            r#"[{"paymentToken":"tok_secret"#,
        ] {
            let shown = Shown::of(body.as_bytes());
            let (Ok(text) | Err(text)) = &shown.body;
            assert!(!text.contains("tok_secret"), "{text}");
            assert!(!shown.text("paid with it").contains("tok_secret"));
        }
    }

    #[test]
    fn everything_else_is_shown_and_a_reason_loses_the_token_too() {
        let shown = Shown::of(br#"[{"id":"a/b","data":{"paymentToken":"tok_x","orderId":"7"}}]"#);
        let text = shown.body.as_ref().expect("JSON");
        assert!(text.contains(r#""id": "a/b""#) && text.contains(r#""orderId": "7""#), "{text}");
        assert_eq!(shown.text("tok_x is no number"), "[redacted] is no number");
        let why = Shown::of(&[0xff, 0]).body.expect_err("no JSON");
        assert!(why.contains("2 bytes"), "{why}");
    }
}
