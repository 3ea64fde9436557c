"""What a participant in Python needs: a queue of commands, a SQLite database, and answers.

Each command's effect happens once, however often the command comes. The rules
that are numbered here are explained in docs/participants.md. shipping.py has the
business: a schema, and a function a command. `Participant` knows no broker, and
broker.py knows no business.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from database import open_database, transaction

Json = dict[str, Any]

# ---- Reading a parcel ------------------------------------------------------

ID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/([a-z0-9-]{1,64})/(action|compensation)")


class Poison(ValueError):
    """A message that can never be handled; the text says why."""


@dataclass(frozen=True)
class Command:
    """One member of a parcel."""

    id: str
    saga: str
    step: str
    direction: str
    type: str
    data: Json
    sequence: int
    definition: str
    definition_version: int
    traceparent: str | None

    @property
    def hash(self) -> bytes:
        """Of type and payload: the same id with another one is no repetition."""
        payload = json.dumps(self.data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{self.type}\0{payload}".encode()).digest()[:16]


def read_parcel(body: bytes) -> list[Any]:
    """The members of a parcel; each of them is sound or poison on its own."""
    try:
        members = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Poison(f"the body is no JSON: {type(error).__name__}: {error}") from error
    if not isinstance(members, list) or not members:
        raise Poison("the body is no array of commands")
    return members


def read_command(member: Any) -> Command:
    """Reads one CloudEvent. Attributes that we do not know are ignored."""
    if not isinstance(member, dict) or member.get("specversion") != "1.0":
        raise Poison("it is no CloudEvents 1.0")
    match = ID.fullmatch(str(member.get("id")))
    if match is None:
        raise Poison("its id is none of <saga>/<step>/<direction>")
    saga, step, direction = match.groups()
    if member.get("subject") != saga:
        raise Poison("its subject is not the saga of its id")
    for name, kind in (("type", str), ("sequence", str), ("definition", str), ("definitionversion", int), ("data", dict)):
        if not isinstance(member.get(name), kind):
            raise Poison(f"its {name} is missing or of the wrong kind")
    if not member["sequence"].isdecimal() or "attempt" not in member:
        raise Poison("it is no command")
    return Command(
        match.group(),
        saga,
        step,
        direction,
        member["type"],
        member["data"],
        int(member["sequence"]),
        member["definition"],
        member["definitionversion"],
        member.get("traceparent"),
    )


# ---- What to do with a command that may have been seen before ----------------


class Verdict(Enum):
    """What the record of a step says about a command."""

    RUN = "run"
    REPEAT = "repeat"
    NOTHING_TO_UNDO = "nothing to undo"
    TOO_LATE = "too late"
    CONFLICT = "conflict"


@dataclass
class Part:
    """What is recorded of one direction of a step."""

    hash: bytes
    answer: Json


@dataclass
class Record:
    """The one row that a step's action and its compensation contend for."""

    action: Part | None = None
    compensation: Part | None = None


def admit(record: Record, command: Command) -> Verdict:
    """Decides from the record alone (rule 12)."""
    own = record.action if command.direction == "action" else record.compensation
    if own is not None and own.hash != command.hash:
        return Verdict.CONFLICT
    undone = command.direction == "action" and record.compensation is not None
    if own is not None and not (undone and own.answer["outcome"] == "done"):
        return Verdict.REPEAT
    if command.direction == "action":
        return Verdict.RUN if record.compensation is None else Verdict.TOO_LATE
    if record.action is None or record.action.answer["outcome"] == "refused":
        return Verdict.NOTHING_TO_UNDO
    return Verdict.RUN


def done(reply: str, data: Json, event: Json | None = None) -> Json:
    """An answer: the effect happened. Its event (type, key, data) is recorded with it."""
    return {"outcome": "done", "type": reply, "data": data, "event": event}


def refused(code: str, message: str) -> Json:
    """An answer: the effect did not happen, and never will under this command's id."""
    data = {"code": code, "message": message}
    return {"outcome": "refused", "type": "saga.types.v1.Refusal", "data": data, "event": None}


TOO_LATE: Json = {"outcome": "toolate", "type": "saga.types.v1.TooLate", "data": {}, "event": None}


# ---- One command, one transaction --------------------------------------------


@dataclass
class Said:
    """What leaves once the transaction is committed: first the events, then the reply."""

    verdict: Verdict
    events: list[tuple[str, Json]]
    reply: Json


