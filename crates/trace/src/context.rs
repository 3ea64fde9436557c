//! Parses and formats W3C trace contexts.

use std::fmt;

use crate::{installed, random};

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// A span's position in a trace: the content of the header `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context {
    trace: u128,
    span: u64,
    sampled: bool,
}

impl Context {
    /// Parses a `traceparent` of version 00. Returns `None` if it is invalid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, chars: usize| {
            part.len() == chars && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let sound = version == "00"
            && hex(trace, 32)
            && hex(span, 16)
            && hex(flags, 2)
            && parts.next().is_none();
        if !sound {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self { trace, span, sampled })
    }

    /// Parses a `traceparent`, but only if spans of its trace are recorded here. It is cheap in the
    /// common case of a trace that is not recorded.
    #[must_use]
    pub fn recorded(traceparent: Option<&str>) -> Option<Self> {
        let text = traceparent?;
        // The last digit of the flags is odd when the trace is sampled.
        let sampled = text.len() == LENGTH && text.as_bytes()[LENGTH - 1] & 1 == 1;
        if !sampled || installed().is_none() {
            return None;
        }
        Self::parse(text).filter(|context| context.sampled)
    }

    /// Creates the context of a new span below this one.
    pub(crate) fn below(self) -> Self {
        Self { span: random(), ..self }
    }

    /// Creates the context of the first span of a new trace, which is sampled.
    pub(crate) fn first() -> Self {
        let trace = (u128::from(random()) << 64) | u128::from(random());
        Self { trace, span: random(), sampled: true }
    }

    /// Returns the trace's id.
    #[must_use]
    pub const fn trace(self) -> u128 {
        self.trace
    }

    /// Returns the span's id.
    #[must_use]
    pub const fn span(self) -> u64 {
        self.span
    }

    /// Returns true if spans of this trace are recorded.
    #[must_use]
    pub const fn sampled(self) -> bool {
        self.sampled
    }
}

impl fmt::Display for Context {
    /// Formats the context for the header `traceparent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// Returns the trace's id in a `traceparent`, for log lines and for people. Empty without a trace.
#[must_use]
pub fn trace_id(traceparent: Option<&str>) -> &str {
    traceparent.and_then(|text| text.get(3..35)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_survives_reading_and_writing() {
        let context = Context::parse(SOUND).expect("sound");
        assert_eq!(context.to_string(), SOUND);
        assert!(context.sampled());
        assert_eq!(trace_id(Some(SOUND)), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace_id(None), "");
    }

    #[test]
    fn whatever_is_no_context_is_not_read() {
        for broken in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
        ] {
            assert_eq!(Context::parse(broken), None, "{broken}");
        }
    }
}
