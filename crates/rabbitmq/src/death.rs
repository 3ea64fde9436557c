//! Reads the properties of a delivery.

use std::collections::BTreeMap;

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use saga_messaging::Death;

use crate::message::REDELIVERED_HEADER;

/// Returns the headers whose values are text.
pub(crate) fn texts(properties: &BasicProperties) -> BTreeMap<String, String> {
    let Some(headers) = properties.headers() else {
        return BTreeMap::new();
    };
    let texts = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?.to_owned())));
    texts.collect()
}

/// Returns true if the sender marked the message as possibly handled before.
pub(crate) fn redelivered(properties: &BasicProperties) -> bool {
    header(properties, REDELIVERED_HEADER).and_then(AMQPValue::as_bool).unwrap_or(false)
}

/// Returns the reason why the broker moved a message to the quarantine. Trust it only for a
/// delivery from the quarantine: any sender can write such a header.
pub(crate) fn death(properties: &BasicProperties) -> Option<Death> {
    let last = header(properties, "x-death")?.as_array()?.as_slice().first()?.as_field_table()?;
    let of = |name| field(last, name).and_then(text).map(str::to_owned);
    Some(Death { queue: of("queue")?, reason: of("reason")? })
}

fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    field(properties.headers().as_ref()?, name)
}

fn field<'a>(table: &'a FieldTable, name: &str) -> Option<&'a AMQPValue> {
    table.inner().get(name)
}

fn text(value: &AMQPValue) -> Option<&str> {
    match (value.as_long_string(), value.as_short_string()) {
        (Some(long), _) => std::str::from_utf8(long.as_bytes()).ok(),
        (None, Some(short)) => Some(short.as_str()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::*;

    fn with(name: &str, value: AMQPValue) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert(name.into(), value);
        BasicProperties::default().with_headers(headers)
    }

    #[test]
    fn a_forged_death_of_any_shape_is_no_death() {
        let forged = [
            AMQPValue::Boolean(true),
            AMQPValue::FieldArray(FieldArray::default()),
            AMQPValue::FieldArray(vec![AMQPValue::Void].into()),
            AMQPValue::FieldArray(vec![AMQPValue::FieldTable(FieldTable::default())].into()),
        ];
        for value in forged {
            assert_eq!(death(&with("x-death", value)), None);
        }
        assert_eq!(death(&BasicProperties::default()), None);
    }

    #[test]
    fn headers_that_are_no_text_are_left_out() {
        assert!(texts(&with("a", AMQPValue::LongString(vec![0xff].into()))).is_empty());
        assert!(texts(&with("a", AMQPValue::LongInt(1))).is_empty());
        let texts = texts(&with("a", AMQPValue::LongString("b".into())));
        assert_eq!(texts.get("a").map(String::as_str), Some("b"));
    }

    #[test]
    fn only_a_true_header_says_redelivered() {
        assert!(redelivered(&with(REDELIVERED_HEADER, AMQPValue::Boolean(true))));
        assert!(!redelivered(&with(REDELIVERED_HEADER, AMQPValue::Boolean(false))));
        assert!(!redelivered(&with(REDELIVERED_HEADER, AMQPValue::LongString("true".into()))));
    }
}
