//! One span, from its beginning to its end.

use std::{borrow::Cow, time::SystemTime};

use crate::{Context, installed, random};

/// Maximum number of links of a span. A span that joins more sagas links only the first ones.
const MAX_LINKS: usize = 128;

/// An operation in a trace, with its beginning and end. It is created only if it is recorded.
#[derive(Clone, Debug)]
pub struct Span {
    /// The span's name. Names contain no ids, so there are only a few different ones.
    pub name: Cow<'static, str>,
    /// The side of a call or message that the span stands for.
    pub kind: Kind,
    /// The span's position in its trace.
    pub context: Context,
    /// The id of the span above this one.
    pub parent: Option<u64>,
    /// When the span began.
    pub began: SystemTime,
    /// When the span ended. `None` before that.
    pub ended: Option<SystemTime>,
    /// Attributes of the span, named by OpenTelemetry's conventions.
    pub attributes: Vec<(&'static str, Value)>,
    /// Spans of other traces that this span also belongs to.
    pub links: Vec<Context>,
    /// Number of links that were left out because of the limit.
    pub links_left_out: usize,
    /// The reason why the operation failed, if it failed.
    pub failure: Option<String>,
}

/// The side of a call or message that a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Work without a call or message.
    Internal,
    /// Answers a call.
    Server,
    /// Makes a call.
    Client,
    /// Sends a message.
    Producer,
    /// Handles a message.
    Consumer,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
    /// A boolean.
    Flag(bool),
}

impl Span {
    /// Begins a span within its parent's trace. `parent` comes from [`Context::recorded`] or from
    /// another span.
    pub fn child(parent: Context, kind: Kind, name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(parent.below(), Some(parent.span()), kind, name.into())
    }

    /// Begins a span for a request from outside: in the caller's trace if the caller has one,
    /// otherwise in a new trace. Returns `None` if the span is not sampled.
    pub fn entry(
        traceparent: Option<&str>,
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
    ) -> Option<Self> {
        let ratio = installed()?.ratio;
        match traceparent.and_then(Context::parse) {
            Some(caller) if caller.sampled() => Some(Self::child(caller, kind, name)),
            Some(_) => None,
            // A float can hold 53 bits of the random number.
            None if ((random() >> 11) as f64) < ratio * (1_u64 << 53) as f64 => {
                Some(Self::new(Context::first(), None, kind, name.into()))
            }
            None => None,
        }
    }

    /// Begins a span that serves all of these members at once. If there is only one member, the
    /// span is its child. If there are several, the span is in its own trace and links to all of
    /// them. Returns `None` if none of them is recorded.
    pub fn joining(
        members: impl IntoIterator<Item = Context>,
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
    ) -> Option<Self> {
        let mut members = members.into_iter();
        let first = members.next()?;
        let Some(second) = members.next() else { return Some(Self::child(first, kind, name)) };
        let mut span = Self::new(Context::first(), None, kind, name.into());
        for member in [first, second].into_iter().chain(members) {
            span.link(member);
        }
        Some(span)
    }

    fn new(context: Context, parent: Option<u64>, kind: Kind, name: Cow<'static, str>) -> Self {
        Self {
            name,
            kind,
            context,
            parent,
            began: SystemTime::now(),
            ended: None,
            attributes: Vec::new(),
            links: Vec::new(),
            links_left_out: 0,
            failure: None,
        }
    }

    /// Sets the beginning to an earlier time.
    #[must_use]
    pub fn since(mut self, began: SystemTime) -> Self {
        self.began = began;
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((key, value.into()));
        self
    }

    /// Adds a link to a span of another trace.
    pub fn link(&mut self, to: Context) {
        if self.links.len() < MAX_LINKS {
            self.links.push(to);
        } else {
            self.links_left_out += 1;
        }
    }

    /// Marks the operation as failed.
    #[must_use]
    pub fn failed(mut self, why: impl Into<String>) -> Self {
        self.failure = Some(why.into());
        self
    }

    /// Ends the span, unless it has ended already, and passes it to the recorder.
    pub fn end(mut self) {
        self.ended.get_or_insert_with(SystemTime::now);
        if let Some(installed) = installed() {
            installed.recorder.record(self);
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}
