#!/usr/bin/env python3
"""Consumes the shop's events from RabbitMQ, and checks that they are complete.

Events are published at least once and in no promised order. So a consumer
deduplicates them by type and id, groups them by saga (`subject`: an order or
a return), and goes by each one's `sequence`. That a saga needs a person is an
event too, and of no step.
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

@dataclass(frozen=True)
class Saga:
    """What each step of a saga publishes.

    A step's action has its place as the event's sequence; its compensation has
    10,000 - place, so that sorting by sequence puts compensations after actions
    and in reverse.
    """

    actions: dict[int, str]
    compensations: dict[int, frozenset[str]]
    pivot: int
    refusals: dict[str, frozenset[int]]  # An event that says that an action was refused, and of which.
    end: str

    @property
    def names(self) -> set[str]:
        """Every event of it."""
        undone = {name for names in self.compensations.values() for name in names}
        return {*self.actions.values(), *undone, *self.refusals}


PLACE_ORDER = Saga(
    actions={
        1: "OrderPlaced",
        2: "StockReserved",
        3: "PaymentAuthorised",
        4: "PaymentCaptured",
        5: "StockCommitted",
        6: "OrderConfirmed",
    },
    compensations={
        1: frozenset({"OrderRejected", "OrderCancelled"}),
        2: frozenset({"StockReleased"}),
        3: frozenset({"PaymentVoided"}),
    },
    pivot=4,
    refusals={"PaymentDeclined": frozenset({3, 4})},
    end="OrderConfirmed",
)
# A return that is refused has no event at all: it never was.
RETURN_ORDER = Saga(
    actions={1: "ReturnOpened", 2: "PaymentRefunded", 3: "StockTakenBack", 4: "OrderReturned"},
    compensations={1: frozenset({"ReturnRejected"})},
    pivot=2,
    refusals={},
    end="OrderReturned",
)

# The orchestrator's own event: a saga needs a person. It is no step's, and has no sequence.
STUCK = "saga.operations.v1.SagaStuck"


@dataclass(frozen=True)
class Event:
    """One event, as far as completeness is concerned."""

    type: str
    id: str
    order: str  # Or the return: whatever its saga is about.
    sequence: int | None  # None of what is no step's.
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
        # JSON can name half a character, which is no text: nothing could store it.
        json.dumps(event, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadEvent(f"its body is no JSON: {type(error).__name__}: {error}") from error
    if not isinstance(event, dict) or event.get("specversion") != "1.0":
        raise BadEvent("it is no CloudEvents 1.0")
    of_a_step = event.get("type") != STUCK
    for name in ("type", "id", "source", "subject", *(["sequence"] if of_a_step else [])):
        if not isinstance(event.get(name), str) or not event[name]:
            raise BadEvent(f"it has no {name}")
    if of_a_step and not re.fullmatch("[0-9]{1,9}", event["sequence"]):
        raise BadEvent(f"its sequence is {event['sequence']!r}")
    data = event.get("data", {})
    if not isinstance(data, dict):
        raise BadEvent("its data is no object")
    sequence = int(event["sequence"]) if of_a_step else None
    return Event(event["type"], event["id"], event["subject"], sequence, data)


class State(Enum):
    """How far an order's story goes."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    FOREIGN = "foreign"  # It began before we listened, or this program does not know it.


