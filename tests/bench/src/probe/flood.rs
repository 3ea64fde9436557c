//! A flood: publishes as many messages as the broker takes, with confirms, and consumes and
//! acknowledges them.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use lapin::{Channel, options::BasicAckOptions};
use tokio::task::JoinSet;

use super::{Probe, ProbeError, Road, Way, close, confirming, consume, taken};

/// Number of publishers at once: a role's process has one or two connections under load.
const PUBLISHERS: usize = 2;
/// Messages of one publisher that may wait for their confirms.
const WINDOW: usize = 256;
/// The most messages in the queues. Beyond that the publishers wait, so that publishing and
/// consuming are measured together.
const MOST_WAITING: u64 = 4_096;
/// Prefetch of a consumer, and the number of messages that it acknowledges at once.
const PREFETCH: u16 = 1_000;
const ACKS: u64 = 64;
/// Pause of a publisher that waits for the consumers to catch up, before it looks again.
const PAUSE: Duration = Duration::from_millis(1);

/// One kind of messages.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// Their destination.
    pub(crate) way: Way,
    /// Size of each.
    pub(crate) bytes: usize,
    /// Its share of all messages, relative to the other flows' shares, in any unit.
    pub(crate) share: f64,
}

/// The result of a flood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flood {
    /// Messages that were published and confirmed and, where there is a queue, delivered and
    /// acknowledged.
    pub(crate) messages: u64,
    /// Time that it took.
    pub(crate) elapsed: Duration,
}

/// The counts that publishers and consumers share.
#[derive(Default)]
struct Counts {
    published: AtomicU64,
    consumed: AtomicU64,
    unheard: AtomicU64,
}

impl Probe {
    /// Publishes and consumes these flows for `time`, in proportion to their shares.
    pub(crate) async fn flood(&self, flows: &[Flow], time: Duration) -> Result<Flood, ProbeError> {
        let session = self.session().await?;
        let making = confirming(&session.publishing).await?;
        let mut roads = Vec::with_capacity(flows.len());
        for (number, flow) in flows.iter().enumerate() {
            roads.push(
                Road::make(&making, format!("{}flood.{number}", self.prefix), flow.way).await?,
            );
        }
        let counts = Arc::new(Counts::default());
        let mut consumers = JoinSet::new();
        for road in roads.iter().filter(|road| road.way == Way::Queue) {
            let channel = session.consuming.create_channel().await?;
            consumers.spawn(drain(channel, road.clone(), Arc::clone(&counts)));
        }
        let began = Instant::now();
        let mut publishers = JoinSet::new();
        for _ in 0..PUBLISHERS {
            let channel = confirming(&session.publishing).await?;
            let (roads, flows, counts) = (roads.clone(), flows.to_vec(), Arc::clone(&counts));
            publishers.spawn(pour(channel, roads, flows, counts, began + time));
        }
        while let Some(ended) = publishers.join_next().await {
            ended.expect("a publisher does not panic")?;
        }
        let messages = counts.consumed.load(Relaxed) + counts.unheard.load(Relaxed);
        let elapsed = began.elapsed();
        if let Some(ended) = consumers.try_join_next() {
            ended.expect("a consumer does not panic")?;
            return Err(ProbeError::Ended);
        }
        // Nobody needs the deliveries that the consumers still hold.
        close(&session.consuming).await;
        for road in &roads {
            road.delete(&making).await?;
        }
        session.close().await;
        Ok(Flood { messages, elapsed })
    }
}

/// Publishes until the deadline, each time from the flow that is furthest behind its share.
async fn pour(
    channel: Channel,
    roads: Vec<Road>,
    flows: Vec<Flow>,
    counts: Arc<Counts>,
    deadline: Instant,
) -> Result<(), ProbeError> {
    let bodies: Vec<Vec<u8>> = flows.iter().map(|flow| vec![b'x'; flow.bytes]).collect();
    let mut sent = vec![0_u64; flows.len()];
    let mut waiting = VecDeque::new();
    while Instant::now() < deadline {
        let behind = counts.published.load(Relaxed).saturating_sub(counts.consumed.load(Relaxed));
        if behind > MOST_WAITING {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let Some(next) = furthest_behind(&flows, &sent) else { break };
        sent[next] += 1;
        let confirm = roads[next].publish(&channel, &bodies[next]).await?;
        waiting.push_back((roads[next].way, confirm));
        if roads[next].way == Way::Queue {
            counts.published.fetch_add(1, Relaxed);
        }
        if waiting.len() >= WINDOW
            && let Some((way, confirm)) = waiting.pop_front()
        {
            taken(confirm).await?;
            counts.unheard.fetch_add(u64::from(way == Way::Nowhere), Relaxed);
        }
    }
    for (_, confirm) in waiting {
        taken(confirm).await?;
    }
    Ok(())
}

/// Returns the flow that has sent the least of its share.
fn furthest_behind(flows: &[Flow], sent: &[u64]) -> Option<usize> {
    let done = |at: &usize| (sent[*at] as f64 + 1.0) / flows[*at].share;
    (0..flows.len())
        .filter(|&at| flows[at].share > 0.0)
        .min_by(|one, other| done(one).total_cmp(&done(other)))
}

async fn drain(channel: Channel, road: Road, counts: Arc<Counts>) -> Result<(), ProbeError> {
    let mut deliveries = consume(&channel, &road.queue, PREFETCH).await?;
    let mut unacknowledged = 0;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        counts.consumed.fetch_add(1, Relaxed);
        unacknowledged += 1;
        if unacknowledged >= ACKS {
            delivery.ack(BasicAckOptions { multiple: true }).await?;
            unacknowledged = 0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_published_in_proportion_to_their_shares() {
        let flow = |share| Flow { way: Way::Queue, bytes: 1, share };
        let flows = [flow(1.0), flow(0.0), flow(3.0), flow(6.0)];
        let mut sent = [0; 4];
        for _ in 0..1_000 {
            sent[furthest_behind(&flows, &sent).expect("there is one")] += 1;
        }
        assert_eq!(sent, [100, 0, 300, 600]);
        assert_eq!(furthest_behind(&[], &[]), None);
    }
}
