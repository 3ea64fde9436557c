//! The broker's exchanges and queues.

use std::time::Duration;

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use saga_messaging::Queue;

use crate::{ConnectError, Settings, error::Failure};

/// Maximum number of bytes of a name in AMQP.
const MAX_NAME_BYTES: usize = 255;

/// Pause before a deleted queue is declared again. If the queue comes back sooner (within about 20
/// ms, measured on 3.10), the broker does not notify its consumers, and they wait for ever.
pub(crate) const DECLARE_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The names of the exchanges and queues with one prefix.
///
/// ```text
/// saga.commands    direct  key participant → queue saga.commands.{participant}
/// saga.replies     direct  key deployment  → queue saga.replies
/// {events}         topic   key of the event → any queue that is bound
/// saga.quarantine  fanout                  → queue saga.quarantine
/// saga.hints       fanout, not durable     → one exclusive queue for each adapter
/// ```
/// Messages that the commands and replies queues give up (expired, or over the delivery limit) go
/// to the quarantine, at least once. The quarantine itself never gives up a message.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
    events: String,
    deployment: String,
    participants: Vec<String>,
    declares: bool,
    delivery_limit: u32,
}

impl Topology {
    /// Creates the topology that these settings describe.
    ///
    /// # Errors
    /// If a name is longer than AMQP allows.
    pub fn new(settings: &Settings) -> Result<Self, ConnectError> {
        let topology = Self {
            prefix: settings.prefix.clone(),
            events: settings.events.clone(),
            deployment: settings.deployment.clone(),
            participants: settings.participants.clone(),
            declares: settings.declares,
            delivery_limit: settings.delivery_limit,
        };
        let queues = topology.participants.iter().map(|name| topology.commands_queue(name));
        let others = [topology.quarantine(), topology.events(), topology.deployment.clone()];
        let names = queues.chain(others);
        match names.into_iter().find(|name| name.len() > MAX_NAME_BYTES) {
            Some(name) => Err(ConnectError::NameTooLong(name)),
            None => Ok(topology),
        }
    }

    /// Returns the name of the direct exchange for commands. The routing key is the participant.
    #[must_use]
    pub fn commands(&self) -> String {
        format!("{}saga.commands", self.prefix)
    }

    /// Returns the name of the direct exchange for replies, and of its queue. The routing key is
    /// the deployment.
    #[must_use]
    pub fn replies(&self) -> String {
        format!("{}saga.replies", self.prefix)
    }

    /// Returns the name of the topic exchange for domain events.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}{}", self.prefix, self.events)
    }

    /// Returns the name of the exchange for messages that cannot be handled, and of its queue.
    #[must_use]
    pub fn quarantine(&self) -> String {
        format!("{}saga.quarantine", self.prefix)
    }

    /// Returns the name of the transient exchange for hints.
    #[must_use]
    pub fn hints(&self) -> String {
        format!("{}saga.hints", self.prefix)
    }

    /// Returns the name of a queue.
    #[must_use]
    pub fn queue(&self, queue: &Queue) -> String {
        match queue {
            Queue::Commands { participant } => self.commands_queue(participant),
            Queue::Replies => self.replies(),
            Queue::Quarantine => self.quarantine(),
        }
    }

    /// Returns the routing key of the replies to this deployment's commands. It is a key of the
    /// replies exchange, so a `reply_to` can name no other exchange.
    #[must_use]
    pub fn reply_key(&self) -> &str {
        &self.deployment
    }

    /// Returns true if this adapter declares the participant's queue.
    pub(crate) fn knows(&self, participant: &str) -> bool {
        self.participants.iter().any(|known| known == participant)
    }

    /// Returns true if this adapter declares exchanges and queues that were deleted.
    pub(crate) fn declares(&self) -> bool {
        self.declares
    }

    /// Declares everything except the hints. Declaring again only restores deleted exchanges and
    /// queues. An adapter that must not declare only checks that everything exists.
    pub(crate) async fn declare(&self, channel: &Channel) -> Result<(), Failure> {
        for (name, kind) in [
            (self.quarantine(), ExchangeKind::Fanout),
            (self.commands(), ExchangeKind::Direct),
            (self.replies(), ExchangeKind::Direct),
            (self.events(), ExchangeKind::Topic),
        ] {
            let options = ExchangeDeclareOptions {
                durable: true,
                passive: !self.declares,
                ..Default::default()
            };
            let name_on_the_wire = ShortString::from(name.as_str());
            channel
                .exchange_declare(name_on_the_wire, kind, options, FieldTable::default())
                .await
                .map_err(|error| Failure::Declaring { name, error })?;
        }
        let quarantine = self.quarantine();
        self.declare_queue(channel, &quarantine, &quarantine, "", quorum()).await?;
        let replies = self.replies();
        let bounded = self.bounded();
        self.declare_queue(channel, &replies, &replies, &self.deployment, bounded).await?;
        for participant in &self.participants {
            self.declare_commands(channel, participant).await?;
        }
        Ok(())
    }

    /// Declares the exchanges and queues that consuming one queue needs.
    pub(crate) async fn declare_for(
        &self,
        channel: &Channel,
        queue: &Queue,
    ) -> Result<(), Failure> {
        self.declare(channel).await?;
        match queue {
            Queue::Commands { participant } if !self.knows(participant) => {
                self.declare_commands(channel, participant).await
            }
            Queue::Commands { .. } | Queue::Replies | Queue::Quarantine => Ok(()),
        }
    }

    async fn declare_commands(&self, channel: &Channel, participant: &str) -> Result<(), Failure> {
        let queue = self.commands_queue(participant);
        let bounded = self.bounded();
        self.declare_queue(channel, &queue, &self.commands(), participant, bounded).await
    }

    async fn declare_queue(
        &self,
        channel: &Channel,
        name: &str,
        exchange: &str,
        key: &str,
        arguments: FieldTable,
    ) -> Result<(), Failure> {
        let declaring = |error| Failure::Declaring { name: name.to_owned(), error };
        let options =
            QueueDeclareOptions { durable: true, passive: !self.declares, ..Default::default() };
        channel.queue_declare(name.into(), options, arguments).await.map_err(declaring)?;
        if !self.declares {
            return Ok(());
        }
        let options = QueueBindOptions::default();
        channel
            .queue_bind(name.into(), exchange.into(), key.into(), options, FieldTable::default())
            .await
            .map_err(declaring)
    }

    /// Returns the arguments of a quorum queue that moves undeliverable messages to the quarantine
    /// without losing them.
    fn bounded(&self) -> FieldTable {
        let mut arguments = quorum();
        // Without this, RabbitMQ 3.x has no delivery limit. 4.x has one, and drops messages beyond
        // it unless the queue has a dead-letter exchange.
        arguments
            .insert("x-delivery-limit".into(), AMQPValue::LongLongInt(self.delivery_limit.into()));
        arguments.insert("x-dead-letter-exchange".into(), text(&self.quarantine()));
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        // The strategy at-least-once works only together with this argument.
        arguments.insert("x-overflow".into(), text("reject-publish"));
        arguments
    }

    fn commands_queue(&self, participant: &str) -> String {
        format!("{}saga.commands.{participant}", self.prefix)
    }
}

/// Returns the arguments that make a queue a quorum queue.
#[must_use]
pub fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}
