"""SQLite as these programs use it: durable, and one writer at a time."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


def open_database(path: str, schema: str) -> sqlite3.Connection:
    """Opens or makes a database. A commit is on the disk before it is answered."""
    db = sqlite3.connect(path, isolation_level=None, timeout=5)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.executescript(schema)
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing. IMMEDIATE: a writer that began as a reader could deadlock."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
