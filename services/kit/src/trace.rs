//! Makes the spans of commands, each in the trace of its own saga. Sagas that are not traced get
//! none.

use std::time::SystemTime;

use saga_core::Failure;
use saga_messaging::trace::Source;
use saga_trace::{Kind, Span};

use crate::{HandlerError, Store, member::Member};

/// Makes the span of a batch. A single command gets none: it has only the span of its handling.
pub(crate) fn receiving(source: &Source, members: &[Member]) -> Option<Span> {
    let joined = if members.len() > 1 { members } else { &[] };
    let contexts = joined.iter().filter_map(Member::context);
    source.receiving(contexts, members.len(), SystemTime::now())
}

/// The spans of one transaction: one in the trace of each traced member.
pub(crate) struct Transaction {
    spans: Vec<Span>,
    /// The span that is linked to all of them, if there are several.
    joint: Option<Span>,
}

impl Transaction {
    pub(crate) fn begin<'a, S: Store>(members: impl ExactSizeIterator<Item = &'a Member>) -> Self {
        let count = members.len();
        let spans: Vec<Span> = members
            .filter_map(Member::context)
            .map(|context| {
                Span::child(context, Kind::Client, "transaction")
                    .with("db.system.name", S::SYSTEM)
                    .with("db.operation.name", "transaction")
                    .with("db.operation.batch.size", count)
            })
            .collect();
        let several = spans.len() > 1;
        let contexts = spans.iter().map(|span| span.context);
        let joint = several.then(|| Span::joining(contexts, Kind::Internal, "handle batch"));
        Self { joint: joint.flatten(), spans }
    }

    /// Runs a handler. The spans that it makes are children of the transaction's span. If the
    /// transaction serves several traced sagas, they are children of the span that is linked to all
    /// of them.
    pub(crate) async fn within<F: Future>(&self, handler: F) -> F::Output {
        let span = self.joint.as_ref().or(self.spans.first());
        saga_trace::within(span.map(|span| span.context), handler).await
    }

    /// Ends the spans.
    pub(crate) fn end<T>(self, done: &Result<T, HandlerError>) {
        // Only the kind of failure is exported: the text may quote a command, and so contain a
        // secret.
        let failure = done.as_ref().err().map(|failed| match failed {
            HandlerError::Poison(_) => "a command cannot be handled",
            HandlerError::Store(Failure::Conflict(_)) => "conflict",
            HandlerError::Store(Failure::Unavailable(_)) => "the store is away",
            HandlerError::Store(Failure::UnknownCommit(_)) => "the commit's outcome is unknown",
            HandlerError::Store(Failure::Permanent(_)) => "the store refuses it",
        });
        for span in self.spans.into_iter().chain(self.joint) {
            match failure {
                None => span.end(),
                Some(why) => span.failed(why).end(),
            }
        }
    }
}
