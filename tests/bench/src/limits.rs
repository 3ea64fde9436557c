//! Measures the limits of a system's servers: the databases' floor, the broker's limit, and the
//! sum of the waits that one order cannot avoid.

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

/// The number of hops and of confirms that are timed.
const PINGS: usize = 200;
/// A command's usual size, for runs that have not seen any.
const USUAL_BYTES: f64 = 600.0;

/// The number and the size of the messages that a saga takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) messages_a_saga: f64,
    pub(super) bytes: f64,
    /// Commands, replies or events in one message.
    pub(super) members: f64,
}

/// The traffic of commands, of replies and of events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mix {
    pub(super) commands: Traffic,
    pub(super) replies: Traffic,
    pub(super) events: Traffic,
}

/// All limits of a system.
pub(super) struct Limits {
    pub(super) floor: Floor,
    pub(super) broker: Option<BrokerLimit>,
    pub(super) path: Path,
    pub(super) costs: Costs,
}

/// The limit of the broker alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct BrokerLimit {
    pub(super) messages_a_second: f64,
    pub(super) sagas_a_second: f64,
    pub(super) mix: Mix,
    pub(super) events_are_consumed: bool,
}

/// Facts about the measured system that the limits depend on.
pub(super) struct Known {
    pub(super) mix: Mix,
    pub(super) events_are_consumed: bool,
    /// The average time of its payment provider with one order in flight.
    pub(super) provider: Duration,
    pub(super) rounds: Rounds,
    /// The source of orders like the measured ones.
    pub(super) demand: Arc<Demand>,
}

/// Measures all limits. The system must have been stopped, or it would use the same servers.
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
    // An order that is alone has parcels of one member.
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

/// Returns the flows of a system like ours: commands to three participants, replies, and events.
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
    /// Returns the time that one order cannot avoid waiting.
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
