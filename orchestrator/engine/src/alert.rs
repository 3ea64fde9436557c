//! Raises alerts of stuck sagas: a metric, a log line and an event, when a saga gets stuck and
//! again while it stays stuck (semantics 14).
//!
//! All three are raised after the commit of the deciding turn, and delay nothing: the events are
//! published by a loop of their own, and no acknowledgement waits for them. So an event is lost for
//! good if the process dies between the commit and the publishing. The next reminder publishes
//! another event, with an id of its own.

use metrics::counter;
use saga_core::{Decision, Instance, Phase, Timestamp};
use saga_messaging::{Message, Notice, PublishError, Transport, trace};
use saga_trace::{Context, Span, trace_id};
use serde::Serialize;
use tokio::{sync::mpsc, time::Instant};
use tracing::{error, warn};

use crate::{limits, outgoing::SOURCE};

/// Full protobuf name of the event's data.
const TYPE: &str = "saga.operations.v1.SagaStuck";

/// A stuck saga at the version that raised the alert.
#[derive(Clone, Debug)]
pub(crate) struct Alert {
    saga: Instance,
    at: Timestamp,
}

/// The JSON form of `saga.operations.v1.SagaStuck`. The engine does not import the contract;
/// `tests/e2e/contract.rs` checks that the two agree.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SagaStuck<'a> {
    saga_id: String,
    business_id: String,
    definition: &'a str,
    definition_version: u32,
    version: String,
    step: &'a str,
    direction: &'static str,
    reason_code: &'a str,
    why: String,
    since_micros: String,
    alert: u32,
}

impl Alert {
    /// Returns the alert of a decision, if it raises one.
    pub(crate) fn of(decision: &Decision, now: Timestamp) -> Option<Self> {
        let saga = decision.saga.as_ref().filter(|_| decision.alert)?;
        Some(Self { saga: saga.clone(), at: now })
    }

    fn event(&self) -> Option<Message> {
        let Self { saga, at } = self;
        let Phase::Stuck(stuck) = &saga.phase else { return None };
        let data = SagaStuck {
            saga_id: saga.id.to_string(),
            business_id: saga.id.to_string(),
            definition: &saga.definition,
            definition_version: saga.definition_version,
            version: saga.version.to_string(),
            step: &stuck.step,
            direction: stuck.direction.as_str(),
            reason_code: stuck.reason.code(),
            why: stuck.to_string(),
            since_micros: stuck.since.0.to_string(),
            alert: stuck.alerts,
        };
        let notice = Notice {
            saga: saga.id,
            version: saga.version,
            name: "stuck",
            source: SOURCE,
            definition: saga.definition.clone(),
            definition_version: saga.definition_version,
            type_name: TYPE,
            time: *at,
            traceparent: saga.traceparent.clone(),
            data: serde_json::value::to_raw_value(&data).expect("texts and numbers are JSON"),
        };
        Some(notice.message())
    }
}

/// Raises the alerts of committed turns. Their events are put into `waiting`, to be published.
pub(crate) fn raise(alerts: Vec<Alert>, waiting: &mpsc::Sender<(Message, Option<Context>)>) {
    for alert in alerts {
        let saga = &alert.saga;
        let definition = saga.definition.clone();
        counter!("saga_stuck_alerts_total", "definition" => definition).increment(1);
        let trace_id = trace_id(saga.traceparent.as_deref());
        error!(saga = %saga.id, trace_id, "the saga is stuck: it needs a person");
        let Some(event) = alert.event() else { continue };
        let traced = Context::recorded(saga.traceparent.as_deref());
        if waiting.try_send((event, traced)).is_err() {
            counter!("saga_stuck_events_unsent_total").increment(1);
        }
    }
}

/// Publishes the events of alerts until no loop can raise alerts any more.
pub(crate) async fn tell<T: Transport>(
    transport: T,
    mut waiting: mpsc::Receiver<(Message, Option<Context>)>,
) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, limits::ALERTS_AT_ONCE).await > 0 {
        let spans = batch
            .iter()
            .filter_map(|(message, context)| trace::publishing(&transport, message, *context, 1));
        let spans: Vec<Span> = spans.collect();
        let messages: Vec<Message> = batch.drain(..).map(|(message, _)| message).collect();
        let count = messages.len();
        if let Err(error) = offer(&transport, messages).await {
            counter!("saga_stuck_events_unsent_total").increment(count as u64);
            warn!(%error, count, "events of stuck sagas are given up: the next reminder says it again");
        }
        spans.into_iter().for_each(Span::end);
    }
}

/// Offers messages to the broker until it takes them or the next reminder is due.
async fn offer<T: Transport>(transport: &T, messages: Vec<Message>) -> Result<(), PublishError> {
    let until = Instant::now() + limits::ALERT_PATIENCE;
    let mut pause = limits::FIRST_ALERT_PAUSE;
    loop {
        let Err(error) = transport.publish(messages.clone()).await else { return Ok(()) };
        if Instant::now() + pause >= until {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::LONGEST_ALERT_PAUSE);
    }
}
