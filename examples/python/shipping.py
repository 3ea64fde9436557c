#!/usr/bin/env python3
"""The shipping participant: books, cancels and dispatches shipments for a saga.

    python shipping.py --database shipping.sqlite --depot north=100

What it does with a command is here; what every participant does is in
participant.py, and how it talks to RabbitMQ in broker.py.
"""

import argparse
import signal
import sqlite3
import sys

from broker import run
from participant import Command, Handler, Json, Participant, Poison, done, refused

PACKAGE = "shop.shipping.v1"

SCHEMA = """
CREATE TABLE IF NOT EXISTS depots (
    name TEXT PRIMARY KEY,
    free INTEGER NOT NULL CHECK (free >= 0),
    booked INTEGER NOT NULL DEFAULT 0 CHECK (booked >= 0),
    gone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS shipments (
    saga TEXT PRIMARY KEY,
    depot TEXT NOT NULL REFERENCES depots,
    parcels INTEGER NOT NULL CHECK (parcels > 0),
    state TEXT NOT NULL CHECK (state IN ('booked', 'cancelled', 'dispatched'))
);
"""


def book(db: sqlite3.Connection, command: Command) -> Json:
    """Takes room in a depot's vans, or refuses. Action."""
    depot, parcels = command.data.get("depot", ""), command.data.get("parcels", 0)
    if not isinstance(depot, str) or not isinstance(parcels, int) or parcels < 1:
        raise Poison("it books nothing")
    taken = db.execute(
        "UPDATE depots SET free = free - ?1, booked = booked + ?1 WHERE name = ?2 AND free >= ?1", (parcels, depot)
    )
    if taken.rowcount == 0:
        return refused("NO_VAN", f"no van at {depot} has room for {parcels}")
    db.execute("INSERT INTO shipments VALUES (?, ?, ?, 'booked')", (command.saga, depot, parcels))
    event = {"orderId": command.saga, "parcels": parcels}
    return done(
        f"{PACKAGE}.ShipmentBookedReply",
        {"trackingCode": tracking_code(command.saga)},
        {"type": f"{PACKAGE}.ShipmentBooked", "key": "shipment.booked", "data": event},
    )


def cancel(db: sqlite3.Connection, command: Command) -> Json:
    """Gives the room back. Compensates `book`, and undoes what that recorded, not what is said today."""
    depot, parcels = db.execute(
        "SELECT depot, parcels FROM shipments WHERE saga = ? AND state = 'booked'", (command.saga,)
    ).fetchone()
    db.execute("UPDATE depots SET free = free + ?1, booked = booked - ?1 WHERE name = ?2", (parcels, depot))
    db.execute("UPDATE shipments SET state = 'cancelled' WHERE saga = ?", (command.saga,))
    event = {"orderId": command.saga}
    return done(
        f"{PACKAGE}.ShipmentCancelledReply",
        {"parcels": parcels},
        {"type": f"{PACKAGE}.ShipmentCancelled", "key": "shipment.cancelled", "data": event},
    )


def dispatch(db: sqlite3.Connection, command: Command) -> Json:
    """Lets the van go. Action, and the saga's pivot: nothing undoes it."""
    address, code = command.data.get("address", ""), command.data.get("trackingCode", "")
    row = db.execute(
        "SELECT depot, parcels FROM shipments WHERE saga = ? AND state = 'booked'", (command.saga,)
    ).fetchone()
    if row is None or code != tracking_code(command.saga):
        return refused("NOT_BOOKED", f"no shipment {code!r} waits for its van")
    if address == "nowhere":
        return refused("UNREACHABLE", "no road leads there")
    depot, parcels = row
    db.execute("UPDATE depots SET booked = booked - ?1, gone = gone + ?1 WHERE name = ?2", (parcels, depot))
    db.execute("UPDATE shipments SET state = 'dispatched' WHERE saga = ?", (command.saga,))
    event = {"orderId": command.saga, "address": address}
    return done(
        f"{PACKAGE}.ShipmentDispatchedReply",
        {},
        {"type": f"{PACKAGE}.ShipmentDispatched", "key": "shipment.dispatched", "data": event},
    )


def tracking_code(saga: str) -> str:
    """Derived, so that it is the same whenever it is asked for."""
    return "T" + saga[-12:].upper()


HANDLERS = {
    f"{PACKAGE}.BookShipment": Handler("action", book),
    f"{PACKAGE}.CancelShipment": Handler("compensation", cancel, done(f"{PACKAGE}.ShipmentCancelledReply", {})),
    f"{PACKAGE}.DispatchShipment": Handler("action", dispatch),
}


def shipping(database: str, depots: dict[str, int]) -> Participant:
    """The participant, with its depots."""
    participant = Participant("shipping", database, SCHEMA, HANDLERS)
    for name, room in depots.items():
        participant.db.execute("INSERT OR IGNORE INTO depots (name, free) VALUES (?, ?)", (name, room))
    return participant


def depot(text: str) -> tuple[str, int]:
    """Reads NAME=PARCELS."""
    name, _, room = text.partition("=")
    if not name or not room.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=PARCELS")
    return name, int(room)


def main() -> int:
    """Serves until SIGTERM or SIGINT; SIGKILL loses nothing either."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--amqp", default="amqp://guest:guest@127.0.0.1:5672/%2f", metavar="URL")
    parser.add_argument("--prefix", default="", help="of the names of exchanges and queues")
    parser.add_argument("--database", required=True, metavar="FILE")
    parser.add_argument("--depot", type=depot, action="append", default=[], metavar="NAME=PARCELS")
    args = parser.parse_args()
    signalled: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: signalled.append(received))
    run(shipping(args.database, dict(args.depot)), args.amqp, args.prefix, lambda: bool(signalled))
    return 0


if __name__ == "__main__":
    sys.exit(main())
