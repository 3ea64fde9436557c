//! Tests of behaviour that only this adapter has. The conformance suite tests what both adapters
//! share.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use saga_core::SagaId;
use uuid::Uuid;

use super::{queues::Stored, *};
use crate::{Delivery, Refused, Route, parcel};

const SECOND: Duration = Duration::from_secs(1);

fn settings(queue_capacity: usize) -> InProcessSettings {
    let participants = vec!["stock".to_owned()];
    InProcessSettings { participants, delivery_limit: 1, queue_capacity, ..Default::default() }
}

fn stock() -> Queue {
    Queue::Commands { participant: "stock".to_owned() }
}

fn message(route: Route, id: &str) -> Message {
    Message {
        route,
        id: id.to_owned(),
        content_type: parcel::BATCH,
        body: Bytes::from_static(b"[]"),
        expiry: None,
        reply_to: None,
        redelivered: false,
    }
}

fn command(id: &str) -> Message {
    message(Route::Command { participant: "stock".to_owned() }, id)
}

fn expiring(id: &str, expiry: Duration) -> Message {
    Message { expiry: Some(expiry), ..command(id) }
}

fn event(key: &str) -> Message {
    message(Route::Event { key: key.to_owned() }, key)
}

/// Takes all waiting messages, and returns their ids and deaths.
fn drain(queues: &mut Queues, queue: Queue, now: Instant) -> Vec<String> {
    let address = queues.open(queue);
    let mut ids = Vec::new();
    while let Some((_, stored)) = queues.take(&address, now) {
        let death = stored.death.map(|death| format!(" ({} {})", death.queue, death.reason));
        ids.push(stored.message.id + &death.unwrap_or_default());
    }
    ids
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().filter_map(|delivery| delivery.message_id.as_deref()).collect()
}

#[test]
fn a_full_queue_refuses_and_names_what_it_refused() {
    let now = Instant::now();
    let mut queues = Queues::new(settings(2));
    let reply =
        message(Route::Reply { to: "orchestrator".to_owned(), from: "stock".to_owned() }, "reply");
    let messages = vec![command("a"), command("b"), command("c"), reply, command("d")];
    assert_eq!(queues.publish(messages, now), [(2, Refused::Nacked), (4, Refused::Nacked)]);
    let address = queues.open(stock());
    let (_, _first) = queues.take(&address, now).expect("a");
    // Messages that are delivered but unacknowledged do not count towards the queue's capacity.
    assert_eq!(queues.publish(vec![command("e")], now), []);
    assert_eq!(drain(&mut queues, stock(), now), ["b", "e"]);
}

#[test]
fn an_expired_message_makes_room_for_another() {
    let now = Instant::now();
    let mut queues = Queues::new(settings(1));
    assert_eq!(queues.publish(vec![expiring("late", SECOND)], now), []);
    assert_eq!(queues.publish(vec![command("early")], now), [(0, Refused::Nacked)]);
    assert_eq!(queues.publish(vec![command("in time")], now + SECOND), []);
    assert_eq!(drain(&mut queues, stock(), now + SECOND), ["in time"]);
    let dead = drain(&mut queues, Queue::Quarantine, now + SECOND);
    assert_eq!(dead, ["late (saga.commands.stock expired)"]);
}

#[test]
fn expiry_is_looked_at_only_at_the_head() {
    let now = Instant::now();
    let mut queues = Queues::new(settings(10));
    let messages = vec![expiring("a", SECOND), command("b"), expiring("c", SECOND)];
    assert_eq!(queues.publish(messages, now), []);
    let just_before = now + SECOND - Duration::from_millis(1);
    let address = queues.open(stock());
    let (_, first) = queues.take(&address, just_before).expect("still in time");
    assert_eq!(first.message.id, "a");
    // A delivered message does not expire. Once it is back at its position, it has expired.
    queues.give_back(&address, BTreeMap::from([(0, first)]));
    assert_eq!(queues.depth(&address), 3);
    assert_eq!(drain(&mut queues, stock(), now + SECOND), ["b"]);
    assert_eq!(drain(&mut queues, Queue::Quarantine, now + SECOND).len(), 2);
}

#[test]
fn a_message_that_is_delivered_too_often_goes_to_the_quarantine() {
    let now = Instant::now();
    let mut queues = Queues::new(settings(10));
    let address = queues.open(stock());
    assert_eq!(queues.publish(vec![command("killer"), command("neighbour")], now), []);
    for delivery in 0..2 {
        let (place, stored) = queues.take(&address, now).expect("within its limit");
        assert_eq!((stored.message.id.as_str(), stored.returns), ("killer", delivery));
        queues.give_back(&address, BTreeMap::from([(place, stored)]));
    }
    assert_eq!(drain(&mut queues, stock(), now), ["neighbour"]);
    let dead = drain(&mut queues, Queue::Quarantine, now);
    assert_eq!(dead, ["killer (saga.commands.stock delivery_limit)"]);
}

