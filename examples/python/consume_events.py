#!/usr/bin/env python3
"""Consumes the shop's domain events from RabbitMQ, and checks that they are complete.

Events are published at least once and in no promised order. So a consumer
deduplicates them by type and id, groups them by order (`subject`), and sorts
each order's by `sequence`.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

CONTENT_TYPE = "application/cloudevents+json"

# What each step of place-order publishes. A step's action has its place as the
# event's sequence; its compensation has 2 * STEPS + 1 - place, so that sorting
# by sequence puts compensations after actions and in reverse.
STEPS = 6
ACTIONS = {
    1: "OrderPlaced",
    2: "StockReserved",
    3: "PaymentAuthorised",
    4: "PaymentCaptured",
    5: "StockCommitted",
    6: "OrderConfirmed",
}
COMPENSATIONS = {
    1: frozenset({"OrderRejected", "OrderCancelled"}),
    2: frozenset({"StockReleased"}),
    3: frozenset({"PaymentVoided"}),
}
AUTHORISE = 3
PIVOT = 4
DECLINED = "PaymentDeclined"


@dataclass(frozen=True)
class Event:
    """One domain event, as far as completeness is concerned."""

    type: str
    id: str
    order: str
    sequence: int
    data: dict[str, object]

    @property
    def name(self) -> str:
        """OrderPlaced, of saga.order.v1.OrderPlaced."""
        return self.type.rpartition(".")[2]


class BadEvent(ValueError):
    """A message that is no domain event; the text says why."""


def read_event(content_type: str | None, body: bytes) -> Event:
    """Reads a CloudEvents 1.0 JSON message."""
    if content_type is None or content_type.partition(";")[0].strip() != CONTENT_TYPE:
        raise BadEvent(f"its content type is {content_type!r}")
    try:
        event = json.loads(body)
    except ValueError as error:
        raise BadEvent(f"its body is no JSON: {error}") from error
    if not isinstance(event, dict) or event.get("specversion") != "1.0":
        raise BadEvent("it is no CloudEvents 1.0")
    for name in ("type", "id", "source", "subject", "sequence"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise BadEvent(f"it has no {name}")
    if not re.fullmatch("[0-9]+", event["sequence"]):
        raise BadEvent(f"its sequence is {event['sequence']!r}")
    data = event.get("data", {})
    if not isinstance(data, dict):
        raise BadEvent("its data is no object")
    return Event(event["type"], event["id"], event["subject"], int(event["sequence"]), data)


class State(Enum):
    """How far an order's story goes."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    FOREIGN = "foreign"  # It began before we listened, or this program does not know it.


def story(events: list[Event]) -> tuple[State, str]:
    """Says whether an order's events, in any order, tell its whole story, and how it ended.

    A confirmed order has every action. Any other has its actions from the
    first to the one that failed, and then a compensation for each effect.
    """
    actions: dict[int, str] = {}
    undone: dict[int, str] = {}
    declined = False
    for event in sorted(events, key=lambda event: event.sequence):
        if event.name == DECLINED and event.sequence in (AUTHORISE, PIVOT):
            # The refusal of an action: it had no effect, so nothing undoes it.
            declined = True
        elif ACTIONS.get(event.sequence) == event.name:
            actions[event.sequence] = event.name
        else:
            step = 2 * STEPS + 1 - event.sequence
            if event.name not in COMPENSATIONS.get(step, ()):
                return State.FOREIGN, f"{event.name} has sequence {event.sequence}"
            undone[step] = event.name

    if 1 not in actions:
        return State.FOREIGN, "it was never placed"
    if STEPS in actions or PIVOT in actions:
        missing = sorted(set(ACTIONS) - actions.keys())
        if undone:
            return State.INCOMPLETE, f"it was captured and undone: {sorted(undone.values())}"
        return (State.INCOMPLETE, missing_text(missing)) if missing else (State.COMPLETE, "OrderConfirmed")
    if 1 not in undone:
        return State.INCOMPLETE, "it has not ended"
    if sorted(actions) != list(range(1, len(actions) + 1)):
        return State.INCOMPLETE, missing_text(sorted(set(range(1, max(actions))) - actions.keys()))
    if declined and len(actions) < AUTHORISE - 1:
        return State.INCOMPLETE, missing_text([AUTHORISE - 1])
    if unanswered := sorted(actions.keys() - undone.keys()):
        return State.INCOMPLETE, "nothing undid " + ", ".join(ACTIONS[step] for step in unanswered)
    if groundless := sorted(undone.keys() - actions.keys()):
        return State.INCOMPLETE, missing_text(groundless)
    return State.COMPLETE, undone[1]


def missing_text(steps: list[int]) -> str:
    """Names the actions whose event is missing."""
    return "missing " + ", ".join(ACTIONS[step] for step in steps)


@dataclass
class Journal:
    """Everything heard so far."""

    orders: dict[str, dict[tuple[str, str], Event]] = field(default_factory=dict)
    messages: int = 0
    duplicates: int = 0
    conflicts: int = 0
    bad: list[str] = field(default_factory=list)

    def note(self, event: Event) -> None:
        """Takes an event in, once: a repeat has the same type and id, and says the same."""
        known = self.orders.setdefault(event.order, {})
        first = known.setdefault((event.type, event.id), event)
        if first is not event:
            self.duplicates += 1
            self.conflicts += first != event

    def events(self, order: str) -> list[Event]:
        """The events of placing an order. Another saga about it (a return) has an id of its own."""
        events = self.orders.get(order, {}).values()
        return [event for event in events if event.id.startswith(f"{order}/")]

    def all_complete(self, expected: set[str]) -> bool:
        """Whether nothing more is to be waited for."""
        return all(story(self.events(order))[0] is State.COMPLETE for order in expected)


