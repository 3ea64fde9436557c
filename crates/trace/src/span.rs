//! One span, from its beginning to its end.

use std::{borrow::Cow, time::SystemTime};

use crate::{Context, installed, random};

/// Most links of a span. A span that joins more sagas links the first ones.
const MAX_LINKS: usize = 128;

/// An operation in a trace, and its duration. Made only if it is recorded.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its name. There are few different names, without ids.
    pub name: Cow<'static, str>,
    /// Its role in a conversation.
    pub kind: Kind,
    /// Its place in its trace.
    pub context: Context,
    /// The span above it.
    pub parent: Option<u64>,
    /// When it began.
    pub began: SystemTime,
    /// When it ended; `None` while it lasts.
    pub ended: Option<SystemTime>,
    /// Facts about it, under the names of OpenTelemetry's conventions.
    pub attributes: Vec<(&'static str, Value)>,
    /// Spans of other traces that it belongs to.
    pub links: Vec<Context>,
    /// Number of links beyond the limit.
    pub links_left_out: usize,
    /// The failure, if it failed.
    pub failure: Option<String>,
}

/// A span's role in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Work that involves nobody else.
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
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

impl Span {
    /// A span within its parent's trace. `parent` comes from [`Context::recorded`] or from another
    /// span.
    pub fn child(parent: Context, kind: Kind, name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(parent.below(), Some(parent.span()), kind, name.into())
    }

    /// A span for a request from outside: in the caller's trace if the caller has one, otherwise in
    /// a new trace. `None` if it is not sampled.
    pub fn entry(
        traceparent: Option<&str>,
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
    ) -> Option<Self> {
        let ratio = installed()?.ratio;
        match traceparent.and_then(Context::parse) {
            Some(caller) if caller.sampled() => Some(Self::child(caller, kind, name)),
            Some(_) => None,
            // 53 bits are what a float can hold.
            None if ((random() >> 11) as f64) < ratio * (1_u64 << 53) as f64 => {
                Some(Self::new(Context::first(), None, kind, name.into()))
            }
            None => None,
        }
    }

    /// A span that serves all of these members at once. A single member is its parent. Several
    /// members are linked, from a trace of its own. `None` if none of them is recorded.
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

    /// Sets its beginning to an earlier time.
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

    /// Marks it as failed.
    #[must_use]
    pub fn failed(mut self, why: impl Into<String>) -> Self {
        self.failure = Some(why.into());
        self
    }

    /// Ends the span, unless it has ended, and hands it to the recorder.
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