#[test]
fn what_a_full_quarantine_cannot_take_is_delivered_and_not_lost() {
    let now = Instant::now();
    let mut queues = Queues::new(settings(1));
    let route = Route::Quarantine { reason: "poison".to_owned(), from: stock() };
    assert_eq!(queues.publish(vec![message(route, "full")], now), []);
    assert_eq!(queues.publish(vec![expiring("late", SECOND)], now), []);
    assert_eq!(drain(&mut queues, stock(), now + SECOND), ["late"]);
    assert_eq!(drain(&mut queues, Queue::Quarantine, now + SECOND), ["full"]);
}

#[test]
fn what_comes_back_goes_to_its_old_place() {
    let now = Instant::now();
    let mut queues = Queues::new(settings(10));
    let address = queues.open(stock());
    queues.publish(["a", "b", "c", "d", "e"].map(command).into(), now);
    let mut out: Vec<(u64, Stored)> = (0..4).filter_map(|_| queues.take(&address, now)).collect();
    let last = out.split_off(2);
    queues.acknowledge(&address);
    drop(out.remove(0));
    // The later messages come back first, and still end up behind the earlier one.
    queues.give_back(&address, last.into_iter().collect());
    queues.publish(vec![command("f")], now);
    queues.give_back(&address, out.into_iter().collect());
    assert_eq!(queues.depth(&address), 5);
    assert_eq!(drain(&mut queues, stock(), now), ["b", "c", "d", "e", "f"]);
}

#[test]
fn a_listener_that_is_full_refuses_and_the_others_hear_it() {
    let now = Instant::now();
    let mut queues = Queues::new(settings(1));
    let (slow, fast) = (queues.listen(&["order.*"]), queues.listen(&["#", "order.*"]));
    assert_eq!(queues.publish(vec![event("order.placed"), event("stock.low")], now).len(), 1);
    // The event arrives once, although two of the listener's patterns match.
    let (_, heard) = queues.take(&fast, now).expect("heard");
    assert_eq!(heard.message.id, "order.placed");
    assert!(queues.take(&fast, now).is_none());
    assert_eq!(queues.publish(vec![event("order.confirmed")], now), [(0, Refused::Nacked)]);
    assert_eq!(queues.depth(&slow), 1);
    let (_, heard) = queues.take(&fast, now).expect("the other one is not full");
    assert_eq!(heard.message.id, "order.confirmed");
    queues.consumer_ended(&slow);
    queues.acknowledge(&fast);
    assert_eq!(queues.publish(vec![event("order.rejected")], now), []);
    assert_eq!(queues.depth(&slow), 0);
}

/// Returns the ids that each consumer has received by now.
async fn shares(consumers: &mut [Consumer]) -> Vec<String> {
    // On this runtime, tasks that were woken before the yield have run when it returns.
    tokio::task::yield_now().await;
    let mut shares = Vec::new();
    for consumer in consumers {
        let taken = tokio::time::timeout(Duration::ZERO, consumer.next(100)).await;
        shares.push(taken.map_or_else(|_| String::new(), |taken| ids(&taken).join(" ")));
    }
    shares
}

#[tokio::test]
async fn consumers_of_one_queue_take_turns_each_as_much_as_it_has_room_for() {
    let transport = InProcess::new(settings(100));
    let mut consumers = [4, 10, 10].map(|prefetch| transport.consume(stock(), prefetch));
    tokio::task::yield_now().await;
    let one_by_one = ["0", "1", "2", "3"];
    let turns = [["0", "", ""], ["", "1", ""], ["", "", "2"], ["3", "", ""]];
    for (id, turn) in one_by_one.into_iter().zip(turns) {
        transport.publish(vec![command(id)]).await.expect("taken");
        assert_eq!(shares(&mut consumers).await, turn);
    }
    let burst = ('a'..='t').map(|id| command(&id.to_string())).collect();
    transport.publish(burst).await.expect("taken");
    assert_eq!(shares(&mut consumers).await, ["s t", "a b c d e f g h i", "j k l m n o p q r"]);
}

#[tokio::test]
async fn a_dropped_listener_leaves_nothing_behind() {
    let transport = InProcess::new(settings(1));
    let mut listener = transport.listen(&["order.#"]);
    transport.publish(vec![event("order.placed")]).await.expect("heard");
    assert_eq!(ids(&listener.next(10).await), ["order.placed"]);
    drop(listener);
    tokio::task::yield_now().await;
    for _ in 0..3 {
        transport.publish(vec![event("order.placed")]).await.expect("nobody is full");
    }
    assert!(transport.broker.queues().filled(&Address::Listener(0)).is_none());
}

