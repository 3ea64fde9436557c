//! What a system stands on, measured by itself: the databases' floor, the broker's limit, and the sum of what one order
//! cannot help waiting for.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    demand::Demand,
    figures::median,
    floor::{self, Floor, Rounds},
    path::{self, Costs, Path, Timing},
    system::Backing,
};
use crate::probe::{Flood, Flow, Probe, Tapped, Way};
use saga::config::Setup;

/// How many hops and confirms are timed.
const PINGS: usize = 200;
/// What a command is like if nobody has seen any.
const USUAL_BYTES: f64 = 600.0;

/// How many messages of which size a saga takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) messages_a_saga: f64,
    pub(super) bytes: f64,
    /// Commands, replies or events in one.
    pub(super) members: f64,
}

/// Commands, replies and events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mix {
    pub(super) commands: Traffic,
    pub(super) replies: Traffic,
    pub(super) events: Traffic,
}

/// All of it.
pub(super) struct Limits {
    pub(super) floor: Floor,
    pub(super) broker: Option<BrokerLimit>,
    pub(super) path: Path,
    pub(super) costs: Costs,
}

/// What the broker alone can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct BrokerLimit {
    pub(super) messages_a_second: f64,
    pub(super) sagas_a_second: f64,
    pub(super) mix: Mix,
    pub(super) events_are_consumed: bool,
}

/// What must be known of the measured system.
pub(super) struct Known {
    pub(super) mix: Mix,
    pub(super) events_are_consumed: bool,
    /// How long its payment provider takes, on average, at one in flight.
    pub(super) provider: Duration,
    pub(super) rounds: Rounds,
    /// Orders like those that were measured.
    pub(super) demand: Arc<Demand>,
}

/// Measures all of it. The system must have been stopped: it would take part.
pub(super) async fn measure(backing: &Backing, known: &Known) -> anyhow::Result<Option<Limits>> {
    let demand = Arc::clone(&known.demand);
    let (floor, servers) = match backing {
        Backing::Unknown => return Ok(None),
        Backing::Directory(dir) => (floor::sqlite::measure(dir, known.rounds, demand).await?, None),
        Backing::Servers(setup) => {
            (floor::postgres::measure(setup, known.rounds, demand).await?, Some(setup))
        }
    };
    let mut costs = Costs {
        commit: floor.commit,
        hop: Timing::default(),
        confirm: Timing::default(),
        provider: Timing::always(known.provider),
    };
    let broker = match servers {
        None => None,
        Some(setup) => Some(broker(setup, known, &mut costs).await?),
    };
    Ok(Some(Limits { floor, broker, path: path::of_a_confirmed_order(), costs }))
}

async fn broker(setup: &Setup, known: &Known, costs: &mut Costs) -> anyhow::Result<BrokerLimit> {
    let broker = &setup.broker;
    let probe = Probe::new(&broker.url.0, &broker.prefix);
    let mix = known.mix;
    let events_way = if known.events_are_consumed { Way::Queue } else { Way::Nowhere };
    // Alone, a parcel has one member.
    let alone = |traffic: &Traffic| (traffic.bytes / traffic.members.max(1.0)) as usize;
    costs.hop = Timing::of(probe.hops(alone(&mix.commands), PINGS).await?);
    costs.confirm = Timing::of(probe.confirms(events_way, alone(&mix.events), PINGS).await?);
    let mut rates = Vec::new();
    for _ in 0..known.rounds.count {
        let Flood { messages, elapsed } =
            probe.flood(&flows(&mix, events_way), known.rounds.time).await?;
        rates.push(messages as f64 / elapsed.as_secs_f64());
    }
    let messages_a_second = median(rates).unwrap_or_default();
    Ok(BrokerLimit {
        messages_a_second,
        sagas_a_second: messages_a_second / mix.messages_a_saga(),
        mix,
        events_are_consumed: known.events_are_consumed,
    })
}

/// As a system of ours uses its queues: commands to three participants, replies, and events.
fn flows(mix: &Mix, events_way: Way) -> Vec<Flow> {
    let flow = |way, traffic: &Traffic, parts: f64| Flow {
        way,
        bytes: traffic.bytes as usize,
        share: traffic.messages_a_saga / parts,
    };
    let participants = saga::roles::PARTICIPANTS.len();
    let mut flows: Vec<Flow> =
        (0..participants).map(|_| flow(Way::Queue, &mix.commands, participants as f64)).collect();
    flows.push(flow(Way::Queue, &mix.replies, 1.0));
    flows.push(flow(events_way, &mix.events, 1.0));
    flows
}

impl Traffic {
    pub(super) fn of(tapped: Tapped, sagas: f64) -> Self {
        let messages = tapped.messages.max(1) as f64;
        Self {
            messages_a_saga: tapped.messages as f64 / sagas,
            bytes: if tapped.messages == 0 { USUAL_BYTES } else { tapped.bytes as f64 / messages },
            members: tapped.members as f64 / messages,
        }
    }

    fn json(&self) -> Value {
        json!({
            "messagesPerSaga": self.messages_a_saga,
            "bytes": self.bytes,
            "members": self.members,
        })
    }
}

impl Mix {
    pub(super) fn messages_a_saga(&self) -> f64 {
        self.commands.messages_a_saga + self.replies.messages_a_saga + self.events.messages_a_saga
    }
}

impl Limits {
    /// How long one order cannot help waiting.
    pub(super) fn sum(&self) -> Timing {
        self.path.sum(&self.costs)
    }

    pub(super) fn json(&self) -> Value {
        let Floor { sagas_a_second, local_transactions_a_saga, .. } = self.floor;
        json!({
            "floor": {
                "sagasPerSecond": sagas_a_second,
                "localTransactionsPerSecond": sagas_a_second * local_transactions_a_saga,
                "localTransactionsPerSaga": local_transactions_a_saga,
                "rowsPerSaga": self.floor.rows_a_saga,
                "sagasPerBatch": floor::BATCH,
                "commitsPerBatch": self.floor.commits_a_batch,
            },
            "broker": self.broker.as_ref().map(|broker| json!({
                "messagesPerSecond": broker.messages_a_second,
                "sagasPerSecond": broker.sagas_a_second,
                "eventsAreConsumed": broker.events_are_consumed,
                "commands": broker.mix.commands.json(),
                "replies": broker.mix.replies.json(),
                "events": broker.mix.events.json(),
            })),
            "unavoidable": {
                "millis": self.sum().millis(),
                "fastestTenthMillis": self.sum().tenth_millis(),
                "parts": self.path.json(&self.costs),
            },
        })
    }
}
