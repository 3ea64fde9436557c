//! Reads the metadata of calls. The caller's identity is read in `caller.rs`.

use std::time::Duration;

use saga_trace::Context;
use tonic::{codegen::http::HeaderMap, metadata::MetadataMap};

/// Share of the client's deadline that is reserved for returning the answer: one in this many.
const MARGIN_SHARE: u32 = 10;
/// Minimum time that is reserved for returning the answer.
const LEAST_MARGIN: Duration = Duration::from_millis(20);
/// Maximum time that is reserved for returning the answer.
const MOST_MARGIN: Duration = Duration::from_millis(500);

/// Returns how long a call may wait so that its answer still reaches the client before the client's
/// own deadline, but at most `limit`. A client learns more from an answer than from a time-out.
#[must_use]
pub fn patience(metadata: &MetadataMap, limit: Duration) -> Duration {
    let Some(timeout) = grpc_timeout(metadata) else { return limit };
    let margin = (timeout / MARGIN_SHARE).clamp(LEAST_MARGIN, MOST_MARGIN);
    timeout.saturating_sub(margin).min(limit)
}

/// Parses the header `grpc-timeout`. Returns `None` if it is missing or invalid.
fn grpc_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Returns the call's W3C trace context, if it is valid. It is stored with the saga and sent with
/// every command, so an invalid value must not get in.
fn traceparent(metadata: &MetadataMap) -> Option<String> {
    let text = metadata.get("traceparent")?.to_str().ok()?;
    Context::parse(text).map(|_| text.to_owned())
}

/// Returns the header `traceparent` as it was received, without validation.
pub(crate) fn trace_header(headers: &HeaderMap) -> Option<&str> {
    headers.get("traceparent")?.to_str().ok()
}

/// Returns the context that a new saga's trace continues: this call's own if it is recorded,
/// otherwise the one that the caller sent.
#[must_use]
pub fn continued(metadata: &MetadataMap) -> Option<String> {
    let recorded = saga_trace::current().map(|here| here.to_string());
    recorded.or_else(|| traceparent(metadata))
}

/// Returns true if a proxy has forwarded the call, so that its address is not the caller's. Proxies
/// add these headers by RFC 7239 or by custom.
pub(crate) fn was_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        matches!(name, "forwarded" | "via" | "x-real-ip" | "x-client-ip" | "x-cluster-client-ip")
            || name.starts_with("x-forwarded-")
            || name.starts_with("x-envoy-")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert(name, value.parse().expect("ASCII"));
        metadata
    }

    #[test]
    fn only_a_valid_trace_context_is_taken() {
        let sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(&with("traceparent", sound)).as_deref(), Some(sound));
        for broken in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(traceparent(&with("traceparent", broken)), None, "{broken}");
        }
    }

    #[test]
    fn waiting_ends_before_the_clients_deadline_and_at_the_limit() {
        let limit = Duration::from_secs(60);
        let patience = |timeout: &str| super::patience(&with("grpc-timeout", timeout), limit);
        assert_eq!(patience("1S"), Duration::from_millis(900));
        assert_eq!(patience("10S"), Duration::from_millis(9_500));
        assert_eq!(patience("99999999H"), limit);
        assert_eq!(patience("1m"), Duration::ZERO);
        for broken in ["", "S", "1", "-1S", "1x", "999999999S"] {
            assert_eq!(patience(broken), limit, "{broken}");
        }
    }
    #[test]
    fn a_call_that_was_passed_on_is_known_by_its_headers() {
        for header in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-real-ip",
            "via",
            "x-envoy-internal",
        ] {
            assert!(was_forwarded(with(header, "127.0.0.1").as_ref()), "{header}");
        }
        assert!(!was_forwarded(with("user-agent", "x-forwarded-for").as_ref()));
    }
}
