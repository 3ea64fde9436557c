//! The broker's exchanges and queues.

use std::time::Duration;

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use saga_messaging::{ORCHESTRATOR, Queue};

use crate::{ConnectError, Settings, Users, error::Failure};

/// Maximum number of bytes of a name in AMQP.
const MAX_NAME_BYTES: usize = 255;

/// Pause before a deleted queue is declared again. If the queue comes back sooner (within about 20
/// ms, measured on 3.10), the broker does not notify its consumers, and they wait for ever.
pub(crate) const DECLARE_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The names of the exchanges and queues with one prefix.
///
/// ```text
/// saga.commands                  direct  key participant  → queue saga.commands.{participant}
/// saga.again.{participant}       direct  key participant  → queue saga.commands.{participant}
/// saga.replies                   direct  key deployment   → queue saga.replies
/// saga.replies.{participant}     direct  key deployment   → queue saga.replies
/// {events}                       topic   key of the event → any queue that is bound
/// saga.quarantine                fanout                   → queue saga.quarantine
/// saga.quarantine.{participant}  fanout                   → queue saga.quarantine
/// saga.quarantine.orchestrator   fanout                   → queue saga.quarantine
/// saga.hints                     fanout, not durable      → one exclusive queue for each orchestrator
/// ```
/// Each exchange but the events' has one party that may write to it, so a delivery's exchange says
/// who has sent the message: `saga.commands`, `saga.replies` (for replies that are passed on) and
/// `saga.hints` are the orchestrators', and `saga.quarantine` is the broker's own.
///
/// Messages that the commands and replies queues give up (expired, or over the delivery limit) go
/// to the quarantine, at least once. The quarantine itself never gives up a message.
#[derive(Clone, Debug)]
pub struct Topology {
    pub(crate) prefix: String,
    events: String,
    pub(crate) deployment: String,
    participants: Vec<String>,
    declares: bool,
    delivery_limit: u32,
    pub(crate) users: Option<Users>,
    /// The user as which this adapter logs in, if it names it in its messages.
    pub(crate) login: Option<String>,
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
            login: match &settings.users {
                Some(_) => Some(settings.address()?.authority.userinfo.username),
                None => None,
            },
            users: settings.users.clone(),
        };
        if topology.knows(ORCHESTRATOR) {
            return Err(ConnectError::ReservedName);
        }
        let longest = |name| Queue::Commands { participant: String::clone(name) };
        let queues = topology.participants.iter().map(longest);
        let queues = queues.map(|queue| topology.quarantine_of(&queue));
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

    /// Returns the name of the direct exchange by which a participant sends parcels that it takes
    /// apart to its own queue. The routing key is the participant.
    #[must_use]
    pub fn again(&self, participant: &str) -> String {
        format!("{}saga.again.{participant}", self.prefix)
    }

    /// Returns the name of the direct exchange for one participant's replies. The routing key is
    /// the deployment.
    #[must_use]
    pub fn replies_of(&self, participant: &str) -> String {
        format!("{}.{participant}", self.replies())
    }

    /// Returns the name of the fanout exchange by which the party that consumes `queue` puts
    /// messages into the quarantine.
    #[must_use]
    pub fn quarantine_of(&self, queue: &Queue) -> String {
        format!("{}.{}", self.quarantine(), queue.consumer())
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
        let own_quarantine = self.quarantine_of(&Queue::Quarantine);
        for (name, kind) in [
            (self.quarantine(), ExchangeKind::Fanout),
            (own_quarantine.clone(), ExchangeKind::Fanout),
            (self.commands(), ExchangeKind::Direct),
            (self.replies(), ExchangeKind::Direct),
            (self.events(), ExchangeKind::Topic),
        ] {
            self.declare_exchange(channel, name, kind).await?;
        }
        let quarantine = self.quarantine();
        self.declare_queue(channel, &quarantine, &quarantine, "", quorum()).await?;
        self.bind(channel, &quarantine, &own_quarantine, "").await?;
        let replies = self.replies();
        let bounded = self.bounded();
        self.declare_queue(channel, &replies, &replies, &self.deployment, bounded).await?;
        for participant in &self.participants {
            self.declare_participant(channel, participant).await?;
        }
        Ok(())
    }

    async fn declare_exchange(
        &self,
        channel: &Channel,
        name: String,
        kind: ExchangeKind,
    ) -> Result<(), Failure> {
        let options =
            ExchangeDeclareOptions { durable: true, passive: !self.declares, ..Default::default() };
        let name_on_the_wire = ShortString::from(name.as_str());
        channel
            .exchange_declare(name_on_the_wire, kind, options, FieldTable::default())
            .await
            .map_err(|error| Failure::Declaring { name, error })
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
                self.declare_participant(channel, participant).await
            }
            Queue::Commands { .. } | Queue::Replies | Queue::Quarantine => Ok(()),
        }
    }

    /// Declares a participant's queue, and the exchanges that only this participant writes to.
    async fn declare_participant(
        &self,
        channel: &Channel,
        participant: &str,
    ) -> Result<(), Failure> {
        let commands = Queue::Commands { participant: participant.to_owned() };
        let (again, replies) = (self.again(participant), self.replies_of(participant));
        let quarantine = self.quarantine_of(&commands);
        for (name, kind) in [
            (&again, ExchangeKind::Direct),
            (&replies, ExchangeKind::Direct),
            (&quarantine, ExchangeKind::Fanout),
        ] {
            self.declare_exchange(channel, name.clone(), kind).await?;
        }
        let queue = self.queue(&commands);
        let bounded = self.bounded();
        self.declare_queue(channel, &queue, &self.commands(), participant, bounded).await?;
        self.bind(channel, &queue, &again, participant).await?;
        self.bind(channel, &self.replies(), &replies, &self.deployment).await?;
        self.bind(channel, &self.quarantine(), &quarantine, "").await
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
        self.bind(channel, name, exchange, key).await
    }

    /// Binds a queue to an exchange, if this adapter declares. Nobody else can check a binding.
    async fn bind(
        &self,
        channel: &Channel,
        name: &str,
        exchange: &str,
        key: &str,
    ) -> Result<(), Failure> {
        if !self.declares {
            return Ok(());
        }
        let declaring = |error| Failure::Declaring { name: name.to_owned(), error };
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
        format!("{}.{participant}", self.commands())
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