#[tokio::test]
async fn a_consumer_goes_on_when_every_transport_is_dropped() {
    let transport = InProcess::new(settings(10));
    transport.publish(vec![command("a"), command("b")]).await.expect("taken");
    let mut consumer = transport.consume(stock(), 1);
    drop(transport);
    for expected in ["a", "b"] {
        let mut taken = consumer.next(10).await;
        assert_eq!(ids(&taken), [expected]);
        taken.remove(0).ack.ack();
    }
}

#[tokio::test]
async fn what_is_out_counts_as_long_as_it_is_not_acknowledged() {
    let transport = InProcess::new(settings(10));
    let mut consumer = transport.consume(stock(), 1);
    transport.publish(vec![command("a"), command("b")]).await.expect("taken");
    let mut taken = consumer.next(1).await;
    assert_eq!(transport.depth(&stock()), 2);
    taken.remove(0).ack.ack();
    assert_eq!(ids(&consumer.next(1).await), ["b"]);
    assert_eq!(transport.depth(&stock()), 1);
    assert_eq!(transport.depth(&Queue::Commands { participant: "nobody".to_owned() }), 0);
}

#[tokio::test]
async fn whoever_falls_behind_misses_the_oldest_hints() {
    let transport = InProcess::new(settings(10));
    let mut behind = transport.attach().changes();
    let hint = |version| vec![Changed { saga: SagaId(Uuid::from_u128(7)), version }];
    for version in 0..limits::MAX_BEHIND as u64 + 10 {
        transport.announce(hint(version));
    }
    assert!(behind.recv().await.is_err());
    assert_eq!(behind.recv().await.expect("the oldest that is left"), hint(10));
}

#[test]
fn debug_shows_no_message() {
    let transport = InProcess::new(settings(10));
    transport.broker.queues().publish(vec![command("secret")], Instant::now());
    assert_eq!(format!("{transport:?}"), "InProcess { .. }");
}

/// A random operation on the queue under test.
#[derive(Clone, Debug)]
enum Act {
    Publish { expires: bool },
    Take,
    Acknowledge(prop::sample::Index),
    GiveBack(prop::sample::Index),
    Wait,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => any::<bool>().prop_map(|expires| Act::Publish { expires }),
        4 => Just(Act::Take),
        2 => any::<prop::sample::Index>().prop_map(Act::Acknowledge),
        2 => any::<prop::sample::Index>().prop_map(Act::GiveBack),
        1 => Just(Act::Wait),
    ];
    prop::collection::vec(act, 1..120)
}

proptest! {
    #[test]
    fn whatever_was_taken_in_is_acknowledged_or_still_there(acts in acts()) {
        let mut now = Instant::now();
        let mut queues = Queues::new(settings(5));
        let address = queues.open(stock());
        let mut out: BTreeMap<u64, Stored> = BTreeMap::new();
        let mut expected: Vec<String> = Vec::new();
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Publish { expires } => {
                    let id = format!("{number:03}");
                    let message = if expires { expiring(&id, SECOND) } else { command(&id) };
                    if queues.publish(vec![message], now).is_empty() {
                        expected.push(id);
                    }
                }
                Act::Take => if let Some((place, stored)) = queues.take(&address, now) {
                    prop_assert!(out.insert(place, stored).is_none(), "two at one place");
                }
                Act::Acknowledge(pick) if !out.is_empty() => {
                    let place = *pick.get(&out.keys().copied().collect::<Vec<_>>());
                    let stored = out.remove(&place).expect("it is out");
                    queues.acknowledge(&address);
                    expected.retain(|id| *id != stored.message.id);
                }
                Act::GiveBack(pick) if !out.is_empty() => {
                    let from = *pick.get(&out.keys().copied().collect::<Vec<_>>());
                    queues.give_back(&address, out.split_off(&from));
                }
                Act::Acknowledge(_) | Act::GiveBack(_) => {}
                Act::Wait => now += SECOND,
            }
        }
        queues.give_back(&address, out);
        let mut left = drain(&mut queues, stock(), now);
        prop_assert!(left.is_sorted(), "out of order: {:?}", left);
        left.extend(drain(&mut queues, Queue::Quarantine, now));
        let mut left: Vec<String> = left.iter().map(|id| id[..3].to_owned()).collect();
        left.sort_unstable();
        prop_assert_eq!(left, expected);
    }
}
