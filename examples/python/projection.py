#!/usr/bin/env python3
"""Consumes the shop's events for good, and shows what was sold, returned and paid.

    python projection.py --database /tmp/projection.sqlite

What an event does is in projection_store.py, the page in projection_page.py.
Every delivery is acknowledged once its effect is committed together with its
id, so it may be killed at any moment. What is no event, or an unknown one, is
counted, acknowledged and skipped.
"""

import argparse
import os
import re
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pika
from pika.adapters.blocking_connection import BlockingChannel

from broker import SIGNAL_WITHIN_SECONDS, log, persist, reconnecting
from consume_events import bind
from projection_page import Health, Page
from projection_store import Message, Projection

WRONG_USAGE = 64
# AMQP's own bound on a name.
LONGEST_NAME_BYTES = 255
MOST_PREFETCH = 10_000
# Quorum: what was confirmed to the shop survives the broker and its disk's power. A delivery limit that nothing
# reaches: at the usual 20 the broker would drop an event that was in flight at as many kills, and this program
# itself skips what it cannot use. (There is no "none" that every version of RabbitMQ understands.)
QUEUE: dict[str, object] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000}

# Name of the flag, default, metavar, meaning. The environment's name is PROJECTION_ and the flag in capitals.
SETTINGS = [
    ("amqp-url", "amqp://guest:guest@127.0.0.1:5672/%2f", "URL", "the broker"),
    ("amqp-url-file", "", "FILE", "a file with that URL, instead of it"),
    ("prefix", "", "TEXT", "of the names of exchange and queue"),
    ("queue", "consumer.projection", "NAME", "the durable queue, made if it is not there"),
    ("database", "", "FILE", "the SQLite file, made if it is not there (required)"),
    ("listen", "127.0.0.1:7420", "HOST:PORT", "where the page is served"),
    ("prefetch", "200", "N", "messages in hand, which are one transaction at most"),
]


@dataclass(frozen=True)
class Settings:
    """What `SETTINGS` says, checked."""

    amqp_url: str
    prefix: str
    queue: str
    database: str
    listen: tuple[str, int]
    prefetch: int


class Parser(argparse.ArgumentParser):
    """Wrong usage has the exit code that all programs here have for it."""

    def error(self, message: str) -> NoReturn:
        """Says what is wrong, and ends."""
        self.exit(WRONG_USAGE, f"{self.prog}: {message} (see --help)\n")


def variable(flag: str) -> str:
    """The environment's name of a flag."""
    return "PROJECTION_" + flag.upper().replace("-", "_")


