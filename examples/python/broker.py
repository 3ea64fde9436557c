"""A participant at the broker: parcels in, events and replies out, then the acknowledgement."""

import hashlib
import json
import sqlite3
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, NackError, UnroutableError

from participant import Command, Json, Participant, Poison, Said, read_command, read_parcel

BATCH = "application/cloudevents-batch+json"
SINGLE = "application/cloudevents+json"
REDELIVERED = "saga-redelivered"

DEPLOYMENT = "orchestrator"
PREFETCH = 16
DELIVERY_LIMIT = 10
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
REFUSALS_BY_THE_BROKER = 3
# The broker forgets to cancel the consumers of a queue that is deleted and back sooner than this.
FIRST_SESSION_PAUSE_SECONDS = 0.5
LONGEST_SESSION_PAUSE_SECONDS = 8.0
# How soon SIGTERM is seen; containers are killed ten seconds after it.
SIGNAL_WITHIN_SECONDS = 0.2

Written = TypeVar("Written")


class Broker:
    """One connection, with a channel to consume and one to publish and be confirmed."""

    def __init__(self, url: str, prefix: str, name: str) -> None:
        self.prefix, self.name = prefix, name
        self.queue = f"{prefix}saga.commands.{name}"
        # Only the orchestrator may write to the first, and only we to the second.
        self.commanders = (f"{prefix}saga.commands", f"{prefix}saga.again.{name}")
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.incoming = self.connection.channel()
        self.incoming.basic_qos(prefetch_count=PREFETCH)
        self.outgoing = self.connection.channel()
        self.outgoing.confirm_delivery()
        self.user = pika.URLParameters(url).credentials.username
        declare(self.incoming, prefix, self.queue, name)

    def command(self, command: Command, member: Json, reply_to: str) -> bool:
        """Sends a member back to our own queue, alone (rule 13)."""
        properties = pika.BasicProperties(
            content_type=BATCH,
            message_id=command.id,
            app_id=self.name,
            user_id=self.user,
            reply_to=reply_to,
            delivery_mode=2,
            headers={REDELIVERED: True},
        )
        return self.publish(f"saga.again.{self.name}", self.name, [member], properties)

    def reply(self, to: str, replies: list[Json]) -> bool:
        """One parcel of replies. It must arrive."""
        return self.publish(f"saga.replies.{self.name}", to, replies, self.properties(BATCH, replies[0]["id"]))

    def event(self, key: str, event: Json) -> bool:
        """One event. Nobody need be listening."""
        return self.publish("shop.events", key, event, self.properties(SINGLE, event["id"]), mandatory=False)

    def quarantine(self, body: bytes, message_id: str | None, reason: str, reply_to: str | None) -> bool:
        """Puts aside what can never be handled, keyed by the command's id (rule 15)."""
        properties = self.properties(BATCH, message_id or hashlib.sha256(body).hexdigest()[:32])
        properties.headers = {"saga-reason": reason[:1000], "saga-from": self.queue}
        properties.reply_to = reply_to
        return self.publish(f"saga.quarantine.{self.name}", "", body, properties)

    def properties(self, content_type: str, message_id: str) -> pika.BasicProperties:
        """What every message has."""
        return pika.BasicProperties(
            content_type=content_type,
            message_id=message_id[:255],
            app_id=self.name,
            # The broker refuses another user than the one that has logged in.
            user_id=self.user,
            delivery_mode=2,
        )

    def publish(
        self, exchange: str, key: str, body: Any, properties: pika.BasicProperties, mandatory: bool = True
    ) -> bool:
        """Publishes and waits for the confirm. False: the broker does not take it."""
        text = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        pause = FIRST_PAUSE_SECONDS
        for _ in range(1 + REFUSALS_BY_THE_BROKER):
            try:
                self.outgoing.basic_publish(self.prefix + exchange, key, text, properties, mandatory)
                return True
            except (NackError, UnroutableError):
                time.sleep(pause)
                pause *= 2
        log(f"given up: {exchange} {key} {properties.message_id}")
        return False


def declare(channel: BlockingChannel, prefix: str, queue: str, key: str) -> None:
    """Our queue and our own exchanges, as docs/participants.md says. Declaring them again changes nothing."""
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": f"{prefix}saga.quarantine",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    channel.queue_declare(queue, durable=True, arguments=arguments)
    channel.queue_bind(queue, f"{prefix}saga.commands", routing_key=key)
    # Only we may write to these, so a message that came by one of them is ours.
    again, replies, quarantine = (f"{prefix}saga.{kind}.{key}" for kind in ("again", "replies", "quarantine"))
    channel.exchange_declare(again, "direct", durable=True)
    channel.queue_bind(queue, again, routing_key=key)
    channel.exchange_declare(replies, "direct", durable=True)
    channel.queue_bind(f"{prefix}saga.replies", replies, routing_key=DEPLOYMENT)
    channel.exchange_declare(quarantine, "fanout", durable=True)
    channel.queue_bind(f"{prefix}saga.quarantine", quarantine)