def summarise(journal: Journal, expected: set[str] | None, whole: bool) -> dict[str, object]:
    """Judges every order that was asked for or heard of, if we asked for the whole story."""
    events = [event for known in journal.orders.values() for event in known.values()]
    heard: dict[str, object] = {
        "messages": journal.messages,
        "events": len(events),
        "types": dict(sorted(Counter(event.name for event in events).items())),
        "duplicates": journal.duplicates,
        "conflicts": journal.conflicts,
        "bad": journal.bad,
    }
    if not whole:
        return heard
    ends: Counter[str] = Counter()
    incomplete: dict[str, str] = {}
    foreign: dict[str, str] = {}
    for order in sorted(expected if expected is not None else journal.orders):
        state, detail = story(journal.events(order))
        if state is State.COMPLETE:
            ends[detail] += 1
        elif state is State.FOREIGN and expected is None:
            foreign[order] = detail
        else:
            incomplete[order] = detail
    complete = sum(ends.values())
    return heard | {
        "orders": complete + len(incomplete),
        "complete": complete,
        "ends": dict(sorted(ends.items())),
        "incomplete": incomplete,
        "foreign": foreign,
    }


def consume(args: argparse.Namespace, expected: set[str] | None, journal: Journal) -> None:
    """Listens until every expected order is complete, or nothing has come for a while."""
    connection = pika.BlockingConnection(pika.URLParameters(args.amqp))
    try:
        channel = connection.channel()
        queue = bind(channel, args)
        print(f"listening on {queue}", file=sys.stderr, flush=True)
        quiet_at = time.monotonic() + args.until_idle
        give_up_at = time.monotonic() + args.at_most
        waiting = set(expected or ())
        for method, properties, body in channel.consume(queue, inactivity_timeout=0.2):
            if method is not None:
                quiet_at = time.monotonic() + args.until_idle
                journal.messages += 1
                try:
                    event = read_event(properties.content_type, body)
                    journal.note(event)
                    if event.order in waiting and journal.all_complete({event.order}):
                        waiting.discard(event.order)
                except BadEvent as error:
                    journal.bad.append(f"{method.routing_key}: {error}")
                channel.basic_ack(method.delivery_tag)
            if expected is not None and not waiting:
                break
            if time.monotonic() >= min(quiet_at, give_up_at):
                break
        channel.cancel()
        if args.delete_queue:
            channel.queue_delete(queue)
    finally:
        if connection.is_open:
            connection.close()


def bind(channel: BlockingChannel, args: argparse.Namespace) -> str:
    """Binds a queue of our own to the events; without a name it ends with the connection."""
    exchange = f"{args.prefix}shop.events"
    channel.exchange_declare(exchange, passive=True)
    queue = channel.queue_declare(
        args.queue or "", durable=bool(args.queue), exclusive=not args.queue
    ).method.queue
    for key in args.keys:
        channel.queue_bind(queue, exchange, routing_key=key)
    channel.basic_qos(prefetch_count=200)
    return queue


def read_orders(path: Path) -> set[str]:
    """Reads order ids, one a line, or the JSON line of place_order.py."""
    text = path.read_text(encoding="utf-8").strip()
    last = text.rpartition("\n")[2]
    if last.startswith("{"):
        return {order["orderId"] for order in json.loads(last)["orders"]}
    return set(text.split())


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--amqp", default="amqp://guest:guest@127.0.0.1:5672/%2f", metavar="URL")
    parser.add_argument("--prefix", default="", help="of the exchange's name: {prefix}shop.events")
    parser.add_argument("--queue", help="a durable queue of this name, so that nothing is missed between two runs")
    parser.add_argument("--delete-queue", action="store_true", help="delete that queue in the end")
    parser.add_argument("--orders", type=Path, metavar="FILE", help="wait for these orders: an id a line, or place_order.py's JSON")
    parser.add_argument("--until-idle", type=float, default=10.0, metavar="SECONDS", help="stop when nothing comes for so long")
    parser.add_argument("--at-most", type=float, default=600.0, metavar="SECONDS", help="stop after so long in any case")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("keys", nargs="*", default=["#"], metavar="KEY", help="routing keys, like order.*; all (#) by default, and only then completeness can be judged")
    return parser.parse_args()


def main() -> int:
    """Exit status 0 if every order's events are complete, 1 if not, 2 if RabbitMQ is not there."""
    args = arguments()
    expected = read_orders(args.orders) if args.orders else None
    journal = Journal()
    try:
        consume(args, expected, journal)
    except AMQPError as error:
        print(f"RabbitMQ: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    summary = summarise(journal, expected, whole=args.keys == ["#"])
    if args.json:
        print(json.dumps(summary))
    else:
        for name, value in summary.items():
            print(f"{name:<11}{value}")
    return 1 if summary.get("incomplete") or summary["conflicts"] or summary["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
