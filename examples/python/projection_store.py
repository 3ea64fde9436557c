"""The projection: what was sold, returned and paid, and how far each order is, in SQLite.

It knows neither the broker nor the page. Events come at least once and in no
promised order, so:

- each event counts once, by `type` and `id`, and is remembered in the same
  transaction as its effect;
- sums are of events that only ever add, so their order does not matter;
- the state of an order or a return is that of its event with the greatest
  `sequence`, whenever it came.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum

from consume_events import STUCK, BadEvent, Event, read_event
from database import open_database, transaction

ORDER, RETURN = "order", "return"
# Of each event of a step: whose it is, and the state once it is the latest.
STATES = {
    "saga.order.v1.OrderPlaced": (ORDER, "PENDING"),
    "saga.inventory.v1.StockReserved": (ORDER, "PENDING"),
    "saga.payment.v1.PaymentAuthorised": (ORDER, "PENDING"),
    "saga.payment.v1.PaymentDeclined": (ORDER, "PENDING"),
    "saga.payment.v1.PaymentCaptured": (ORDER, "PENDING"),
    "saga.inventory.v1.StockCommitted": (ORDER, "PENDING"),
    "saga.order.v1.OrderConfirmed": (ORDER, "CONFIRMED"),
    "saga.payment.v1.PaymentVoided": (ORDER, "PENDING"),
    "saga.inventory.v1.StockReleased": (ORDER, "PENDING"),
    "saga.order.v1.OrderRejected": (ORDER, "REJECTED"),
    "saga.order.v1.OrderCancelled": (ORDER, "CANCELLED"),
    "saga.order.v1.ReturnOpened": (RETURN, "OPEN"),
    "saga.payment.v1.PaymentRefunded": (RETURN, "OPEN"),
    "saga.inventory.v1.StockTakenBack": (RETURN, "OPEN"),
    "saga.order.v1.OrderReturned": (RETURN, "DONE"),
    "saga.order.v1.ReturnRejected": (RETURN, "REJECTED"),
}
IN_PROGRESS = ("PENDING", "OPEN")
# The events whose lines or amount are added up, and into which column.
GOODS = {"saga.order.v1.OrderConfirmed": "sold", "saga.order.v1.OrderReturned": "returned"}
MONEY = {"saga.payment.v1.PaymentCaptured": "captured", "saga.payment.v1.PaymentRefunded": "refunded"}

# Shown at once; who has more has other worries than a list.
MOST_STUCK = 20

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    content BLOB NOT NULL, -- a hash: a repeat says the same
    PRIMARY KEY (type, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subjects (
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    type TEXT NOT NULL, -- of the event with that sequence, the greatest
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS subjects_by_type ON subjects (kind, type);
-- STRICT and CHECK: a sum that no longer fits fails instead of becoming a floating-point number.
CREATE TABLE IF NOT EXISTS products (
    sku TEXT NOT NULL,
    currency TEXT NOT NULL,
    sold INTEGER NOT NULL DEFAULT 0 CHECK (sold >= 0),
    sold_amount INTEGER NOT NULL DEFAULT 0 CHECK (sold_amount >= 0),
    returned INTEGER NOT NULL DEFAULT 0 CHECK (returned >= 0),
    returned_amount INTEGER NOT NULL DEFAULT 0 CHECK (returned_amount >= 0),
    PRIMARY KEY (sku, currency)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS money (
    currency TEXT PRIMARY KEY,
    captured INTEGER NOT NULL DEFAULT 0 CHECK (captured >= 0),
    refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded >= 0)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stuck (
    subject TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    why TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (verdict TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""


class Verdict(Enum):
    """What became of a message. Each is acknowledged, and counted."""

    APPLIED = "applied"
    LATE = "late"  # Applied, but its subject had a later event already.
    REPEATED = "repeated"  # Skipped: the same event once more.
    CONFLICTING = "conflicting"  # Skipped: the same type and id, but it says something else.
    UNKNOWN = "unknown"  # Skipped: a type that this program does not know.
    MALFORMED = "malformed"  # Skipped: no event, or one whose data cannot be added up.


@dataclass(frozen=True)
class Message:
    """A delivery, as far as the projection is concerned."""

    content_type: str | None
    body: bytes


@dataclass(frozen=True)
class Facts:
    """What an event adds: (SKU, currency) to pieces and amount, or currency to amount."""

    goods: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    money: tuple[str, int] | None = None


def facts(event: Event) -> Facts:
    """Reads what an event adds to the sums. Raises BadEvent when it cannot be read."""
    if event.type in MONEY:
        return Facts(money=money(event.data.get("amount")))
    if event.type not in GOODS:
        return Facts()
    lines = event.data.get("lines")
    if not isinstance(lines, list) or not lines:
        raise BadEvent("it has no lines")
    goods: dict[tuple[str, str], tuple[int, int]] = {}
    for line in lines:
        if not isinstance(line, dict) or not isinstance(line.get("sku"), str) or not line["sku"]:
            raise BadEvent("a line has no sku")
        currency, price = money(line.get("unitPrice"))
        quantity = integer(line.get("quantity"))
        pieces, amount = goods.get((line["sku"], currency), (0, 0))
        goods[line["sku"], currency] = (pieces + quantity, amount + quantity * price)
    return Facts(goods=goods)


def money(value: object) -> tuple[str, int]:
    """Reads saga.types.v1.Money."""
    currency = value.get("currency") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        raise BadEvent("an amount has no currency")
    return currency, integer(value.get("minorUnits"))


def integer(value: object) -> int:
    """Reads a 64-bit number as protobuf writes it: text; and what has its default, 0, is left out."""
    text = "0" if value is None else value if isinstance(value, str) else str(value)
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,19}", text):
        raise BadEvent("a number is none")
    return int(text)


class Projection:
    """Writes the projection. One thread's: readers open their own (see `read`)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.db = open_database(path, SCHEMA)

    def take(self, messages: Iterable[Message]) -> list[Verdict]:
        """Takes messages in, in one transaction. Acknowledge them once it has returned."""
        with transaction(self.db):
            verdicts = [self.note(message) for message in messages]
            for verdict in verdicts:
                self.db.execute(
                    "INSERT INTO messages VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (verdict.value,)
                )
        return verdicts

    def note(self, message: Message) -> Verdict:
        """Takes one message in, whatever it is."""
        try:
            event = read_event(message.content_type, message.body)
            if event.type not in STATES and event.type != STUCK:
                return Verdict.UNKNOWN
            with self.savepoint():
                return self.apply(event, facts(event))
        # Integrity: a sum would no longer fit. Overflow: a number of the event's own does not.
        except (BadEvent, sqlite3.IntegrityError, OverflowError):
            return Verdict.MALFORMED

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """One event's part of the transaction: all of it or nothing."""
        self.db.execute("SAVEPOINT event")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK TO event")
            raise
        finally:
            self.db.execute("RELEASE event")

    def apply(self, event: Event, what: Facts) -> Verdict:
        """Applies an event, unless it was applied before."""
        content = content_of(event)
        new = self.db.execute(
            "INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (event.type, event.id, content)
        )
        if new.rowcount == 0:
            query = "SELECT content FROM seen WHERE type = ? AND id = ?"
            (first,) = self.db.execute(query, (event.type, event.id)).fetchone()
            return Verdict.REPEATED if first == content else Verdict.CONFLICTING
        for (sku, currency), (pieces, amount) in what.goods.items():
            column = GOODS[event.type]
            self.db.execute(
                f"INSERT INTO products (sku, currency, {column}, {column}_amount) VALUES (?1, ?2, ?3, ?4)"
                f" ON CONFLICT DO UPDATE SET {column} = {column} + ?3, {column}_amount = {column}_amount + ?4",
                (sku, currency, pieces, amount),
            )
        if what.money is not None:
            column = MONEY[event.type]
            self.db.execute(
                f"INSERT INTO money (currency, {column}) VALUES (?1, ?2)"
                f" ON CONFLICT DO UPDATE SET {column} = {column} + ?2",
                what.money,
            )
        moved = self.alert(event) if event.sequence is None else self.move(event, event.sequence)
        return Verdict.APPLIED if moved else Verdict.LATE

    def move(self, event: Event, sequence: int) -> bool:
        """The subject's state, if this is its latest event so far."""
        kind, state = STATES[event.type]
        moved = self.db.execute(
            "INSERT INTO subjects VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET sequence = excluded.sequence, type = excluded.type WHERE excluded.sequence > sequence",
            (kind, event.order, sequence, event.type),
        )
        if moved.rowcount > 0 and state not in IN_PROGRESS:
            self.db.execute("DELETE FROM stuck WHERE subject = ?", (event.order,))
        return moved.rowcount > 0

    def alert(self, event: Event) -> bool:
        """Notes that a saga needs a person, unless it has ended or said so of a later version."""
        ended = [type for type, (_, state) in STATES.items() if state not in IN_PROGRESS]
        known = self.db.execute("SELECT type FROM subjects WHERE subject = ?", (event.order,)).fetchall()
        if any(type in ended for (type,) in known):
            return False
        why = f"{event.data.get('step')}/{event.data.get('direction')}: {event.data.get('why')}"
        said = self.db.execute(
            "INSERT INTO stuck VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
            " SET version = excluded.version, why = excluded.why WHERE excluded.version > version",
            (event.order, integer(event.data.get("version")), why[:1000]),
        )
        return said.rowcount > 0