INBOX = """
CREATE TABLE IF NOT EXISTS inbox (
    saga TEXT NOT NULL,
    step TEXT NOT NULL,
    action_hash BLOB,
    action_answer TEXT,
    compensation_hash BLOB,
    compensation_answer TEXT,
    PRIMARY KEY (saga, step)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Handler:
    """What takes a command: its direction, its rule, and the answer when there is nothing to undo."""

    direction: str
    rule: Callable[[sqlite3.Connection, Command], Json]
    nothing: Json | None = None


class Participant:
    """A participant without its broker."""

    def __init__(self, name: str, database: str, schema: str, handlers: dict[str, Handler]) -> None:
        self.name = name
        self.source = f"shop/{name}"
        self.handlers = handlers
        self.db = open_database(database, INBOX + schema)

    def handle(self, command: Command) -> Said:
        """Runs a command once, or says again what was said (rules 11 and 12)."""
        handler = self.handlers.get(command.type)
        if handler is None:
            raise Poison(f"{self.name} takes no {command.type}")
        if handler.direction != command.direction:
            raise Poison(f"{command.type} is no {command.direction}")
        with transaction(self.db):
            record = self.lock(command)
            verdict = admit(record, command)
            if verdict is Verdict.CONFLICT:
                raise Poison("the same id with another payload")
            if verdict is Verdict.TOO_LATE:
                return Said(verdict, [], self.reply(command, TOO_LATE, repeat=False))
            own = record.action if command.direction == "action" else record.compensation
            if verdict is Verdict.REPEAT and own is not None:
                answer = own.answer
            elif verdict is Verdict.NOTHING_TO_UNDO and handler.nothing is not None:
                # The tombstone: an action that comes after it is too late.
                answer = self.record(command, handler.nothing)
            else:
                answer = self.record(command, handler.rule(self.db, command))
        events = []
        if command.direction == "compensation" and record.action is not None:
            # Whoever answered the action may have died before its event was out (rule 10).
            events += self.event_of(command, "action", record.action.answer)
        events += self.event_of(command, command.direction, answer)
        return Said(verdict, events, self.reply(command, answer, repeat=verdict is Verdict.REPEAT))

    def lock(self, command: Command) -> Record:
        """The step's row. SQLite has one writer, so the open transaction is the lock."""
        row = self.db.execute(
            "SELECT action_hash, action_answer, compensation_hash, compensation_answer"
            " FROM inbox WHERE saga = ? AND step = ?",
            (command.saga, command.step),
        ).fetchone()
        if row is None:
            return Record()
        parts = [Part(row[n], json.loads(row[n + 1])) if row[n] is not None else None for n in (0, 2)]
        return Record(parts[0], parts[1])

    def record(self, command: Command, answer: Json) -> Json:
        """Writes the answer into the transaction of its effect."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        answer = answer | {"at": now, "sequence": command.sequence}
        part = command.direction
        self.db.execute(
            f"INSERT INTO inbox (saga, step, {part}_hash, {part}_answer) VALUES (?, ?, ?, ?)"
            f" ON CONFLICT DO UPDATE SET {part}_hash = excluded.{part}_hash, {part}_answer = excluded.{part}_answer",
            (command.saga, command.step, command.hash, json.dumps(answer)),
        )
        return answer

    def reply(self, command: Command, answer: Json, repeat: bool) -> Json:
        """The CloudEvent that answers a command."""
        message = self.common(command, command.id, answer["type"], answer["data"]) | {
            "outcome": answer["outcome"],
        }
        return message | {"repeat": True} if repeat else message

    def event_of(self, command: Command, direction: str, answer: Json) -> list[tuple[str, Json]]:
        """Routing key and CloudEvent of a recorded answer's event, if it has one: always the same."""
        event = answer["event"]
        if event is None:
            return []
        event_id = f"{command.saga}/{command.step}/{direction}"
        message = self.common(command, event_id, event["type"], event["data"]) | {
            "time": answer["at"],
            "sequence": f"{answer['sequence']:04}",
        }
        return [(event["key"], message)]

    def common(self, command: Command, message_id: str, type_name: str, data: Json) -> Json:
        """What every message of ours says."""
        message = {
            "specversion": "1.0",
            "id": message_id,
            "source": self.source,
            "type": type_name,
            "subject": command.saga,
            "datacontenttype": "application/json",
            "definition": command.definition,
            "definitionversion": command.definition_version,
            "data": data,
        }
        return message | {"traceparent": command.traceparent} if command.traceparent else message
