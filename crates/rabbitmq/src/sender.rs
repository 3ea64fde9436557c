//! Finds out who sent a delivery.

use saga_messaging::{ORCHESTRATOR, Queue, Sender};

use crate::Topology;

impl Topology {
    /// Returns who sent a delivery from `queue`. The broker names the exchange that the message was
    /// published to, which only one party may write to. It also refuses a message with a user id
    /// that is not its publisher's. Where the users are known, `user` must be the one of the party.
    pub(crate) fn sender(&self, queue: &Queue, exchange: &str, user: Option<&str>) -> Sender {
        let own = |base: &str| exchange.strip_prefix(base)?.strip_prefix('.');
        let sender = match queue {
            Queue::Commands { .. } if exchange == self.commands() => Sender::Orchestrator,
            Queue::Commands { participant } if exchange == self.again(participant) => {
                Sender::Participant(participant.clone())
            }
            Queue::Commands { .. } => Sender::Stranger,
            Queue::Replies if exchange == self.replies() => Sender::Orchestrator,
            Queue::Replies => participant(own(&self.replies())),
            Queue::Quarantine if exchange == self.quarantine() => Sender::Broker,
            Queue::Quarantine => match own(&self.quarantine()) {
                Some(ORCHESTRATOR) => Sender::Orchestrator,
                other => participant(other),
            },
        };
        match (&self.users, &sender) {
            (None, _) | (_, Sender::Broker | Sender::Stranger) => sender,
            (Some(users), Sender::Orchestrator) if user == Some(users.of(ORCHESTRATOR)) => sender,
            (Some(users), Sender::Participant(name)) if user == Some(users.of(name)) => sender,
            (Some(_), Sender::Orchestrator | Sender::Participant(_)) => Sender::Stranger,
        }
    }
}

fn participant(name: Option<&str>) -> Sender {
    name.map_or(Sender::Stranger, |name| Sender::Participant(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, Users};

    fn topology(users: Option<Users>) -> Topology {
        let prefix = "p.".to_owned();
        Topology::new(&Settings { prefix, users, ..Settings::new("amqp://u:p@host", "test") })
            .expect("short names")
    }

    fn stock() -> Queue {
        Queue::Commands { participant: "stock".to_owned() }
    }

    #[test]
    fn the_exchange_says_who_sent_a_message() {
        let topology = topology(None);
        let of = |queue: &Queue, exchange: &str| topology.sender(queue, exchange, None).to_string();
        for (queue, exchange, sender) in [
            (stock(), "p.saga.commands", "the orchestrator"),
            (stock(), "p.saga.again.stock", "stock"),
            (stock(), "p.saga.again.payment", "a stranger"),
            (stock(), "p.saga.replies.payment", "a stranger"),
            (stock(), "saga.commands", "a stranger"),
            (stock(), "", "a stranger"),
            (Queue::Replies, "p.saga.replies", "the orchestrator"),
            (Queue::Replies, "p.saga.replies.stock", "stock"),
            (Queue::Replies, "p.saga.repliesstock", "a stranger"),
            (Queue::Replies, "p.saga.commands", "a stranger"),
            (Queue::Replies, "", "a stranger"),
            (Queue::Quarantine, "p.saga.quarantine", "the broker"),
            (Queue::Quarantine, "p.saga.quarantine.stock", "stock"),
            (Queue::Quarantine, "p.saga.quarantine.orchestrator", "the orchestrator"),
            (Queue::Quarantine, "", "a stranger"),
        ] {
            assert_eq!(of(&queue, exchange), sender, "{exchange} to {queue:?}");
        }
    }

    #[test]
    fn where_users_are_known_a_message_without_its_partys_user_is_a_strangers() {
        let users = Users::named([("stock".to_owned(), "stock-user".to_owned())]);
        let topology = topology(Some(users));
        let of = |exchange: &str, user| topology.sender(&Queue::Replies, exchange, user);
        let stock = Sender::Participant("stock".to_owned());
        assert_eq!(of("p.saga.replies.stock", Some("stock-user")), stock);
        for user in [None, Some("stock"), Some("orchestrator"), Some("")] {
            assert_eq!(of("p.saga.replies.stock", user), Sender::Stranger, "{user:?}");
        }
        assert_eq!(of("p.saga.replies", Some("orchestrator")), Sender::Orchestrator);
        assert_eq!(of("p.saga.replies", None), Sender::Stranger);
        // The broker's own messages keep the user id of their first sender.
        let dead = topology.sender(&Queue::Quarantine, "p.saga.quarantine", None);
        assert_eq!(dead, Sender::Broker);
    }
}