def story(events: list[Event]) -> tuple[State, str]:
    """Says whether a saga's events, in any order, tell its whole story, and how it ended.

    A saga that went through has every action. Any other has its actions from the
    first to the one that failed, and then a compensation for each effect. An order that
    was undone before it was created has its end only.
    """
    heard = {event.name for event in events}
    saga = RETURN_ORDER if heard and heard <= RETURN_ORDER.names else PLACE_ORDER
    actions: dict[int, str] = {}
    undone: dict[int, str] = {}
    refused: set[int] = set()
    for event in events:
        if event.sequence is None:
            return State.FOREIGN, f"{event.name} is no step's"
        step = 10_000 - event.sequence
        if event.sequence in saga.refusals.get(event.name, ()):
            # An action that had no effect, so nothing undoes it.
            refused.add(event.sequence)
        elif saga.actions.get(event.sequence) == event.name:
            actions[event.sequence] = event.name
        elif event.name in saga.compensations.get(step, ()):
            undone[step] = event.name
        else:
            return State.FOREIGN, f"{event.name} has sequence {event.sequence}"

    if saga is PLACE_ORDER and not actions and not refused and list(undone) == [1]:
        return State.COMPLETE, undone[1]
    if 1 not in actions:
        return State.FOREIGN, "it never began"
    if saga.pivot in actions or saga.end in actions.values():
        if undone:
            return State.INCOMPLETE, f"its pivot was done and it was undone: {sorted(undone.values())}"
        missing = sorted(saga.actions.keys() - actions.keys())
        return (State.INCOMPLETE, missing_text(saga, missing)) if missing else (State.COMPLETE, saga.end)
    if 1 not in undone:
        return State.INCOMPLETE, "it has not ended"
    # What was refused came after every step before it.
    reached = max([*actions, *(step - 1 for step in refused if step != saga.pivot)])
    if missing := sorted(set(range(1, reached + 1)) - actions.keys()):
        return State.INCOMPLETE, missing_text(saga, missing)
    if unanswered := sorted(actions.keys() - undone.keys()):
        return State.INCOMPLETE, "nothing undid " + ", ".join(saga.actions[step] for step in unanswered)
    if groundless := sorted(undone.keys() - actions.keys()):
        return State.INCOMPLETE, missing_text(saga, groundless)
    return State.COMPLETE, undone[1]


def missing_text(saga: Saga, steps: list[int]) -> str:
    """Names the actions whose event is missing."""
    return "missing " + ", ".join(saga.actions[step] for step in steps)


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
        """The steps' events of one saga: an order, or a return, which is a saga of its own."""
        events = self.orders.get(order, {}).values()
        return [event for event in events if event.type != STUCK and event.id.startswith(f"{order}/")]

    def stuck(self, order: str) -> str | None:
        """What a saga last said it needs a person for; it may have been helped since."""
        said = [event.data for event in self.orders.get(order, {}).values() if event.type == STUCK]
        last = max(said, key=lambda data: int(str(data.get("version", "0"))), default=None)
        return None if last is None else f"at {last.get('step')}/{last.get('direction')}: {last.get('why')}"

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
    stuck: dict[str, str] = {}
    for order in sorted(expected if expected is not None else journal.orders):
        state, detail = story(journal.events(order))
        if state is State.COMPLETE:
            ends[detail] += 1
        elif state is State.FOREIGN and expected is None:
            foreign[order] = detail
        else:
            incomplete[order] = detail
        if state is not State.COMPLETE and (why := journal.stuck(order)):
            stuck[order] = why
    complete = sum(ends.values())
    return heard | {
        "orders": complete + len(incomplete),
        "complete": complete,
        "ends": dict(sorted(ends.items())),
        "incomplete": incomplete,
        "foreign": foreign,
        "stuck": stuck,
    }


def consume(args: argparse.Namespace, expected: set[str] | None, journal: Journal) -> None:
    """Listens until every expected order is complete, or nothing has come for a while."""
    connection = pika.BlockingConnection(pika.URLParameters(args.amqp))
    try:
        channel = connection.channel()
        queue = bind(channel, args.prefix, args.queue, args.keys)
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


def bind(
    channel: BlockingChannel,
    prefix: str,
    name: str | None,
    keys: list[str],
    arguments: dict[str, object] | None = None,
    prefetch: int = 200,
) -> str:
    """Binds a queue of our own to the events; without a name it ends with the connection."""
    exchange = f"{prefix}shop.events"
    channel.exchange_declare(exchange, passive=True)
    queue = channel.queue_declare(
        name or "", durable=bool(name), exclusive=not name, arguments=arguments
    ).method.queue
    for key in keys:
        channel.queue_bind(queue, exchange, routing_key=key)
    channel.basic_qos(prefetch_count=prefetch)
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