def content_of(event: Event) -> bytes:
    """A hash of what an event says: the same event has the same, however its JSON is written."""
    text = json.dumps([event.order, event.sequence, event.data], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()[:16]


def read(path: str) -> dict[str, object]:
    """The whole projection as of one commit, ready for JSON."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as db:
        db.execute("PRAGMA query_only = ON")
        db.execute("BEGIN")
        states = {kind: dict.fromkeys((s for k, s in STATES.values() if k == kind), 0) for kind in (ORDER, RETURN)}
        underway: dict[str, int] = {}
        for kind, type_name, count in db.execute("SELECT kind, type, count(*) FROM subjects GROUP BY kind, type"):
            state = STATES[type_name][1]
            states[kind][state] += count
            if state in IN_PROGRESS:
                underway[type_name.rpartition(".")[2]] = count
        counted = dict(db.execute("SELECT verdict, count FROM messages"))
        return {
            "orders": states[ORDER],
            "returns": states[RETURN],
            "inProgressAfter": underway,
            "products": [
                {
                    "sku": sku,
                    "currency": currency,
                    "pieces": {"sold": sold, "returned": back, "net": sold - back},
                    "minorUnits": {"sold": paid, "returned": given, "net": paid - given},
                }
                for sku, currency, sold, paid, back, given in db.execute(
                    "SELECT sku, currency, sold, sold_amount, returned, returned_amount FROM products"
                    " ORDER BY sku, currency"
                )
            ],
            "money": [
                {"currency": currency, "captured": captured, "refunded": refunded, "net": captured - refunded}
                for currency, captured, refunded in db.execute("SELECT * FROM money ORDER BY currency")
            ],
            "stuck": [
                {"saga": saga, "why": why}
                for saga, why in db.execute("SELECT subject, why FROM stuck ORDER BY subject LIMIT ?", (MOST_STUCK,))
            ],
            "messages": {verdict.value: counted.get(verdict.value, 0) for verdict in Verdict},
        }