def serve(participant: Participant, broker: Broker, stopping: Callable[[], bool]) -> None:
    """Takes parcels until told to stop. Whatever is not acknowledged comes again."""
    for method, properties, body in broker.incoming.consume(broker.queue, inactivity_timeout=SIGNAL_WITHIN_SECONDS):
        if stopping():
            return
        if method is not None:
            if method.exchange not in broker.commanders:
                reason = f"impostor: it came by {method.exchange or 'the default exchange'}"
                must(broker.quarantine(body, None, reason, None))
                broker.incoming.basic_ack(method.delivery_tag)
                continue
            again = method.redelivered or (properties.headers or {}).get(REDELIVERED) is True
            take(participant, broker, body, properties.reply_to, again)
            broker.incoming.basic_ack(method.delivery_tag)


def take(participant: Participant, broker: Broker, body: bytes, reply_to: str | None, again: bool) -> None:
    """One parcel: its members' transactions, their events, their replies; then it may be acknowledged."""
    try:
        members = read_parcel(body)
    except Poison as poison:
        must(broker.quarantine(body, None, str(poison), reply_to))
        return
    commands = []
    for member in members:
        try:
            if reply_to is None:
                raise Poison("it has no reply_to")
            commands.append((read_command(member), member))
        except Poison as poison:
            quarantine(broker, member, str(poison), reply_to)
    if again and len(members) > 1:
        # One of them may be what ended us: alone it takes no neighbour with it.
        log(f"taken apart: {len(commands)} commands")
        for command, member in commands:
            must(broker.command(command, member, reply_to or ""))
        return
    replies = []
    for command, member in commands:
        try:
            said = persist(partial(participant.handle, command))
        except Poison as poison:
            quarantine(broker, member, str(poison), reply_to)
            continue
        log(f"{said.verdict.value}: {command.id}")
        # Whose event does not get through gets no reply either: the saga asks again (rule 10).
        if all([broker.event(key, event) for key, event in said.events]):
            replies.append(said.reply)
    if replies:
        broker.reply(reply_to or "", replies)


def persist(write: Callable[[], Written]) -> Written:
    """Writes, however long the database is in the way: a failure is no answer."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return write()
        except sqlite3.OperationalError as failure:
            log(f"tried again: {failure}")
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def quarantine(broker: Broker, member: Any, reason: str, reply_to: str | None) -> None:
    """Puts one member aside; its neighbours go on."""
    message_id = member.get("id") if isinstance(member, dict) else None
    log(f"quarantined: {message_id}: {reason}")
    body = json.dumps([member], separators=(",", ":")).encode()
    must(broker.quarantine(body, message_id if isinstance(message_id, str) else None, reason, reply_to))


def must(arrived: bool) -> None:
    """Nothing else sends it again, so the parcel is kept: reconnecting brings it back."""
    if not arrived:
        raise AMQPError("the broker does not take it")


def run(participant: Participant, url: str, prefix: str, stopping: Callable[[], bool]) -> None:
    """Serves for ever, over as many connections as it takes."""

    def session() -> None:
        broker = Broker(url, prefix, participant.name)
        log("ready")
        serve(participant, broker, stopping)
        broker.connection.close()

    reconnecting(session, stopping)


def reconnecting(session: Callable[[], None], stopping: Callable[[], bool]) -> None:
    """Runs one session with the broker after the other, until told to stop.

    The pause between two doubles while they fail. An OSError is one too: the
    name of a broker that is away may not even resolve.
    """
    pause = FIRST_SESSION_PAUSE_SECONDS
    while not stopping():
        began = time.monotonic()
        failure = "its queue was deleted"
        try:
            session()
        except (AMQPError, OSError) as error:
            failure = f"{type(error).__name__}: {error}"
        if stopping():
            return
        if time.monotonic() - began > LONGEST_SESSION_PAUSE_SECONDS:
            pause = FIRST_SESSION_PAUSE_SECONDS
        log(f"reconnects in {pause:g} s: {failure}")
        go_on_at = time.monotonic() + pause
        while time.monotonic() < go_on_at and not stopping():
            time.sleep(SIGNAL_WITHIN_SECONDS)
        pause = min(pause * 2, LONGEST_SESSION_PAUSE_SECONDS)


def log(line: str) -> None:
    """For people, on standard error."""
    print(line, file=sys.stderr, flush=True)