def settings(arguments: list[str], environment: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Reads flags, and the environment where there is none. Returns everything that is wrong, too."""
    parser = Parser(description=(__doc__ or "").splitlines()[0], epilog="Exit status: 0 stopped, 1 failed, 64 wrong usage.")
    for flag, default, metavar, meaning in SETTINGS:
        usual = f"; usually {default}".replace("%", "%%") if default else ""
        parser.add_argument(f"--{flag}", metavar=metavar, help=f"{meaning}{usual} [{variable(flag)}]")
    given = vars(parser.parse_args(arguments))
    wrong: list[str] = []
    # An empty variable counts as none.
    said = {flag: given[flag.replace("-", "_")] or environment.get(variable(flag)) for flag, *_ in SETTINGS}
    value = {flag: said[flag] or default for flag, default, *_ in SETTINGS}

    url = value["amqp-url"]
    if value["amqp-url-file"]:
        if said["amqp-url"]:
            wrong.append("--amqp-url and --amqp-url-file say the same: set one")
        try:
            url = Path(value["amqp-url-file"]).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            wrong.append(f"--amqp-url-file cannot be read: {error}")
    if not is_amqp(url):
        # Not shown: it holds a password.
        wrong.append("--amqp-url (or its file) is not of the form amqp://user:password@host:port/vhost")
    queue = value["prefix"] + value["queue"]
    if len(queue.encode()) > LONGEST_NAME_BYTES or queue.startswith("amq."):
        wrong.append(f"--queue: with --prefix at most {LONGEST_NAME_BYTES} bytes, and not amq.…, which is the broker's")
    if not value["database"]:
        wrong.append("--database is missing: name a file")
    elif not Path(value["database"]).absolute().parent.is_dir():
        wrong.append(f"--database: there is no directory {Path(value['database']).absolute().parent}")
    host, _, port = value["listen"].rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65_536:
        wrong.append(f"--listen is {value['listen']!r}, not HOST:PORT")
        port = "0"
    prefetch = value["prefetch"]
    if not re.fullmatch("[0-9]{1,5}", prefetch) or not 1 <= int(prefetch) <= MOST_PREFETCH:
        wrong.append(f"--prefetch is {prefetch!r}, not a number from 1 to {MOST_PREFETCH}")
        prefetch = "1"
    read = Settings(url, value["prefix"], queue, value["database"], (host, int(port)), int(prefetch))
    return read, wrong


def is_amqp(url: str) -> bool:
    """Whether this names a broker."""
    try:
        parts = urlsplit(url)
        pika.URLParameters(url)
        return parts.scheme in ("amqp", "amqps") and bool(parts.hostname)
    except (ValueError, TypeError):
        return False


def batches(
    channel: BlockingChannel, queue: str, most: int, stopping: Callable[[], bool]
) -> Iterator[tuple[int, list[Message]]]:
    """What has arrived, `most` messages at once, and the last one's tag."""
    batch: list[Message] = []
    for method, properties, body in channel.consume(queue, inactivity_timeout=SIGNAL_WITHIN_SECONDS):
        if stopping():
            return
        if method is None:
            continue
        batch.append(Message(properties.content_type, body))
        if len(batch) >= most or channel.get_waiting_message_count() == 0:
            yield method.delivery_tag, batch
            batch = []


def session(wanted: Settings, projection: Projection, health: Health, stopping: Callable[[], bool]) -> None:
    """Consumes over one connection: each batch is committed, and then acknowledged."""
    trouble = "its queue was deleted"
    try:
        with pika.BlockingConnection(pika.URLParameters(wanted.amqp_url)) as connection:
            channel = connection.channel()
            queue = bind(channel, wanted.prefix, wanted.queue, ["#"], QUEUE, wanted.prefetch)
            log(f"consuming {queue}")
            health.trouble = None
            for last, batch in batches(channel, queue, wanted.prefetch, stopping):
                persist(partial(commit, projection, batch, health))
                channel.basic_ack(last, multiple=True)
    except Exception as error:
        trouble = f"{type(error).__name__}: {error}"
        raise
    finally:
        health.trouble = trouble


def commit(projection: Projection, batch: list[Message], health: Health) -> None:
    """One transaction; while there can be none, nothing is consumed."""
    try:
        projection.take(batch)
        health.trouble = None
    except sqlite3.OperationalError as error:
        health.trouble = f"the database: {error}"
        raise


def main() -> int:
    """Serves until SIGTERM or SIGINT; SIGKILL loses nothing either."""
    wanted, wrong = settings(sys.argv[1:], os.environ)
    if wrong:
        print("\n".join(f"projection.py: {one}" for one in wrong), file=sys.stderr)
        return WRONG_USAGE
    signalled: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: signalled.append(received))
    health = Health()
    try:
        projection = Projection(wanted.database)
        page = Page(wanted.listen, wanted.database, health)
    except (sqlite3.Error, OSError) as error:
        print(f"projection.py: cannot start: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    threading.Thread(target=page.serve_forever, daemon=True).start()
    log(f"page on http://{wanted.listen[0]}:{wanted.listen[1]}/")

    def stopping() -> bool:
        return bool(signalled)

    reconnecting(partial(session, wanted, projection, health, stopping), stopping)
    return 0


if __name__ == "__main__":
    sys.exit(main())
